"""How much of one set of numbers is linear in another: ridge regression, held out.

From a generator's codes to units, and from units to codes; units of a network or recorded
neurons alike, for these are arrays. The penalty is chosen on the training part alone, by
leaving one row out at a time, one for all columns; R^2 is of rows that no fit has seen.

Fits are scikit-learn's, which is loaded when the first is asked for. Hoerl & Kennard 1970;
leave-one-out in closed form after Golub, Heath & Wahba 1979.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from evolver.analysis.quantities import finite_table
from evolver.analysis.rank_tests import ranks_of
from evolver.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from evolver.types import Matrix, Vector

NEURON_LAMBDAS = (0.01, 0.1, 1.0, 10.0)
"""Published for recorded neurons."""
LAMBDAS = (0.01, 0.1, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5)
TEST_SHARE = 0.2
"""Of the rows, held out, as published."""


@dataclass(frozen=True, slots=True, eq=False)
class RidgeFit:
    """A linear map with a penalty.

    Attributes
    ----------
    weights : (k, m): y = x weights + intercept
    intercept : (m,)
    penalty : lambda of the sum of squared weights, that was chosen
    error : mean squared error of the rows left out at that penalty, over all columns of y
    """

    weights: Matrix
    intercept: Vector
    penalty: float
    error: float

    def predict(self, x: ArrayLike) -> Matrix:
        """Return y, (n, m), of x, (n, k)."""
        return np.asarray(x, dtype=np.float64) @ self.weights + self.intercept


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """R^2 of rows that the fit has not seen.

    Attributes
    ----------
    r2 : (m,) one a column of y; below 0 where the mean would have been nearer. NaN where a
        column does not vary in the rows held out
    penalty : float, chosen on the others
    n_train, n_test : int, rows
    """

    r2: Vector
    penalty: float
    n_train: int
    n_test: int

    @property
    def mean(self) -> float:
        """Of the columns that have one; NaN with none."""
        defined = self.r2[np.isfinite(self.r2)]
        return float(defined.mean()) if len(defined) else float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class DepthTrend:
    """Spearman's correlation of R^2 with the depth of a layer.

    Attributes
    ----------
    rho : float, of all units; NaN where there is one depth, or all are equal
    low, high : float, the 95 % of resamplings of units within each layer
    n : int, units
    """

    rho: float
    low: float
    high: float
    n: int


def fit_least_squares(x: Matrix, y: Matrix) -> tuple[Matrix, Vector]:
    """Return weights, (k, m), and intercept, (m,), of the least squares of y = x w + intercept.

    Columns of x are brought to one length first: what is left out as rounding, of columns that
    are sums of others, does not depend on their units. Then the weights of smallest norm.

    Parameters
    ----------
    x : (n, k) float64 finite
    y : (n, m) float64 finite
    """
    from sklearn import linear_model

    lengths = np.linalg.norm(x - x.mean(axis=0), axis=0)
    lengths = np.where(lengths > 0, lengths, 1)
    exact = max(x.shape) * float(np.finfo(np.float64).eps)
    fit = cast("Any", linear_model).LinearRegression(tol=exact).fit(x / lengths, y)
    weights, intercept = _linear(fit, x, y)
    return weights / lengths[:, None], intercept


def fit_ridge(x: ArrayLike, y: ArrayLike, penalties: Sequence[float] = LAMBDAS) -> RidgeFit:
    """Fit y = x weights + intercept, the penalty by leaving out each row in turn.

    Of a penalty that is less than 1e-12 of x's largest squared singular value, with as many
    columns as rows, the error left out is lost in rounding: z-score x.

    Parameters
    ----------
    x : (n, k) finite, n >= 3
    y : (n, m) finite
    penalties : on offer, each > 0

    Raises
    ------
    DataError
        The arrays do not fit, or a penalty is not positive.
    """
    from sklearn import linear_model

    a, b = finite_table(x, "x"), finite_table(y, "y")
    if len(a) != len(b) or len(a) < 3:
        raise DataError(f"x and y must have the same rows, 3 at least; got {len(a)}, {len(b)}")
    if not penalties or min(penalties) <= 0:
        raise DataError(f"penalties must be some numbers > 0; got {tuple(penalties)}")
    offered = [float(penalty) for penalty in penalties]
    fit = cast("Any", linear_model).RidgeCV(offered).fit(a, b)
    return RidgeFit(
        *_linear(fit, a, b), penalty=float(fit.alpha_), error=-float(fit.best_score_)
    )


def split_rows(
    n: int, *, rng: np.random.Generator, share: float = TEST_SHARE
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return which of n rows train and which test; published: a fifth, by the seed 42."""
    order = rng.permutation(n)
    held = int(np.ceil(share * n))
    return np.sort(order[held:]), np.sort(order[:held])


