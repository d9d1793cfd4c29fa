"""Two correlations that share a variable: whether y goes with a more than with b.

As a PSTH difference against two measures of how alike the images are. The samples are the same
experiments, so the correlations are not independent, and neither is y with itself.

Williams 1959 and its comparison with others by Steiger 1980 (Psychological Bulletin 87, 245),
whose equation numbers stand beside the lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import atanh, nan, sqrt
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from scipy.special import ndtr, stdtr  # pyright: ignore[reportUnknownVariableType]

from evolver.analysis.quantities import check_choice, vector_of
from evolver.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

CorrelationMethod: TypeAlias = Literal["williams", "steiger", "paper"]


@dataclass(frozen=True, slots=True)
class DependentCorrelations:
    """What a comparison of two dependent correlations says.

    Attributes
    ----------
    first, second : float, r of y with a and with b
    between : float, r of a with b
    n : int, rows
    statistic : float, t with n - 3 degrees of freedom (Williams), or z; NaN where undefined
    p : float, two-sided
    method : which test
    reason : str, why it is undefined; empty where it is not
    """

    first: float
    second: float
    between: float
    n: int
    statistic: float
    p: float
    method: CorrelationMethod
    reason: str = ""

    @property
    def defined(self) -> bool:
        """Whether there is a result."""
        return not self.reason


def compare_correlations(
    y: ArrayLike, a: ArrayLike, b: ArrayLike, *, method: CorrelationMethod = "williams"
) -> DependentCorrelations:
    """Test whether y is correlated with a and with b alike.

    Parameters
    ----------
    y, a, b : (n,); rows in which one is not finite are left out
    method : "williams", a t-test; "steiger", a z-test of Fisher's z with their covariance at
        the mean r; "paper", the published z, which takes both for independent and its error
        for half of what it is: at n = 60 it rejects about 30 % of true nulls at 5 %

    Raises
    ------
    DataError
        They are not vectors of one length.
    """
    columns = [vector_of(x, name) for x, name in ((y, "y"), (a, "a"), (b, "b"))]
    if len({len(column) for column in columns}) != 1:
        raise DataError(
            f"y, a and b must have one length; got {[len(column) for column in columns]}"
        )
    table = np.stack(columns)
    table = table[:, np.isfinite(table).all(axis=0)]
    n = table.shape[1]
    if n < 2 or (np.ptp(table, axis=1) == 0).any():
        reason = f"{n} rows" if n < 2 else "one of the three does not vary"
        return DependentCorrelations(nan, nan, nan, n, nan, nan, method, reason)
    r: list[float] = np.asarray(np.corrcoef(table), dtype=np.float64).ravel().tolist()
    return compare_r(r[1], r[2], between=r[5], n=n, method=method)


def compare_r(
    first: float,
    second: float,
    *,
    between: float,
    n: int,
    method: CorrelationMethod = "williams",
) -> DependentCorrelations:
    """As `compare_correlations`, of three r that are known already.

    Parameters
    ----------
    first, second : r of y with a and with b
    between : r of a with b
    n : rows they are of

    Raises
    ------
    DataError
        An r lies outside -1 to 1.
    """
    check_choice(method, CorrelationMethod, "method")
    if max(abs(first), abs(second), abs(between)) > 1 + 1e-12:
        raise DataError(f"r must lie between -1 and 1; got {first}, {second}, {between}")
    reason = ""
    if n < 4:
        reason = f"{n} rows; four are needed"
    elif max(abs(first), abs(second)) > 1 - 1e-12:
        reason = "y is a or b, but for a scale"
    elif abs(between) > 1 - 1e-12:
        reason = "a and b are the same but for a scale"
    if reason:
        return DependentCorrelations(first, second, between, n, nan, nan, method, reason)
    if method == "williams":
        statistic = _williams_t(first, second, between, n)
        p = float(2 * stdtr(n - 3, -abs(statistic)))
    else:
        statistic = (_steiger_z if method == "steiger" else _paper_z)(first, second, between, n)
        p = float(2 * ndtr(-abs(statistic)))
    return DependentCorrelations(first, second, between, n, statistic, p, method)


def _williams_t(r_ya: float, r_yb: float, r_ab: float, n: int) -> float:
    """Return T2, eq. 7."""
    determinant = 1 - r_ya**2 - r_yb**2 - r_ab**2 + 2 * r_ya * r_yb * r_ab
    mean = (r_ya + r_yb) / 2
    error = 2 * (n - 1) / (n - 3) * max(determinant, 0) + mean**2 * (1 - r_ab) ** 3
    return (r_ya - r_yb) * sqrt((n - 1) * (1 + r_ab) / error)


def _steiger_z(r_ya: float, r_yb: float, r_ab: float, n: int) -> float:
    """Return Z1*, eq. 14, with the covariance of eq. 3 at the mean r."""
    mean = (r_ya + r_yb) / 2
    psi = r_ab * (1 - 2 * mean**2) - mean**2 / 2 * (1 - 2 * mean**2 - r_ab**2)
    covariance = psi / (1 - mean**2) ** 2
    return (atanh(r_ya) - atanh(r_yb)) * sqrt((n - 3) / (2 - 2 * covariance))


def _paper_z(r_ya: float, r_yb: float, r_ab: float, n: int) -> float:
    del r_ab  # the published code does not ask for it
    return (atanh(r_ya) - atanh(r_yb)) / sqrt(1 / (2 * (n - 3)))
