"""Wilcoxon's two tests of ranks, with the effect size r = z / sqrt(N); a mean and its interval.

p is scipy's (exact where samples are small and without ties); z is the normal approximation's,
corrected for ties and not for continuity, because the effect size is made of it. The sign says
which is larger: z > 0 where the first sample is. What is undefined is NaN, with the reason.

Wilcoxon 1945 (Biometrics Bulletin 1, 80); r after Rosenthal 1991.
"""

# pyright: reportUnknownMemberType=false
# scipy's functions leave their arguments open.

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isnan, nan, sqrt
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from evolver.errors import DataError


@dataclass(frozen=True, slots=True)
class RankTest:
    """What a test of ranks says.

    Attributes
    ----------
    z : float, > 0 where the first sample is larger; NaN where undefined
    p : float, two-sided
    r : float, z / sqrt(N); NaN where undefined
    n : int, pairs (signed-rank), or values of both samples together (rank-sum): the N of r
    reason : str, why it is undefined; empty where it is not
    """

    z: float
    p: float
    r: float
    n: int
    reason: str = ""

    @property
    def defined(self) -> bool:
        """Whether there is a result."""
        return not self.reason

    def __str__(self) -> str:
        if self.reason:
            return f"undefined: {self.reason}"
        return f"p = {self.p:.2g}, r = {self.r:+.2f}, N = {self.n}"


_FEWEST = 3
"""Values of an interval: of two the half width is 13 standard errors, which tells nothing."""


@dataclass(frozen=True, slots=True)
class MeanInterval:
    """A mean, and the interval of Student's t around it.

    Attributes
    ----------
    mean, low, high : float; the ends are NaN with fewer than three values, all with none
    n : int, values
    """

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        if not self.n:
            return "none"
        if isnan(self.low):
            return f"{self.mean:.3g} (n = {self.n}, too few)"
        return f"{self.mean:.3g} ({self.low:.3g} to {self.high:.3g}, n = {self.n})"


def signed_rank(first: ArrayLike, second: ArrayLike) -> RankTest:
    """Test whether `first` is larger, or smaller, than `second`, pair by pair.

    Pairs that are equal say nothing and have no rank (Wilcoxon's way), but count in the N of r.

    Parameters
    ----------
    first, second : (n,) finite, in the same order

    Raises
    ------
    DataError
        They are not vectors of one length, or not finite.
    """
    a, b = _vector(first, "first"), _vector(second, "second")
    if len(a) != len(b):
        raise DataError(f"pairs must be as many of both; got {len(a)} and {len(b)}")
    n = len(a)
    differences = (a - b)[a != b]
    k = len(differences)
    if not k:
        reason = "no pairs" if not n else f"all {n} pairs are equal"
        return RankTest(nan, nan, nan, n, reason)
    sizes = np.abs(differences)
    ranks = ranks_of(sizes)
    variance = k * (k + 1) * (2 * k + 1) / 24 - _ties(sizes) / 48
    z = float(ranks[differences > 0].sum() - k * (k + 1) / 4) / sqrt(variance)
    p = float(cast("Any", stats.wilcoxon(differences)).pvalue)
    return RankTest(z, p, z / sqrt(n), n)


def rank_sum(first: ArrayLike, second: ArrayLike) -> RankTest:
    """Test whether one of two independent samples is larger than the other.

    Parameters
    ----------
    first, second : (n,) and (m,) finite

    Raises
    ------
    DataError
        One is no vector, or not finite.
    """
    a, b = _vector(first, "first"), _vector(second, "second")
    n, m = len(a), len(b)
    both = np.concatenate([a, b])
    if not (n and m):
        return RankTest(nan, nan, nan, n + m, f"samples of {n} and {m} values")
    if (both == both[0]).all():
        return RankTest(nan, nan, nan, n + m, f"all {n + m} values are equal")
    ranks = ranks_of(both)
    u = float(ranks[:n].sum()) - n * (n + 1) / 2
    total = n + m
    variance = n * m / 12 * (total + 1 - _ties(both) / (total * (total - 1)))
    z = (u - n * m / 2) / sqrt(variance)
    p = float(cast("Any", stats.mannwhitneyu(a, b)).pvalue)
    return RankTest(z, p, z / sqrt(total), total)


def mean_interval(
    values: ArrayLike, *, level: float = 0.95, within: tuple[float, float] = (-inf, inf)
) -> MeanInterval:
    """Return the mean of independent values, and the t interval that holds it.

    Parameters
    ----------
    values : (n,) finite
    level : share of such intervals that hold the true mean
    within : the least and the largest that a value can be. The interval ends there: a mean
        cannot be beyond, so that as many intervals hold it as before. (Fisher's z would be of
        estimates of one correlation; those of several images are values that differ.)

    Raises
    ------
    DataError
        They are no vector of finite numbers, or one is outside what it can be.
    """
    x = _vector(values, "values")
    n = len(x)
    least, largest = within
    rounding = 1e-9
    if n and not (x.min() >= least - rounding and x.max() <= largest + rounding):
        raise DataError(
            f"values must be from {least:g} to {largest:g}; got {x.min():g} to {x.max():g}"
        )
    if n < _FEWEST:
        return MeanInterval(float(x.mean()) if n else nan, nan, nan, n)
    sem = float(x.std(ddof=1)) / sqrt(n)
    half = float(stats.t.ppf((1 + level) / 2, n - 1)) * sem
    mean = float(x.mean())
    return MeanInterval(mean, max(mean - half, least), min(mean + half, largest), n)


def ranks_of(values: ArrayLike) -> NDArray[np.float64]:
    """Return ranks from 1, equal values with the mean of theirs."""
    return np.asarray(cast("Any", stats).rankdata(values), dtype=np.float64)


def _ties(values: NDArray[np.float64]) -> float:
    """Return the sum of t^3 - t over groups of t equal values."""
    counts = np.unique(values, return_counts=True)[1].astype(np.float64)
    return float((counts**3 - counts).sum())


def _vector(values: ArrayLike, name: str) -> NDArray[np.float64]:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not np.isfinite(x).all():
        raise DataError(f"{name} must be a vector of finite numbers; got shape {x.shape}")
    return x
