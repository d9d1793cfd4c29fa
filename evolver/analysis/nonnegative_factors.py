"""A nonnegative matrix as a sum of few products of nonnegative vectors.

Least squares by coordinate descent (Cichocki & Phan 2009, IEICE Trans. E92-A, 708: one column
after another, each in closed form), begun from the singular vectors (Boutsidis & Gallopoulos
2008, Pattern Recogn. 41, 1350; 'NNDSVDa': what is 0 there begins at the matrix's mean). So it
has no random start. It is scikit-learn's ``NMF(init="nndsvda", solver="cd")`` but for the
matrix's scale, which changes nothing here: tests hold it to that one's numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evolver.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from evolver.types import Matrix, Vector

_TOLERANCE, _MOST_SWEEPS = 1e-4, 200  # scikit-learn's
_TINY = 1e-6  # of a matrix whose largest number is 1


@dataclass(frozen=True, slots=True, eq=False)
class NonnegativeFactors:
    """A matrix, nearly ``left @ right``; nothing is negative.

    Attributes
    ----------
    left : (n, k)
    right : (k, m)
    explained : of the sum of squares, how much the product is; 1 is all
    sweeps : int, of coordinate descent
    """

    left: Matrix
    right: Matrix
    explained: float
    sweeps: int


def nonnegative_factors(
    matrix: ArrayLike,
    k: int,
    *,
    tolerance: float = _TOLERANCE,
    most_sweeps: int = _MOST_SWEEPS,
) -> NonnegativeFactors:
    """Factor a matrix.

    Parameters
    ----------
    matrix : (n, m), none negative, not all zero
    k : factors; those beyond the smaller of n and m are zero
    tolerance : descent ends where its moves are so small a part of the first sweep's
    most_sweeps : it ends then, whatever the moves

    Raises
    ------
    DataError
        The matrix is not of that kind, or a setting is out of its range.
    """
    x: Matrix = np.asarray(matrix, dtype=np.float64)
    if x.ndim != 2 or not x.size or not np.isfinite(x).all() or x.min() < 0 or not x.any():
        raise DataError(
            "matrix must have two dimensions, and finite numbers, none negative, not all zero"
        )
    if k < 1 or most_sweeps < 1 or not 0 <= tolerance < 1:
        raise DataError(
            f"k and most_sweeps must be 1 or more, and tolerance in [0, 1); got {k}, "
            f"{most_sweeps} and {tolerance}"
        )
    largest = float(x.max())
    x = x / largest
    few = min(k, *x.shape)
    left, right = _begin(x, few)
    first, sweeps = 0.0, 0
    for sweeps in range(1, most_sweeps + 1):  # noqa: B007  read below
        moved = _descend(x, left, right) + _descend(x.T, right, left)
        first = first or moved
        if moved <= tolerance * first:
            break
    rest = x - left @ right.T
    spare = ((0, 0), (0, k - few))
    return NonnegativeFactors(
        left=np.pad(left * largest, spare),
        right=np.pad(right, spare).T,
        explained=1 - float((rest**2).sum() / (x**2).sum()),
        sweeps=sweeps,
    )


def _begin(x: Matrix, k: int) -> tuple[Matrix, Matrix]:
    """Return the start, (n, k) and (m, k)."""
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    left, right = np.empty((len(x), k)), np.empty((x.shape[1], k))
    for j in range(k):
        # Of a singular pair, the signs of which there is more; of the first there is but one.
        pairs = [(np.maximum(t * u[:, j], 0), np.maximum(t * vt[j], 0)) for t in (1, -1)]
        sizes = [float(np.linalg.norm(a) * np.linalg.norm(b)) for a, b in pairs]
        size = max(sizes)
        if size == 0:
            left[:, j] = right[:, j] = 0
            continue
        a, b = pairs[int(sizes[1] >= sizes[0])]
        scale = np.sqrt(s[j] * size)
        left[:, j] = scale * a / np.linalg.norm(a)
        right[:, j] = scale * b / np.linalg.norm(b)
    for side in (left, right):
        side[side < _TINY] = x.mean()
    return left, right


def _descend(x: Matrix, side: Matrix, other: Matrix) -> float:
    """Move one side's columns, in place, each to where it fits best; return how far off it was.

    That is the sum of the projected gradient's absolute numbers.
    """
    gram: Matrix = other.T @ other
    target: Matrix = x @ other
    off = 0.0
    for j in range(side.shape[1]):
        slope: Vector = side @ gram[j] - target[:, j]
        off += float(np.abs(np.where(side[:, j] == 0, np.minimum(slope, 0), slope)).sum())
        if gram[j, j] > 0:
            side[:, j] = np.maximum(side[:, j] - slope / gram[j, j], 0)
    return off
