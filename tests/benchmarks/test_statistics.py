"""What is said of runs, against sums made by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.optimizers.statistics import FEWEST, ScoreTable, tabulate
from tests.benchmarks.made import outcome
from tests.soak import examples

UNITS = [f"mini:fc5:{k}" for k in range(6)]


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
    ratio = scores.ratios("best", to="cholesky")["sep"]
    assert ratio.value == pytest.approx(2.0)
    assert np.isnan([ratio.low, ratio.high]).all()
    assert scores.leaders("best") == ("sep", None)


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
    base = rng.uniform(1, 2, size=6)
    scores = one_world({
        "cholesky": base,
        "sep": base * [1.3, 1.1, 1.2, 1.4, 1.2, 1.3],
        "snes": base * [1.1, 1.3, 1.3, 1.1, 1.4, 1.2],
        "genetic": base * 0.5,
    })
    first, beside = scores.leaders("best")
    assert {first, *beside} == {"sep", "snes"}


def test_a_leader_that_may_be_worth_nothing_is_told_apart_from_nobody_like_it():
    a = np.array([2.0, -0.4, -0.3, -0.4, -0.3, -0.2])
    flat = ScoreTable(("cholesky", "sep"), tuple(UNITS), {"best": np.stack([a, a[::-1]])})
    assert np.isnan(flat.ratios("best", to="cholesky")["sep"].high)
    assert flat.leaders("best")[1] == ["sep"]
    clear = ScoreTable(("cholesky", "sep"), tuple(UNITS), {"best": np.stack([a, a - 1.0])})
    assert clear.leaders("best") == ("cholesky", [])


def test_an_optimizer_that_failed_once_is_not_compared():
    outcomes = [outcome(1.0, optimizer="cholesky", unit=unit) for unit in UNITS] + [
        outcome(1.0, optimizer="sep", unit=unit, failed="lost" if unit == UNITS[2] else "")
        for unit in UNITS
    ]
    assert tabulate(outcomes)["w"]["0"].labels == ("cholesky",)


def test_units_that_nobody_drives_are_left_out():
    outcomes = [outcome(-0.5, unit=UNITS[0]), outcome(1.0, unit=UNITS[1])]
    assert tabulate(outcomes)["w"]["0"].units == (UNITS[1],)


@examples(0.3)
@given(
    st.lists(st.floats(0.01, 100), min_size=6, max_size=6),
    st.lists(st.floats(0.01, 100), min_size=6, max_size=6),
)
def test_ratios_to_itself_are_one_and_a_units_scale_does_not_matter(values, scales):
    a = {"cholesky": np.array(values), "sep": np.array(values)[::-1]}
    scores = one_world(a)
    itself = scores.ratios("best", to="cholesky")["cholesky"]
    assert (itself.value, itself.low, itself.high) == (1.0, 1.0, 1.0)
    scaled = one_world({k: v * np.array(scales) for k, v in a.items()})
    assert scaled.ratios("best", to="cholesky")["sep"].value == pytest.approx(
        scores.ratios("best", to="cholesky")["sep"].value
    )


def test_nobody_has_a_ratio_to_one_that_was_not_run():
    scores = ScoreTable(("sep",), tuple(UNITS), {"best": np.ones((1, 6))})
    assert scores.ratios("best", to="cholesky") == {}
