"""Shares of experiments with their intervals: of successes by area, of shapes, of peaks.

By default Wilson's score interval (1927, JASA 22, 209), which holds the true share about as
often as it says, also near 0 and 1 and for few experiments. ``interval="paper"`` is that of
the published figure, between quantiles of Beta(k + 1, n + 1 - k).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import nan, sqrt
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from scipy.special import betaincinv, ndtr, ndtri  # pyright: ignore[reportUnknownVariableType]

from evolver.analysis.quantities import check_choice
from evolver.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

RATE_LEVEL, SHARE_LEVEL = 0.90, 0.95
"""Of success rates, as in the paper's Fig. 4A, and of shares and peaks, as in its Fig. 6."""

ShareInterval: TypeAlias = Literal["wilson", "paper"]


@dataclass(frozen=True, slots=True)
class CountedShare:
    """So many of so many, with the interval of the true share.

    Attributes
    ----------
    k, n : int
    low, high : float, between 0 and 1; NaN where undefined
    level : float, of the interval
    reason : str, why there is no share; empty where there is
    """

    k: int
    n: int
    low: float
    high: float
    level: float
    reason: str = ""

    @property
    def value(self) -> float:
        """The share k / n; NaN where n is 0."""
        return self.k / self.n if self.n else nan

    def __str__(self) -> str:
        if self.reason:
            return f"undefined: {self.reason}"
        return f"{self.k}/{self.n} = {self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True, slots=True)
class ShareTest:
    """Whether two shares differ.

    Attributes
    ----------
    first, second : CountedShare
    z : float, of their difference, with the pooled share's error; NaN where undefined
    p : float, two-sided
    reason : str, why it is undefined; empty where it is not
    """

    first: CountedShare
    second: CountedShare
    z: float
    p: float
    reason: str = ""


def share(
    k: int, n: int, *, level: float = SHARE_LEVEL, interval: ShareInterval = "wilson"
) -> CountedShare:
    """Return k of n, with an interval of the true share.

    Raises
    ------
    DataError
        k is not between 0 and n, or the level not between 0 and 1.
    """
    check_choice(interval, ShareInterval, "interval")
    if not 0 <= k <= n:
        raise DataError(f"k must lie between 0 and n; got {k} of {n}")
    if not 0 < level < 1:
        raise DataError(f"level must lie between 0 and 1; got {level}")
    if n == 0:
        return CountedShare(0, 0, nan, nan, level, "none were counted")
    tail = (1 - level) / 2
    if interval == "paper":
        low, high = (float(betaincinv(k + 1, n + 1 - k, q)) for q in (tail, 1 - tail))
        return CountedShare(k, n, low, high, level)
    return CountedShare(k, n, *wilson_ends(k, n, level=level), level)


def wilson_ends(k: float, n: float, *, level: float = SHARE_LEVEL) -> tuple[float, float]:
    """Return the ends of Wilson's interval of k in n trials, 0 <= k <= n > 0.

    Neither need be whole: trials that are not independent count for fewer than they are.
    """
    z = -float(ndtri((1 - level) / 2))
    centre = (k + z**2 / 2) / (n + z**2)
    half = z / (n + z**2) * sqrt(k * (n - k) / n + z**2 / 4)
    # Its ends are 0 and 1 exactly for none and for all of n; rounding is not to hide that.
    return 0.0 if k == 0 else centre - half, 1.0 if k == n else centre + half


def success_rates(
    successes: ArrayLike,
    areas: Sequence[str],
    *,
    level: float = RATE_LEVEL,
    interval: ShareInterval = "wilson",
) -> dict[str, CountedShare]:
    """Return the share of successes in each area, areas in the order in which they come.

    Parameters
    ----------
    successes : (e,) bool, one an experiment; leave out those without a verdict
    areas : (e,) their areas
    level : of the interval
    """
    flags = np.asarray(successes)
    if flags.dtype != np.bool_ or flags.shape != (len(areas),):
        raise DataError(
            f"successes must be ({len(areas)},) bool, one for each area; got {flags.shape} "
            f"{flags.dtype}"
        )
    members: dict[str, list[bool]] = defaultdict(list)
    for area, flag in zip(areas, flags, strict=True):
        members[area].append(bool(flag))
    return {
        area: share(sum(of), len(of), level=level, interval=interval)
        for area, of in members.items()
    }


def compare_shares(
    first: tuple[int, int], second: tuple[int, int], *, level: float = SHARE_LEVEL
) -> ShareTest:
    """Test whether two shares differ: z of two proportions.

    Parameters
    ----------
    first, second : (k, n) of each
    level : of their Wilson intervals
    """
    one, other = share(*first, level=level), share(*second, level=level)
    if not (one.n and other.n):
        return ShareTest(one, other, nan, nan, f"samples of {one.n} and {other.n}")
    common = (one.k + other.k) / (one.n + other.n)
    if common in {0.0, 1.0}:
        return ShareTest(one, other, nan, nan, f"{'all' if common else 'none'} of both are")
    error = sqrt(common * (1 - common) * (1 / one.n + 1 / other.n))
    z = (one.value - other.value) / error
    return ShareTest(one, other, z, float(2 * ndtr(-abs(z))))


def histogram_shares(
    values: ArrayLike, edges: ArrayLike, *, level: float = SHARE_LEVEL
) -> list[CountedShare]:
    """Return which share of values lies in each bin, with Wilson's interval.

    Parameters
    ----------
    values : (n,) as where tuning curves peak; NaN counts nowhere
    edges : (k + 1,) ascending; the last bin holds its right edge
    """
    x = np.asarray(values, dtype=np.float64)
    counts = np.histogram(x[np.isfinite(x)], np.asarray(edges, dtype=np.float64))[0]
    n = int(np.isfinite(x).sum())
    return [share(int(count), n, level=level) for count in counts]
