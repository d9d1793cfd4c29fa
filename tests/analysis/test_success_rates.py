"""Shares and their intervals, against equations solved and counts of simulated experiments."""

from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evolver.analysis.success_rates import (
    compare_shares,
    histogram_shares,
    share,
    success_rates,
)
from evolver.errors import DataError


@given(n=st.integers(1, 200), data=st.data(), level=st.floats(0.5, 0.99))
def test_wilson_is_where_the_score_test_just_rejects(n, data, level):
    k = data.draw(st.integers(0, n))
    found = share(k, n, level=level)
    z = stats.norm.ppf((1 + level) / 2)

    # (k / n - p)^2 = z^2 p (1 - p) / n
    low, high = sorted(np.roots([1 + z**2 / n, -2 * k / n - z**2 / n, (k / n) ** 2]).real)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-6)
    assert found.low <= found.value <= found.high


def test_wilson_is_scipys_and_the_papers_is_a_beta():
    theirs = stats.binomtest(17, 23).proportion_ci(0.9, method="wilson")
    found = share(17, 23, level=0.9)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))
    paper = share(17, 23, level=0.9, interval="paper")
    assert (paper.low, paper.high) == pytest.approx(stats.beta(18, 7).ppf([0.05, 0.95]))


def test_intervals_hold_the_share_as_often_as_they_say():
    drawn = np.random.default_rng(1).binomial(25, 0.8, 2000)
    held = np.mean([(s := share(k, 25, level=0.9)).low <= 0.8 <= s.high for k in drawn])
    assert held == pytest.approx(0.9, abs=0.04)  # of 26 outcomes: it goes in steps


def test_rates_are_counted_by_area():
    areas = ["V1", "IT", "V4", "IT", "V1", "IT"]
    flags = np.array([True, False, True, True, True, True])
    found = success_rates(flags, areas)
    assert list(found) == ["V1", "IT", "V4"]
    assert [(s.k, s.n, s.level) for s in found.values()] == [
        (2, 2, 0.9),
        (2, 3, 0.9),
        (1, 1, 0.9),
    ]
    assert success_rates(flags[:0], []) == {}
    with pytest.raises(DataError, match="bool"):
        success_rates([1, 0], ["V1", "V4"])


def test_two_shares_are_compared_as_a_table_without_correction():
    found = compare_shares((18, 30), (9, 40))
    chi2 = stats.chi2_contingency([[18, 12], [9, 31]], correction=False)
    assert found.z**2 == pytest.approx(chi2.statistic)
    assert found.p == pytest.approx(chi2.pvalue)
    assert found.z > 0
    assert "none of both" in compare_shares((0, 3), (0, 4)).reason
    assert isnan(compare_shares((0, 0), (1, 2)).p)


def test_peaks_are_counted_in_bins():
    peaks = [-0.4, -0.05, 0.0, 0.4, np.nan]
    found = histogram_shares(peaks, [-0.5, -0.1, 0.1, 0.4])
    assert [(s.k, s.n) for s in found] == [(1, 4), (2, 4), (1, 4)]
    assert "none were counted" in histogram_shares([], [0, 1])[0].reason
    with pytest.raises(DataError, match="between 0 and n"):
        share(3, 2)
