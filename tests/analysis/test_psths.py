"""PSTHs in bins, latencies, attribution and differences: planted times, and sums by hand."""

from __future__ import annotations

import warnings
from math import isnan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evolver.analysis.latencies import (
    centre_of_mass,
    latencies,
    latency_threshold,
    peak_latency,
    response_latency,
)
from evolver.analysis.psth_differences import psth_difference
from evolver.analysis.t_tests import marks
from evolver.analysis.temporal_attribution import attribution, compare_attributions, shares_of
from evolver.analysis.time_bins import bin_edges, time_binned, window_mean
from evolver.errors import DataError

TIMES = np.arange(200) + 0.5


def psths(blocks=8, *, rise=40.0, at=110.0, width=20.0, base=10.0, first=20.0, rng=None):
    """PSTHs of an evolution whose response grows at one time."""
    grown = np.linspace(0, 1, blocks)[:, None]
    bump = np.exp(-(((TIMES - at) / width) ** 2))
    early = first * np.exp(-(((TIMES - 80) / 15) ** 2))
    noise = 0 if rng is None else rng.normal(0, 1, (blocks, 200))
    return base + early + rise * grown * bump + noise


def test_windows_and_bins_are_means_of_their_milliseconds():
    psth = np.random.default_rng(0).uniform(0, 50, (3, 2, 200))
    np.testing.assert_allclose(window_mean(psth), psth[..., 50:200].mean(axis=-1))
    np.testing.assert_allclose(window_mean(psth, (0, 45)), psth[..., :45].mean(axis=-1))
    binned, edges = time_binned(psth, 25)
    assert binned.shape == (3, 2, 8)
    np.testing.assert_allclose(binned[..., 3], psth[..., 75:100].mean(axis=-1))
    np.testing.assert_array_equal(edges, np.arange(0, 201, 25))
    assert time_binned(psth, 60)[0].shape == (3, 2, 3)  # what would not be full is left out


def test_bins_of_unequal_width_count_by_their_width():
    edges = [0.0, 10.0, 40.0, 50.0]
    assert window_mean([1.0, 4.0, 9.0], (0, 50), edges_ms=edges) == pytest.approx(
        (10 * 1 + 30 * 4 + 10 * 9) / 50
    )
    with pytest.raises(DataError, match="on edges of bins"):
        window_mean([1.0, 4.0, 9.0], (0, 45), edges_ms=edges)
    with pytest.raises(DataError, match="end after it begins"):
        window_mean(np.zeros(200), (50, 50))
    with pytest.raises(DataError, match="fit into"):
        time_binned(np.zeros(200), 201)


def test_latencies_are_where_they_were_planted():
    rates = np.full((2, 200), 5.0)
    rates[:, :50] += np.tile([-1.0, 1.0], 25)
    rates[0, 73:90] = 60.0
    rates[0, 80] = 90.0
    threshold = latency_threshold(rates)
    assert threshold.value == pytest.approx(5 + 2 * 1.0)
    found = latencies(rates)
    assert (found[0].response.value, found[0].peak.value) == (73.5, 80.5)
    weights = rates[0, 50:] - 5.0
    assert found[0].centre.value == pytest.approx(weights @ TIMES[50:] / weights.sum())
    assert "no bin is above 7" in found[1].response.reason
    assert "same in every bin" in found[1].peak.reason
    assert "nothing after 50 ms" in found[1].centre.reason


def test_a_response_may_be_looked_for_after_the_noise():
    rate = np.zeros(200)
    rate[[3, 120]] = 9.0
    assert response_latency(rate, 5.0).value == 3.5
    assert response_latency(rate, 5.0, after_ms=50).value == 120.5


def test_the_centre_of_a_difference_is_that_of_what_grew():
    grown = psths(at=140.0, width=8.0)
    found = centre_of_mass(grown[-1] - grown[0])
    assert found.value == pytest.approx(140, abs=0.5)
    wide, edges = time_binned(grown[-1] - grown[0], 10)
    assert centre_of_mass(wide, edges_ms=edges).value == pytest.approx(140, abs=1)


@given(values=st.lists(st.one_of(st.just(float("nan")), st.floats(-10, 90)), max_size=130))
def test_any_psth_has_times_or_reasons(values):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = latencies(np.array(values, dtype=float)[None])[0]
    for quantity in (found.response, found.peak, found.centre):
        assert quantity.defined == (0 < quantity.value < 130) == (not isnan(quantity.value))


