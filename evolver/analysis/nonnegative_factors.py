"""A nonnegative matrix as a sum of few products of nonnegative vectors.

Least squares by coordinate descent (Cichocki & Phan 2009, IEICE Trans. E92-A, 708: one column
after another, each in closed form), begun from the singular vectors (Boutsidis & Gallopoulos
2008, Pattern Recogn. 41, 1350; 'NNDSVDa': what is 0 there begins at the matrix's mean). It is
scikit-learn's ``NMF(init="nndsvda", solver="cd")``, of the matrix over its largest number, so
that a matrix's scale changes nothing, and of its rows and columns that are not all zero.
Singular vectors of large matrices are sketched there at random; the seed is always the same.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from evolver.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from evolver.types import Matrix

_TOLERANCE, _MOST_SWEEPS = 1e-4, 200  # scikit-learn's
_START_SEED = 0


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
    k : factors; those beyond the fewer of rows and columns that are not all zero are zero
    tolerance : descent ends where its moves are so small a part of the first sweep's
    most_sweeps : it ends then, whatever the moves

    Raises
    ------
    DataError
        The matrix is not of that kind, or a setting is out of its range.
    """
    from sklearn import decomposition
    from sklearn.exceptions import ConvergenceWarning

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
    # Rows and columns of zeros have no part, and would make the start of others undefined.
    rows, columns = x.any(axis=1), x.any(axis=0)
    used = x[np.ix_(rows, columns)] / largest
    few = min(k, *used.shape)
    model = cast("Any", decomposition).NMF(
        few, init="nndsvda", tol=tolerance, max_iter=most_sweeps, random_state=_START_SEED
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # `sweeps` says so
        parts: Matrix = model.fit_transform(used)
    others: Matrix = model.components_
    left, right = np.zeros((len(x), k)), np.zeros((k, x.shape[1]))
    left[rows, :few], right[:few, columns] = parts * largest, others
    rest = used - parts @ others
    explained = 1 - float((rest**2).sum() / (used**2).sum())
    return NonnegativeFactors(left, right, explained, int(model.n_iter_))
