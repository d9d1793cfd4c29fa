"""What a session needs of its journal to go on: where it stood, and what was under way.

One pass over the records, as `interpreter.py` reads them; knows nothing of optimizers or rigs.
Pixels are read again when they are asked for, so that memory does not grow with a session's
hours. A torn tail was cut by the index and is no error; a journal that lost records in its
middle still says where its last generation stood.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evolver.errors import DamagedJournalError, RecordingError
from evolver.journal.interpreter import (
    BlockPlan,
    Interpreter,
    OpenBlock,
    ReceivedResult,
    RecordReading,
    interpret,
)
from evolver.journal.reader import HEAD, JournalIndex, segment_paths
from evolver.journal.records import (
    Committed,
    CommittedThread,
    Event,
    ImagePixels,
    PackedArray,
    Proposed,
    Result,
    RunEnd,
    RunStart,
)
from evolver.journal.rig_time import RecordedTime
from evolver.journal.tally import ShowingTally

_SEEN = 4096  # presentations


@dataclass(slots=True, eq=False)
class LastGeneration:
    """One thread's last generation."""

    block: int
    generation: int
    codes: PackedArray  # (n, d) float64
    optimizer_state: dict[str, PackedArray | int | float]  # before ask
    rng_state: str  # JSON, before ask
    committed: CommittedThread | None = None  # what the optimizer was told; None: nothing yet


@dataclass(frozen=True, slots=True, eq=False)
class Unfinished:
    """A block that was proposed and not committed."""

    proposed: Proposed
    results: tuple[Result, ...]  # each attempt once
    last_attempt: int  # the highest that was sent
    unanswered: dict[int, tuple[int, ...]]
    """Presentations that were asked for and not answered, by the attempt, in order."""


@dataclass(slots=True, eq=False)
class History:
    """A session as far as its journal goes."""

    run_start: RunStart
    index: JournalIndex
    threads: list[LastGeneration | None] = field(default_factory=list["LastGeneration | None"])
    unfinished: list[Unfinished] = field(default_factory=list[Unfinished])
    next_block: int = 0
    next_presentation: int = 0
    last_was_threads: bool = False  # whether the last block proposed had any thread in it
    references: tuple[str, ...] = ()  # digests of those last shown
    reference_labels: tuple[str, ...] = ()
    answered: int = 0
    aborted: int = 0
    committed: list[Committed] = field(default_factory=list[Committed])
    tally: ShowingTally = field(default_factory=ShowingTally)
    time: RecordedTime = field(default_factory=RecordedTime)  # that no committed block has
    held: str = ""  # "pause" or "reference-only", if it was so when it was interrupted
    resumed: int = 0  # times the session went on already
    ended: str = ""  # why, if it came to an end and did not go on
    images: dict[str, int] = field(default_factory=dict[str, int])  # digest -> sequence
    seen: deque[tuple[str, int]] = field(default_factory=lambda: deque(maxlen=_SEEN))
    """What was to be shown last: images' digests and their presentations, in order."""

    def pixels(self, sha256: str) -> NDArray[np.uint8]:
        """Return an image's pixels, (h, w, 3) uint8.

        Raises
        ------
        RecordingError
            The journal does not have them.
        """
        if sha256 not in self.images:
            raise RecordingError(
                f"the journal {self.index.summary.folder} must hold the pixels of image "
                f"{sha256}; they are lost. {self.index.summary.describe()}"
            )
        record = self.index.record(self.images[sha256])
        if not isinstance(record, ImagePixels):
            raise RecordingError(f"record {self.images[sha256]} must hold pixels; it does not")
        return record.pixels.numpy().astype(np.uint8, copy=False)


def find_history(journal: Path) -> History | None:
    """Do as `read_history`; None where no session has begun, or there is no journal.

    A journal that holds anything has begun: damage is an error, and never None.
    """
    return _history(JournalIndex(journal)) if segment_paths(journal) else None


