"""Intervals over pairs cover what they say, whatever units and seeds vary by."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.optimizers.intervals import compare, mean_of, median_of
from evolver.analysis.across_runs import FEWEST

TRIALS = 300


def made(rng, units, seeds, unit_sd, seed_sd):
    """Return log ratios of pairs, (n,), and each pair's unit; their true mean is 0."""
    of = np.repeat(np.arange(units), seeds)
    effects = rng.normal(0, unit_sd, units)[of] + rng.normal(0, seed_sd, units * seeds)
    return effects, of


@pytest.mark.parametrize(
    ("units", "seeds", "unit_sd", "seed_sd"),
    [(6, 1, 0.2, 0.1), (6, 10, 0.1, 0.15), (12, 5, 0.0, 0.2), (30, 2, 0.1, 0.15)],
)
def test_an_interval_of_95_percent_covers_95_percent(units, seeds, unit_sd, seed_sd):
    rng = np.random.default_rng(5)
    base = np.exp(rng.normal(0, 0.5, (TRIALS, units * seeds)))
    held, halves, errors = 0, [], []
    for of_trial in base:
        log, of = made(rng, units, seeds, unit_sd, seed_sd)
        comparison = compare(of_trial * np.exp(log), of_trial, of)
        found = comparison.estimate
        assert (comparison.kind, found.pairs, found.units) == ("ratio", len(log), units)
        assert found.resolves == pytest.approx(np.sqrt(found.high / found.low))
        held += found.low <= 1.0 <= found.high
        halves.append(np.log(found.resolves))
        errors.append(np.log(found.value))
    # Of 300 covered with probability 0.95; both ends lie beyond one chance in a thousand.
    low, high = stats.binom.ppf([0.0005, 0.9995], TRIALS, 0.945)
    assert low <= held <= high
    # It is about as many standard deviations of the estimate as Student's t says.
    t = stats.t.ppf(0.975, units - 1)
    assert np.sqrt(np.mean(np.square(halves))) == pytest.approx(t * np.std(errors), rel=0.15)


def test_seeds_of_one_unit_are_not_so_many_units():
    rng = np.random.default_rng(1)
    values, of = made(rng, 10, 6, 0.3, 0.05)
    honest = mean_of(values, of)
    pooled = mean_of(values, np.arange(60))
    assert honest.resolves > 1.8 * pooled.resolves
    assert honest.value == pooled.value == pytest.approx(values.mean())


def test_a_higher_level_is_a_wider_interval():
    values, of = made(np.random.default_rng(2), 15, 1, 0.2, 0.1)
    usual, wide = mean_of(values, of), mean_of(values, of, level=0.9875)
    assert wide.low < usual.low < usual.high < wide.high
    t = stats.t.ppf([0.975, 0.99375], 14)
    assert wide.resolves / usual.resolves == pytest.approx(t[1] / t[0], rel=0.1)


def test_units_with_more_seeds_weigh_more():
    values, of = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]), np.array([0, 0, 0, 1, 2, 3, 4])
    found = mean_of(values, of)
    assert found.value == pytest.approx(3 / 7)
    assert (found.pairs, found.units) == (7, 5)
    assert found.low == 0.0


def test_few_units_and_none_have_no_interval():
    few = mean_of(np.ones(8), np.repeat(np.arange(FEWEST - 1), 2))
    assert few.value == 1.0
    assert np.isnan([few.low, few.high, few.resolves]).all()
    assert np.isnan(mean_of(np.zeros(0), np.zeros(0, dtype=int)).value)
    assert np.isnan(median_of(np.zeros(0), np.zeros(0, dtype=int)).value)


def test_a_score_that_is_not_above_zero_makes_it_a_difference():
    a, b = np.array([1.0, 2.0, 3.0, 4.0, 0.0]), np.array([2.0, 2.0, 2.0, 2.0, 2.0])
    for first, second, sign in ((a, b, 1), (b, a, -1)):
        found = compare(first, second, np.arange(5))
        assert found.kind == "difference"
        assert found.estimate.value == pytest.approx(sign * 0.0, abs=1e-12)
    known = np.isfinite([1, 1, 1, 1, np.nan])
    assert compare(np.where(known, a, np.nan), b, np.arange(5)).kind == "ratio"


def test_a_median_goes_on_to_infinity():
    rng = np.random.default_rng(4)
    values = rng.exponential(size=(200, 21))
    of = np.arange(21)
    held = sum(f.low <= np.log(2) <= f.high for f in (median_of(v, of) for v in values))
    assert 0.92 * 200 <= held <= 200
    late = np.where(np.arange(21) < 12, np.arange(21.0), np.inf)
    found = median_of(late, of)
    assert found.value == 10.0
    assert found.high == np.inf
    assert median_of(np.full(6, np.inf), np.arange(6)).low == np.inf
