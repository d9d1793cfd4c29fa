"""Watchdogs: each warns of what it is for, once, and not of what is normal."""

import msgspec
import numpy as np
import pytest

from evolver.config.tables import WatchdogsTable
from evolver.journal.records import PlannedPresentation, TimeBudget
from evolver.session.ports import Command
from evolver.session.schedule import Block, Outcome
from evolver.session.watchdogs import Watchdogs
from rig_bridge.trials import TrialResult

RNG = np.random.default_rng()


@pytest.fixture(autouse=True)
def same_draws_in_any_order():
    RNG.bit_generator.state = np.random.default_rng(3).bit_generator.state


PLAN = tuple(
    PlannedPresentation(presentation=i, thread=-1, row=i, repeat=0, on_ms=100.0, off_ms=150.0)
    for i in range(10)
)
BLOCK = Block(0, (), 10, PLAN)


def watchdogs(**table):
    return Watchdogs(WatchdogsTable(**table), {1: "u1"}, 3, 0.25, (-100.0, 300.0))


def trial(*, spikes=4, early=1, ok=True, reason="fixation"):
    times = np.r_[RNG.uniform(-100, -1, early), RNG.uniform(0, 300, spikes - early)]
    return TrialResult(
        presentation=0,
        attempt=1,
        status="ok" if ok else "aborted",
        reason="" if ok else reason,
        commanded_ns=0,
        onset_ns=0,
        offset_ns=0,
        onset_source="simulated",
        form="spikes",
        arrays={"units": np.full(len(times), 1, "<u4"), "times_ms": times.astype("<f4")},
    )


def budget(*, wait=2.5, idle=0.0):
    return TimeBudget(
        propose=0.0,
        render=0.1,
        encode=0.0,
        send=0.0,
        wait=wait,
        score=0.0,
        journal=0.0,
        blocked=0.0,
        total=wait,
        idle=idle,
    )


def outcome(*references):
    levels = (np.array(references, float),)
    return Outcome(0, (), levels, levels)


def test_a_good_session_is_quiet():
    dogs, warnings = watchdogs(), []
    for _ in range(100):
        warnings += dogs.answered(
            BLOCK, [trial(early=min(4, int(RNG.poisson(1.0)))) for _ in range(20)], 0
        )
        warnings += dogs.committed(BLOCK, outcome(*RNG.normal(20, 3, 10)), budget())
    assert warnings == []


def test_aborts_in_a_row_are_said_once_until_all_is_well():
    dogs = watchdogs(aborts_in_a_row=5)
    bad, good = [trial(ok=False)], [trial()]
    warnings = [warning for _ in range(9) for warning in dogs.answered(BLOCK, bad, 0)]
    assert warnings == ["aborts: the last 5 showings were aborted"]
    for _ in range(100):
        dogs.answered(BLOCK, good, 0)
    assert [b for _ in range(5) for b in dogs.answered(BLOCK, bad, 0)] == warnings


def test_a_share_of_aborts():
    dogs = watchdogs(abort_share=0.5, aborts_in_a_row=1000)
    warnings = []
    for i in range(60):
        warnings += dogs.answered(BLOCK, [trial(ok=i % 3 == 0)], 0)
    assert warnings == ["aborts: 65% of the last 40 showings were aborted"]


def test_a_unit_that_is_dead():
    dogs = watchdogs(silent_showings=30)
    warnings = [
        b for _ in range(50) for b in dogs.answered(BLOCK, [trial(spikes=0, early=0)], 0)
    ]
    assert warnings == ["dead unit: unit 1 (u1) fired no spike in 30 showings"]


def test_a_unit_that_is_noise():
    warnings = [b for _ in range(50) for b in dogs_answer(200)]
    assert warnings == ["noisy unit: unit 1 (u1) fires 500 spikes/s, more than a neuron does"]


NOISY = watchdogs(noisy_hz=300.0)


def dogs_answer(spikes):
    return NOISY.answered(BLOCK, [trial(spikes=spikes)], 0)


