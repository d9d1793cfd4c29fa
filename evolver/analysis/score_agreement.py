"""Two scores of the same images: how alike they rank them, and which way each would lead.

Spearman's and Kendall's correlation (tau-b, which counts ties) are scipy's. A search by ranks
learns from nothing else, so what moves an image past another is all that another score changes.
"""

# pyright: reportUnknownMemberType=false
# scipy's functions leave their arguments open.

from __future__ import annotations

from dataclasses import dataclass
from math import degrees
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from scipy import stats

from evolver.analysis.quantities import Quantity, vector_of
from evolver.analysis.rank_tests import ranks_of
from evolver.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from evolver.types import Vector

_LEAST = 3
"""Images of which a rank correlation says anything."""


@dataclass(frozen=True, slots=True, eq=False)
class RankAgreement:
    """How alike two scores rank the images that have both.

    Attributes
    ----------
    n : images with both scores
    spearman, kendall : Quantity, in [-1, 1]
    parents : images of the better half, from which a search by ranks learns
    parents_differing : of them, those that are others by the second score; -1 where `tied`
    tied : why there are no better images by one of the scores: all are equal; else empty
    before, after : (m,) float64, rank of each image by either score among those with both, 1 is
        the highest, equal scores share their mean rank; NaN for an image without both
    """

    n: int
    spearman: Quantity
    kendall: Quantity
    parents: int
    parents_differing: int
    before: Vector
    after: Vector
    tied: str = ""

    @property
    def movers(self) -> NDArray[np.intp]:
        """Rows whose rank changes, the most first; of equals, those that were higher."""
        moved = np.abs(self.after - self.before)
        rows = np.flatnonzero((moved > 0) & (not self.tied))
        order = np.lexsort((self.before[rows], -moved[rows]))
        return rows[order]


def rank_agreement(before: ArrayLike, after: ArrayLike) -> RankAgreement:
    """Compare two scores of the same images.

    Parameters
    ----------
    before, after : (m,), larger is better; NaN where an image has no score

    Raises
    ------
    DataError
        They are not vectors of one length.
    """
    old, new = vector_of(before, "before"), vector_of(after, "after")
    if len(old) != len(new):
        raise DataError(
            f"both scores must be of the same images; got {len(old)} and {len(new)}"
        )
    both = np.isfinite(old) & np.isfinite(new)
    a, b = old[both], new[both]
    n = len(a)
    ranks_before, ranks_after = np.full(len(old), np.nan), np.full(len(old), np.nan)
    if n:
        ranks_before[both], ranks_after[both] = ranks_of(-a), ranks_of(-b)
    reason = ""
    if n < _LEAST:
        reason = f"{n} images have both scores; a rank correlation takes {_LEAST}"
    elif (a == a[0]).all() or (b == b[0]).all():
        reason = "every image has the same score"
    if reason:
        spearman = kendall = Quantity.undefined(reason)
    else:
        spearman = Quantity(float(np.corrcoef(ranks_of(a), ranks_of(b))[0, 1]))
        kendall = Quantity(float(cast("Any", stats.kendalltau(a, b)).statistic))
    parents = n // 2
    tied = ""
    for which, scores in (("recorded", a), ("other", b)):
        if n > 1 and (scores == scores[0]).all():
            tied = f"every image has the same {which} score, {scores[0]:g}"
    differing = parents - len(np.intersect1d(_best(a, parents), _best(b, parents)))
    return RankAgreement(
        n,
        spearman,
        kendall,
        parents,
        -1 if tied else differing,
        ranks_before,
        ranks_after,
        tied,
    )


def angle_between(first: ArrayLike, second: ArrayLike) -> Quantity:
    """Return the angle between two directions, degrees, in [0, 180].

    By Kahan's formula, which is exact for directions that hardly differ: the arc cosine of a
    product of two equal directions is 1e-6 degrees off.

    Parameters
    ----------
    first, second : (d,)
    """
    a, b = vector_of(first, "first"), vector_of(second, "second")
    length_a, length_b = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if not (length_a > 0 and length_b > 0):
        return Quantity.undefined("there was no move")
    a, b = a / length_a, b / length_b
    half = np.arctan2(float(np.linalg.norm(a - b)), float(np.linalg.norm(a + b)))
    return Quantity(degrees(2 * half))


def _best(scores: Vector, n: int) -> NDArray[np.intp]:
    """Return the rows of the n highest scores; of equals, the first."""
    return np.argsort(-scores, kind="stable")[:n]