def read_history(journal: Path) -> History:
    """Read what a session needs to go on.

    Parameters
    ----------
    journal : folder of the journal; may be written to at the time, and is then read as far as
        it has come

    Raises
    ------
    DamagedJournalError
        What it begins with cannot be read, or is not the start of a session.
    RecordingError
        There is no journal, or no record of it was ever finished.
    """
    history = _history(JournalIndex(journal))
    if history is None:
        raise RecordingError(
            f"a journal must hold the start of a session; no record of {journal} was ever "
            "finished. Nothing was shown in it: begin a new session"
        )
    return history


def _history(index: JournalIndex) -> History | None:
    if not index.has_begun():
        return None
    start = index.record(HEAD)
    if not isinstance(start, RunStart):
        raise DamagedJournalError(
            f"the first record of a journal must be the start of a session; that of "
            f"{index.summary.folder} is {type(start).__name__}. Nothing may go on in it: keep "
            "it as it is, and begin a new session in a folder of its own"
        )
    history = History(start, index, threads=[None] * len(start.threads))
    interpreter = Interpreter()
    blocks = _OpenBlocks()
    for reading in interpret(index, interpreter):
        _take(history, reading)
        history.time.take(reading.record)
        blocks.take(reading, interpreter.open_blocks)
    history.time.fall()
    history.unfinished = blocks.unfinished(interpreter.open_blocks)
    history.next_block = interpreter.next_block
    history.next_presentation = interpreter.next_presentation
    history.last_was_threads = interpreter.last_was_threads
    history.answered, history.aborted = interpreter.answered, interpreter.aborted
    history.resumed = interpreter.resumed
    history.ended = "" if interpreter.end is None else interpreter.end.reason
    return history


def _take(history: History, reading: RecordReading) -> None:
    match reading.record:
        case Proposed() as proposed:
            if isinstance(reading, BlockPlan):
                plans = sorted(reading.block.showings.items())
                history.seen += ((plan.sha256, number) for number, plan in plans if plan.sha256)
            if proposed.references:
                history.references = proposed.references
                history.reference_labels = proposed.reference_labels
            for part in proposed.threads:
                history.threads[part.thread] = LastGeneration(
                    proposed.block,
                    part.generation,
                    part.codes,
                    part.optimizer_state,
                    part.rng_state,
                )
        case ImagePixels() as image:
            history.images[image.sha256] = reading.sequence
        case Committed() as scores:
            history.committed.append(scores)
            history.tally.add(scores)
            for part in scores.threads:
                for last in history.threads[part.thread : part.thread + 1]:
                    if last is not None and last.generation == part.generation:
                        last.committed = part
        case Event(name="pause"):
            history.held = "pause"
        case Event(name="reference_only"):
            history.held = "reference-only"
        case Event(name="resume"):
            history.held = ""
        case RunEnd(reason=reason) if not reason.startswith("error"):
            history.held = ""  # whoever resumes a session that was stopped wants it to go on
        case _:
            pass


class _OpenBlocks:
    """What was proposed and answered of the blocks that are under way."""

    def __init__(self) -> None:
        self._proposed: dict[int, Proposed] = {}
        self._results: dict[int, list[Result]] = {}

    def take(self, reading: RecordReading, open_blocks: Mapping[int, OpenBlock]) -> None:
        """Keep what belongs to a block that is open after a reading, and nothing else."""
        if isinstance(reading, BlockPlan):
            self._proposed[reading.block.number] = reading.record
            self._results[reading.block.number] = []
        elif isinstance(reading, ReceivedResult):
            if not reading.repeated and reading.record.block in open_blocks:
                self._results[reading.record.block].append(reading.record)
            return
        for number in self._proposed.keys() - open_blocks.keys():
            del self._proposed[number], self._results[number]

    def unfinished(self, open_blocks: Mapping[int, OpenBlock]) -> list[Unfinished]:
        """Return every block that is open, in order."""
        return [
            Unfinished(
                self._proposed[number],
                tuple(self._results[number]),
                block.last_attempt,
                block.unanswered,
            )
            for number, block in sorted(open_blocks.items())
        ]
