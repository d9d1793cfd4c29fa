"""Where a page's session comes from: a journal that is written, or a recording that is done.

Reads only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from evolver import recording
from evolver.errors import RecordingError
from evolver.journal.follower import Follower
from evolver.journal.records import AnyRecord, RunStart
from evolver.monitor.model import Budget, Generation, SessionModel, ThreadView, thumbnail
from evolver.recording.reader import Recording
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
            found: list[AnyRecord] = []
            try:
                found.extend(r for _, r in self._follower.poll(at_most=_BYTES_A_LOOK))
            except RecordingError as exc:  # of a later version: show what there is
                self.trouble = str(exc)
            if any(isinstance(record, RunStart) for record in found) and self.model.start:
                self.model = SessionModel()
            self.model.feed(found)
        return self.model


class FileSource:
    """A finished recording.

    Parameters
    ----------
    path : the HDF5 file

    Raises
    ------
    RecordingError
        It is no recording.
    """

    def __init__(self, path: Path) -> None:
        self.trouble = ""
        with recording.read(path) as opened:
            self.model = from_recording(opened)

    def look(self) -> SessionModel:
        """Return the model."""
        return self.model


def from_recording(opened: Recording) -> SessionModel:
    """Return what a page would know at the end of this session."""
    model = SessionModel()
    table = opened.presentations
    model.title = opened.name
    model.unit_labels = tuple(str(label) for label in opened.units["label"])
    model.ended = opened.end_reason or "cut short"
    model.presentations = int((table["attempt"] > 0).sum())
    model.aborted = int((table["status"] == "aborted").sum())
    received = table["received_ns"][table["attempt"] > 0]
    if len(received):
        model.take_times(int(received.min()), int(received.max()))
    pictures: dict[int, np.ndarray] = {}

    def picture(image: int) -> np.ndarray:
        if image not in pictures:
            pictures[image] = thumbnail(opened.images[image])
        return pictures[image]

    for k, thread in enumerate(opened.threads):
        view = ThreadView(thread.name, thread.optimizer, thread.generator)
        units = thread.fitness.get("units", ())
        view.units = tuple(int(unit) for unit in units)
        for number in range(int(thread.generations)):
            rows = np.flatnonzero(thread.generation == number)
            mine = (table["thread"] == k) & (table["generation"] == number)
            shown = np.flatnonzero(mine & (table["status"] == "ok"))
            generation = Generation(
                number, (), model.counts([opened.spikes(int(i)) for i in shown])
            )
            generation.shown = len(shown)
            model.set_scores(generation, np.asarray(thread.score[rows], dtype=np.float64))
            order = model.order(np.asarray(thread.score[rows], dtype=np.float64))
            keep = order[: model.KEPT_PICTURES if number == thread.generations - 1 else 4]
            generation.pictures = [picture(int(thread.image_id[rows[i]])) for i in keep]
            view.generations[number] = generation
        model.threads.append(view)
    model.generations = max((len(t.generations) for t in model.threads), default=0)
    blocks = opened.blocks
    at = _stand(opened)
    for b, row in enumerate(blocks):
        model.add_references(at[b], list(opened.reference_scores[b]))
        if row["committed_ns"] > 0:
            known = sum(
                float(row[n]) for n in ("propose", "encode", "send", "score", "blocked")
            )
            model.budgets.append(
                Budget(
                    int(row["block"]),
                    float(row["render"]),
                    float(row["wait"]),
                    float(row["idle"]),
                    known,
                )
            )
    for event in opened.events:
        model.events.append((
            int(event["time_ns"]),
            str(event["level"]),
            str(event["name"]),
            str(event["text"]),
        ))
    last = [i for i in range(len(table)) if table["status"][i] == "ok"][-300:]
    model.raster.extend(opened.spikes(i) for i in last)
    model.version = model.scored_version = 1
    return model


def _stand(opened: Recording) -> list[float]:
    """Return how far the threads were at each block, as a mean over threads."""
    table = opened.presentations
    stand = dict.fromkeys(range(len(opened.threads)), 0)
    at: list[float] = []
    for block in opened.blocks["block"]:
        mine = table["block"] == block
        for k in stand:
            found = table["generation"][mine & (table["thread"] == k)]
            stand[k] = max(stand[k], int(found.max(initial=0)))
        at.append(float(np.mean(list(stand.values()))))
    return at
