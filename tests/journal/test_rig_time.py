"""What an engine's fall leaves uncounted, from records alone; and a second account of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolver.journal.records import (
    Committed,
    Event,
    Proposed,
    Result,
    Resumed,
    RigRecord,
    RunEnd,
    Sent,
    TimeBudget,
)
from evolver.journal.rig_time import RESTARTED, Missed, RecordedTime, RigTime

ZERO_S = 1_764_315_000
BUDGET = TimeBudget(**dict.fromkeys(TimeBudget.__struct_fields__, 0.0))


def ns(second):
    return (ZERO_S + second) * 10**9


def proposed(at, block):
    return Proposed(block, ns(at), (), (), (), ())


def sent(at, block, *presentations, attempt=1):
    return Sent(block, attempt, presentations, ns(at))


def result(at, block, presentation, attempt=1):
    times = (ns(at), 0, 0, 0)
    return Result(block, presentation, attempt, "ok", "", *times, "flip", "rates", {})


def committed(at, block):
    return Committed(block, ns(at), (), (), BUDGET)


def event(at, name):
    return Event(ns(at), "info", name, "")


def resumed(at):
    return Resumed(ns(at), True, "", {}, {})


def joined(at):
    return RigRecord(ns(at), "rig", "1", (), "{}")


def restart(ready, at):
    """What an engine that was started again writes first."""
    return [resumed(at), event(ready, RESTARTED), joined(at)]


def account(*records):
    time = RecordedTime()
    for record in records:
        time.take(record)
    return time


BEGUN = [
    joined(0),
    proposed(5, 0),
    sent(5, 0, 0, 1),
    result(6, 0, 0),
    result(7, 0, 1),
    committed(7, 0),
]


def test_what_was_committed_is_in_no_account():
    time = account(*BEGUN)
    assert time.begun
    assert time.missed == Missed()
    assert time.blocks == {}


def test_a_pause_before_an_engine_fell_and_the_time_until_it_was_back():
    """Paused at 10, killed at 40, ready for a rig at 45, which is back at 47."""
    time = account(
        *BEGUN,
        sent(8, 1, 2, 3),
        result(9, 1, 2),
        event(10, "pause"),
        result(10, 1, 3),
        event(40, "engine_died"),
        *restart(45, 47),
    )
    # Until 10 the second image was on screen; then it was paused, and at last without a rig.
    assert time.missed == Missed(idle_s=0.0, paused_s=35.0, no_rig_s=2.0)
    assert (time.blocks[1].wait_s, time.blocks[1].timed) == (2.0, 2)
    assert time.blocks[1].idle_s == 1.0  # from the commit to what was asked for next


def test_no_rig_before_a_fall_stays_no_rig_until_one_is_back():
    lost = [sent(8, 1, 2), event(12, "rig_lost"), event(20, "engine_died")]
    assert account(*BEGUN, *lost).gone_ns == ns(12)
    time = account(*BEGUN, *lost, *restart(25, 60))
    assert time.missed == Missed(no_rig_s=48.0)
    assert time.gone_ns == 0
    assert time.blocks[1].wait_s == 4.0


def test_without_an_engine_a_rig_that_was_showing_is_idle():
    time = account(*BEGUN, sent(8, 1, 2, 3), event(11, "engine_died"), *restart(16, 18))
    assert time.missed == Missed(idle_s=5.0, no_rig_s=2.0)
    assert time.blocks[1].wait_s == 3.0


def test_what_passed_between_the_last_answer_and_a_fall_is_known_apart():
    """The engine may have stood still, which is nothing to blame the rig for."""
    shown = [sent(8, 1, 2, 3), result(9, 1, 2), event(40, "engine_died"), *restart(42, 43)]
    time = account(*BEGUN, *shown, sent(43, 1, 3, attempt=2), result(44, 1, 3, attempt=2))
    assert (time.blocks[1].wait_s, time.blocks[1].fallen_s) == (33.0, 31.0)


def test_a_fall_that_nobody_recorded_is_where_the_records_end():
    """The recorder fell as well: what was on screen after the last record is not known."""
    time = account(*BEGUN, sent(8, 1, 2, 3), result(9, 1, 2), *restart(16, 18))
    assert time.missed == Missed(idle_s=7.0, no_rig_s=2.0)


@pytest.mark.parametrize(
    "end",
    [[event(12, "engine_died")], [RunEnd(ns(12), "stopped by operator")], [event(12, "note")]],
    ids=["killed", "stopped", "power"],
)
def test_a_night_is_not_counted_and_what_was_before_it_is(end):
    time = account(*BEGUN, event(9, "pause"), *end, resumed(12 + 36_000), joined(12 + 36_000))
    assert time.missed == Missed(idle_s=2.0, paused_s=3.0)


def test_a_night_under_a_clock_that_was_set_back_is_not_counted():
    time = account(*BEGUN, event(9, "note"), resumed(-5000), joined(-5000))
    assert time.missed == Missed(idle_s=2.0)
    time.take(sent(-4990, 1, 2))
    assert time.blocks[1].idle_s == 10.0


def test_a_restart_inside_a_night_counts_its_own_time():
    """Resumed by an operator, whose engine falls before it commits anything."""
    time = account(
        *BEGUN,
        RunEnd(ns(8), "stopped by operator"),
        resumed(90_000),
        joined(90_000),
        sent(90_001, 1, 2),
        event(90_004, "engine_died"),
        *restart(90_010, 90_011),
    )
    assert time.missed == Missed(idle_s=1.0 + 6.0, no_rig_s=1.0)
    assert (time.blocks[1].wait_s, time.blocks[1].idle_s) == (3.0, 1.0)


def test_two_falls_before_a_commit_add_up_and_the_commit_takes_it_all():
    records = [
        *BEGUN,
        event(8, "pause"),
        event(20, "engine_died"),
        *restart(22, 24),
        event(24, "pause"),
        event(30, "engine_died"),
        *restart(31, 33),
    ]
    time = account(*records)
    assert time.missed == Missed(idle_s=1.0, paused_s=12 + 2 + 6 + 1, no_rig_s=4.0)
    time.take(sent(34, 1, 2))
    time.take(result(35, 1, 2))
    time.take(committed(35, 1))
    assert time.missed == Missed()


def test_idle_time_that_a_block_has_is_not_the_next_commits_as_well():
    """After the restart block 2 is asked for before block 1, whose answers were in, ends."""
    time = account(
        *BEGUN, sent(8, 1, 2), result(9, 1, 2), event(9, "engine_died"), *restart(14, 14)
    )
    assert time.missed.idle_s == 5.0
    time.take(sent(15, 2, 3))
    time.take(committed(15, 1))
    assert time.missed == Missed()
    assert time.blocks[2].idle_s == 1.0


def test_what_the_rig_kept_is_not_timed():
    time = account(*BEGUN, sent(8, 1, 2, 3), event(9, "engine_died"), *restart(11, 11))
    for record in (sent(11, 1, 2, 3, attempt=2), result(11, 1, 2), result(12, 1, 3, attempt=2)):
        time.take(record)
    assert (time.blocks[1].timed, time.blocks[1].wait_s) == (1, 2.0)


def test_before_the_first_image_no_time_is_anybodys():
    time = account(joined(0), event(3, "engine_died"), *restart(9, 12))
    assert not time.begun
    assert time.missed == Missed()


def test_an_error_ends_no_pause():
    time = account(
        *BEGUN, event(8, "pause"), RunEnd(ns(10), "error: MemoryError"), *restart(13, 13)
    )
    assert time.missed == Missed(idle_s=1.0, paused_s=5.0)


def test_a_clock_that_goes_back_counts_nothing_twice():
    time = RigTime()
    time.enter("idle", 10.0)
    time.enter("idle", 20.0)
    time.enter("idle", 15.0)
    assert time.total("idle", 20.0) == 10.0


# ------------------------------------------------------------------ any session

STEPS = st.lists(
    st.tuples(
        st.sampled_from([
            "send",
            "answer",
            "commit",
            "pause",
            "resume",
            "rig_lost",
            "rig_joined",
            "note",
            "fall",
            "night",
            "stop",
        ]),
        st.integers(-3, 30),
    ),
    max_size=40,
)


class Account:
    """The same by whole seconds, span by span: what was so between two steps."""

    def __init__(self):
        self.records = [joined(0)]
        self.now = self.block = self.number = 0
        self.open, self.begun, self.gone, self.paused = [], False, False, False
        self.kept = {"showing": 0, "idle": 0, "paused": 0, "no rig": 0}
        self.free = 0  # idle, and no block's yet

    def pass_by(self, seconds, *, engine=True):
        showing = "showing" if self.open and engine else "idle"
        state = "no rig" if self.gone else "paused" if self.paused else showing
        self.now += seconds
        if not self.begun:
            return
        if state == "idle":
            self.free += seconds
        else:
            self.kept[state] += seconds

    def end_engine(self):
        self.kept["idle"] += self.free
        self.free, self.open, self.gone = 0, [], False

    def step(self, name, passed):
        if name != "night":  # of which no record says when it began
            self.pass_by(max(0, passed))
        at = self.now + min(0, passed)  # a clock that was set back
        match name:
            case "send":
                self.records.append(sent(at, self.block, self.number))
                self.kept["idle"] += self.free
                self.free, self.begun = 0, True
                self.open.append(self.number)
                self.number += 1
            case "answer" if self.open:
                self.records.append(result(at, self.block, self.open.pop(0)))
            case "commit" if not self.open:
                self.records.append(committed(at, self.block))
                self.kept = dict.fromkeys(self.kept, 0)
                self.block += 1
            case "fall":
                self.records.append(event(self.now, "engine_died"))
                self.pass_by(2, engine=False)
                ready, self.gone = self.now, True
                self.pass_by(3)
                self.records += restart(ready, self.now)
                self.end_engine()
            case "night" | "stop":
                if name == "stop":
                    self.records.append(RunEnd(ns(self.now), "stopped by operator"))
                    self.paused = False
                self.end_engine()
                self.now += 40_000 * passed  # the clock may have been set back
                self.records += [resumed(self.now), joined(self.now)]
            case _:
                self.records.append(event(at, name))
                self.paused = {"pause": True, "resume": False}.get(name, self.paused)
                self.gone = {"rig_lost": True, "rig_joined": False}.get(name, self.gone)


@given(STEPS)
def test_any_session_has_the_account_of_its_seconds(steps):
    expected = Account()
    for step in steps:
        expected.step(*step)
    expected.end_engine()
    time = account(*expected.records)
    time.fall()
    blocks = time.blocks.values()
    found = {
        "showing": sum(block.wait_s for block in blocks),
        "idle": sum(block.idle_s for block in blocks) + time.missed.idle_s,
        "paused": time.missed.paused_s,
        "no rig": time.missed.no_rig_s,
    }
    assert found == expected.kept


TIMES = st.integers(-50, 500)
NUMBERS = st.integers(0, 3)
ANY = st.one_of(
    st.builds(lambda at, b, n, a: sent(at, b, *n, attempt=a), TIMES, NUMBERS,
              st.lists(NUMBERS, max_size=3), NUMBERS),
    st.builds(result, TIMES, NUMBERS, NUMBERS, NUMBERS),
    st.builds(committed, TIMES, NUMBERS),
    st.builds(event, TIMES, st.sampled_from([
        "pause", "resume", "reference_only", "stop", "rig_lost", "rig_joined", "engine_died",
        RESTARTED,
    ])),
    st.builds(resumed, TIMES),
    st.builds(joined, TIMES),
    st.builds(lambda at, why: RunEnd(ns(at), why), TIMES, st.sampled_from(["error: x", "y"])),
)  # fmt: skip


@given(st.lists(ANY, max_size=30))
def test_records_in_any_order_have_no_more_time_than_passed_and_none_below_zero(records):
    """Damage takes records away, and clocks are set: what passed is all that went forward."""
    time = account(*records)
    time.fall()
    parts = [time.missed.idle_s, time.missed.paused_s, time.missed.no_rig_s]
    for block in time.blocks.values():
        parts += [block.wait_s, block.idle_s]
    assert min(parts) >= 0
    runs = [[]]  # from one going on to the next the clock may be another one
    for record in records:
        at = getattr(record, "received_ns", None) or record.time_ns
        if isinstance(record, Resumed):
            runs.append([])
        runs[-1].append(at)
    whole = [at for run in runs for at in run]
    spans = [max(run) - min(run) for run in runs if run]
    if not any(isinstance(r, Event) and r.name == RESTARTED for r in records):
        assert sum(parts) <= sum(spans) / 1e9
    elif len(runs) == 1:
        assert sum(parts) <= (max(whole) - min(whole)) / 1e9


def test_an_engine_that_stood_still_is_neither_idle_nor_rendering():
    time = RigTime()
    time.enter("idle", 10.0)
    assert time.stand_still(52.0) == 42.0
    time.enter("showing", 53.0)
    assert (time.total("frozen", 53.0), time.total("idle", 53.0)) == (42.0, 1.0)
    assert time.claim("frozen", 60.0) == 42.0
    assert time.still_s(9.0, 60.0) == 42.0
    assert time.still_s(50.0, 60.0) == 2.0  # as of images rendered from 50 to 60
    assert time.still_s(53.0, 60.0) == 0.0


@pytest.mark.parametrize("state", ["starting", "paused", "no rig"])
def test_what_nothing_could_be_shown_in_anyhow_stays_what_it_was(state):
    time = RigTime()
    time.enter(state, 10.0)
    assert time.stand_still(52.0) == 0.0
    time.enter("idle", 52.0)
    assert (time.total(state, 52.0), time.total("frozen", 52.0)) == (
        42.0 + 10 * (state == "starting"),
        0.0,
    )
    assert time.still_s(0.0, 60.0) == 42.0
