"""First pass over a journal: what a session consists of, without its pixels, codes or spikes.

Knows records and the order in which they may come; knows nothing of HDF5. Keeps a few numbers a
record and the sequence under which the record can be read again, so that memory grows with the
number of presentations and not with what was recorded.

A journal can end anywhere, and damage can take records out of its middle. Nothing here depends
on a record that another one should have followed: what is not there is left out and said in
`warnings`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evolver.errors import DataError, RecordingError
from evolver.journal.reader import JournalIndex
from evolver.journal.records import (
    READABLE_VERSIONS,
    Committed,
    Event,
    ImagePixels,
    PlannedPresentation,
    Proposed,
    Result,
    Resumed,
    RigRecord,
    RunEnd,
    RunStart,
    Sent,
    ThreadInfo,
    UnitInfo,
)
from evolver.responses import (
    Form,
    check_response,
    check_window,
    psth_counts,
    psth_edges,
)

MAX_UNLISTED_UNITS = 4096  # a spike of one beyond that is an error, not a unit


@dataclass(slots=True)
class Image:
    """One image of the session."""

    image_id: int
    label: str = ""
    is_reference: bool = False
    sequence: int = -1  # of its pixels


@dataclass(frozen=True, slots=True)
class Plan:
    """One planned presentation and the image it shows."""

    block: int
    planned: PlannedPresentation
    generation: int  # -1 for a reference
    image_id: int  # -1 where the plan names no image


@dataclass(frozen=True, slots=True)
class Answer:
    """Where one result lies, and in which form its response can be used."""

    sequence: int
    rig: int  # -1 before any rig joined
    form: str  # empty where the response is malformed
    edges_ms: tuple[float, ...] = ()  # of counts


@dataclass(frozen=True, slots=True)
class Generation:
    """Where one thread's generation lies, and its place in that record."""

    sequence: int
    place: int
    n: int


@dataclass(slots=True)
class Rig:
    """A rig that joined, and the rows of the session's unit table that are its units."""

    joined: RigRecord | None
    units: list[int]


@dataclass(slots=True)
class Survey:
    """What was found; see the module's docstring."""

    start: RunStart
    sha256: str = ""
    end: RunEnd | None = None
    units: list[UnitInfo] = field(default_factory=list[UnitInfo])
    rigs: list[Rig] = field(default_factory=list[Rig])
    images: dict[str, Image] = field(default_factory=dict[str, Image])
    plans: dict[int, Plan] = field(default_factory=dict[int, Plan])
    answers: dict[tuple[int, int], Answer] = field(
        default_factory=dict[tuple[int, int], Answer]
    )
    generations: dict[tuple[int, int], Generation] = field(
        default_factory=dict[tuple[int, int], Generation]
    )
    proposed: dict[int, int] = field(default_factory=dict[int, int])  # block -> sequence
    committed: dict[int, int] = field(default_factory=dict[int, int])  # block -> sequence
    attempts: dict[int, int] = field(default_factory=dict[int, int])  # block -> times sent
    sent: list[Sent] = field(default_factory=list[Sent])
    events: list[Event] = field(default_factory=list[Event])
    warnings: list[str] = field(default_factory=list[str])
    resumed: int = 0  # times the session went on after an interruption
    bit_identical: bool = True  # whenever it did, it did so bit for bit
    psth_max: int = 0  # largest count in one bin

    @property
    def threads(self) -> tuple[ThreadInfo, ...]:
        """The session's threads."""
        return self.start.threads

    @property
    def blocks(self) -> list[int]:
        """Every block that was proposed or committed, in order."""
        return sorted(self.proposed.keys() | self.committed.keys())

    @property
    def rows(self) -> list[tuple[int, int]]:
        """(presentation, attempt) of every row of the presentation table, in order.

        One for every result, and one with attempt 0 for every plan without any.
        """
        answered = {presentation for presentation, _ in self.answers}
        unanswered = ((number, 0) for number in self.plans if number not in answered)
        return sorted([*self.answers, *unanswered])

    @property
    def psth_edges_ms(self) -> NDArray[np.float64]:
        """Bin edges of the PSTH, (t + 1,) ms; a single one where there is nothing to bin."""
        answers = self.answers.values()
        if any(answer.form == "spikes" for answer in answers):
            return psth_edges(self.start.window_ms)
        return np.array(next((a.edges_ms for a in answers if a.edges_ms), (0.0,)))

    def generations_of(self, thread: int) -> list[int]:
        """Return the generations of one thread, in order."""
        return sorted(number for owner, number in self.generations if owner == thread)


def survey(index: JournalIndex) -> Survey:
    """Read every record of a journal once.

    Raises
    ------
    RecordingError
        There is no record, the first is not a RunStart of this version, or a record contradicts
        itself.
    """
    found = Survey(_start(index))
    found.warnings.extend(_complaints(index))
    digest = hashlib.sha256()
    for sequence in index.sequences:
        frame = index.frame(sequence)
        digest.update(frame)
        record = index.decode(frame, sequence)
        try:
            _take(found, sequence, record)
        except ValueError as exc:
            raise RecordingError(f"record {sequence} contradicts itself: {exc}") from exc
    found.sha256 = digest.hexdigest()
    return found


