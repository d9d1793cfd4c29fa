"""Codes about an evolved one: steps along axes, great circles, and spheres of two axes.

Knows arrays, latent units and degrees. Knows nothing of recordings, of metrics, or of what a
code looks like.

A session that goes on makes its codes again, perhaps on another processor, and they must be the
same bits. So sums are `math.fsum`, which rounds once whatever the order, and nothing here goes
through a library's products but `principal_axes`, which is rounded for that.

Wang & Ponce, Tuning landscapes of the ventral stream, Cell Reports 2022 (the sphere); Wang &
Ponce, Nature Neuroscience 2026, Fig. 6 (the steps).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, fsum, radians, sin, sqrt
from typing import TYPE_CHECKING, cast

import numpy as np
from scipy import linalg

from evolver.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from evolver.types import Codes, Matrix, Vector

_eigh = cast("Callable[..., tuple[Vector, Matrix]]", linalg.eigh)
CENTRE = -1
"""Number of the axis of the evolved code itself, which lies on all of them."""
_LEAST = 1e-3
"""Of a unit vector's length, that must be left of an axis once it is square to the others."""
_DIGITS = 6
"""Decimals of a principal axis: what processors differ by comes far behind them."""


@dataclass(frozen=True, slots=True, eq=False)
class CodesAround:
    """An evolved code, and codes about it.

    Attributes
    ----------
    codes : (n, d) the evolved code first
    axis : (n,) int64, the axis of each, or of a sphere the pair of axes, from 0; `CENTRE` of
        the evolved code
    step : (n,) how far along its axis each is: latent units, or degrees
    second_step : (n,) of a sphere, along the pair's second axis, degrees; else 0
    """

    codes: Codes
    axis: NDArray[np.int64]
    step: Vector
    second_step: Vector


def even_steps(n: int, reach: float) -> Vector:
    """Return n steps, (n,), from -reach to reach, with exactly 0 in the middle.

    Raises
    ------
    DataError
        n is even, or below 3.
    """
    if n < 3 or n % 2 == 0:
        raise DataError(f"steps must be an odd number of at least 3; got {n}")
    half = n // 2
    return np.arange(-half, half + 1) / half * reach


def steps_around(code: Vector, axes: Matrix, steps: Vector) -> CodesAround:
    """Return code + s * axis, of every axis and every step s but 0.

    Parameters
    ----------
    code : (d,) latent units
    axes : (k, d) unit vectors
    steps : (m,) latent units
    """
    places = [(k, float(s)) for k in range(len(axes)) for s in steps if s != 0]
    codes = [code + s * axes[k] for k, s in places]
    return _around(code, codes, [(k, s, 0.0) for k, s in places])


def circles_around(code: Vector, axes: Matrix, steps: Vector) -> CodesAround:
    """Return codes on great circles through a code: R (cos s e + sin s a), of every s but 0.

    R is the code's norm, e its direction, and a each axis square to e, of length 1.

    Parameters
    ----------
    code : (d,) latent units, not zero
    axes : (k, d)
    steps : (m,) degrees from the code

    Raises
    ------
    DataError
        The code is zero, or lies along an axis.
    """
    norm, direction = _polar(code)
    codes: list[Vector] = []
    places: list[tuple[int, float, float]] = []
    for k, axis in enumerate(axes):
        (square,) = _squared((axis,), direction)
        for s in map(float, steps):
            if s != 0:
                codes.append(norm * (cos(radians(s)) * direction + sin(radians(s)) * square))
                places.append((k, s, 0.0))
    return _around(code, codes, places)


