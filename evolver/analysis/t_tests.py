"""Student's t over experiments, and which of many of them stay significant.

Paired: the same experiments in two threads. Unpaired: equal variances, as published. A test of
each column (a block, a time bin) comes with three marks side by side: raw, by the false
discovery rate, by Bonferroni.

Benjamini & Hochberg 1995 (J. R. Stat. Soc. B 57, 289).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, sqrt
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtr  # pyright: ignore[reportUnknownVariableType]

from evolver.analysis.quantities import vector_of
from evolver.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from evolver.types import Vector

SIGNIFICANT = 0.05
"""Of tests over experiments, and of their false discovery rate, as published."""


@dataclass(frozen=True, slots=True)
class TTest:
    """What a t-test says.

    Attributes
    ----------
    difference : float, mean of the first less that of the second; NaN without values
    t, p : float, p two-sided; NaN where undefined
    dof : int
    n, m : int, values of the first and of the second; of pairs, both are their number
    reason : str, why it is undefined; empty where it is not
    """

    difference: float
    t: float
    p: float
    dof: int
    n: int
    m: int
    reason: str = ""

    @property
    def defined(self) -> bool:
        """Whether there is a result."""
        return not self.reason

    def __str__(self) -> str:
        if self.reason:
            return f"undefined: {self.reason}"
        return f"t({self.dof}) = {self.t:.2f}, p = {self.p:.2g}"


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """Which of k tests are significant, by three rules.

    Attributes
    ----------
    raw, fdr, bonferroni : (k,) bool; False where p is NaN, which is no test
    tests : int, how many there were: the others are corrected for these alone
    """

    raw: NDArray[np.bool_]
    fdr: NDArray[np.bool_]
    bonferroni: NDArray[np.bool_]
    tests: int


def t_test(first: ArrayLike, second: ArrayLike, *, paired: bool) -> TTest:
    """Test whether two means differ; NaN values (of pairs: either) are left out.

    Parameters
    ----------
    first, second : (n,) and (m,); n = m where `paired`
    paired : of each pair's difference; else with equal variances

    Raises
    ------
    DataError
        One is no vector, or pairs are not as many of both.
    """
    a, b = vector_of(first, "first"), vector_of(second, "second")
    if paired:
        if len(a) != len(b):
            raise DataError(f"pairs must be as many of both; got {len(a)} and {len(b)}")
        both = np.isfinite(a) & np.isfinite(b)
        return _one_sample(a[both] - b[both])
    return _two_samples(a[np.isfinite(a)], b[np.isfinite(b)])


def t_tests(first: ArrayLike, second: ArrayLike, *, paired: bool) -> list[TTest]:
    """Return `t_test` of every column.

    Parameters
    ----------
    first, second : (e, k) and (f, k): experiments, and what is tested of each; NaN is left out
    paired : e = f, the same experiments

    Raises
    ------
    DataError
        They are not two-dimensional with as many columns.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise DataError(
            f"both must have shape (experiments, k) with one k; got {a.shape} and {b.shape}"
        )
    return [t_test(a[:, i], b[:, i], paired=paired) for i in range(a.shape[1])]


def marks(p: ArrayLike, *, alpha: float = SIGNIFICANT) -> Marks:
    """Return which of many p values are below `alpha`, raw and corrected for their number.

    Parameters
    ----------
    p : (k,); NaN for a test that is undefined, which counts for no correction (the published
        code counts it, and its false discovery rates become NaN)
    alpha : also the false discovery rate that is kept
    """
    values = vector_of(p, "p")
    tested = np.flatnonzero(np.isfinite(values))
    k = len(tested)
    raw = np.zeros(len(values), dtype=np.bool_)
    fdr, bonferroni = raw.copy(), raw.copy()
    if k:
        order = tested[np.argsort(values[tested], kind="stable")]
        raw[tested] = values[tested] < alpha
        bonferroni[tested] = values[tested] * k < alpha
        passed = np.flatnonzero(values[order] <= alpha * np.arange(1, k + 1) / k)
        if len(passed):
            fdr[order[: passed[-1] + 1]] = True
    return Marks(raw, fdr, bonferroni, k)


def _one_sample(differences: Vector) -> TTest:
    n = len(differences)
    mean = float(differences.mean()) if n else nan
    if n < 2:
        return TTest(mean, nan, nan, max(n - 1, 0), n, n, f"{n} pairs; two are needed")
    sem = float(differences.std(ddof=1)) / sqrt(n)
    if _vanishes(sem, differences):
        reason = f"all {n} pairs differ by the same, {mean:g}"
        return TTest(mean, nan, nan, n - 1, n, n, reason)
    t = mean / sem
    return TTest(mean, t, float(2 * stdtr(n - 1, -abs(t))), n - 1, n, n)


def _two_samples(a: Vector, b: Vector) -> TTest:
    n, m = len(a), len(b)
    difference = float(a.mean() - b.mean()) if n and m else nan
    dof = n + m - 2
    if not (n and m and dof > 0):
        reason = f"{n} and {m} values; one of both and three in all are needed"
        return TTest(difference, nan, nan, max(dof, 0), n, m, reason)
    squares = float(((a - a.mean()) ** 2).sum() + ((b - b.mean()) ** 2).sum())
    error = sqrt(squares / dof * (1 / n + 1 / m))
    if _vanishes(error, np.concatenate([a, b])):
        reason = "the values of each sample are all equal"
        return TTest(difference, nan, nan, dof, n, m, reason)
    t = difference / error
    return TTest(difference, t, float(2 * stdtr(dof, -abs(t))), dof, n, m)


def _vanishes(error: float, values: Vector) -> bool:
    """Whether an error is zero but for rounding."""
    return error <= 1e-14 * float(np.abs(values).max())
