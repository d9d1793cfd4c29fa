"""The folder that a session gets of its own, and what lies where in it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from evolver.errors import RecordingError

if TYPE_CHECKING:
    from evolver.config.tables import Config

JOURNAL = "journal"
RECORDING = "session.h5"
SESSION_FILE = "session.toml"
REPORT = "report"
LOGS = "logs"
"""Of the processes of a live session; no other session's folder has any."""
WAITING = "waiting.json"
"""What a live session waits for and what was checked before its first image."""


def new_folder(config: Config, text: str, time_ns: int) -> Path:
    """Make a session's folder, with its session file in it.

    Raises
    ------
    RecordingError
        It cannot be made.
    """
    now = datetime.fromtimestamp(time_ns / 1e9, tz=UTC)
    folder = _new_folder(Path(config.session.folder).expanduser(), config.session.name, now)
    (folder / SESSION_FILE).write_text(text, encoding="utf-8")
    return folder


def _new_folder(parent: Path, name: str, now: datetime) -> Path:
    """Make a folder that did not exist: name, date, time, and a number if need be."""
    stem = f"{name}-{now:%Y%m%d-%H%M%S}"
    for attempt in range(1000):
        folder = parent / (stem if attempt == 0 else f"{stem}-{attempt + 1}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as exc:
            raise RecordingError(
                f"session.folder: must be a folder that can be written to; {folder} cannot be "
                f"made: {exc.strerror}"
            ) from exc
        return folder
    raise RecordingError(f"{parent} has a thousand recordings called {stem}; use another name")