def held_out_r2(
    x: ArrayLike,
    y: ArrayLike,
    *,
    train: NDArray[np.intp],
    test: NDArray[np.intp],
    penalties: Sequence[float] = LAMBDAS,
) -> HeldOut:
    """Return how much of each column of y a linear map of x says of rows that it has not seen.

    1 - sum (y - fit)^2 / sum (y - mean)^2, the mean that of the rows held out.

    Parameters
    ----------
    x, y : (n, k), (n, m)
    train, test : rows, of `split_rows`
    penalties : on offer
    """
    from sklearn import metrics

    a, b = finite_table(x, "x"), finite_table(y, "y")
    fit = fit_ridge(a[train], b[train], penalties)
    r2 = np.full(b.shape[1], np.nan)
    if len(test) > 1:
        guess = fit.predict(a[test])
        with np.errstate(divide="ignore", invalid="ignore"):  # of a column that does not vary
            scores: Vector = cast("Any", metrics).r2_score(
                b[test], guess, multioutput="raw_values", force_finite=False
            )
        r2 = np.where(np.isfinite(scores), scores, np.nan)
    return HeldOut(r2, fit.penalty, len(train), len(test))


def random_directions(d: int, k: int, *, rng: np.random.Generator) -> Matrix:
    """Return k orthonormal directions of d dimensions, (d, k), the Q of normal numbers."""
    if not 1 <= k <= d:
        raise DataError(f"k must be 1 to {d}, the dimensions there are; got {k}")
    return np.linalg.qr(rng.standard_normal((d, k)))[0]


def depth_trend(
    depths: Sequence[float],
    r2: Sequence[ArrayLike],
    *,
    rng: np.random.Generator,
    resamplings: int = 100,
) -> DepthTrend:
    """Return Spearman's correlation between the depth of a layer and the R^2 of its units.

    Published for layers before and after a rectification apart: call it for each.

    Parameters
    ----------
    depths : one a layer
    r2 : of each layer's units, (u,); NaN is left out
    rng : of the resampling of units within their layers
    resamplings : 100, as published
    """
    layers = [np.asarray(values, dtype=np.float64) for values in r2]
    layers = [values[np.isfinite(values)] for values in layers]
    if len(depths) != len(layers):
        raise DataError(f"each layer must have a depth; got {len(depths)} of {len(layers)}")
    at = np.concatenate([np.full(len(v), d) for d, v in zip(depths, layers, strict=True)])
    rho = _spearman(at, np.concatenate(layers))
    drawn = [
        _spearman(
            at, np.concatenate([v[rng.integers(0, max(len(v), 1), len(v))] for v in layers])
        )
        for _ in range(resamplings)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975]) if drawn else (np.nan, np.nan)
    return DepthTrend(rho, float(low), float(high), len(at))


def _linear(fit: Any, x: Matrix, y: Matrix) -> tuple[Matrix, Vector]:  # noqa: ANN401
    """Return weights, (k, m), and intercept, (m,), of a map of scikit-learn's."""
    weights = np.asarray(fit.coef_, dtype=np.float64).reshape(y.shape[1], x.shape[1])
    intercept = np.asarray(fit.intercept_, dtype=np.float64).reshape(y.shape[1])
    return np.ascontiguousarray(weights.T), intercept


def _spearman(a: Vector, b: Vector) -> float:
    if len(a) < 2 or (a == a[0]).all() or (b == b[0]).all():
        return float("nan")
    return float(np.corrcoef(ranks_of(a), ranks_of(b))[0, 1])
