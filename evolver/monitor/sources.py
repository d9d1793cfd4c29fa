"""Where a page's session comes from: a journal that is written, or a recording that is done.

Reads only, and feeds both to the model as records in their order.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from evolver import recording
from evolver.errors import RecordingError
from evolver.journal.follower import Follower
from evolver.journal.records import AnyRecord, RunStart
from evolver.monitor.model import SessionModel
from evolver.monitor.pictures import RecordedPictures
from evolver.recording import Recording
from evolver.recording.replay import replayed_records
from evolver.recording.strangers import said_as_recording
from evolver.session_folder import JOURNAL

_LOOK_EVERY_S = 0.1
_BYTES_A_LOOK = 16 << 20


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
        self._follower = Follower(journal)
        self._clock, self._looked = clock, -1.0
        self.trouble = ""

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
