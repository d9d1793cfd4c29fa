"""Array functions against sums written out one presentation and one spike at a time."""

from __future__ import annotations

import itertools
import warnings
from math import isnan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import stdtr

from evolver.analysis.trajectories import (
    best_rows,
    change,
    count_psth,
    evenly,
    pooled,
    reference_trajectory,
    smooth,
    spike_psth,
    trajectory,
)
from evolver.errors import DataError

VALUES = st.one_of(st.just(float("nan")), st.floats(-1e3, 1e3))


@given(rows=st.lists(st.tuples(VALUES, st.integers(-1, 4)), max_size=40))
def test_trajectory_is_the_mean_and_sem_of_each_group(rows):
    values = np.array([v for v, _ in rows], dtype=float)
    group = np.array([g for _, g in rows], dtype=int)
    result = trajectory(values, group, groups=5)
    for g in range(5):
        mine = [v for v, of in rows if of == g and not isnan(v)]
        assert result.n[g] == len(mine)
        if not mine:
            assert isnan(result.mean[g])
            assert isnan(result.sem[g])
            continue
        mean = sum(mine) / len(mine)
        assert result.mean[g] == pytest.approx(mean, abs=1e-9)
        if len(mine) == 1:
            assert isnan(result.sem[g])
        else:
            variance = sum((v - mean) ** 2 for v in mine) / (len(mine) - 1)
            assert result.sem[g] == pytest.approx(sqrt(variance / len(mine)), abs=1e-9)
    np.testing.assert_array_equal(result.filled, np.flatnonzero(result.n))


def test_sem_survives_a_large_mean():
    values = 1e9 + np.array([0.0, 1.0, 2.0, 3.0])
    sem = trajectory(values, np.zeros(4, dtype=int), groups=1).sem[0]
    assert sem == pytest.approx(stats.sem([0, 1, 2, 3]), rel=1e-6)


def test_references_are_averaged_within_their_block():
    scores = np.array([[1.0, 3.0, np.nan], [np.nan] * 3, [5.0, 5.0, 8.0]])
    result = reference_trajectory(scores)
    np.testing.assert_allclose(result.mean, [2.0, np.nan, 6.0])
    np.testing.assert_allclose(result.sem, [1.0, np.nan, 1.0])
    np.testing.assert_array_equal(result.n, [2, 0, 3])
    assert len(reference_trajectory(np.zeros((4, 0)))) == 4


@given(rows=st.lists(st.tuples(VALUES, st.integers(-1, 3)), max_size=30))
def test_best_row_is_the_first_of_the_largest(rows):
    scores = np.array([v for v, _ in rows], dtype=float)
    group = np.array([g for _, g in rows], dtype=int)
    best = best_rows(scores, group, groups=4)
    for g in range(4):
        expected = -1
        for i, (value, of) in enumerate(rows):
            if of == g and value == value and (expected < 0 or value > rows[expected][0]):
                expected = i
        assert best[g] == expected


def spikes(rng, *, presentations=30, units=4):
    """Ragged spikes, some outside the window, some exactly on an edge."""
    per = [rng.integers(0, 12) for _ in range(presentations)]
    offsets = np.concatenate([[0], np.cumsum(per)])
    unit = rng.integers(0, units, offsets[-1])
    time = rng.uniform(-150, 350, offsets[-1]).astype(np.float32)
    time[::5] = np.round(time[::5], -1)
    return offsets, unit, time


