"""What a session needs of its journal to go on: where it stood, and what was under way.

One pass over the records; knows their order and nothing of optimizers or rigs. Pixels are read
again when they are asked for, so that memory does not grow with a session's hours. A torn tail
was cut by the index and is no error; a journal that lost records in its middle still says where
its last generation stood.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evolver.errors import RecordingError
from evolver.journal.reader import JournalIndex, segment_paths
from evolver.journal.records import (
    Committed,
    CommittedThread,
    ImagePixels,
    PackedArray,
    Proposed,
    ProposedThread,
    Result,
    Resumed,
    RigRecord,
    RunEnd,
    RunStart,
    Sent,
)

_OVERLAP = 3  # blocks that can be under way at once


@dataclass(frozen=True, slots=True, eq=False)
class LastGeneration:
    """One thread's last generation."""

    block: int
    generation: int
    codes: PackedArray  # (n, d) float64
    optimizer_state: dict[str, PackedArray | int | float]  # before ask
    rng_state: str  # JSON, before ask
    committed: CommittedThread | None  # what the optimizer was told; None: nothing yet


@dataclass(slots=True, eq=False)
class Unfinished:
    """A block that was proposed and not committed."""

    proposed: Proposed
    results: list[Result] = field(default_factory=list[Result])  # each attempt once
    last_attempt: int = 0  # the highest that was sent
    sent: dict[int, int] = field(default_factory=dict[int, int])  # presentation -> last attempt

    @property
    def unanswered(self) -> dict[int, tuple[int, ...]]:
        """Presentations that were asked for and not answered, by the attempt, in order."""
        came = {(r.presentation, r.attempt) for r in self.results}
        left: dict[int, tuple[int, ...]] = {}
        for number, attempt in sorted(self.sent.items()):
            if (number, attempt) not in came:
                left[attempt] = (*left.get(attempt, ()), number)
        return dict(sorted(left.items()))


@dataclass(slots=True, eq=False)
class History:
    """A session as far as its journal goes."""

    run_start: RunStart
    index: JournalIndex
    rig: RigRecord | None = None  # the last one
    threads: list[LastGeneration | None] = field(default_factory=list["LastGeneration | None"])
    unfinished: list[Unfinished] = field(default_factory=list[Unfinished])
    next_block: int = 0
    next_presentation: int = 0
    last_was_threads: bool = False  # whether the last block proposed had any thread in it
    references: tuple[str, ...] = ()  # digests of those last shown
    reference_labels: tuple[str, ...] = ()
    answered: int = 0
    aborted: int = 0
    resumed: int = 0  # times the session went on already
    ended: str = ""  # why, if it came to an end and did not go on
    images: dict[str, int] = field(default_factory=dict[str, int])  # digest -> sequence

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
    """Do as `read_history`; None where no session has begun, or there is no journal."""
    return _history(JournalIndex(journal)) if segment_paths(journal) else None


def read_history(journal: Path) -> History:
    """Read what a session needs to go on.

    Parameters
    ----------
    journal : folder of the journal; may be written to at the time, and is then read as far as
        it has come

    Raises
    ------
    RecordingError
        There is no journal, or it does not begin with the start of a session.
    """
    history = _history(JournalIndex(journal))
    if history is None:
        raise RecordingError(
            f"a journal must begin with the start of a session; {journal} does not. Nothing "
            "was shown in it: begin a new session"
        )
    return history


def _history(index: JournalIndex) -> History | None:
    records = iter(index)
    _, start = next(records, (-1, None))
    if not isinstance(start, RunStart):
        return None
    history = History(start, index, threads=[None] * len(start.threads))
    blocks: dict[int, Unfinished] = {}
    told: dict[tuple[int, int], CommittedThread] = {}
    last: dict[int, tuple[int, ProposedThread]] = {}
    answers: set[tuple[int, int]] = set()
    for sequence, record in records:
        match record:
            case Proposed():
                blocks[record.block] = Unfinished(record)
                history.next_block = max(history.next_block, record.block + 1)
                numbers = [p.presentation for p in record.presentations]
                history.next_presentation = max(
                    history.next_presentation, *(n + 1 for n in numbers), 0
                )
                history.last_was_threads = bool(record.threads)
                if record.references:
                    history.references = record.references
                    history.reference_labels = record.reference_labels
                for thread in record.threads:
                    last[thread.thread] = (record.block, thread)
            case Sent():
                if record.block in blocks:
                    one = blocks[record.block]
                    one.last_attempt = max(one.last_attempt, record.attempt)
                    one.sent |= dict.fromkeys(record.presentations, record.attempt)
            case Result():
                key = (record.presentation, record.attempt)
                if key not in answers:
                    answers.add(key)
                    history.answered += 1
                    history.aborted += record.status != "ok"
                    if record.block in blocks:
                        blocks[record.block].results.append(record)
            case Committed():
                blocks.pop(record.block, None)
                for thread in record.threads:
                    told[thread.thread, thread.generation] = thread
            case ImagePixels():
                history.images[record.sha256] = sequence
            case RigRecord():
                history.rig = record
            case Resumed():
                history.resumed += 1
                history.ended = ""
            case RunEnd():
                history.ended = record.reason
            case _:
                pass
    for thread, (block, p) in last.items():
        if 0 <= thread < len(history.threads):
            history.threads[thread] = LastGeneration(
                block,
                p.generation,
                p.codes,
                p.optimizer_state,
                p.rng_state,
                told.get((thread, p.generation)),
            )
    history.unfinished = [
        one
        for block, one in sorted(blocks.items())
        if block >= history.next_block - _OVERLAP
        and all(last[p.thread][0] == block for p in one.proposed.threads)
    ]
    return history
