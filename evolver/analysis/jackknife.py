"""Intervals of statistics that are no mean of values: by leaving out images in turn.

Quenouille 1949; Tukey 1958 (Annals of Mathematical Statistics 29, 614). Of many images groups
are left out, as many as are asked for.
"""

# pyright: reportUnknownMemberType=false
# scipy's functions leave their arguments open.

from __future__ import annotations

from math import inf, nan, sqrt
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from evolver.analysis.rank_tests import MeanInterval
from evolver.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

GROUPS = 100
_FEWEST = 3  # images


def jackknife_interval(
    statistic: Callable[[NDArray[np.intp]], float],
    n: int,
    *,
    level: float = 0.95,
    groups: int = GROUPS,
    within: tuple[float, float] = (-inf, inf),
) -> MeanInterval:
    """Return a statistic of images and the interval that leaving some out in turn gives.

    Of a mean over images it is Student's interval, `rank_tests.mean_interval`.

    Parameters
    ----------
    statistic : of some of the images, whose rows it takes, ascending; smooth in them
    n : images
    level : share of such intervals that hold the truth
    groups : left out in turn, each of every so manieth image; n of them, if n is fewer
    within : the least and the largest that it can be; the interval ends there

    Returns
    -------
    MeanInterval : the ends are NaN where fewer than three images, or the statistic is undefined
        without some
    """
    if n < 0 or groups < 2 or not 0 < level < 1:
        raise DataError(
            f"n must be 0 or more, groups 2 or more, level in (0, 1); got {n}, {groups} and "
            f"{level}"
        )
    rows = np.arange(n)
    value = float(statistic(rows)) if n else nan
    if n < _FEWEST:
        return MeanInterval(value, nan, nan, n)
    g = min(groups, n)
    left = np.array([statistic(rows[rows % g != i]) for i in range(g)], dtype=np.float64)
    error = sqrt((g - 1) / g * float(((left - left.mean()) ** 2).sum()))
    half = float(stats.t.ppf((1 + level) / 2, g - 1)) * error
    least, largest = within
    if not (np.isfinite(half) and np.isfinite(value)):
        return MeanInterval(value, nan, nan, n)
    return MeanInterval(value, max(value - half, least), min(value + half, largest), n)