@pytest.mark.parametrize(
    "edges", [np.arange(-100, 301, 10.0), np.array([-20.0, 0.0, 5.0, 50.0, 200.0])]
)
def test_psth_counts_every_spike_once(edges):
    rng = np.random.default_rng(1)
    offsets, unit, time = spikes(rng)
    group = rng.integers(-1, 3, 30)
    group[group == 1] = 2  # group 1 stays empty
    weights = np.array([1.0, 0.0, -0.5, 2.0])
    result = spike_psth(
        offsets, unit, time, edges_ms=edges, group=group, groups=3, weights=weights
    )
    counts = np.zeros((30, 4, len(edges) - 1), dtype=np.uint16)
    for p in range(30):
        for i in range(offsets[p], offsets[p + 1]):
            for b in range(len(edges) - 1):
                if edges[b] <= time[i] < edges[b + 1]:
                    counts[p, unit[i], b] += 1
    for g in (0, 2):
        rows = [p for p in range(30) if group[p] == g]
        for b in range(len(edges) - 1):
            width_s = (edges[b + 1] - edges[b]) / 1000
            expected = sum(
                weights[u] * counts[p, u, b] / width_s for p in rows for u in range(4)
            )
            assert result[g, b] == pytest.approx(expected / len(rows), abs=1e-9)
    assert np.isnan(result[1]).all()
    np.testing.assert_allclose(
        count_psth(counts, edges_ms=edges, group=group, groups=3, weights=weights), result
    )


def test_a_silent_unit_has_a_psth_of_zeros_and_an_unshown_group_has_none():
    nothing = np.zeros(0, dtype=int)
    result = spike_psth(
        np.zeros(3, dtype=int),
        nothing,
        nothing.astype(float),
        edges_ms=np.array([0.0, 10.0, 20.0]),
        group=np.array([0, 0]),
        groups=2,
        weights=np.ones(1),
    )
    np.testing.assert_array_equal(result, [[0, 0], [np.nan, np.nan]])


def test_smoothing_spreads_a_pulse_keeps_a_flat_line_and_is_off_at_zero():
    edges = np.arange(0, 201, 10.0)
    pulse = np.zeros(20)
    pulse[10] = 60.0
    out = smooth(pulse, edges_ms=edges, sigma_ms=15)
    centres = (edges[1:] + edges[:-1]) / 2
    np.testing.assert_allclose(out.sum(), 60, rtol=0.01)
    spread = sqrt((out * (centres - centres[10]) ** 2).sum() / out.sum())
    assert spread == pytest.approx(15, rel=0.02)
    flat = np.full((2, 20), 7.0)
    np.testing.assert_allclose(smooth(flat, edges_ms=edges, sigma_ms=30), flat)
    np.testing.assert_array_equal(smooth(pulse, edges_ms=edges, sigma_ms=0), pulse)
    with pytest.raises(DataError, match="at least 0"):
        smooth(pulse, edges_ms=edges, sigma_ms=-1)


def rising(rng, generations, n=12, *, peak=None):
    peak = generations - 1 if peak is None else peak
    generation = np.repeat(np.arange(generations), n)
    level = np.where(generation <= peak, generation, 2 * peak - generation)
    return level + rng.normal(0, 0.3, len(generation)), generation


@pytest.mark.parametrize(
    ("late", "rule", "peak", "first"),
    [
        ("max", "paper", 9, 7),  # the last generation is never used
        ("max", "paper", 8, 7),
        ("max", "all", 9, 8),
        ("max", "paper", 4, 4),
        ("max", "all", 4, 4),
        ("end", "paper", 4, 8),
    ],
)
def test_change_is_the_t_test_between_the_pairs_of_generations(late, rule, peak, first):
    scores, generation = rising(np.random.default_rng(3), 10, peak=peak)
    scores[17] = np.nan
    result = change(scores, generation, late=late, rule=rule, verdict="paper")
    assert result is not None
    assert result.first_late == first
    finite = np.isfinite(scores)
    a = scores[finite & np.isin(generation, [first, first + 1])]
    b = scores[finite & np.isin(generation, [0, 1])]
    dof = len(a) + len(b) - 2
    pooled = (((a - a.mean()) ** 2).sum() + ((b - b.mean()) ** 2).sum()) / dof
    t = (a.mean() - b.mean()) / np.sqrt(pooled * (1 / len(a) + 1 / len(b)))
    p = 2 * stdtr(dof, -abs(t))
    assert result.t == pytest.approx(t) == stats.ttest_ind(a, b).statistic
    assert result.p == result.p_t == pytest.approx(p)
    assert result.dof == dof
    assert result.success == bool(p < 0.01 and t > 0)