def test_lost_spikes():
    dogs = watchdogs()
    (warnings,) = dogs.answered(BLOCK, [trial(ok=False, reason="spike loss: 3 messages")], 0)
    assert warnings == "spike loss: spikes were lost: spike loss: 3 messages"
    assert dogs.answered(BLOCK, [trial(ok=False, reason="spike loss: 1 message")], 0) == []


def test_the_references_drift():
    dogs, warnings = watchdogs(), []
    for mean in [20.0] * 8 + [60.0] * 5:
        warnings += dogs.committed(BLOCK, outcome(*RNG.normal(mean, 3, 10)), budget())
    assert len(warnings) == 1
    assert warnings[0].startswith("drift: the references drive thread 0's units to ")


def test_the_baseline_drifts():
    dogs, warnings = watchdogs(), []
    for rate in [1.0] * 8 + [8.0] * 3:
        warnings += dogs.answered(
            BLOCK,
            [trial(spikes=9, early=min(9, int(RNG.poisson(rate)))) for _ in range(40)],
            0,
        )
        warnings += dogs.committed(BLOCK, outcome(), budget())
    assert len(warnings) == 1
    assert warnings[0].startswith("baseline: the baseline is ")


def test_the_baseline_is_a_blocks_own_however_answers_are_grouped():
    """The next block may be answered before this one is committed: blocks overlap."""
    showings = {
        k: [trial(spikes=12, early=8 if k >= 8 else 1 + i % 2) for i in range(20)]
        for k in range(10)
    }
    blocks = [Block(k, (), 10, PLAN) for k in range(10)]
    in_turn, overlapping = watchdogs(), watchdogs()
    expected, warnings = [], []
    for k, block in enumerate(blocks):
        expected += in_turn.answered(block, showings[k], 0)
        expected += in_turn.committed(block, outcome(), budget())
    overlapping.answered(blocks[0], showings[0], 0)
    for k, block in enumerate(blocks):
        if k + 1 < len(blocks):
            warnings += overlapping.answered(blocks[k + 1], showings[k + 1], 0)
        warnings += overlapping.committed(block, outcome(), budget())
    assert len(expected) == 1
    assert warnings == expected


def test_pace_and_idle():
    dogs = watchdogs(slow_block=2.0, idle_s=1.0)
    assert dogs.committed(BLOCK, outcome(), budget(wait=5.9)) == []
    (slow,) = dogs.committed(BLOCK, outcome(), budget(wait=6.5))
    assert slow == "pace: block 0 took 6 s on the rig instead of 2 s"
    (idle,) = dogs.committed(BLOCK, outcome(), budget(idle=3.0))
    assert idle.startswith("idle: the rig had nothing to show for 3.0 s before block 0")


@pytest.mark.parametrize("rule", [(), ("aborts",)])
def test_a_rule_makes_it_a_pause(rule):
    dogs = watchdogs(aborts_in_a_row=1, pause_on=rule)
    (warnings,) = dogs.answered(BLOCK, [trial(ok=False)], 0)
    if rule:
        text = "the last 1 showings were aborted"
        assert warnings == Command("pause", text, by="the watchdog 'aborts'")
    else:
        assert isinstance(warnings, str)


def flipped(offset_ns):
    """A result whose image went off at `offset_ns` of the rig's clock."""
    return TrialResult(
        presentation=0,
        attempt=1,
        status="ok",
        reason="",
        commanded_ns=offset_ns,
        onset_ns=offset_ns,
        offset_ns=offset_ns,
        onset_source="flip",
        form="rates",
        arrays={"rates": np.ones(3)},
    )


