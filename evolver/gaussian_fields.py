"""A two-dimensional Gaussian on a base, fitted to a map of anything.

Knows arrays; scipy is loaded when something is fitted. Knows nothing of what a map is of: maps
of pixels in which a network's unit looks, and of a screen's places at which a neuron answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from math import pi
from typing import TYPE_CHECKING, Any

import numpy as np

from evolver.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from evolver.types import Matrix, Responses, Vector


@dataclass(frozen=True, slots=True)
class Gaussian:
    """A two-dimensional Gaussian on a base, fitted to a map.

    ``base + amplitude exp(-(u^2 / 2 sd_u^2 + v^2 / 2 sd_v^2))``, u and v the distances from the
    centre along axes that are turned by `angle`. Lengths are in the units of the map's
    coordinates, such as pixels or degrees.
    """

    amplitude: float
    row: float
    """Of the centre, as the rows are counted; a pixel's own middle is a whole number."""
    column: float
    sd_row: float
    """Along the axis that is the rows' where `angle` is 0."""
    sd_column: float
    angle: float
    """Radians, from the columns' axis towards the rows'."""
    base: float
    r2: float
    """Of the map, how much of the variance it is, each place by its weight."""

    def at(self, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> Responses:
        """Return its values at places."""
        return _values((rows, columns), *self.parameters)

    @property
    def upright(self) -> tuple[float, float, float]:
        """Return the standard deviations nearest to the rows' and columns' axis, and the turn.

        The same Gaussian as by `sd_row`, `sd_column` and `angle`, turned by less than pi / 4 to
        either side, or by it.
        """
        quarters = round(self.angle / (pi / 2))
        turn = self.angle - quarters * pi / 2
        if quarters % 2:
            return self.sd_column, self.sd_row, turn
        return self.sd_row, self.sd_column, turn

    @property
    def parameters(self) -> tuple[float, ...]:
        """All that is fitted, in this order of fields."""
        return (
            self.amplitude, self.row, self.column, self.sd_row, self.sd_column,
            self.angle, self.base,
        )  # fmt: skip


def fit_gaussian(
    field: Matrix,
    *,
    rows: ArrayLike | None = None,
    columns: ArrayLike | None = None,
    weights: Matrix | None = None,
    narrowest: float = 0.1,
) -> Gaussian | None:
    """Return the Gaussian that fits a map best, in least squares; None where none is found.

    Its centre is on the map, half a step beyond the last row or column at most.

    Parameters
    ----------
    field : (rows, columns); rows and columns need not be as many
    rows, columns : where they are, rising in equal steps; None: counted from 0
    weights : (rows, columns), not negative, of the squares; 0 where nothing is known. None: all
        the same
    narrowest : its standard deviations are this or more, steps: below half a step, one place
        that stands out by chance is a field

    Raises
    ------
    DataError
        The map has not two dimensions, or rows, columns or weights do not fit it.
    """
    places = _places(field, rows, columns, weights)
    values = places.values
    if not len(values) or not np.isfinite(values).all() or not np.ptp(values) > 0:
        return None
    (first_row, last_row, step_row), (first_column, last_column, step_column) = places.extent
    height, width = field.shape[0] * step_row, field.shape[1] * step_column
    low = [
        0.0, first_row - step_row / 2, first_column - step_column / 2,
        narrowest * step_row, narrowest * step_column, -np.pi / 2, -np.inf,
    ]  # fmt: skip
    high = [
        np.inf, last_row + step_row / 2, last_column + step_column / 2,
        2.0 * height, 2.0 * width, np.pi / 2, np.inf,
    ]  # fmt: skip
    begin = np.clip(_begin(places), low, high)
    optimize: Any = import_module("scipy.optimize")  # whose types are open
    settled = optimize.least_squares(
        places.misfits,
        begin,
        jac=places.slopes,
        bounds=(low, high),
        x_scale=np.maximum(np.abs(begin), 0.1 * min(step_row, step_column, 1.0)),
        max_nfev=500,
    )
    return places.gaussian(settled.x) if settled.success else None


def refit_gaussian(
    field: Matrix,
    start: Gaussian,
    *,
    rows: ArrayLike | None = None,
    columns: ArrayLike | None = None,
    weights: Matrix | None = None,
    narrowest: float = 0.1,
) -> Gaussian | None:
    """Return the Gaussian near another one that fits a map best; None where none is found.

    By Levenberg and Marquardt's method, without bounds but the narrowest: quick, for maps that
    were drawn again.

    Parameters
    ----------
    field, rows, columns, weights, narrowest : as `fit_gaussian` takes them
    start : where to begin

    Raises
    ------
    DataError
        As by `fit_gaussian`.
    """
    places = _places(field, rows, columns, weights)
    if len(places.values) <= len(start.parameters) or not np.isfinite(places.values).all():
        return None
    least = narrowest * np.array([step for _, _, step in places.extent])

    def widened(free: NDArray[np.float64]) -> NDArray[np.float64]:
        # A standard deviation is the hypotenuse of the narrowest and a number without bounds.
        return np.concatenate([free[:3], np.hypot(least, free[3:5]), free[5:]])

    def misfits(free: NDArray[np.float64]) -> Vector:
        return places.misfits(widened(free))

    def slopes(free: NDArray[np.float64]) -> Matrix:
        tried = widened(free)
        by_free = places.slopes(tried)
        by_free[:, 3:5] *= free[3:5] / tried[3:5]
        return by_free

    begin = np.array(start.parameters)
    begin[3:5] = np.sqrt(np.maximum(begin[3:5] ** 2 - least**2, (0.1 * least) ** 2))
    optimize: Any = import_module("scipy.optimize")
    free, _, _, _, status = optimize.leastsq(
        misfits,
        begin,
        Dfun=slopes,
        full_output=True,
        maxfev=200,
    )
    settled = widened(free)
    if status not in {1, 2, 3, 4} or not np.isfinite(settled).all() or not settled[0] > 0:
        return None
    return places.gaussian(settled)


@dataclass(frozen=True, slots=True, eq=False)
class _Places:
    """What is known of a map."""

    at: tuple[Vector, Vector]  # rows and columns, (n,) each
    values: Vector
    weights: Vector
    extent: tuple[tuple[float, float, float], ...]  # of rows, columns: first, last, step

    def misfits(self, tried: NDArray[np.float64]) -> Vector:
        """Return the weighted differences, (n,), of a Gaussian's values from the map's."""
        parameters: list[float] = tried.tolist()
        return (_values(self.at, *parameters) - self.values) * np.sqrt(self.weights)

    def slopes(self, tried: NDArray[np.float64]) -> Matrix:
        """Return their derivatives, (n, 7)."""
        parameters: list[float] = tried.tolist()
        return _slopes(self.at, *parameters) * np.sqrt(self.weights)[:, None]

    def gaussian(self, settled: NDArray[np.float64]) -> Gaussian:
        """Return what was fitted."""
        parameters: list[float] = settled.tolist()
        mean = np.average(self.values, weights=self.weights)
        squares = float((self.weights * (self.values - mean) ** 2).sum())
        left = float((self.misfits(settled) ** 2).sum())
        return Gaussian(*parameters, r2=1 - left / squares if squares else 0.0)


def _places(
    field: Matrix,
    rows: ArrayLike | None,
    columns: ArrayLike | None,
    weights: Matrix | None,
) -> _Places:
    if field.ndim != 2 or not field.size:
        raise DataError(f"a map must be (rows, columns); got {field.shape}")
    across = [_steps(rows, field.shape[0], "rows"), _steps(columns, field.shape[1], "columns")]
    weights = np.ones(field.shape) if weights is None else np.asarray(weights, np.float64)
    if weights.shape != field.shape or not (weights >= 0).all():
        raise DataError(f"weights must be {field.shape}, not below 0; got {weights.shape}")
    known = weights > 0
    grid = np.meshgrid(across[0][0], across[1][0], indexing="ij")
    return _Places(
        (grid[0][known], grid[1][known]),
        field[known],
        weights[known],
        tuple((float(at[0]), float(at[-1]), step) for at, step in across),
    )


def _steps(places: ArrayLike | None, n: int, name: str) -> tuple[Vector, float]:
    """Return where rows or columns are, and how far apart."""
    if places is None:
        return np.arange(n, dtype=np.float64), 1.0
    at = np.asarray(places, dtype=np.float64)
    steps = np.diff(at)
    step = float(steps[0]) if len(steps) else 1.0
    if at.shape != (n,) or not (step > 0 and np.allclose(steps, step, rtol=1e-6, atol=0)):
        raise DataError(f"{name} must be {n} numbers that rise in equal steps; got {at}")
    return at, step


def _begin(places: _Places) -> NDArray[np.float64]:
    """Return a Gaussian of the map's centre of mass and spread."""
    base, top = float(places.values.min()), float(places.values.max())
    mass = places.values - base
    total = mass.sum()
    centre = [float((mass * at).sum() / total) for at in places.at]
    spread = [
        max(float(np.sqrt((mass * (at - middle) ** 2).sum() / total)), 0.5 * step)
        for at, middle, (_, _, step) in zip(places.at, centre, places.extent, strict=True)
    ]
    return np.array([top - base, *centre, *spread, 0.0, base])


def _values(
    at: tuple[NDArray[np.float64], NDArray[np.float64]],
    amplitude: float,
    row: float,
    column: float,
    sd_row: float,
    sd_column: float,
    angle: float,
    base: float,
) -> NDArray[np.float64]:
    down, right = at[0] - row, at[1] - column
    along = np.cos(angle) * right + np.sin(angle) * down
    across = -np.sin(angle) * right + np.cos(angle) * down
    return base + amplitude * np.exp(-(along**2 / sd_column**2 + across**2 / sd_row**2) / 2)


def _slopes(
    at: tuple[Vector, Vector],
    amplitude: float,
    row: float,
    column: float,
    sd_row: float,
    sd_column: float,
    angle: float,
    base: float,  # noqa: ARG001  one of the parameters, whose own slope is 1
) -> Matrix:
    """Return the derivatives of the values at places by all parameters, (n, 7)."""
    cosine, sine = np.cos(angle), np.sin(angle)
    down, right = at[0] - row, at[1] - column
    along, across = cosine * right + sine * down, -sine * right + cosine * down
    bell = np.exp(-(along**2 / sd_column**2 + across**2 / sd_row**2) / 2)
    by_along = amplitude * bell * along / sd_column**2  # of the value, with its sign turned
    by_across = amplitude * bell * across / sd_row**2
    return np.stack(
        [
            bell,
            by_along * sine + by_across * cosine,
            by_along * cosine - by_across * sine,
            by_across * across / sd_row,
            by_along * along / sd_column,
            by_across * along - by_along * across,
            np.ones_like(bell),
        ],
        axis=1,
    )
