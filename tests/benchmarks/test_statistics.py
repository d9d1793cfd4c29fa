"""What is said of runs, against sums made by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.optimizers.statistics import FEWEST_UNITS, ScoreTable, tabulate
from evolver.analysis.across_runs import FEWEST
from tests.benchmarks.made import outcome
from tests.soak import examples

UNITS = [f"mini:fc5:{k}" for k in range(FEWEST_UNITS)]


def one_world(best):
    """Return scores of runs: {optimizer: [best of each unit]}."""
    outcomes = [
        outcome(value, optimizer=name, unit=unit)
        for name, values in best.items()
        for unit, value in zip(UNITS, values, strict=False)
    ]
    return tabulate(outcomes)["w"]["0"]


def test_few_units_have_no_interval_and_no_verdict():
    scores = one_world({"cholesky": [1.0] * (FEWEST - 1), "sep": [2.0] * (FEWEST - 1)})
    ratio = scores.comparisons("best", to="cholesky")["sep"].estimate
    assert ratio.value == pytest.approx(2.0)
    assert np.isnan([ratio.low, ratio.high, ratio.resolves]).all()
    assert scores.leaders("best") == ("sep", None)


def test_on_fewer_units_than_anything_is_settled_on_nobody_is_told_apart():
    n = FEWEST_UNITS - 1
    assert one_world({"cholesky": [1.0] * n, "sep": [2.0] * n}).leaders("best") == ("sep", None)
    n += 1
    assert one_world({"cholesky": [1.0] * n, "sep": [2.0] * n}).leaders("best") == ("sep", [])


def test_the_published_form_is_by_the_largest_of_any_run_of_the_unit():
    outcomes = [
        outcome(2.0, optimizer="cholesky", noise="0", seed=1),
        outcome(4.0, optimizer="cholesky", noise="0", seed=2),
        outcome(8.0, optimizer="sep", noise="0.5", seed=1),
        outcome(1.0, optimizer="sep", noise="0.5", seed=2),
        outcome(5.0, optimizer="cholesky", noise="0", unit="mini:fc5:4", seed=1),
        outcome(5.0, optimizer="cholesky", noise="0", unit="mini:fc5:4", seed=2),
        outcome(1.0, optimizer="sep", noise="0.5", unit="mini:fc5:4", seed=1),
        outcome(2.0, optimizer="sep", noise="0.5", unit="mini:fc5:4", seed=2),
    ]
    found = tabulate(outcomes)["w"]
    clean = found["0"].normalised("best")["cholesky"].value
    assert clean == pytest.approx(((2 + 4) / 2 / 8 + 5 / 5) / 2)
    noisy = found["0.5"].normalised("best")["sep"].value
    assert noisy == pytest.approx(((8 + 1) / 2 / 8 + 1.5 / 5) / 2)


def test_leaders_are_those_that_cannot_be_told_apart():
    rng = np.random.default_rng(2)
    base = rng.uniform(1, 2, size=len(UNITS))
    scores = one_world({
        "cholesky": base,
        "sep": base * [1.3, 1.1, 1.2, 1.4, 1.2, 1.3, 1.2, 1.3, 1.1, 1.3],
        "snes": base * [1.1, 1.3, 1.3, 1.1, 1.4, 1.2, 1.3, 1.2, 1.2, 1.2],
        "genetic": base * 0.5,
    })
    first, beside = scores.leaders("best")
    assert {first, *beside} == {"sep", "snes"}


def test_runs_that_end_below_the_references_median_have_no_ratio():
    # The old way, a ratio of means, gave such runs -1.20 (-6.42 to 0.56) of the baseline.
    a = np.array([2.0, -0.4, -0.3, -0.4, -0.3, -0.2])
    scores = one_world({"cholesky": a + 3.0, "sep": a, "snes": a + 4.0})
    against = scores.comparisons("best", to="cholesky")
    assert against["sep"].kind == "difference"
    assert against["sep"].estimate.value == pytest.approx(-3.0)
    assert against["snes"].kind == "ratio"
    below = one_world({"cholesky": a, "sep": a - 1.0, "snes": a[::-1]})
    kinds = {c.kind for c in below.comparisons("best", to="cholesky").values()}
    assert kinds == {"difference"}


def table(best, units=None):
    values = np.array(list(best.values()))
    units = np.arange(values.shape[1]) if units is None else np.array(units)
    return ScoreTable(tuple(best), units, np.ones(values.shape[1]), {"best": values})


def test_a_leader_that_may_be_worth_nothing_is_told_apart_from_nobody_like_it():
    a = np.array([2.0, -0.4, -0.3, -0.4, -0.3, -0.2, -0.1, -0.4, -0.2, -0.3])
    assert table({"cholesky": a, "sep": a[::-1]}).leaders("best")[1] == ["sep"]
    assert table({"cholesky": a, "sep": a - 1.0}).leaders("best") == ("cholesky", [])


def test_pairs_that_were_not_run_are_left_out_and_no_leader_was_stopped():
    rng = np.random.default_rng(3)
    base = rng.uniform(1, 2, 12)
    few = np.where(np.arange(12) < 6, 9 * base, np.nan)  # lucky, and stopped
    scores = table({"cholesky": base, "sep": 1.5 * base, "snes": few}, np.arange(12) % 6)
    against = scores.comparisons("best", to="cholesky")
    assert [against[name].estimate.pairs for name in against] == [12, 12, 6]
    assert against["snes"].estimate.value == pytest.approx(9.0)
    assert scores.leader("best") == "sep"


def test_an_optimizer_that_failed_once_is_not_compared():
    outcomes = [outcome(1.0, optimizer="cholesky", unit=unit) for unit in UNITS] + [
        outcome(1.0, optimizer="sep", unit=unit, failed="lost" if unit == UNITS[2] else "")
        for unit in UNITS
    ]
    assert tabulate(outcomes)["w"]["0"].labels == ("cholesky",)


def test_units_that_nobody_drives_are_left_out():
    outcomes = [outcome(-0.5, unit=UNITS[0]), outcome(1.0, unit=UNITS[1])]
    found = tabulate(outcomes)["w"]["0"]
    np.testing.assert_array_equal(found.values["best"], [[1.0]])


@examples(0.3)
@given(
    st.lists(st.floats(0.01, 100), min_size=6, max_size=6),
    st.lists(st.floats(0.01, 100), min_size=6, max_size=6),
)
def test_ratios_to_itself_are_one_and_a_units_scale_does_not_matter(values, scales):
    a = {"cholesky": np.array(values), "sep": np.array(values)[::-1]}
    scores = one_world(a)
    itself = scores.comparisons("best", to="cholesky")["cholesky"].estimate
    assert (itself.value, itself.low, itself.high) == (1.0, 1.0, 1.0)
    scaled = one_world({k: v * np.array(scales) for k, v in a.items()})
    ratios = [s.comparisons("best", to="cholesky")["sep"].estimate for s in (scaled, scores)]
    assert ratios[0].value == pytest.approx(ratios[1].value)


def test_nobody_has_a_ratio_to_one_that_was_not_run():
    assert table({"sep": np.ones(6)}).comparisons("best", to="cholesky") == {}
