"""Checks of what optimizers are made with, and of states they go on from.

Knows numbers and arrays. Knows no algorithm.
"""

from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np

from evolver.checks import check_codes
from evolver.errors import ConfigError, DataError
from evolver.optimizers.ranks import default_popsize
from evolver.plain_text import is_number_in_quotes
from evolver.types import Codes, Vector

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

MOST = 10**9
"""Of anything that is counted: more than a session will ever have, and within every format."""
SMALLEST, LARGEST = 1e-150, 1e150  # of a length: squares of what it scales stay in float64


def whole(
    name: str,
    value: object,
    *,
    at_least: int,
    at_most: int = MOST,
    otherwise: str = "",
) -> int:
    """Return `value` if it is a whole number in its range; else raise `ConfigError`."""
    number = at_least
    if isinstance(value, SupportsIndex) and not isinstance(value, bool):
        number = index(value)
        if at_least <= number <= at_most:
            return number
    open_above = at_most == MOST and number <= MOST
    allowed = f">= {at_least}" if open_above else f"from {at_least} to {at_most}"
    raise ConfigError(
        f"{name} must be a whole number {allowed}{otherwise}; got {_shown(value)}"
    )


def population(d: int, popsize: object, *, at_least: int = 2) -> int:
    """Return `popsize`, or that of `d` dimensions for None; else raise `ConfigError`."""
    return whole(
        "popsize", default_popsize(d) if popsize is None else popsize, at_least=at_least
    )


def step(sigma: object) -> float:
    """Return `sigma` if it is a step size; else raise `ConfigError`."""
    return between("sigma", sigma, SMALLEST, LARGEST, what="a number > 0, latent units,")


def between(name: str, value: object, low: float, high: float, *, what: str) -> float:
    """Return `value` if it is a number from `low` to `high`; else raise `ConfigError`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
        if low <= number <= high:
            return number
    raise ConfigError(
        f"{name} must be {what} between {low:g} and {high:g}; got {_shown(value)}"
    )


def _shown(value: object) -> str:
    """Return a value that is no number as it came; of one in quotes, that it is a text."""
    in_quotes = is_number_in_quotes(value)
    return f"{value!r}" + (", a text: write it without quotes" if in_quotes else "")


def start_from(d: int, initial: ArrayLike | None) -> tuple[Vector, Codes]:
    """Return the first mean, (d,), and the caller's first population, (m, d) or (0, d).

    Parameters
    ----------
    d : latent dimensions
    initial : None, shape (d,) or shape (m, d), as every optimizer takes it

    Raises
    ------
    DataError
        `initial` has the wrong shape or is not finite.
    """
    if initial is None:
        return np.zeros(d), np.zeros((0, d))
    codes = np.array(initial, dtype=np.float64)
    if codes.shape not in {(d,), (len(np.atleast_1d(codes)), d)} or not codes.size:
        raise DataError(
            f"initial must have shape ({d},), where to start, or (m, {d}), the first "
            f"population, with m >= 1; got {codes.shape}"
        )
    check_codes(np.atleast_2d(codes), d=d)
    return (codes, np.zeros((0, d))) if codes.ndim == 1 else (codes.mean(axis=0), codes)


def check_state_arrays(state: object, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise `DataError` unless these fields of a state are finite float64 of these shapes."""
    for name, shape in shapes.items():
        array = getattr(state, name)
        if array.shape != shape or array.dtype != np.float64 or not np.isfinite(array).all():
            raise DataError(
                f"{name} of the state must be float64, finite and of shape {shape}; got "
                f"{array.dtype} {array.shape}. Pass a state as it was saved"
            )


def check_numbers(state: object, bounds: Mapping[str, tuple[float, float]]) -> None:
    """Raise `DataError` unless these fields of a state lie between these bounds."""
    for name, (low, high) in bounds.items():
        value: Any = getattr(state, name)
        if not low <= value <= high:
            raise DataError(
                f"{name} of the state must be between {low:g} and {high:g}; got {value!r}. "
                "Pass a state as it was saved"
            )


def rows_of(array: Any) -> int:  # noqa: ANN401  whatever a state brings
    """Return the length of an array, 1 of a number."""
    return len(np.atleast_1d(array))
