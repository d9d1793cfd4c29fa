"""Array functions against sums written out one presentation and one spike at a time."""

from __future__ import annotations

from math import isnan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evolver.analysis.trajectories import (
    best_rows,
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