def spheres_around(code: Vector, axes: Matrix, steps: Vector) -> CodesAround:
    """Return codes on spheres through a code, of two axes each, at every step s and t.

    R (cos s cos t e + sin s cos t a + sin t b): R is the code's norm, e its direction, a the
    pair's first axis square to e, b its second square to both.

    Parameters
    ----------
    code : (d,) latent units, not zero
    axes : (2 k, d), a pair after the other
    steps : (m,) degrees from the code, along a and along b

    Raises
    ------
    DataError
        The code is zero, axes are no pairs, or a pair and the code lie in a plane.
    """
    if len(axes) % 2:
        raise DataError(f"axes of spheres must come in pairs; got {len(axes)}")
    norm, e = _polar(code)
    codes: list[Vector] = []
    places: list[tuple[int, float, float]] = []
    for k in range(len(axes) // 2):
        a, b = _squared((axes[2 * k], axes[2 * k + 1]), e)
        for t in map(float, steps):
            for s in map(float, steps):
                if s == t == 0:
                    continue
                along, across = radians(s), radians(t)
                plane = cos(along) * e + sin(along) * a
                codes.append(norm * (cos(across) * plane + sin(across) * b))
                places.append((k, s, t))
    return _around(code, codes, places)


def principal_axes(codes: Codes, code: Vector, *, most: int) -> Matrix:
    """Return the principal components of codes, (k, d), the one of largest variance first.

    Those of all codes of an evolution, less their mean, as the published manifolds have them.
    Each points the way that leads from the codes' mean to `code`, so that positive steps go on
    where the evolution went.

    Parameters
    ----------
    codes : (n, d)
    code : (d,) the evolved one
    most : components to return at most; there are fewer where codes vary in fewer directions

    Raises
    ------
    DataError
        All codes are the same.
    """
    n, d = codes.shape
    mean = codes.mean(axis=0)
    centred = codes - mean
    gram = centred @ centred.T if n < d else centred.T @ centred
    k = min(most, len(gram))
    values, vectors = _eigh(gram, subset_by_index=(len(gram) - k, len(gram) - 1))
    varying = values[::-1] > 1e-9 * max(float(values[-1]), 0.0)
    if not varying.any():
        raise DataError("codes must differ to have principal components; all are the same")
    columns = vectors[:, ::-1][:, varying]
    rows = (centred.T @ columns if n < d else columns).T
    axes = [_rounded(row) for row in rows]
    return np.stack([axis if _dot(code - mean, axis) >= 0 else -axis for axis in axes])


def _around(
    code: Vector, codes: list[Vector], places: list[tuple[int, float, float]]
) -> CodesAround:
    """Return codes behind the one in their middle; a place is an axis and two steps."""
    axis, step, second = zip((CENTRE, 0.0, 0.0), *places, strict=True)
    return CodesAround(
        np.stack([code, *codes]),
        np.asarray(axis, dtype=np.int64),
        np.asarray(step, dtype=np.float64),
        np.asarray(second, dtype=np.float64),
    )


def _polar(code: Vector) -> tuple[float, Vector]:
    """Return a code's norm and its direction."""
    norm = sqrt(_dot(code, code))
    if not norm:
        raise DataError(
            "a code must have a direction for circles and spheres about it; it is zero. Show "
            "steps"
        )
    return norm, code / norm


def _squared(axes: Sequence[Vector], direction: Vector) -> list[Vector]:
    """Return axes of length 1, each square to a direction and to those before it."""
    made: list[Vector] = []
    for axis in axes:
        left = axis / sqrt(_dot(axis, axis))
        for _ in range(2):  # what rounding leaves of the first time goes with the second
            for other in (direction, *made):
                left = left - _dot(left, other) * other
        length = sqrt(_dot(left, left))
        if length < _LEAST:
            raise DataError(
                "an axis must lead away from the evolved code and from the other axis of its "
                f"pair; {length:.2g} of its length does. Leave it out"
            )
        made.append(left / length)
    return made


def _dot(a: Vector, b: Vector) -> float:
    return fsum((a * b).tolist())


def _rounded(axis: Vector) -> Vector:
    """Return an axis of length 1, whose digits do not tell on which processor it was made."""
    axis = np.round(axis / sqrt(_dot(axis, axis)), _DIGITS)
    return axis / sqrt(_dot(axis, axis))
