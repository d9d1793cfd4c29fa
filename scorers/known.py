"""Functions of a code whose highest value, and the code that has it, are known.

What stands for a neuron where no image is needed: in tests of optimizers, in benchmarks, in a
demonstration of what a search does. Each is called with codes, (n, d) float64, and returns one
score a code, (n,) float64, larger is better; `optimum` hands out the best code and its value.
No image carries a code, so a session cannot use them: its neurons see images, for which
`scorers.networks.known` is the like.

Knows arrays. Knows nothing of images, networks or optimizers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from evolver.checks import check_codes
from evolver.errors import ConfigError

if TYPE_CHECKING:
    from evolver.types import Codes, Matrix, Vector


@dataclass(frozen=True, slots=True, eq=False)
class BestCode:
    """A code that no other exceeds, and its score."""

    code: Vector
    """(d,) float64."""
    value: float


class CodeScorer(Protocol):
    """A function of codes whose optimum is known."""

    @property
    def optimum(self) -> BestCode:
        """The best code, and its score."""
        ...

    def __call__(self, codes: Codes) -> Vector:
        """Return the scores, (n,) float64, of codes, (n, d)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Ellipsoid:
    """A quadratic hill: minus the squared distance from its top, each axis by its own factor.

    Equal factors make a sphere; factors from 1 to a million, evenly spaced in their logarithms,
    the ellipsoid of the CMA-ES papers (Hansen & Ostermeier, Evol. Comput. 9, 2001, table 3).

    Parameters
    ----------
    top : (d,)
    slopes : (d,), above 0; 1 when None
    axes : (d, d), in its columns the directions that `slopes` are of; those of the code when
        None
    """

    top: Vector
    slopes: Vector | None = None
    axes: Matrix | None = None

    def __post_init__(self) -> None:
        d = len(self.top)
        if self.slopes is not None and not (
            self.slopes.shape == (d,) and (self.slopes > 0).all()
        ):
            raise ConfigError(f"slopes must be ({d},), above 0; got {self.slopes}")
        if self.axes is not None and self.axes.shape != (d, d):
            raise ConfigError(f"axes must be ({d}, {d}); got {self.axes.shape}")

    @property
    def optimum(self) -> BestCode:
        """The top, and 0."""
        return BestCode(self.top.copy(), 0.0)

    def __call__(self, codes: Codes) -> Vector:
        """Return the scores, (n,) float64, of codes, (n, d)."""
        check_codes(codes, d=len(self.top))
        away = codes - self.top
        if self.axes is not None:
            away = away @ self.axes
        squares = away**2
        return -squares.sum(axis=1) if self.slopes is None else -squares @ self.slopes


@dataclass(frozen=True, slots=True, eq=False)
class StraightRidge:
    """A straight ridge: steep on both sides of a line, almost level along it.

    Minus the squared distance along the line from its top, and `steepness` times that from the
    line.

    Parameters
    ----------
    top : (d,)
    along : (d,), the line's direction, of any length above 0
    steepness : above 1
    """

    top: Vector
    along: Vector
    steepness: float = 1e4

    def __post_init__(self) -> None:
        _check_direction("along", self.along, len(self.top))
        if not self.steepness > 1:
            raise ConfigError(f"steepness must be above 1; got {self.steepness}")

    @property
    def optimum(self) -> BestCode:
        """The top, and 0."""
        return BestCode(self.top.copy(), 0.0)

    def __call__(self, codes: Codes) -> Vector:
        """Return the scores, (n,) float64, of codes, (n, d)."""
        check_codes(codes, d=len(self.top))
        away = codes - self.top
        along = away @ (self.along / np.linalg.norm(self.along))
        across = np.maximum((away**2).sum(axis=1) - along**2, 0.0)
        return -(along**2) - self.steepness * across


@dataclass(frozen=True, slots=True, eq=False)
class CurvedRidge:
    """Minus Rosenbrock's function (Comput. J. 3, 1960), of any dimension from 2."""

    d: int

    def __post_init__(self) -> None:
        if self.d < 2:
            raise ConfigError(f"a curved ridge must have 2 dimensions or more; got {self.d}")

    @property
    def optimum(self) -> BestCode:
        """Ones, and 0."""
        return BestCode(np.ones(self.d), 0.0)

    def __call__(self, codes: Codes) -> Vector:
        """Return the scores, (n,) float64, of codes, (n, d)."""
        check_codes(codes, d=self.d)
        here, there = codes[:, :-1], codes[:, 1:]
        return -(100 * (there - here**2) ** 2 + (1 - here) ** 2).sum(axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class Direction:
    """A neuron tuned to a latent direction: how far a code lies along it.

    Without end, so its optimum is that of all codes up to a length, which is for the optimizer
    to keep.

    Parameters
    ----------
    preferred : (d,), of any length above 0
    radius : length of the longest code
    """

    preferred: Vector
    radius: float

    def __post_init__(self) -> None:
        _check_direction("preferred", self.preferred, len(self.preferred))
        if not 0 < self.radius < np.inf:
            raise ConfigError(f"radius must be above 0; got {self.radius}")

    @property
    def optimum(self) -> BestCode:
        """The code of that length in the preferred direction, and its length."""
        unit = self.preferred / np.linalg.norm(self.preferred)
        return BestCode(self.radius * unit, float(self.radius))

    def __call__(self, codes: Codes) -> Vector:
        """Return the scores, (n,) float64, of codes, (n, d)."""
        check_codes(codes, d=len(self.preferred))
        return codes @ (self.preferred / np.linalg.norm(self.preferred))


@dataclass(frozen=True, slots=True, eq=False)
class Peaks:
    """A mixture of Gaussians: the highest of them at each code.

    The highest and not the sum (Gallagher & Yuan, IEEE Trans. Evol. Comput. 10, 2006): the top
    of a sum lies a little beside that of its highest part, and nobody could say where exactly.

    Parameters
    ----------
    tops : (k, d), their centres
    heights : (k,), above 0
    widths : (k,), standard deviations, above 0, in the codes' unit
    """

    tops: Matrix
    heights: Vector
    widths: Vector

    def __post_init__(self) -> None:
        k = len(self.tops)
        for name, values in (("heights", self.heights), ("widths", self.widths)):
            if values.shape != (k,) or not (values > 0).all():
                raise ConfigError(f"{name} must be ({k},), above 0; got {values}")

    @property
    def optimum(self) -> BestCode:
        """The centre of the highest, and its height."""
        highest = int(np.argmax(self.heights))
        return BestCode(self.tops[highest].copy(), float(self.heights[highest]))

    def __call__(self, codes: Codes) -> Vector:
        """Return the scores, (n,) float64, of codes, (n, d)."""
        check_codes(codes, d=self.tops.shape[1])
        away = ((codes[:, None] - self.tops) ** 2).sum(axis=2)
        return (self.heights * np.exp(-away / (2 * self.widths**2))).max(axis=1)


def _check_direction(name: str, direction: Vector, d: int) -> None:
    if direction.shape != (d,) or not np.linalg.norm(direction) > 0:
        raise ConfigError(f"{name} must be ({d},), not all 0; got {direction}")
