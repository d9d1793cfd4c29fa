"""A file as records: those that it was made from, in an order that a session can have had."""

import json

import msgspec
import numpy as np
import pytest

from evolver.journal import JournalWriter
from evolver.journal.interpreter import Interpreter, interpret
from evolver.journal.records import (
    Committed,
    Event,
    ImagePixels,
    Proposed,
    Result,
    RigRecord,
    RunEnd,
    RunStart,
    Sent,
)
from evolver.recording import read
from evolver.recording.fold import fold
from evolver.recording.replay import replayed_records
from tests.recording.sessions import make_records
from tests.soak import further

SMALL = {"popsize": 3, "image_size": 8}


def replayed(folder, records):
    with JournalWriter(folder / "journal") as journal:
        for record in records:
            journal.append(record)
    fold(folder / "journal", folder / "recording.h5")
    with read(folder / "recording.h5") as recording:
        return list(replayed_records(recording))


def of(kind, records):
    return [record for record in records if isinstance(record, kind)]


def plain(record):
    """Return a record as values that can be compared, JSON texts as what they say."""
    values = msgspec.to_builtins(record)
    for name in ("info", "options", "fitness"):
        if name in values:
            values[name] = json.loads(values[name])
    return values


@pytest.mark.parametrize(
    ("form", "interrupted"),
    [
        ("spikes", True),
        further("counts", False),
        further("rates", False),
        further("spikes", False),
        further("counts", True),
        further("rates", True),
    ],
)
def test_the_records_are_those_that_were_folded(tmp_path, form, interrupted):
    records = make_records(**SMALL, form=form, interrupted=interrupted)
    again = replayed(tmp_path, records)
    assert not of(ImagePixels, again) + of(Sent, again)
    assert isinstance(again[0], RunStart)
    for kind in (RigRecord, Event, Committed, RunEnd):
        for old, new in zip(of(kind, records), of(kind, again), strict=True):
            np.testing.assert_equal(plain(new), plain(old))
    for old, new in zip(of(Proposed, records), of(Proposed, again), strict=True):
        assert (new.block, new.time_ns) == (old.block, old.time_ns)
        assert new.presentations == old.presentations
        assert (new.references, new.reference_labels) == (old.references, old.reference_labels)
        for x, y in zip(new.threads, old.threads, strict=True):
            assert (x.thread, x.generation, x.images) == (y.thread, y.generation, y.images)
            codes = y.codes.numpy().astype(np.float32)
            np.testing.assert_array_equal(x.codes.numpy(), codes)
    answers = {(x.presentation, x.attempt): x for x in of(Result, again)}
    assert len(answers) == len(of(Result, again)) == len(of(Result, records))
    for old in of(Result, records):
        new = answers[old.presentation, old.attempt]
        assert msgspec.structs.replace(new, arrays={}) == msgspec.structs.replace(
            old, arrays={}
        )
        for name, array in old.arrays.items():
            np.testing.assert_array_equal(new.arrays[name].numpy(), array.numpy())
    if interrupted:
        assert not of(RunEnd, again)


@pytest.mark.parametrize("step_s", [further(0), -3600])
def test_a_clock_that_stood_or_was_set_back_moves_nothing_out_of_its_block(tmp_path, step_s):
    """From the second block on."""
    records = make_records(**SMALL)
    moved = []
    back = 0
    for record in records:
        if isinstance(record, Proposed) and record.block == 1:
            back = step_s * 10**9
        if isinstance(record, (Proposed, Committed)):
            time_ns = record.time_ns + back if step_s else 10
            record = msgspec.structs.replace(record, time_ns=time_ns)
        elif isinstance(record, Result):
            received_ns = record.received_ns + back if step_s else 10
            record = msgspec.structs.replace(record, received_ns=received_ns)
        moved.append(record)
    again = replayed(tmp_path, moved)
    interpreter = Interpreter()
    readings = list(interpret(enumerate(again), interpreter))
    assert [w for reading in readings for w in reading.warnings] == []
    answers = [x for x in readings if isinstance(x.record, Result)]
    assert len(answers) == len(of(Result, records))
    assert all(x.showing is not None for x in answers)
    assert all(x.block is not None for x in readings if isinstance(x.record, Committed))
    order = [(type(x).__name__, x.block) for x in again if isinstance(x, (Proposed, Committed))]
    assert order == [(kind, b) for b in range(3) for kind in ("Proposed", "Committed")]
