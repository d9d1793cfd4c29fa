"""First pass over a journal: what a session consists of, without its pixels, codes or spikes.

Knows what the interpreter makes of the records; knows nothing of HDF5. Keeps a few numbers a
record and the sequence under which the record can be read again, so that memory grows with the
number of presentations and not with what was recorded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evolver.errors import RecordingError
from evolver.journal.interpreter import (
    BlockPlan,
    Interpreter,
    PlannedShowing,
    ReceivedResult,
    RecordReading,
    RigUnits,
    interpret,
)
from evolver.journal.reader import HEAD, JournalIndex
from evolver.journal.records import (
    AnyRecord,
    Committed,
    Event,
    ImagePixels,
    Resumed,
    RunEnd,
    RunStart,
    Sent,
    ThreadInfo,
    UnitInfo,
)
from evolver.journal.salvage import stand_in_start
from evolver.responses import psth_counts, psth_edges


@dataclass(slots=True)
class SurveyedImage:
    """One image of the session."""

    image_id: int
    label: str = ""
    is_reference: bool = False
    sequence: int = -1  # of its pixels


@dataclass(frozen=True, slots=True)
class SurveyedResult:
    """Where one result lies, and in which form its response can be used."""

    sequence: int
    rig: int  # -1 before any rig joined
    form: str  # empty where the response is malformed
    edges_ms: tuple[float, ...] = ()  # of counts


@dataclass(frozen=True, slots=True)
class GenerationPlace:
    """Where one thread's generation lies, and its place in that record."""

    sequence: int
    place: int
    n: int


@dataclass(slots=True)
class Survey:
    """What a journal holds; see the module's docstring."""

    start: RunStart
    units: list[UnitInfo]
    rigs: list[RigUnits]
    sha256: str = ""
    end: RunEnd | None = None
    images: dict[str, SurveyedImage] = field(default_factory=dict[str, SurveyedImage])
    plans: dict[int, PlannedShowing] = field(default_factory=dict[int, PlannedShowing])
    results: dict[tuple[int, int], SurveyedResult] = field(
        default_factory=dict[tuple[int, int], SurveyedResult]
    )  # by presentation and attempt
    generations: dict[tuple[int, int], GenerationPlace] = field(
        default_factory=dict[tuple[int, int], GenerationPlace]
    )  # by thread and generation
    proposed: dict[int, int] = field(default_factory=dict[int, int])  # block -> sequence
    committed: dict[int, int] = field(default_factory=dict[int, int])  # block -> sequence
    attempts: dict[int, int] = field(default_factory=dict[int, int])  # block -> times sent
    sent: list[Sent] = field(default_factory=list[Sent])
    events: list[Event] = field(default_factory=list[Event])
    warnings: list[str] = field(default_factory=list[str])
    resumed: int = 0  # times the session went on after an interruption
    bit_identical: bool = True  # whenever it did, it did so bit for bit
    salvaged: bool = False  # the first record is lost, and `start` stands in for it
    psth_max: int = 0  # largest count in one bin

    @property
    def threads(self) -> tuple[ThreadInfo, ...]:
        """The session's threads."""
        return self.start.threads

    @property
    def blocks(self) -> list[int]:
        """Every block that was proposed or committed, in order."""
        return sorted(self.proposed.keys() | self.committed.keys())

    def image_id(self, showing: PlannedShowing) -> int:
        """Return the row of the image that is shown; -1 where the plan names none."""
        return self.images[showing.sha256].image_id if showing.sha256 else -1

    @property
    def rows(self) -> list[tuple[int, int]]:
        """(presentation, attempt) of every row of the presentation table, in order.

        One for every result, and one with attempt 0 for every plan without any.
        """
        answered = {presentation for presentation, _ in self.results}
        unanswered = ((number, 0) for number in self.plans if number not in answered)
        return sorted([*self.results, *unanswered])

    @property
    def psth_edges_ms(self) -> NDArray[np.float64]:
        """Bin edges of the PSTH, (t + 1,) ms; a single one where there is nothing to bin."""
        results = self.results.values()
        if any(result.form == "spikes" for result in results):
            return psth_edges(self.start.window_ms)
        return np.array(next((r.edges_ms for r in results if r.edges_ms), (0.0,)))

    def generations_of(self, thread: int) -> list[int]:
        """Return the generations of one thread, in order."""
        return sorted(number for owner, number in self.generations if owner == thread)


