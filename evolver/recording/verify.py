"""A recording against its journal, all of which must be in the file, and against its checksums.

Knows the reader and the journal's index, and nothing of how the file was made: what it expects
it works out from the records themselves, so that a mistake in the fold cannot excuse itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from evolver.errors import RecordingError
from evolver.journal.reader import JournalIndex
from evolver.journal.records import (
    AnyRecord,
    Committed,
    CommittedThread,
    Event,
    FitnessStateRecord,
    ImagePixels,
    PackedArray,
    PlannedItem,
    PlannedPresentation,
    Proposed,
    ProposedThread,
    Result,
    Resumed,
    RigRecord,
    RunEnd,
    RunStart,
    Sent,
)
from evolver.recording.hdf5 import clean, part_of
from evolver.recording.reader import Recording, read
from evolver.recording.schema import FITNESS_ARRAYS, FITNESS_NUMBERS

_NAMED = 5  # differences named in the error
_RESULT_FIELDS = (
    "status",
    "reason",
    "received_ns",
    "commanded_ns",
    "onset_ns",
    "offset_ns",
    "onset_source",
    "answer",
    "answer_of",
    "answer_distance",
)


@dataclass(frozen=True, slots=True)
class Verified:
    """What of a file was compared, and is as it was written."""

    datasets: int  # 0 in a file of an older maker, which has no checksums
    images: int  # whose pixels have their digest; lost ones are not among them
    missing: int  # records of its journal that were lost when it was made
    warnings: tuple[str, ...]  # what could not be taken over from the journal


def verify_file(path: Path) -> Verified:
    """Read a recording from its beginning to its end and compare it with its own checksums.

    Every dataset with its checksum, every attribute with the list of them, and every image's
    decoded pixels with their sha256. What was added to a file since is not looked at.

    Raises
    ------
    RecordingError
        The file cannot be read, or something in it is not what was written.
    """
    with read(path) as recording:
        checked = list(recording.check_datasets())
        damage = [f"{name}: {what}" for name, what in checked if what]
        images, missing = 0, int(recording.attrs.get("journal_missing", 0))
        warnings: tuple[str, ...] = ()
        if not damage:
            warnings = tuple(recording.warnings)
            for at, expected in enumerate(recording.image_sha256):
                if recording.images.is_lost(at):
                    continue
                images += 1
                if hashlib.sha256(recording.images[at].tobytes()).hexdigest() != expected:
                    damage.append(f"image {at} decodes to other pixels than its sha256 says")
    if damage:
        more = f"; and {len(damage) - _NAMED} more" if len(damage) > _NAMED else ""
        raise RecordingError(
            f"{path} must hold what was written to it, and does not: "
            f"{'; '.join(damage[:_NAMED])}{more}. Fold the journal again, or bring a copy back"
        )
    return Verified(len(checked), images, missing, warnings)


def verify(path: Path, journal_folder: Path, *, last: int | None = None) -> None:
    """Compare a recording with its journal.

    Every acknowledged presentation with its times and its response, every plan, code, optimizer
    state, score and event, and the digest of every image's decoded pixels.

    Parameters
    ----------
    path : of the recording
    journal_folder : of the journal, which may grow meanwhile where `last` is given
    last : sequence of the last record that the recording was made from; None: of all there are

    Raises
    ------
    RecordingError
        The file cannot be read, or something in it is missing or differs.
    """
    with read(path) as recording:
        differences = list(
            islice(_differences(recording, JournalIndex(journal_folder), last), _NAMED)
        )
    if differences:
        raise RecordingError(
            f"{path} must hold what the journal in {journal_folder} holds, and does not: "
            f"{'; '.join(differences)}. Keep the journal, and fold it again"
        )


def _differences(recording: Recording, index: JournalIndex, last: int | None) -> Iterator[str]:
    check = _Check(recording)
    sequences = [n for n in index.sequences if last is None or n <= last]
    if recording.attrs["journal_records"] != len(sequences):
        yield (
            f"the file was made from {recording.attrs['journal_records']} records, the journal "
            f"holds {len(sequences)}"
        )
    for sequence in sequences:
        for what in check.record(index.record(sequence)):
            yield f"record {sequence}: {what}"
    yield from check.rest()


class _Check:
    """Goes through the records in order and says what of each is not in the file."""

    def __init__(self, recording: Recording) -> None:
        self._file = recording
        table = recording.presentations
        keys = zip(table["presentation"].tolist(), table["attempt"].tolist(), strict=True)
        self._rows = {key: at for at, key in enumerate(keys)}
        self._ids = {str(sha256): at for at, sha256 in enumerate(recording.image_sha256)}
        self._seen: set[tuple[int, int]] = set()
        self._plans: dict[int, tuple[int, PlannedPresentation, str]] = {}
        self._items: dict[int, PlannedItem] = {}  # by presentation
        self._threads: dict[tuple[int, int], ProposedThread] = {}
        self._scores: dict[tuple[int, int], CommittedThread] = {}
        self._blocks: dict[int, Committed] = {}
        self._rigs = 0
        self._events = 0
        self._end: str | None = None
        self._resumed = 0

    def record(self, record: AnyRecord) -> Iterator[str]:
        """Check what can be checked at once; note the rest."""
        match record:
            case RunStart():
                yield from self._start(record)
            case RigRecord():
                yield from self._rig(record)
            case ImagePixels():
                yield from self._image(record)
            case Proposed():
                self._note(record)
            case Result():
                yield from self._result(record)
            case Committed():
                self._blocks[record.block] = record
                self._scores |= {
                    (part.thread, part.generation): part for part in record.threads
                }
            case Event():
                yield from self._event(record)
            case RunEnd():
                self._end = clean(record.reason)
            case Resumed():
                yield from self._event(record.as_event())
                self._end = None  # it went on
                self._resumed += 1
                if not record.bit_identical and self._file.bit_identical:
                    yield "the file hides that the session did not go on bit for bit"
            case Sent():
                pass  # the presentations it names are checked by their plans and results

    def rest(self) -> Iterator[str]:
        """Check what a later record could still have changed."""
        rows, file = self._rows.keys(), self._file
        if extra := {key for key in rows if key[1] > 0} - self._seen:
            yield f"presentations {sorted(extra)} are in the file only"
        answered = {presentation for presentation, _ in self._seen}
        for number in self._plans.keys() - answered:
            if (number, 0) not in rows:
                yield f"presentation {number} was planned and is not in the file"
        for (number, attempt), at in self._rows.items():
            if number in self._plans:
                yield from self._planned(number, attempt, file.presentations[at])
        yield from self._activations()
        for key, part in self._threads.items():
            yield from self._generation(*key, part)
        for block in self._blocks.values():
            yield from self._committed(block)
        if len(file.events) != self._events:
            yield f"{self._events} events came; {len(file.events)} are in the file"
        if file.complete != (self._end is not None) or file.end_reason != (self._end or ""):
            yield "the session's end is not in the file as it is in the journal"
        if file.resumed != self._resumed:
            yield f"the session went on {self._resumed} times; the file says {file.resumed}"

    def _activations(self) -> Iterator[str]:
        """Check that there is a row for every image, or a warning that there are none."""
        file = self._file
        wanted = any(weight["role"] == "activations" for weight in file.weights)
        if file.activations is None:
            if wanted and not any("activations are left out" in w for w in file.warnings):
                yield "activations were left out without a warning"
            return
        shape = len(file.image_sha256), len(file.activations.units)
        values = part_of(file.activations.values, slice(None))
        if not wanted or values.shape != shape:
            yield f"activations must be {shape}, of images and units; they are {values.shape}"
            return
        for at in range(len(values)):
            if file.images.is_lost(at) and not np.isnan(values[at]).all():
                yield f"activations of image {at} are there, and its pixels are lost"

    def _start(self, record: RunStart) -> Iterator[str]:
        file = self._file
        for name in ("session_id", "name", "created", "mode", "config"):
            if getattr(file, name) != clean(getattr(record, name)):
                yield f"{name} differs"
        if (file.seed, file.window_ms) != (record.seed, record.window_ms):
            yield "seed or window_ms differ"
        got = [(thread.name, thread.d, thread.weights_sha256) for thread in file.threads]
        if got != [(clean(t.name), t.d, clean(t.weights_sha256)) for t in record.threads]:
            yield "the table of threads differs"

    def _rig(self, record: RigRecord) -> Iterator[str]:
        self._rigs += 1
        if self._rigs > len(self._file.rigs):
            yield f"rig {record.name!r} is not in the file"
            return
        own = self._file.rigs[self._rigs - 1]["units"]
        expected = [(u.channel, u.unit, clean(u.area), clean(u.label)) for u in record.units]
        if self._file.units[own[: len(expected)]].tolist() != expected:
            yield f"the units of rig {record.name!r} differ"

    def _image(self, record: ImagePixels) -> Iterator[str]:
        at = self._ids.get(record.sha256)
        if at is None:
            yield f"image {record.sha256} is not in the file"
        elif not np.array_equal(self._file.images[at], record.pixels.numpy()):
            yield f"image {at} decodes to other pixels"

    def _note(self, record: Proposed) -> None:
        images = {-1: record.references}
        items: dict[int, tuple[PlannedItem, ...]] = {}
        for part in record.threads:
            self._threads[part.thread, part.generation] = part
            images[part.thread] = part.images
            items[part.thread] = part.items
        for plan in record.presentations:
            digests = images.get(plan.thread, ())
            sha256 = digests[plan.row] if 0 <= plan.row < len(digests) else ""
            self._plans[plan.presentation] = record.block, plan, sha256
            if sha256 and items.get(plan.thread):
                self._items[plan.presentation] = items[plan.thread][plan.row]

    def _event(self, record: Event) -> Iterator[str]:
        got = self._file.events[self._events : self._events + 1].tolist()
        expected = (record.time_ns, record.level, clean(record.name), clean(record.text))
        self._events += 1
        if got != [expected]:
            yield f"event {record.name!r} differs"

    def _result(self, record: Result) -> Iterator[str]:
        key = record.presentation, record.attempt
        if key in self._seen:
            return  # delivered again; the first counts
        self._seen.add(key)
        at = self._rows.get(key)
        if at is None:
            yield f"presentation {key[0]}, attempt {key[1]} is not in the file"
            return
        row = self._file.presentations[at]
        for name in _RESULT_FIELDS:
            expected = getattr(record, name)
            expected = clean(expected) if isinstance(expected, str) else expected
            if row[name] != expected:
                yield f"{name} of presentation {key[0]} must be {expected!r}; got {row[name]!r}"
        if row["form"]:
            yield from self._response(at, record)
        elif not any(f"presentation {key[0]}, " in line for line in self._file.warnings):
            yield f"the response to presentation {key[0]} was left out without a warning"

    def _response(self, at: int, record: Result) -> Iterator[str]:
        form, got = self._file.response(at)
        own = self._file.rigs[max(self._rigs - 1, 0)]["units"]
        expected = {name: array.numpy() for name, array in record.arrays.items()}
        if form == "spikes":
            expected["units"] = own[expected["units"].astype(np.intp)]
        else:
            n = len(expected[form])
            got[form] = got[form][own[:n]]
        same = form == record.form and all(
            np.array_equal(got[name], expected[name]) for name in got
        )
        if not same:
            yield f"the response of presentation {record.presentation} differs"

    def _planned(self, number: int, attempt: int, row: np.void) -> Iterator[str]:
        block, plan, sha256 = self._plans[number]
        expected = (block, plan.thread, plan.row, plan.repeat, plan.on_ms, plan.off_ms)
        got = tuple(
            row[name].item() for name in ("block", "thread", "row", "repeat", "on_ms", "off_ms")
        )
        digest = str(self._file.image_sha256[row["image_id"]]) if row["image_id"] >= 0 else ""
        item = self._items.get(number)
        place = (-1, 0.0, 0.0, 0.0)
        if item is not None:
            place = item.item, item.size_deg, item.x_deg, item.y_deg
        if tuple(row[name].item() for name in ("item", "size_deg", "x_deg", "y_deg")) != place:
            yield f"the item of presentation {number} differs"
        if got != expected or digest != sha256:
            yield f"the plan of presentation {number} differs"
        if attempt == 0 and row["status"] != "missing":
            yield f"presentation {number} never came and is not marked missing"

    def _generation(self, k: int, generation: int, part: ProposedThread) -> Iterator[str]:
        where = f"of thread {k}, generation {generation},"
        thread = self._file.threads[k]
        at = np.flatnonzero(thread.generation == generation)
        if not len(at) and part.images:
            yield f"generation {generation} of thread {k} is not in the file"
            return
        codes = part.codes.numpy().astype(np.float32)
        if not np.array_equal(thread.codes[at], codes):
            yield f"codes {where} differ"
        if tuple(self._file.image_sha256[thread.image_id[at]].tolist()) != part.images:
            yield f"images {where} differ"
        state = thread.state(generation)
        if state.pop("rng_state") != json.loads(part.rng_state or "{}"):
            yield f"the random state {where} differs"
        expected = {
            name: value.numpy() if isinstance(value, PackedArray) else value
            for name, value in part.optimizer_state.items()
        }
        if state.keys() != expected.keys() or not all(
            np.array_equal(state[name], expected[name], equal_nan=True) for name in state
        ):
            yield f"the optimizer's state {where} differs"
        scored = self._scores.get((k, generation))
        nothing = np.full(len(at), np.nan)
        score, sem = (scored.scores.numpy(), scored.sem.numpy()) if scored else (nothing,) * 2
        if not (
            np.array_equal(thread.score[at], score, equal_nan=True)
            and np.array_equal(thread.sem[at], sem, equal_nan=True)
        ):
            yield f"scores {where} differ"

    def _committed(self, record: Committed) -> Iterator[str]:
        places = np.flatnonzero(self._file.blocks["block"] == record.block)
        if not len(places):
            yield f"block {record.block} is not in the file"
            return
        at = int(places[0])
        row = self._file.blocks[at]
        if row["committed_ns"] != record.time_ns or row["total"] != record.budget.total:
            yield f"block {record.block} differs"
        for k, array in enumerate(record.reference_scores):
            scores = array.numpy()
            got = self._file.reference_scores[at, k, : len(scores)]
            if not np.array_equal(got, scores, equal_nan=True):
                yield f"reference scores of block {record.block}, thread {k}, differ"
        for k, state in enumerate(record.fitness_states):
            if state is not None and not self._has_state(state, k, at):
                yield f"what fitness {k} had learnt with block {record.block} differs"

    def _has_state(self, state: FitnessStateRecord, k: int, at: int) -> bool:
        table = self._file.threads[k].fitness_states
        if not table or any(
            table[name][at] != getattr(state, name) for name in FITNESS_NUMBERS
        ):
            return False
        for name in FITNESS_ARRAYS:
            expected, got = getattr(state, name).numpy(), table[name][at]
            if not np.array_equal(got[: len(expected)], expected):
                return False
        return True
