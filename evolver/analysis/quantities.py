"""A number that may not exist, with the reason: what analyses return that may be undefined.

A result with more than one number carries a `reason` of its own in the same way: empty where
there is a result.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, get_args

import numpy as np

from evolver.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike

    from evolver.types import Matrix, Vector


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number, or why there is none.

    Attributes
    ----------
    value : float; NaN where undefined
    reason : str, why it is undefined; empty where it is not
    """

    value: float
    reason: str = ""

    @classmethod
    def undefined(cls, reason: str) -> Quantity:
        """Return a quantity without a value."""
        return cls(nan, reason)

    @property
    def defined(self) -> bool:
        """Whether there is a value."""
        return not self.reason

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return f"undefined: {self.reason}" if self.reason else f"{self.value:.4g}"


def values_of(quantities: Iterable[Quantity]) -> Vector:
    """Return the values of quantities, (n,); NaN where one is undefined."""
    return np.array([quantity.value for quantity in quantities], dtype=np.float64)


def check_choice(value: str, choices: object, name: str) -> None:
    """Raise `DataError` unless `value` is one of a literal type's words."""
    words = get_args(choices)
    if value not in words:
        raise DataError(f"{name} must be one of {', '.join(map(repr, words))}; got {value!r}")


def vector_of(values: ArrayLike, name: str) -> Vector:
    """Return `values` as a vector of float64, NaN allowed.

    Raises
    ------
    DataError
        They have another number of dimensions than one.
    """
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1:
        raise DataError(f"{name} must have one dimension; got shape {vector.shape}")
    return vector


def finite_table(values: ArrayLike, name: str) -> Matrix:
    """Return `values` as a table of float64, (n, k), all finite, row by row in memory.

    Of a column-by-column table LAPACK would round otherwise.

    Raises
    ------
    DataError
        They have another number of dimensions than two, or one of them is not finite.
    """
    table = np.asarray(values, dtype=np.float64, order="C")
    if table.ndim != 2 or not np.isfinite(table).all():
        raise DataError(f"{name} must be finite, with two dimensions; got {table.shape}")
    return table
