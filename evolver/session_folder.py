"""The folder that a session gets of its own, and what lies where in it."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from evolver.errors import RecordingError
from evolver.regular_files import expanded

if TYPE_CHECKING:
    from evolver.config.tables import Config

JOURNAL = "journal"
JOURNAL_LOCK = "journal.lock"
"""In the journal's folder; held by whoever writes it."""
RECORDING = "session.h5"
SESSION_FILE = "session.toml"
REPORT = "report"
LOGS = "logs"
"""Of the processes of a live session; no other session's folder has any."""
WAITING = "waiting.json"
"""What a live session waits for and what was checked before its first image."""
SILENT = "silent.json"
"""Which process of a live session answers nothing; there only while one does not."""


def new_folder(config: Config, text: str, time_ns: int) -> Path:
    """Make a session's folder, with its session file in it.

    Raises
    ------
    RecordingError
        It cannot be made, or has no room for its session file; no folder is left.
    """
    now = datetime.fromtimestamp(time_ns / 1e9, tz=UTC)
    folder = _new_folder(expanded(config.session.folder), config.session.name, now)
    try:
        (folder / SESSION_FILE).write_text(text, encoding="utf-8")
    except OSError as exc:
        remove_unused(folder)
        raise RecordingError(
            f"session.folder: must have room for a session; {folder / SESSION_FILE} cannot be "
            f"written: {exc.strerror}"
        ) from exc
    return folder


def check_can_make(config: Config) -> None:
    """Check that a session's folder could be made, and leave nothing behind.

    Raises
    ------
    RecordingError
        It could not, as `new_folder` would say.
    """
    recordings = expanded(config.session.folder)
    places = (recordings, *recordings.absolute().parents)
    try:
        there = next(place for place in places if place.exists() or place.is_symlink())
        with tempfile.TemporaryFile(dir=there):
            return
    except OSError as exc:
        raise _cannot_be_made(recordings, exc) from exc


def _cannot_be_made(folder: Path, exc: OSError) -> RecordingError:
    return RecordingError(
        f"session.folder: must be a folder that can be written to; {folder} cannot be made: "
        f"{exc.strerror}"
    )


def remove_unused(folder: Path) -> None:
    """Remove the folder of a session that did not begin: what it was given, and its logs.

    Anything else in it, a record most of all, is left, and the folder with it.
    """
    given = (
        *(folder / name for name in (SESSION_FILE, WAITING, SILENT)),
        folder / JOURNAL / JOURNAL_LOCK,
    )
    journal = folder / JOURNAL
    if journal.is_dir() and any(path.name != JOURNAL_LOCK for path in journal.iterdir()):
        return
    with suppress(OSError):
        for path in (*given, *(folder / LOGS).glob("*.log")):
            path.unlink(missing_ok=True)
        for inner in (folder / LOGS, folder / JOURNAL):
            if inner.is_dir():
                inner.rmdir()
        folder.rmdir()


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
            raise _cannot_be_made(folder, exc) from exc
        return folder
    raise RecordingError(f"{parent} has a thousand recordings called {stem}; use another name")