def survey(index: JournalIndex, session_file: str = "") -> Survey:
    """Read every record of a journal once.

    Parameters
    ----------
    index : of the journal
    session_file : text of the session file, which stands in for a first record that is lost

    Raises
    ------
    RecordingError
        There is no record, the first is a RunStart of another version, or a record contradicts
        itself.
    """
    interpreter = Interpreter()
    start = _start(index)
    content = Survey(
        stand_in_start(index, session_file) if start is None else start,
        interpreter.units,
        interpreter.rigs,
        salvaged=start is None,
    )
    if start is None:
        interpreter.start = content.start  # what comes is to fit it
        content.warnings.append(
            "the first record, which says what session this is, cannot be read; names, seed "
            "and window are as the session file beside the journal has them, or unknown"
        )
    content.warnings.extend(_index_warnings(index))
    digest = hashlib.sha256()

    def records() -> Iterator[tuple[int, AnyRecord]]:
        for sequence in index.sequences:
            frame = index.frame(sequence)
            digest.update(frame)
            yield sequence, index.decode(frame, sequence)

    for reading in interpret(records(), interpreter):
        _take(content, reading)
    content.sha256 = digest.hexdigest()
    content.end = interpreter.end
    content.resumed = interpreter.resumed
    content.bit_identical = interpreter.bit_identical
    return content


def _start(index: JournalIndex) -> RunStart | None:
    """Return the first record; None where it is lost and others are there."""
    if not index.sequences:
        raise RecordingError(
            f"the journal in {index.summary.folder} holds no whole record: the session ended "
            "before anything was acknowledged, so there is nothing to fold"
        )
    if index.sequences[0] != HEAD:
        return None
    first = index.record(HEAD)
    return first if isinstance(first, RunStart) else None


def _index_warnings(index: JournalIndex) -> list[str]:
    summary = index.summary
    lines = [f"records {first} to {last} are missing" for first, last in summary.missing]
    lines += [
        f"{name} cannot be read from byte {start} to {end}"
        for name, start, end in summary.damage
    ]
    return lines + [f"two different records claim number {n}" for n in summary.conflicts]


def _take(content: Survey, reading: RecordReading) -> None:
    content.warnings.extend(reading.warnings)
    if isinstance(reading, BlockPlan):
        _take_plan(content, reading)
    elif isinstance(reading, ReceivedResult):
        _take_result(content, reading)
    match reading.record:
        case ImagePixels() as record:
            _image(content, record.sha256).sequence = reading.sequence
        case Sent() as record:
            content.sent.append(record)
            content.attempts[record.block] = content.attempts.get(record.block, 0) + 1
        case Committed() as record:
            content.committed[record.block] = reading.sequence
        case Event() as record:
            content.events.append(record)
        case Resumed() as record:
            content.events.append(record.as_event())
        case _:
            pass


def _image(content: Survey, sha256: str) -> SurveyedImage:
    return content.images.setdefault(sha256, SurveyedImage(len(content.images)))


def _take_plan(content: Survey, reading: BlockPlan) -> None:
    record = reading.record
    content.proposed[record.block] = reading.sequence
    for sha256, label in zip(record.references, record.reference_labels, strict=True):
        image = _image(content, sha256)
        image.is_reference, image.label = True, label
    for place, part in enumerate(record.threads):
        for sha256 in part.images:
            _image(content, sha256)
        content.generations[part.thread, part.generation] = GenerationPlace(
            reading.sequence, place, len(part.images)
        )
    content.plans |= reading.block.showings


def _take_result(content: Survey, reading: ReceivedResult) -> None:
    if reading.repeated:
        return
    edges = ()
    if reading.form is not None:
        if reading.form == "counts":
            edges = tuple(float(edge) for edge in reading.arrays["edges_ms"])
            largest = int(reading.arrays["counts"].max(initial=0))
            content.psth_max = max(content.psth_max, largest)
        binned = psth_counts(
            reading.form,
            reading.arrays,
            len(reading.rows),
            psth_edges(content.start.window_ms),
        )
        if binned is not None:
            content.psth_max = max(content.psth_max, int(binned.max(initial=0)))
    content.results[reading.record.presentation, reading.record.attempt] = SurveyedResult(
        reading.sequence, reading.rig, reading.form or "", edges
    )
