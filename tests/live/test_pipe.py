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
from tests.limits import wait_until

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
    frozen_s=0.0,
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
        pipe.Waiting("waiting for the rig", 1_764_315_000 * 10**9),
        pipe.Listening("tcp://127.0.0.1:5571"),
        pipe.Preflight((Check("disk", "bad", "full"),), needs_confirmation=True),
        pipe.Over("finished"),
        pipe.Failed("no"),
        pipe.Order("pause", "a drink", "operator"),
        pipe.Confirm(),
        pipe.AreYouThere(),
        pipe.Here(1.5),
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


def test_a_reader_that_does_not_read_holds_nobody_up(ends):
    reader, write = ends
    writer = pipe.Writer(write)
    note = pipe.Order("note", "x" * 60_000, "operator")
    taken = 0
    while writer.send(note):
        taken += 1
    assert 10 < taken < 50
    assert 0 < writer.unread <= pipe.MAX_UNREAD
    came = []
    while len(came) < taken:
        came += reader.read()
        writer.flush()
    assert came == [note] * taken
    assert writer.unread == 0
    assert writer.send(note)


def test_a_reader_that_is_gone_is_an_error(ends):
    reader, write = ends
    os.close(reader.fd)
    with pytest.raises(OSError, match="Broken pipe"):
        pipe.Writer(write).send(pipe.AreYouThere())


def test_an_engine_answers_while_its_loop_does_not_ask(ends):
    from evolver.live.engine import Receiver, Sender, SupervisorGoneError

    from_engine, to_supervisor = ends
    to_read, to_engine = os.pipe()
    receiver = Receiver(to_read, confirmed=False, sender=Sender(to_supervisor))
    pipe.send(to_engine, pipe.Order("note", "here", "operator"))
    pipe.send(to_engine, pipe.Confirm())
    pipe.send(to_engine, pipe.AreYouThere())
    (here,) = from_engine.read()
    assert isinstance(here, pipe.Here)
    assert here.since_orders_s > 0
    assert receiver.confirmed()
    os.close(to_engine)
    assert [order.text for order in receiver.orders()] == ["here"]
    with pytest.raises(SupervisorGoneError):
        wait_until(lambda: receiver.orders())
