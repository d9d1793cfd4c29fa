"""What supervisor and engine send one another comes out as it went in."""

import contextlib
import os

import numpy as np
import pytest

from evolver.errors import DataError
from evolver.journal.records import Committed, CommittedThread, PackedArray, TimeBudget
from evolver.live import pipe
from evolver.session.ports import Progress
from evolver.setup.preflight import Check

SCORES = np.array([1.0, np.nan, 0.1 + 0.2])
BUDGET = TimeBudget(**{**dict.fromkeys(TimeBudget.__struct_fields__, 0.25), "shown": 9})
COMMITTED = Committed(
    4,
    123,
    (CommittedThread(0, 2, PackedArray.of(SCORES), PackedArray.of(SCORES * 0)),),
    (PackedArray.of(np.zeros(0)),),
    BUDGET,
)
PROGRESS = Progress(
    generation=2,
    generations=3,
    shown=1,
    planned=9,
    aborted=4,
    presentations=50,
    elapsed_s=1.5,
    idle_s=0.5,
    idle_share=0.5,
    paused_s=0.25,
    no_rig_s=0.25,
    pace=None,
    left_s=12.5,
    state="running",
    committed=COMMITTED,
)


@pytest.fixture
def ends():
    read, write = os.pipe()
    yield pipe.Reader(read), write
    for end in (read, write):
        with contextlib.suppress(OSError):
            os.close(end)


@pytest.mark.parametrize(
    "message",
    [
        PROGRESS,
        pipe.Waiting("loading"),
        pipe.Listening("tcp://127.0.0.1:5571"),
        pipe.Preflight((Check("disk", "bad", "full"),), needs_confirmation=True),
        pipe.Over("finished"),
        pipe.Failed("no"),
        pipe.Order("pause", "a drink", "operator"),
        pipe.Confirm(),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_message_comes_out_as_it_went_in(ends, message):
    reader, write = ends
    pipe.send(write, message)
    assert list(reader.read()) == [message]


def test_scores_travel_bit_for_bit(ends):
    reader, write = ends
    pipe.send(write, PROGRESS)
    (progress,) = reader.read()
    np.testing.assert_array_equal(progress.committed.threads[0].scores.numpy(), SCORES)
    assert progress.committed.budget == BUDGET


def test_what_is_no_message_is_refused(ends):
    reader, write = ends
    os.write(write, b"\x01\x00\x00\x00\xc0")
    with pytest.raises(DataError, match="no message"):
        list(reader.read())


def test_an_end_that_closed_is_seen(ends):
    reader, write = ends
    os.close(write)
    assert list(reader.read()) == []
    assert reader.closed
