"""What a session's records mean, in their order, worked out once for every reader of a journal.

The fold's survey, the history that a session resumes from and the live page all stand on this;
only `recording/verify.py` works everything out again for itself. Knows records and the order in
which they may come; knows no files.

Memory is bounded by the blocks under way and the session's tables, not by what was recorded: of
a presentation that is over, two bits are kept. A journal can end anywhere, and damage can take
records out of its middle. Nothing here depends on a record that another one should have
followed: what is missing is left out and named in the `warnings` of a reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evolver.errors import DataError, RecordingError
from evolver.journal.records import (
    READABLE_VERSIONS,
    AnyRecord,
    Committed,
    PlannedItem,
    PlannedPresentation,
    Proposed,
    Result,
    Resumed,
    RigRecord,
    RunEnd,
    RunStart,
    Sent,
    UnitInfo,
)
from evolver.responses import Form, check_response, check_window

MAX_UNLISTED_UNITS = 4096  # a spike of one beyond that is an error, not a unit
_PAGE_BITS = 1024


@dataclass(frozen=True, slots=True)
class PlannedShowing:
    """One planned presentation, and what it shows."""

    block: int
    planned: PlannedPresentation
    generation: int  # -1 for a reference
    sha256: str  # of the image; empty where the plan names none
    item: PlannedItem | None = None  # of a set


@dataclass(slots=True, eq=False)
class OpenBlock:
    """A block that was proposed and not committed."""

    number: int
    showings: dict[int, PlannedShowing]  # by presentation
    answered: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    """(presentation, attempt) of every result."""
    last_attempt: int = 0  # the highest that was sent, or answered
    sent: dict[int, int] = field(default_factory=dict[int, int])  # presentation -> last attempt

    @property
    def unanswered(self) -> dict[int, tuple[int, ...]]:
        """Presentations that were asked for and not answered, by the attempt, in order."""
        waiting: dict[int, tuple[int, ...]] = {}
        for number, attempt in sorted(self.sent.items()):
            if (number, attempt) not in self.answered:
                waiting[attempt] = (*waiting.get(attempt, ()), number)
        return dict(sorted(waiting.items()))


@dataclass(frozen=True, slots=True, eq=False)
class RigUnits:
    """A rig that joined, and the rows of the session's unit table that are its units."""

    joined: RigRecord | None  # None: its record is lost
    rows: list[int]


@dataclass(frozen=True, slots=True, eq=False)
class RecordReading:
    """A record, and what it means where it stands."""

    sequence: int
    record: AnyRecord
    warnings: tuple[str, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True, slots=True, eq=False)
class BlockPlan(RecordReading):
    """A block was proposed."""

    record: Proposed
    block: OpenBlock


@dataclass(frozen=True, slots=True, eq=False)
class ReceivedResult(RecordReading):
    """A presentation was answered.

    Attributes
    ----------
    showing : what had been planned; None where the plan is lost, or its block is over
    repeated : the same presentation and attempt had come before: the first counts
    rig : row of the interpreter's `rigs`
    form : of the response; empty where it is malformed, or repeated
    arrays : of that form, units counted as the rig does
    rows : ndarray of intp, shape (units of the response,), rows of the interpreter's `units`
    """

    record: Result
    showing: PlannedShowing | None
    repeated: bool = False
    rig: int = -1
    form: Form | None = None
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])
    rows: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, np.intp))


@dataclass(frozen=True, slots=True, eq=False)
class BlockScores(RecordReading):
    """A block was committed; `block` is None where its plan is lost."""

    record: Committed
    block: OpenBlock | None


