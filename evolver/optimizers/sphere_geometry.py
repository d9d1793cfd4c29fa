"""What searches on a sphere share: codes of one norm, and where such a search starts.

Knows arrays of any array-API library. Knows no algorithm.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from array_api_compat import array_namespace

from evolver.errors import DataError
from evolver.optimizers.arguments import between, check_state_arrays, rows_of, start_from
from evolver.types import Codes, Vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

NEVER = 1e-12
"""What is shorter than this, of the sphere's radius, points nowhere."""


class OnSphere(Protocol):
    """What the states of searches on a sphere have."""

    @property
    def radius(self) -> float:
        """R, the norm of every code, latent units."""
        ...

    @property
    def given(self) -> Codes:
        """The caller's first population, (m, d) or (0, d)."""
        ...

    @property
    def base(self) -> Vector:
        """(d,), of norm R."""
        ...


def start_on_sphere(
    d: int, initial: ArrayLike | None, radius: float | None, *, default: float
) -> tuple[float, Vector, Codes, bool]:
    """Return radius, base, (d,), given population, (m, d) or (0, d), and whether base counts.

    Parameters
    ----------
    d : latent dimensions
    initial : as every optimizer takes it; no code of it may be zero
    radius : of the sphere, latent units; None: `default` times sqrt(d)

    Raises
    ------
    ConfigError
        `radius` is out of its range.
    DataError
        `initial` has the wrong shape, is not finite, or has a code that is zero.
    """
    radius = default * sqrt(d) if radius is None else radius
    radius = between("radius", radius, 1e-100, 1e100, what="a number > 0, latent units,")
    first, given = start_from(d, initial)
    if initial is not None and not np.atleast_2d(initial).any(axis=1).all():
        raise DataError(
            "codes of initial must not be zero: the centre of a sphere is no place on it"
        )
    around = initial is not None and not len(given)
    base = projected(first, radius) if around else radius * np.eye(1, d)[0]
    return radius, base, given, around


def check_on_sphere(state: OnSphere) -> None:
    """Raise `DataError` unless a state's arrays fit, and its base lies on its sphere."""
    d = rows_of(state.base)
    check_state_arrays(state, {"base": (d,), "given": (rows_of(state.given), d)})
    norm = float(np.linalg.norm(state.base))
    if not abs(norm - state.radius) <= 1e-6 * state.radius:
        raise DataError(
            f"base of the state must have the norm of its sphere, {state.radius:g}; got "
            f"{norm:g}. Pass a state as it was saved"
        )


def projected(x: Vector, radius: float) -> Vector:
    """Return x, (d,), brought to the norm `radius`."""
    xp = array_namespace(x)
    return x * (radius / xp.sqrt(xp.sum(x * x)))


def squared(z: Codes) -> Vector:
    """Return the squared length of each row, (n,), with no (n, d) array in between."""
    return (z[:, None, :] @ z[:, :, None])[:, 0, 0]


def at_least(x: Any, least: float) -> Any:  # noqa: ANN401  any array library's
    """Return x, no element below `least`."""
    return array_namespace(x).clip(x, min=least)