def dealt_p(scores, generation, shuffles, rng, late, rule):
    """The share of sessions dealt anew with a t as large, one image at a time."""
    observed = change(scores, generation, late=late, rule=rule, verdict="paper").t
    kept = np.isfinite(scores)
    order = np.argsort(generation[kept], kind="stable")
    values, of = scores[kept][order], generation[kept][order]
    at_least = 1
    for _ in range(shuffles):
        again = change(rng.permutation(values), of, late=late, rule=rule, verdict="paper")
        at_least += again is not None and again.t >= observed - 1e-9
    return at_least / (1 + shuffles)


@pytest.mark.parametrize(("late", "rule"), [("max", "paper"), ("max", "all"), ("end", "paper")])
def test_p_is_the_share_of_sessions_dealt_anew_with_as_large_a_t(late, rule):
    rng = np.random.default_rng(4)
    generation = np.repeat(np.arange(8), [3, 6, 5, 0, 4, 6, 5, 2])
    scores = rng.normal(0, 1, len(generation)) + 0.12 * generation
    scores[9] = np.nan
    order = rng.permutation(len(scores))  # rows stand in no order
    scores, generation = scores[order], generation[order]
    found = change(
        scores, generation, late=late, rule=rule, shuffles=4000, rng=np.random.default_rng(1)
    )
    expected = dealt_p(scores, generation, 1000, np.random.default_rng(2), late, rule)
    assert found.p == pytest.approx(expected, abs=4 * sqrt(expected * (1 - expected) / 1000))
    assert found.verdict == "shuffled"
    assert found.success == (found.p < 0.01)


def test_dealing_by_hand_gives_the_same_p():
    """Every order of a session so small that all 120 can be tried."""
    scores, generation = np.array([1.0, 0.0, 4.0, 2.5, 7.0]), np.arange(5)
    observed = change(scores, generation, late="end", verdict="paper").t
    ts = [
        change(np.array(order), generation, late="end", verdict="paper").t
        for order in itertools.permutations(scores)
    ]
    share = np.mean([t >= observed - 1e-9 for t in ts])
    rng = np.random.default_rng(0)
    found = change(scores, generation, late="end", shuffles=20_000, rng=rng)
    assert found.p == pytest.approx(share, abs=0.012)


def test_sessions_of_noise_are_called_successes_as_often_as_is_said():
    """2,000 sessions of 10 generations; the paper's verdict errs more often."""
    rng = np.random.default_rng(7)
    generation = np.repeat(np.arange(10), 8)
    drawn = [
        change(rng.poisson(20, 80).astype(float), generation, shuffles=199, rng=rng)
        for _ in range(2000)
    ]
    rates = {
        alpha: np.mean([result.p < alpha and result.t > 0 for result in drawn])
        for alpha in (0.05, 0.01)
    }
    assert 0.035 < rates[0.05] < 0.065
    assert rates[0.01] < 0.02
    published = np.mean([result.p_t < 0.05 and result.t > 0 for result in drawn])
    assert published > 1.3 * rates[0.05]


def test_a_verdict_has_the_threshold_that_was_asked_for():
    scores, generation = rising(np.random.default_rng(3), 6, 3)
    results = {
        alpha: change(scores, generation, alpha=alpha, rng=np.random.default_rng(0))
        for alpha in (0.05, 1e-6)
    }
    assert [(r.alpha, r.success) for r in results.values()] == [(0.05, True), (1e-6, False)]
    assert results[0.05].p == results[1e-6].p