def _start(index: JournalIndex) -> RunStart:
    if not index.sequences:
        raise RecordingError(
            f"the journal in {index.summary.folder} holds no whole record: the session ended "
            "before anything was acknowledged, so there is nothing to fold"
        )
    first = index.record(index.sequences[0])
    if not isinstance(first, RunStart):
        raise RecordingError(
            f"the first record of {index.summary.folder} must be run_start; record "
            f"{index.sequences[0]} is {type(first).__name__}. The beginning of the journal is "
            "lost; evolver.journal.read_journal gives the records that are left"
        )
    if first.journal_version not in READABLE_VERSIONS:
        raise RecordingError(
            f"this version of evolver reads journals of versions {READABLE_VERSIONS}; "
            f"{index.summary.folder} has version {first.journal_version}. Fold it with the "
            f"version that wrote it: {first.versions}"
        )
    try:
        check_window(first.window_ms)
    except DataError as exc:
        raise RecordingError(f"run_start's window_ms is wrong: {exc}") from exc
    return first


def _complaints(index: JournalIndex) -> list[str]:
    summary = index.summary
    lines = [f"records {first} to {last} are missing" for first, last in summary.missing]
    return lines + [f"two different records claim number {n}" for n in summary.conflicts]


def _take(found: Survey, sequence: int, record: object) -> None:
    match record:
        case RigRecord():
            found.rigs.append(Rig(record, _unit_rows(found.units, record.units)))
        case ImagePixels():
            found.images.setdefault(record.sha256, Image(len(found.images))).sequence = sequence
        case Proposed():
            _take_proposed(found, sequence, record)
        case Sent():
            found.sent.append(record)
            found.attempts[record.block] = found.attempts.get(record.block, 0) + 1
        case Result():
            _take_result(found, sequence, record)
        case Committed():
            found.committed[record.block] = sequence
        case Event():
            found.events.append(record)
        case Resumed():
            found.end = None  # it went on
            found.resumed += 1
            found.bit_identical &= record.bit_identical
            found.events.append(record.as_event())
        case RunEnd():
            found.end = record
        case _:
            pass


def _take_proposed(found: Survey, sequence: int, record: Proposed) -> None:
    found.proposed[record.block] = sequence
    for sha256, label in zip(record.references, record.reference_labels, strict=True):
        image = found.images.setdefault(sha256, Image(len(found.images)))
        image.is_reference, image.label = True, label
    for place, part in enumerate(record.threads):
        for sha256 in part.images:
            found.images.setdefault(sha256, Image(len(found.images)))
        if not 0 <= part.thread < len(found.threads):
            raise DataError(
                f"a thread must be from 0 to {len(found.threads) - 1}, a row of run_start's "
                f"threads; got {part.thread}"
            )
        d = found.threads[part.thread].d
        if part.codes.shape != (len(part.images), d):
            raise DataError(
                f"codes of thread {part.thread} must have shape ({len(part.images)}, {d}), one "
                f"row an image; got {part.codes.shape}"
            )
        key = part.thread, part.generation
        if key in found.generations:
            found.warnings.append(
                f"generation {part.generation} of thread {part.thread} was proposed again in "
                f"block {record.block}; the later one is kept"
            )
        found.generations[key] = Generation(sequence, place, len(part.images))
    parts = {part.thread: part for part in record.threads}
    for planned in record.presentations:
        part = parts.get(planned.thread)
        shown = record.references if part is None else part.images
        known = (planned.thread == -1 or part is not None) and 0 <= planned.row < len(shown)
        found.plans[planned.presentation] = Plan(
            record.block,
            planned,
            -1 if part is None else part.generation,
            found.images[shown[planned.row]].image_id if known else -1,
        )


def _take_result(found: Survey, sequence: int, record: Result) -> None:
    key = record.presentation, record.attempt
    if key in found.answers:
        found.warnings.append(
            f"presentation {key[0]}, attempt {key[1]} has more than one result; the first is "
            "kept"
        )
        return
    if record.presentation not in found.plans:
        found.warnings.append(f"presentation {record.presentation} was shown, its plan is lost")
    if not found.rigs:
        found.rigs.append(Rig(None, []))
    rig = found.rigs[-1]
    form, edges = record.form, ()
    try:
        arrays = {name: array.numpy() for name, array in record.arrays.items()}
        needed = response_units(form, arrays)
        if needed > max(len(rig.units), MAX_UNLISTED_UNITS):
            raise DataError(f"no rig listed a unit {needed - 1}")
        check_response(form, arrays, needed)
        if form == "counts":
            edges = tuple(float(edge) for edge in arrays["edges_ms"])
            found.psth_max = max(found.psth_max, int(arrays["counts"].max(initial=0)))
        binned = psth_counts(form, arrays, needed, psth_edges(found.start.window_ms))
        if binned is not None:
            found.psth_max = max(found.psth_max, int(binned.max(initial=0)))
    except (DataError, RecordingError) as exc:
        found.warnings.append(
            f"the response to presentation {key[0]}, attempt {key[1]} is malformed: {exc}"
        )
        form, needed = "", 0
    if needed > len(rig.units):
        found.warnings.append(
            f"presentation {key[0]} has a unit {needed - 1}, which no rig listed"
        )
        extra = [
            UnitInfo(-1, number, "", f"unlisted {number}")
            for number in range(len(rig.units), needed)
        ]
        rig.units += range(len(found.units), len(found.units) + len(extra))
        found.units += extra
    found.answers[key] = Answer(sequence, len(found.rigs) - 1, form, edges)


def response_units(form: Form, arrays: dict[str, NDArray[np.generic]]) -> int:
    """Return how many units a response speaks of, by its arrays alone."""
    if form == "spikes":
        units = arrays.get("units", np.zeros(0, np.uint32))
        whole = units.dtype.kind in "ui" and units.size
        return int(units.max()) + 1 if whole else 0
    array = arrays.get(form, np.zeros(0))
    return array.shape[0] if array.ndim else 0


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
