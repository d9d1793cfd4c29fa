"""Watchdogs: each barks at what it is for, once, and not at what is normal."""

import numpy as np
import pytest

from evolver.config.tables import WatchdogsTable
from evolver.journal.records import TimeBudget
from evolver.session.ports import Command
from evolver.session.schedule import Block, Outcome, Presentation
from evolver.session.watchdogs import Watchdogs
from rig_bridge.trials import TrialResult

RNG = np.random.default_rng(3)
BLOCK = Block(0, (), 10, tuple(Presentation(i, -1, i, 0) for i in range(10)))


def dogs(**table):
    return Watchdogs(WatchdogsTable(**table), {1: "u1"}, 3, 0.25, (-100.0, 300.0))


def trial(*, spikes=4, early=1, ok=True, reason="fixation"):
    times = np.r_[RNG.uniform(-100, -1, early), RNG.uniform(0, 300, spikes - early)]
    return TrialResult(
        0, 1, "ok" if ok else "aborted", "" if ok else reason, 0, 0, 0, "simulated", "spikes",
        {"units": np.full(len(times), 1, "<u4"), "times_ms": times.astype("<f4")},
    )  # fmt: skip


def budget(*, wait=2.5, idle=0.0):
    return TimeBudget(0.0, 0.1, 0.0, 0.0, wait, 0.0, 0.0, 0.0, wait, idle)


def outcome(*references):
    return Outcome(0, (), (np.array(references, float),))


def test_a_good_session_is_quiet():
    watch, said = dogs(), []
    for _ in range(100):
        said += watch.answered(
            BLOCK, [trial(early=min(4, int(RNG.poisson(1.0)))) for _ in range(20)], 0
        )
        said += watch.committed(BLOCK, outcome(*RNG.normal(20, 3, 10)), budget())
    assert said == []


def test_aborts_in_a_row_are_said_once_until_all_is_well():
    watch = dogs(aborts_in_a_row=5)
    bad, good = [trial(ok=False)], [trial()]
    said = [bark for _ in range(9) for bark in watch.answered(BLOCK, bad, 0)]
    assert said == ["aborts: the last 5 showings were aborted"]
    for _ in range(100):
        watch.answered(BLOCK, good, 0)
    assert [b for _ in range(5) for b in watch.answered(BLOCK, bad, 0)] == said


def test_a_share_of_aborts():
    watch = dogs(abort_share=0.5, aborts_in_a_row=1000)
    said = []
    for i in range(60):
        said += watch.answered(BLOCK, [trial(ok=i % 3 == 0)], 0)
    assert said == ["aborts: 65% of the last 40 showings were aborted"]


def test_a_unit_that_is_dead():
    watch = dogs(silent_showings=30)
    said = [b for _ in range(50) for b in watch.answered(BLOCK, [trial(spikes=0, early=0)], 0)]
    assert said == ["dead unit: unit 1 (u1) fired no spike in 30 showings"]


def test_a_unit_that_is_noise():
    said = [b for _ in range(50) for b in dogs_answer(200)]
    assert said == ["noisy unit: unit 1 (u1) fires 500 spikes/s, more than a neuron does"]


NOISY = dogs(noisy_hz=300.0)


def dogs_answer(spikes):
    return NOISY.answered(BLOCK, [trial(spikes=spikes)], 0)


def test_lost_spikes():
    watch = dogs()
    (said,) = watch.answered(BLOCK, [trial(ok=False, reason="spike loss: 3 messages")], 0)
    assert said == "spike loss: spikes were lost: spike loss: 3 messages"
    assert watch.answered(BLOCK, [trial(ok=False, reason="spike loss: 1 message")], 0) == []


def test_the_references_drift():
    watch, said = dogs(), []
    for mean in [20.0] * 8 + [60.0] * 5:
        said += watch.committed(BLOCK, outcome(*RNG.normal(mean, 3, 10)), budget())
    assert len(said) == 1
    assert said[0].startswith("drift: the references score ")


def test_the_baseline_drifts():
    watch, said = dogs(), []
    for rate in [1.0] * 8 + [8.0] * 3:
        said += watch.answered(
            BLOCK,
            [trial(spikes=9, early=min(9, int(RNG.poisson(rate)))) for _ in range(40)],
            0,
        )
        said += watch.committed(BLOCK, outcome(), budget())
    assert len(said) == 1
    assert said[0].startswith("baseline: the baseline is ")


def test_pace_and_idle():
    watch = dogs(slow_block=2.0, idle_s=1.0)
    assert watch.committed(BLOCK, outcome(), budget(wait=5.9)) == []
    (slow,) = watch.committed(BLOCK, outcome(), budget(wait=6.5))
    assert slow == "pace: block 0 took 6 s on the rig instead of 2 s"
    (idle,) = watch.committed(BLOCK, outcome(), budget(idle=3.0))
    assert idle.startswith("idle: the rig had nothing to show for 3.0 s before block 0")


@pytest.mark.parametrize("rule", [(), ("aborts",)])
def test_a_rule_makes_it_a_pause(rule):
    watch = dogs(aborts_in_a_row=1, pause_on=rule)
    (said,) = watch.answered(BLOCK, [trial(ok=False)], 0)
    if rule:
        text = "the last 1 showings were aborted"
        assert said == Command("pause", text, by="the watchdog 'aborts'")
    else:
        assert isinstance(said, str)


def flipped(offset_ns):
    """A result whose image went off at `offset_ns` of the rig's clock."""
    return TrialResult(
        0, 1, "ok", "", offset_ns, offset_ns, offset_ns, "flip", "rates", {"rates": np.ones(3)}
    )


def test_a_rig_whose_clock_is_set_is_noticed_and_one_that_drifts_is_not():
    watch, said = dogs(clock_s=0.5), []
    rate, start = 1 + 50e-6, 1_700_000_000 * 10**9

    def second(i, jump_ns=0):
        late_ns = int(1e6 * RNG.gamma(2.0, 20.0))  # 40 ms, some of them 150
        rig = start + 10**12 + int(i * 1e9 * rate) + jump_ns
        return watch.answered(BLOCK, [flipped(rig)], start + i * 10**9 + late_ns)

    for i in range(600):
        said += second(i)
    assert said == []
    (told,) = watch.summary()
    found = float(told.split("rate ")[1].split()[0])
    assert found == pytest.approx(50.0, abs=15.0)
    assert "0 jumps" in told
    for i in range(600, 620):
        said += second(i, jump_ns=3 * 10**9)
    (bark,) = said
    shift = float(bark.split("jumped by ")[1].split()[0])
    assert shift == pytest.approx(3.0, abs=0.2)
    assert "1 jumps" in watch.summary()[0]


def test_a_simulated_clock_is_nobodys():
    watch = dogs()
    for i in range(20):
        assert watch.answered(BLOCK, [trial()], i * 10**9) == []
    assert watch.summary() == []