def test_images_are_dealt_by_a_generator_that_is_given():
    scores, generation = rising(np.random.default_rng(3), 6)
    with pytest.raises(DataError, match="needs a random generator"):
        change(scores, generation)
    with pytest.raises(DataError, match="at least one shuffle"):
        change(scores, generation, shuffles=0, rng=np.random.default_rng(0))


def test_an_early_pair_of_one_image_has_no_variance_of_its_own():
    scores = np.array([2.0, np.nan, 3.0, 4.0, 5.0, 6.0, 8.0])
    result = change(scores, np.array([0, 1, 2, 3, 4, 5, 6]), late="end", verdict="paper")
    assert result is not None
    late = scores[5:]
    assert result.dof == 1
    pooled = ((late - late.mean()) ** 2).sum()
    assert result.t == pytest.approx((late.mean() - 2.0) / np.sqrt(pooled * 1.5))


def test_a_fall_is_a_change_and_no_success():
    scores, generation = rising(np.random.default_rng(3), 10)
    result = change(-scores, generation, late="end", rng=np.random.default_rng(0))
    assert result is not None
    assert result.p_t < 0.01
    assert result.p > 0.99
    assert not result.success


def test_five_generations_are_enough_for_pairs_that_share_none():
    result = change(*rising(np.random.default_rng(3), 5), verdict="paper")
    assert result is not None
    assert result.first_late == 2


def test_change_is_undefined_for_short_or_constant_sessions():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generation = np.repeat(np.arange(6), 3)
        rng = np.random.default_rng(0)
        assert change(np.zeros(18), generation, rng=rng) is None
        assert change(np.full(18, np.nan), generation, rng=rng) is None
        # With four, the paper's rule would test generations 1 and 2 against 0 and 1.
        assert change(np.arange(12.0), np.repeat(np.arange(4), 3), rng=rng) is None
        assert change(np.zeros(0), np.zeros(0, dtype=int), rng=rng) is None


@given(n=st.integers(0, 60), most=st.integers(2, 15))
def test_evenly_keeps_the_ends_and_the_order(n, most):
    picked = evenly(np.arange(n) * 3, at_most=most)
    assert len(picked) == min(n, most)
    assert (np.diff(picked) > 0).all()
    if n:
        assert picked[0] == 0
        assert picked[-1] == (n - 1) * 3


def test_wrong_shapes_are_named():
    with pytest.raises(DataError, match=r"group must have shape \(3,\)"):
        trajectory(np.zeros(3), np.zeros(2, dtype=int), groups=1)
    with pytest.raises(DataError, match="between -1 and 1; got 0 to 2"):
        trajectory(np.zeros(3), np.array([0, 1, 2]), groups=2)
    with pytest.raises(DataError, match="ascending"):
        smooth(np.zeros(2), edges_ms=np.array([0.0, 0.0, 1.0]), sigma_ms=1)
    with pytest.raises(DataError, match="one column a unit"):
        count_psth(
            np.zeros((2, 3, 4), dtype=int),
            edges_ms=np.arange(5.0),
            group=np.zeros(2, dtype=int),
            groups=1,
            weights=np.ones(2),
        )
    with pytest.raises(DataError, match="blocks, references"):
        reference_trajectory(np.zeros(3))


def test_means_at_one_place_are_joined():
    at = np.array([2.0, 0.5, 2.0, 2.0, 3.0])
    mean = np.array([1.0, 5.0, 3.0, np.nan, np.nan])
    sem = np.array([0.3, 0.7, 0.4, np.nan, np.nan])
    places, means, sems = pooled(at, mean, sem)
    np.testing.assert_array_equal(places, [0.5, 2.0, 3.0])
    np.testing.assert_allclose(means, [5.0, 2.0, np.nan])
    np.testing.assert_allclose(sems, [0.7, 0.25, np.nan])
    assert [len(part) for part in pooled(at[:0], mean[:0], sem[:0])] == [0, 0, 0]
