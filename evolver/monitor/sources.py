"""Where a page's session comes from: a journal that is written, or a recording that is done.

Reads only, and feeds both to the model as records in their order.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec

from evolver import recording
from evolver.config.tables import parse_session_file
from evolver.errors import ConfigError, RecordingError
from evolver.journal.follower import Follower
from evolver.journal.records import AnyRecord, RunStart
from evolver.monitor.before import BeforeView
from evolver.monitor.model import SessionModel
from evolver.monitor.pictures import RecordedPictures
from evolver.recording import Recording
from evolver.recording.replay import replayed_records
from evolver.recording.strangers import said_as_recording
from evolver.session_folder import JOURNAL, SESSION_FILE, SILENT, WAITING

_LOOK_EVERY_S = 0.1
_BYTES_A_LOOK = 16 << 20


class _Check(msgspec.Struct, frozen=True):
    name: str
    verdict: str
    text: str


class _State(msgspec.Struct, frozen=True):
    waiting: str = ""
    checks: tuple[_Check, ...] = ()
    to_confirm: bool = False
    no_rig_since_ns: int = 0


def before_first_image(folder: Path) -> BeforeView:
    """Return what is known of a session that has no journal yet, or waits to be resumed.

    Parameters
    ----------
    folder : the session's; what is missing in it, or cannot be read, is not known
    """
    name, plan = folder.name, ""
    try:
        text = (folder / SESSION_FILE).read_text(encoding="utf-8-sig")
        config = parse_session_file(text)
    except (OSError, UnicodeDecodeError, ConfigError):
        pass
    else:
        name = config.session.name
        threads = "; ".join(f"{t.name}: {t.generator}, {t.optimizer}" for t in config.threads)
        sets = ", ".join(table.name for table in config.sets)
        plan = f"{config.session.generations} generations of {threads}" if threads else ""
        plan += f"{', and ' * bool(plan)}the sets {sets}" if sets else ""
    state, silent = _state_in(folder / WAITING), _state_in(folder / SILENT)
    checks = tuple((check.verdict, check.name, check.text) for check in state.checks)
    waits = silent if silent.waiting else state
    return BeforeView(
        name, plan, waits.waiting, checks, state.to_confirm, waits.no_rig_since_ns
    )


def _state_in(path: Path) -> _State:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_State)
    except (OSError, msgspec.MsgspecError):
        return _State()


class JournalSource:
    """A session's folder, looked into for all tabs at once.

    Parameters
    ----------
    folder : the session's, or its journal's; the journal may not be there yet
    clock : seconds, monotonic
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        journal = folder if folder.name == JOURNAL else folder / JOURNAL
        self.model = SessionModel()
        self._folder = journal.parent
        self._follower = Follower(journal)
        self._clock, self._looked = clock, -1.0
        self.trouble = ""
        self.before: BeforeView | None = None

    def look(self) -> SessionModel:
        """Take what has come, at most ten times a second, and return the model."""
        now = self._clock()
        if now - self._looked >= _LOOK_EVERY_S:
            self._looked = now
            records: list[AnyRecord] = []
            try:
                records.extend(r for _, r in self._follower.poll(at_most=_BYTES_A_LOOK))
                if any(isinstance(record, RunStart) for record in records) and self.model.start:
                    self.model = SessionModel()
            except RecordingError as exc:  # of a later version: show what there is
                self.trouble = str(exc)
            try:
                self.model.feed(records)
            except RecordingError as exc:
                self.trouble = str(exc)
            before = before_first_image(self._folder) if self.model.ended is None else None
            started = self.model.start is not None
            idle = before is None or not (before.waiting or before.to_confirm)
            if before is not None and started:
                before = replace(before, goes_on=True)
            self.before = None if idle and started else before
        return self.model


class FileSource:
    """A finished recording.

    Parameters
    ----------
    path : the HDF5 file; stays open, for the pictures

    Raises
    ------
    RecordingError
        It is no recording.
    """

    def __init__(self, path: Path) -> None:
        self.trouble = ""
        self.before: BeforeView | None = None
        self._recording = recording.read(path)
        with said_as_recording(path):
            self.model = recorded_session(self._recording)

    def look(self) -> SessionModel:
        """Return the model."""
        return self.model

    def close(self) -> None:
        """Close the file; no picture can be shown any more."""
        self._recording.close()


def recorded_session(opened: Recording) -> SessionModel:
    """Return what a page knows at the end of a recorded session.

    Parameters
    ----------
    opened : the recording; pictures are read from it when they are shown
    """
    model = SessionModel(RecordedPictures(opened))
    model.feed(replayed_records(opened))
    if not opened.complete:
        model.ended = "cut short"
    return model
