"""Rank tests against scipy's own, by hand, and where there is nothing to test."""

from itertools import product
from math import isnan, sqrt

import numpy as np
import pytest
from scipy import stats

from evolver.analysis.rank_tests import mean_interval, rank_sum, signed_rank
from evolver.errors import DataError

RNG = np.random.default_rng(1)


def test_rank_sum_is_scipys_where_there_are_no_ties():
    a, b = RNG.standard_normal(15) + 0.5, RNG.standard_normal(22)
    found, theirs = rank_sum(a, b), stats.ranksums(a, b)
    assert found.z == pytest.approx(theirs.statistic)
    assert found.n == 37
    assert found.r == pytest.approx(found.z / sqrt(37))
    assert rank_sum(b, a).z == pytest.approx(-found.z)


def test_rank_sum_with_ties_has_the_z_of_the_asymptotic_p():
    a, b = RNG.integers(0, 4, 30), RNG.integers(1, 5, 25)
    theirs = stats.mannwhitneyu(a, b, method="asymptotic", use_continuity=False)
    assert 2 * stats.norm.sf(abs(rank_sum(a, b).z)) == pytest.approx(theirs.pvalue)
    assert rank_sum(a, b).z < 0


def test_signed_rank_with_ties_and_zeros_has_the_z_of_the_asymptotic_p():
    a, b = RNG.integers(0, 6, 40), RNG.integers(0, 5, 40)
    theirs = stats.wilcoxon(a, b, method="asymptotic")
    found = signed_rank(a, b)
    assert abs(found.z) == pytest.approx(abs(theirs.zstatistic))
    larger = (a - b)[a != b] > 0
    ranks = stats.rankdata(np.abs((a - b)[a != b]))
    assert np.sign(found.z) == np.sign(ranks[larger].sum() - ranks[~larger].sum())
    assert found.r == pytest.approx(found.z / sqrt(40))


def test_small_signed_rank_counts_every_sign():
    """The p of all 2^n ways in which the differences may have their signs."""
    differences = np.array([3.0, -1.0, 4.5, 2.0, 5.0, -0.5, 7.0])
    ranks = stats.rankdata(np.abs(differences))
    sums = [ranks[np.array(signs)].sum() for signs in product([True, False], repeat=7)]
    seen = ranks[differences > 0].sum()
    p = 2 * np.mean(np.array(sums) >= seen)
    found = signed_rank(differences, np.zeros(7))
    assert found.p == pytest.approx(p)
    assert found.z > 0


def test_nothing_to_compare_is_undefined_and_says_why():
    same = signed_rank([1.0, 2.0], [1.0, 2.0])
    assert (isnan(same.z), isnan(same.p), same.defined) == (True, True, False)
    assert "equal" in same.reason
    assert "equal" in rank_sum([1.0, 1.0], [1.0]).reason
    assert "0" in rank_sum([], [1.0]).reason
    with pytest.raises(DataError, match="as many"):
        signed_rank([1.0], [1.0, 2.0])
    with pytest.raises(DataError, match="finite"):
        rank_sum([np.nan], [1.0])


def test_intervals_hold_the_mean_as_often_as_they_say():
    drawn = np.random.default_rng(3).standard_normal((2000, 6)) + 1
    held = [mean_interval(row) for row in drawn]
    assert np.mean([i.low <= 1 <= i.high for i in held]) == pytest.approx(0.95, abs=0.015)
    assert isnan(mean_interval([2.0]).low)
    assert mean_interval([2.0]).mean == 2.0


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_values_have_no_interval_and_say_so(n):
    few = mean_interval([0.9, 1.0][:n], within=(-1, 1))
    assert isnan(few.low)
    assert str(few).endswith(f"(n = {n}, too few)")
    assert str(mean_interval([])) == "none"


@pytest.mark.soak
def test_intervals_end_at_what_is_possible_and_hold_the_mean_as_often():
    """Beta values near 1, whose mean is known."""
    drawn = np.random.default_rng(4).beta(8, 2, (2000, 4))
    free = [mean_interval(row) for row in drawn]
    held = [mean_interval(row, within=(0, 1)) for row in drawn]
    assert max(i.high for i in free) > 1.05
    assert all(0 <= i.low <= i.mean <= i.high <= 1 for i in held)
    covered = [[i.low <= 0.8 <= i.high for i in kind] for kind in (free, held)]
    assert covered[0] == covered[1]
    assert np.mean(covered[1]) > 0.92
    with pytest.raises(DataError, match="from 0 to 1; got"):
        mean_interval([0.5, 1.1], within=(0, 1))
