"""Values of units as maps of the electrode arrays that they were recorded on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evolver.analysis.quantities import vector_of
from evolver.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from evolver.types import Matrix

ARRAY_SHAPE = (8, 8)
"""Rows and columns of an array, where no electrode is further: as published."""


@dataclass(frozen=True, slots=True, eq=False)
class ElectrodeLayout:
    """Where on which array each unit was recorded.

    Attributes
    ----------
    arrays : names, in the order in which they are drawn
    array : (u,) int, index of each unit's array; -1 of a unit without a place
    row, column : (u,) int, from 0; row 0 is drawn at the top
    least : rows and columns of an array, which grows where an electrode is further

    Raises
    ------
    DataError
        They are of different lengths, or an index is none.
    """

    arrays: tuple[str, ...]
    array: NDArray[np.intp]
    row: NDArray[np.intp]
    column: NDArray[np.intp]
    least: tuple[int, int] = ARRAY_SHAPE

    def __post_init__(self) -> None:
        """Check that each unit has a place, or none."""
        sizes = {self.array.shape, self.row.shape, self.column.shape}
        if len(sizes) != 1 or self.array.ndim != 1:
            raise DataError(f"array, row and column must be (u,), one a unit; got {sizes}")
        placed = self.array >= 0
        if (self.array >= len(self.arrays)).any():
            raise DataError(f"array must be below {len(self.arrays)}, the arrays' number")
        if min(self.row[placed].min(initial=0), self.column[placed].min(initial=0)) < 0:
            raise DataError("rows and columns must be 0 or more")

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of each array's map."""
        placed = self.array >= 0
        return (
            max(self.least[0], int(self.row[placed].max(initial=0)) + 1),
            max(self.least[1], int(self.column[placed].max(initial=0)) + 1),
        )

    def maps(self, values: ArrayLike, *, first: ArrayLike | None = None) -> dict[str, Matrix]:
        """Return a map, (rows, columns), of each array; NaN where no unit has a value.

        Parameters
        ----------
        values : (u,); NaN has no place
        first : (u,) of several units at one place that with the largest is drawn, such as the
            most opaque; the first of them if not given
        """
        shown = vector_of(values, "values")
        order = np.zeros(len(shown)) if first is None else vector_of(first, "first")
        if shown.shape != self.array.shape or order.shape != shown.shape:
            raise DataError(
                f"values and first must be ({len(self.array)},), one a unit; got {shown.shape} "
                f"and {order.shape}"
            )
        found = {name: np.full(self.shape, np.nan) for name in self.arrays}
        filled = np.nan_to_num(order, nan=-np.inf)
        # The last that is written stays: the largest, and of equal ones the first.
        for unit in np.lexsort((-np.arange(len(shown)), filled)):
            if self.array[unit] >= 0 and np.isfinite(shown[unit]):
                place = self.row[unit], self.column[unit]
                found[self.arrays[self.array[unit]]][place] = shown[unit]
        return found