def test_a_rig_whose_clock_is_set_is_noticed_and_one_that_drifts_is_not():
    dogs, warnings = watchdogs(clock_s=0.5), []
    rate, start = 1 + 50e-6, 1_700_000_000 * 10**9

    def second(i, jump_ns=0):
        late_ns = int(1e6 * RNG.gamma(2.0, 20.0))  # 40 ms, some of them 150
        rig = start + 10**12 + int(i * 1e9 * rate) + jump_ns
        return dogs.answered(BLOCK, [flipped(rig)], start + i * 10**9 + late_ns)

    for i in range(600):
        warnings += second(i)
    assert warnings == []
    (told,) = dogs.summary()
    found = float(told.split("rate ")[1].split()[0])
    assert found == pytest.approx(50.0, abs=15.0)
    assert "0 jumps" in told
    for i in range(600, 620):
        warnings += second(i, jump_ns=3 * 10**9)
    (warning,) = warnings
    shift = float(warning.split("jumped by ")[1].split()[0])
    assert shift == pytest.approx(3.0, abs=0.2)
    assert "1 jumps" in dogs.summary()[0]


def showing(number, onset_ns, *, ok=True):
    """A showing as a rig of its own clock answers it, an eighth of a second long."""
    return msgspec.structs.replace(
        flipped(onset_ns),
        presentation=number,
        status="ok" if ok else "aborted",
        offset_ns=onset_ns + 125_000_000 * (onset_ns > 0),
    )