@pytest.mark.parametrize("width", [5, 10, 20, 25, 50])
def test_attribution_is_the_share_of_each_bin(width):
    rates, sems = psths(), np.random.default_rng(1).uniform(0.5, 2, (8, 200))
    found = attribution(rates, sems, width_ms=width)
    assert found.highest == 7
    for i in range(200 // width):
        part = slice(i * width, (i + 1) * width)
        difference = rates[7, part].mean() - rates[0, part].mean()
        assert found.difference[i] == pytest.approx(difference)
        error = sqrt(sems[7, part].mean() ** 2 + sems[0, part].mean() ** 2)
        assert found.difference_sem[i] == pytest.approx(error)
        assert found.share_sem[i] == pytest.approx(error / found.total.value)
    assert found.share.sum() == pytest.approx(1)
    np.testing.assert_allclose(found.share, found.difference / found.difference.sum())
    centres = (found.edges_ms[1:] + found.edges_ms[:-1]) / 2
    assert found.share @ centres == pytest.approx(110, abs=4)


@pytest.mark.soak
def test_the_error_is_that_of_a_difference_and_the_papers_is_not():
    """Over 2,000 sessions, the spread of the difference is its sem; the slip's is another."""
    rng = np.random.default_rng(5)
    truth, sd = np.array([[20.0] * 200, [26.0] * 200]), 3.0
    sems = np.full((2, 200), sd)
    noise = np.repeat(rng.normal(0, sd, (2000, 2, 20)), 10, axis=-1)  # alike within a bin
    drawn = [attribution(truth + n, sems, least_share=0) for n in noise]
    spread = np.std([a.difference for a in drawn if a.highest == 1], axis=0)
    np.testing.assert_allclose(spread, drawn[0].difference_sem, rtol=0.1)
    slip = attribution(truth, sems, error="paper").difference_sem
    np.testing.assert_allclose(slip, sqrt((sd**2 + 20**2) / 2))
    assert (slip > 3 * drawn[0].difference_sem).all()


def test_shares_that_add_up_to_nothing_are_undefined():
    rates = np.full((3, 200), 10.0)
    rates[2, 60:100] += 10
    rates[2, 100:140] -= 9.9
    found = attribution(rates)
    assert "less than 0.05 of their absolute sum" in found.reason
    assert np.isnan(found.share).all()
    assert np.isfinite(found.difference).all()
    assert attribution(rates, least_share=0.001).reason == ""
    assert "the first block is the highest" in attribution(rates[::-1]).reason
    assert "the first block" in attribution(rates[:1]).reason
    assert attribution(np.full((2, 200), np.nan)).highest == -1
    gap = rates.copy()
    gap[0, 5] = np.nan
    assert "has no rate" in attribution(gap).reason
    assert np.isnan(attribution(psths()).share_sem).all()
    with pytest.raises(DataError, match="psth's shape"):
        attribution(rates, rates[:2])


def test_an_early_and_a_late_thread_differ_where_they_were_planted():
    rng = np.random.default_rng(8)
    early = [attribution(psths(at=85, rng=rng)) for _ in range(12)]
    late = [attribution(psths(at=135, rng=rng)) for _ in range(12)]
    tests = compare_attributions(late, early)
    by_hand = stats.ttest_ind(shares_of(late)[:, 13], shares_of(early)[:, 13])
    assert tests[13].t == pytest.approx(by_hand.statistic)
    found = marks([test.p for test in tests])
    t = np.array([test.t for test in tests])
    assert set(range(12, 15)) <= set(np.flatnonzero(found.fdr & (t > 0)))
    assert set(range(7, 10)) <= set(np.flatnonzero(found.fdr & (t < 0)))
    assert (found.bonferroni <= found.fdr).all()
    assert (found.fdr <= found.raw).all()
    assert len(none := compare_attributions(late, [])) == 20
    assert not any(test.defined for test in none)
    assert shares_of([]).shape == (0, 0)
    assert compare_attributions([], []) == []
    with pytest.raises(DataError, match="same bins"):
        shares_of([early[0], attribution(psths(), width_ms=20)])


def test_psths_differ_by_what_was_planted():
    first, second = psths(rise=40), psths(rise=20, at=150)
    found = psth_difference(first, second)
    scale = max(first[:, 50:].mean(axis=1).max(), second[:, 50:].mean(axis=1).max())
    a, b = first[7, 50:] / scale, second[7, 50:] / scale
    assert found.scale.value == pytest.approx(scale)
    assert found.blocks == (7, 7)
    assert found.mae == pytest.approx(np.abs(a - b).mean())
    assert found.mse == pytest.approx(((a - b) ** 2).mean())
    assert found.level == pytest.approx(abs(a.mean() - b.mean()))
    assert found.correlation.value == pytest.approx(np.corrcoef(a, b)[0, 1])
    smoothed = psth_difference(first, second, boxcar_ms=25)
    running = [np.mean(a[i : i + 25]) - np.mean(b[i : i + 25]) for i in range(126)]
    assert smoothed.mae == pytest.approx(np.abs(running).mean())
    assert smoothed.level == found.level
    same = psth_difference(first, first)
    assert (same.mae, same.correlation.value) == (0, pytest.approx(1))


def test_psths_without_responses_have_no_difference():
    silent = np.zeros((4, 200))
    found = psth_difference(silent, silent)
    assert "not above 0" in found.reason
    assert isnan(found.mae)
    one = psth_difference(psths(), silent)
    assert "same in every bin" in one.correlation.reason
    assert one.mae > 0
    assert "no block" in psth_difference(psths(), np.full((2, 200), np.nan)).reason
    with pytest.raises(DataError, match="one t"):
        psth_difference(silent, silent[:, :9])
    with pytest.raises(DataError, match="boxcar"):
        psth_difference(psths(), psths(), boxcar_ms=200)
    assert bin_edges(3, bin_ms=10, start_ms=-10).tolist() == [-10, 0, 10, 20]
    assert peak_latency(psths()[-1]).value == pytest.approx(110, abs=10)