class Interpreter:
    """Takes a session's records in their order and says of each what it means.

    Attributes
    ----------
    start : RunStart or None, the first record
    units : the session's unit table: every unit that any rig listed, or answered for
    rigs : every rig that joined
    open_blocks : blocks that were proposed and not committed, by number. One whose commit was
        lost is not among them: a thread that evolves is asked for its next generation only
        after that
    next_block, next_presentation : above every number that any record named; a plan may be
        lost of which others still speak
    last_was_threads : whether the last block that was proposed had any thread in it
    answered, aborted : presentations, each attempt once
    resumed : times the session went on after an interruption
    bit_identical : whether it did so bit for bit, whenever it did
    end : RunEnd, if the session came to an end and did not go on
    """

    def __init__(self) -> None:
        self.start: RunStart | None = None
        self.units: list[UnitInfo] = []
        self.rigs: list[RigUnits] = []
        self.open_blocks: dict[int, OpenBlock] = {}
        self.next_block = 0
        self.next_presentation = 0
        self.last_was_threads = False
        self.answered = 0
        self.aborted = 0
        self.resumed = 0
        self.bit_identical = True
        self.end: RunEnd | None = None
        self._planned = _NumberSet()
        self._answered: dict[int, _NumberSet] = {}  # attempt -> presentations
        self._generations: dict[int, _NumberSet] = {}  # thread -> those that were proposed
        self._last_block: dict[int, int] = {}  # thread -> block of its last generation

    def take(self, sequence: int, record: AnyRecord) -> RecordReading:
        """Take the next record and return what it means.

        Raises
        ------
        RecordingError
            The session was recorded by a version whose journals cannot be read here, or in a
            window that is none.
        DataError
            The record contradicts itself or the session's start. Nothing of it was taken.
        """
        match record:
            case RunStart():
                self.start = _checked_start(record)
            case RigRecord():
                self.rigs.append(RigUnits(record, _unit_rows(self.units, record.units)))
            case Proposed():
                return self._take_proposed(sequence, record)
            case Sent():
                self._name(record.block, record.presentations)
                block = self.open_blocks.get(record.block)
                if block is not None:
                    block.last_attempt = max(block.last_attempt, record.attempt)
                    block.sent |= dict.fromkeys(record.presentations, record.attempt)
            case Result():
                return self._take_result(sequence, record)
            case Committed():
                self._name(record.block)
                block = self.open_blocks.pop(record.block, None)
                return BlockScores(sequence, record, block)
            case Resumed():
                self.end = None  # it went on
                self.resumed += 1
                self.bit_identical = self.bit_identical and record.bit_identical
            case RunEnd():
                self.end = record
            case _:
                pass
        return RecordReading(sequence, record)

    def _take_proposed(self, sequence: int, record: Proposed) -> BlockPlan:
        self._check_proposed(record)
        warnings: list[str] = []
        for part in record.threads:
            generations = self._generations.setdefault(part.thread, _NumberSet())
            if not generations.add(part.generation):
                warnings.append(
                    f"generation {part.generation} of thread {part.thread} was proposed again "
                    f"in block {record.block}; the later one is kept"
                )
            if part.items:
                continue  # of a set, whose next share waits for nothing
            # What came before was learnt from, or this one could not have been asked for.
            self.open_blocks.pop(self._last_block.get(part.thread, -1), None)
            self._last_block[part.thread] = record.block
        block = OpenBlock(record.block, _showings(record))
        self.open_blocks[record.block] = block
        self._name(record.block, block.showings)
        self.last_was_threads = bool(record.threads)
        for number in block.showings:
            self._planned.add(number)
        return BlockPlan(sequence, record, block, warnings=tuple(warnings))

    def _name(self, block: int, presentations: Iterable[int] = ()) -> None:
        """Keep what a record names from being given again."""
        self.next_block = max(self.next_block, block + 1)
        self.next_presentation = max(
            self.next_presentation, *(number + 1 for number in presentations), 0
        )

    def _check_proposed(self, record: Proposed) -> None:
        if len(record.references) != len(record.reference_labels):
            raise DataError(
                f"block {record.block} must have one label a reference image; it has "
                f"{len(record.references)} images and {len(record.reference_labels)} labels"
            )
        if self.start is None:
            return
        threads = self.start.threads
        for part in record.threads:
            if not 0 <= part.thread < len(threads):
                raise DataError(
                    f"a thread must be from 0 to {len(threads) - 1}, a row of run_start's "
                    f"threads; got {part.thread}"
                )
            shape = len(part.images), threads[part.thread].d
            if part.items and len(part.items) != len(part.images):
                raise DataError(
                    f"a set's generation must have an item for each of its {len(part.images)} "
                    f"images; thread {part.thread} has {len(part.items)}"
                )
            if part.codes.shape != shape:
                raise DataError(
                    f"codes of thread {part.thread} must have shape {shape}, one row an image; "
                    f"got {part.codes.shape}"
                )

    def _take_result(self, sequence: int, record: Result) -> ReceivedResult:
        number, attempt = record.presentation, record.attempt
        self._name(record.block, (number,))
        block = self.open_blocks.get(record.block)
        showing = None if block is None else block.showings.get(number)
        where = f"presentation {number}, attempt {attempt}"
        if not self._answered.setdefault(attempt, _NumberSet()).add(number):
            again = f"{where} has more than one result; the first is kept"
            return ReceivedResult(sequence, record, showing, repeated=True, warnings=(again,))
        self.answered += 1
        self.aborted += record.status != "ok"
        warnings: list[str] = []
        if number not in self._planned:
            warnings.append(f"presentation {number} was shown, its plan is lost")
        if block is not None:
            block.answered.add((number, attempt))
            block.last_attempt = max(block.last_attempt, attempt)  # what was sent may be lost
        if not self.rigs:
            self.rigs.append(RigUnits(None, []))
        rig, own = len(self.rigs) - 1, self.rigs[-1].rows
        try:
            arrays = {name: array.numpy() for name, array in record.arrays.items()}
            n_units = response_units(record.form, arrays)
            if n_units > max(len(own), MAX_UNLISTED_UNITS):
                raise DataError(f"no rig listed a unit {n_units - 1}")
            check_response(record.form, arrays, n_units)
        except (DataError, RecordingError) as exc:
            warnings.append(f"the response to {where} is malformed: {exc}")
            return ReceivedResult(sequence, record, showing, rig=rig, warnings=tuple(warnings))
        if n_units > len(own):
            warnings.append(
                f"presentation {number} has a unit {n_units - 1}, which no rig listed"
            )
            self._list_units(own, n_units)
        return ReceivedResult(
            sequence,
            record,
            showing,
            rig=rig,
            form=record.form,
            arrays=arrays,
            rows=np.array(own if record.form == "spikes" else own[:n_units], dtype=np.intp),
            warnings=tuple(warnings),
        )

    def _list_units(self, own: list[int], n_units: int) -> None:
        """Give a rig's units that it did not list rows of their own."""
        for number in range(len(own), n_units):
            own.append(len(self.units))
            self.units.append(UnitInfo(-1, number, "", f"unlisted {number}"))