def warned_of(clock, *, showings=400, table=None):
    """Return what is said of a rig of four images a second, whose clock says `clock(i)` ns."""
    dogs, warnings = watchdogs(**(table or {})), []
    for i in range(showings):
        block = Block(i // 20, (), 20, PLAN)
        now_ns = 10**18 + i * 250_000_000
        warnings += dogs.answered(block, [showing(i, clock(i))], now_ns)
    return warnings


SECOND = 10**9


@pytest.mark.parametrize(
    ("clock", "numbers"),
    [
        (
            lambda _: 0,
            "went on by 0.000 s while 10.0 s passed here",
        ),
        (lambda _: 7 * SECOND, "went on by 0.000 s while 10.0 s"),
        (lambda i: 10**15 - i * SECOND, "by up to 1.000 s"),
        (
            lambda i: 10**15 + i * SECOND // 4 - (i % 7 == 6) * 2 * SECOND,
            "3 of the last 26 onsets were before the one before them, by up to 1.750 s",
        ),
        (lambda i: 10**15 + i * SECOND, "went on by 40.000 s while 10.0 s passed here"),
        (lambda i: 10**9 + i * 250_000, "went on by 0.010 s while 10.0 s passed here"),
    ],
    ids=[
        "zero",
        "constant",
        "backwards",
        "every seventh",
        "four times as fast",
        "microseconds",
    ],
)
def test_a_clock_that_cannot_be_is_said_once_with_numbers(clock, numbers):
    (warning,) = warned_of(clock)
    assert warning.startswith("clock: ")
    assert numbers in warning
    assert "one clock" in warning  # what it must be


def test_a_good_clock_that_was_once_set_back_stands_neither_still_nor_off():
    one = warned_of(lambda i: 10**15 + i * SECOND // 4 - (i > 100) * 2 * SECOND)
    assert [w[:33] for w in one] == ["clock: the rig's clock jumped by "]
    assert warned_of(lambda i: 10**15 + i * SECOND // 4) == []


def test_showings_that_were_aborted_or_asked_for_again_say_nothing_of_a_clock():
    """Aborted ones may have had no onset; a block's second request comes after its first."""
    dogs, warnings = watchdogs(aborts_in_a_row=1000, abort_share=1.0), []
    for i in range(60):
        now_ns = 10**18 + i * SECOND
        aborted = showing(2 * i, 0, ok=False)
        warnings += dogs.answered(BLOCK, [aborted], now_ns)
        again = msgspec.structs.replace(showing(60 - i, 10**15 + i * SECOND), attempt=2)
        warnings += dogs.answered(BLOCK, [again], now_ns)
    assert warnings == []


def test_a_rig_that_has_one_time_for_a_whole_batch_is_no_clock_that_stands_still():
    """As XDream's folders: each block is answered at once, all its onsets are the request's."""
    dogs, warnings = watchdogs(), []
    for block in range(20):
        asked = 10**15 + block * 3 * SECOND
        answers = [
            msgspec.structs.replace(showing(i, asked), offset_ns=asked + 3 * SECOND)
            for i in (0, 5, 1, 6, 2)
        ]
        at = 10**18 + block * 3 * SECOND
        warnings += dogs.answered(Block(block, (), 10, PLAN), answers, at)
    assert warnings == []


@pytest.mark.parametrize("asleep_s", [0, 73], ids=["stopped", "slept"])
def test_after_the_engine_stood_still_its_rigs_clock_is_not_to_blame(asleep_s):
    """42 s without a turn: answers that waited come at once; a machine that slept lost time."""
    dogs, warnings = watchdogs(), []

    def answer(rig_s, engine_s):
        rig_ns = 10**15 + int(rig_s * SECOND)
        return dogs.answered(BLOCK, [showing(0, rig_ns)], 10**18 + int(engine_s * SECOND))

    for i in range(60):
        warnings += answer(i, i)
    dogs.woke()
    for k in range(4):  # what the rig had kept, over two seconds
        warnings += answer(62 + k + asleep_s, 102 + k / 2)
    for i in range(105, 140):
        warnings += answer(i + asleep_s, i)
    assert warnings == []
    for i in range(140, 160):  # and a clock that is set later is still seen
        warnings += answer(i + asleep_s - 3, i)
    (warning,) = warnings
    assert float(warning.split("jumped by ")[1].split()[0]) == pytest.approx(-3.0, abs=0.2)


def test_a_clock_that_stands_still_is_seen_after_the_engine_did_as_well():
    dogs, warnings = watchdogs(), []
    dogs.woke()
    for i in range(30):
        warnings += dogs.answered(BLOCK, [showing(0, 7 * SECOND)], 10**18 + i * SECOND)
    assert len(warnings) == 1
    assert "went on by 0.000 s while 10.0 s passed here" in warnings[0]


def test_a_rule_pauses_on_a_clock_that_cannot_be():
    (command,) = warned_of(lambda _: 0, table={"pause_on": ("clock",)})
    assert (command.name, command.by) == ("pause", "the watchdog 'clock'")


def test_a_simulated_clock_is_nobodys():
    dogs = watchdogs()
    for i in range(20):
        assert dogs.answered(BLOCK, [trial()], i * 10**9) == []
    assert dogs.summary() == []


def test_a_rig_that_sends_what_cannot_be_taken_pauses_the_session_and_again_after_a_resume():
    dogs = watchdogs()
    assert dogs.invalid("unit 9999") == dogs.invalid("unit 9999") == []
    (command,) = dogs.invalid("unit 9999")
    assert (command.name, command.by) == ("pause", "the watchdog 'invalid'")
    assert "unit 9999" in command.text
    dogs.invalid("x"), dogs.invalid("x")
    dogs.answered(BLOCK, [trial()], 0)  # a valid response came: the count begins anew
    assert dogs.invalid("x") == dogs.invalid("x") == []
    (command,) = dogs.invalid("x")
    assert command.name == "pause"


def test_units_are_followed_in_counts_as_well():
    """Also where no score can be made of what comes: three of those in a row are enough."""
    edges_ms = np.array([-100.0, 100.0, 300.0])
    counts = np.zeros((3, 2), "u2")
    counts[1] = 65535
    shown = msgspec.structs.replace(
        trial(), form="counts", arrays={"counts": counts, "edges_ms": edges_ms}
    )
    dogs = watchdogs(noisy_hz=300.0)
    warnings = [b for _ in range(50) for b in dogs.answered(BLOCK, [shown], 0)]
    (warning,) = warnings
    assert warning.startswith("noisy unit: unit 1 (u1) fires 327675 spikes/s")


def test_what_cannot_be_scored_is_no_valid_response():
    dogs = watchdogs()
    said = []
    for _ in range(3):
        said += dogs.invalid("block 3 cannot be scored: its bins do not fit")
        said += dogs.answered(BLOCK, [trial(ok=False)], 0)
    (command,) = said
    assert (command.name, command.by) == ("pause", "the watchdog 'invalid'")
    assert command.text.endswith("; block 3 cannot be scored: its bins do not fit")
