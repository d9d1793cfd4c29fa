"""What many runs say together, against scipy and sums made by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from evolver.analysis.across_runs import (
    FEWEST,
    bootstrap,
    mean_course,
    mean_intervals,
    paired_rows,
)
from evolver.errors import DataError


def test_the_interval_is_that_of_scipy():
    rng = np.random.default_rng(3)
    base = rng.gamma(4.0, size=14)
    values = np.stack([1.2 * base + 0.2 * rng.standard_normal(14), base])

    def ratio(means):
        return means[0] / means[1]

    ours = bootstrap(values, ratio, resamples=40_000)
    theirs = stats.bootstrap(
        (values[0], values[1]),
        lambda a, b, axis: a.mean(axis=axis) / b.mean(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=40_000,
        method="percentile",
        rng=np.random.default_rng(9),
    ).confidence_interval
    assert ours.value == pytest.approx(values[0].mean() / values[1].mean())
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.03 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.03 * width)


def test_pairing_takes_away_what_draws_share():
    rng = np.random.default_rng(0)
    base = rng.uniform(0.2, 1.0, size=12)
    values = np.stack([1.1 * base, base])
    paired = bootstrap(values, lambda m: m[0] / m[1])
    assert paired.low == pytest.approx(1.1)
    assert paired.high == pytest.approx(1.1)
    shuffled = bootstrap(np.stack([values[0], rng.permutation(base)]), lambda m: m[0] / m[1])
    assert shuffled.high - shuffled.low > 0.2


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(1)
    held = 0
    for seed in range(200):
        sample = rng.normal(1.0, 0.3, size=(1, 30))
        found = bootstrap(sample, lambda m: m[0], resamples=500, seed=seed)
        held += found.low <= 1.0 <= found.high
    # 95 %, a little less with 30 units; 3 standard deviations of a binomial on either side
    assert 0.88 <= held / 200 <= 0.99


def test_many_means_have_the_intervals_that_each_has_alone():
    values = np.random.default_rng(2).normal(size=(3, 9))
    for row, found in zip(values, mean_intervals(values, resamples=300), strict=True):
        assert found == bootstrap(row[None], lambda m: m[0], resamples=300)
    few = mean_intervals(values[:, : FEWEST - 1])[0]
    assert few.value == pytest.approx(values[0, : FEWEST - 1].mean())
    assert np.isnan([few.low, few.high]).all()
    assert np.isnan(mean_intervals(np.empty((1, 0)))[0].value)


def test_a_course_has_the_interval_of_students_t_at_every_generation():
    values = np.random.default_rng(4).normal(5.0, 2.0, size=(7, 3))
    values[0, 1] = values[2:, 2] = np.nan
    found = mean_course(values)
    assert found.n.tolist() == [7, 6, 2]
    for g, n in enumerate(found.n):
        column = values[np.isfinite(values[:, g]), g]
        low, high = stats.t.interval(0.95, n - 1, column.mean(), stats.sem(column))
        assert (found.low[g], found.mean[g], found.high[g]) == pytest.approx((
            low,
            column.mean(),
            high,
        ))
    single = mean_course(values[:1])
    assert np.isnan(single.mean).tolist() == [False, True, False]
    assert np.isnan(single.low).all()
    with pytest.raises(DataError, match="runs, generations"):
        mean_course(values[0])


def test_runs_are_paired_where_all_other_factors_agree():
    grid = np.array(list(itertools.product(range(3), range(2), range(4))))
    rows = np.random.default_rng(5).permutation(grid)[:-2]
    pairs = paired_rows(rows, 0, 2, 1)
    by_hand = {
        (i, j)
        for i, one in enumerate(rows)
        for j, other in enumerate(rows)
        if one[0] == 2 and other[0] == 1 and (one[1:] == other[1:]).all()
    }
    assert {tuple(pair) for pair in pairs.tolist()} == by_hand
    assert len(pairs) == len(by_hand)
    assert paired_rows(rows, 0, 2, 9).shape == (0, 2)
    twice = np.array([[0, 1], [0, 1], [1, 1]])
    assert paired_rows(twice, 0, 0, 1).tolist() == [[0, 2]]
    with pytest.raises(DataError, match="factor 2 among them"):
        paired_rows(rows[:, :2], 2, 0, 1)