def interpret(
    records: Iterable[tuple[int, AnyRecord]], interpreter: Interpreter
) -> Iterator[RecordReading]:
    """Yield the reading of every (sequence, record).

    Raises
    ------
    RecordingError
        A record contradicts itself or the session's start; or see `Interpreter.take`.
    """
    for sequence, record in records:
        try:
            yield interpreter.take(sequence, record)
        except DataError as exc:
            raise RecordingError(f"record {sequence} contradicts itself: {exc}") from exc


def response_units(form: Form, arrays: dict[str, NDArray[Any]]) -> int:
    """Return how many units a response speaks of, by its arrays alone."""
    if form == "spikes":
        units = arrays.get("units", np.zeros(0, np.uint32))
        whole = units.dtype.kind in "ui" and units.size
        return int(units.max()) + 1 if whole else 0
    array = arrays.get(form, np.zeros(0))
    return array.shape[0] if array.ndim else 0


class _NumberSet:
    """A set of numbers that lie close together, at little more than a bit a number."""

    def __init__(self) -> None:
        self._pages: dict[int, int] = {}

    def __contains__(self, number: int) -> bool:
        page, bit = divmod(number, _PAGE_BITS)
        return bool(self._pages.get(page, 0) >> bit & 1)

    def add(self, number: int) -> bool:
        """Add a number; return whether it is new."""
        if number in self:
            return False
        page, bit = divmod(number, _PAGE_BITS)
        self._pages[page] = self._pages.get(page, 0) | 1 << bit
        return True


def _checked_start(start: RunStart) -> RunStart:
    if start.journal_version not in READABLE_VERSIONS:
        raise RecordingError(
            f"this version of evolver reads journals of versions {READABLE_VERSIONS}; this one "
            f"has version {start.journal_version}. Use the version that wrote it: "
            f"{start.versions}"
        )
    try:
        check_window(start.window_ms)
    except DataError as exc:
        raise RecordingError(f"run_start's window_ms is wrong: {exc}") from exc
    return start


def _showings(record: Proposed) -> dict[int, PlannedShowing]:
    images = {-1: record.references} | {part.thread: part.images for part in record.threads}
    generations = {part.thread: part.generation for part in record.threads}
    items = {part.thread: part.items for part in record.threads}
    showings: dict[int, PlannedShowing] = {}
    for planned in record.presentations:
        candidates = images.get(planned.thread, ())
        known = 0 <= planned.row < len(candidates)
        showings[planned.presentation] = PlannedShowing(
            record.block,
            planned,
            generations.get(planned.thread, -1),
            candidates[planned.row] if known else "",
            own[planned.row] if known and (own := items.get(planned.thread)) else None,
        )
    return showings


def _unit_rows(table: list[UnitInfo], units: tuple[UnitInfo, ...]) -> list[int]:
    """Rows of `table` that are these units, adding those that are new.

    A rig that joins again brings the same units, as a rule. Where it does not, its units get
    rows of their own: a unit is never taken for another one because their places agree.
    """
    rows: list[int] = []
    free: dict[UnitInfo, list[int]] = {}
    for row, unit in enumerate(table):
        free.setdefault(unit, []).append(row)
    for unit in units:
        same = free.get(unit)
        if same:
            rows.append(same.pop(0))
        else:
            rows.append(len(table))
            table.append(unit)
    return rows
