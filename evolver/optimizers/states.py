"""Optimizer states as plain dictionaries of arrays and numbers, and back.

Knows dataclasses of float64 arrays, ints and floats. Knows nothing of files: whoever keeps a
state (a journal, an HDF5 file) needs to store only what is in the dictionary, bit for bit.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import (
    TYPE_CHECKING,
    Any,
    Protocol,
    Self,
    TypeAlias,
    TypeVar,
    get_type_hints,
    runtime_checkable,
)

import numpy as np
from numpy.typing import NDArray

from evolver.errors import DataError
from evolver.types import Vector

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

StateDict: TypeAlias = dict[str, NDArray[np.float64] | int | float]
StateT = TypeVar("StateT")


@runtime_checkable
class Nested(Protocol):
    """A state made of other states, which knows how to be one dictionary with them."""

    def to_dict(self) -> StateDict:
        """Return what `from_dict` needs."""
        ...

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the state; raise `DataError` where names or values are wrong."""
        ...


def array_of_text(text: str) -> Vector:
    """Return a text as numbers, (bytes of its UTF-8,): a state holds numbers alone."""
    return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.float64)


def text_of_array(numbers: Vector) -> str:
    """Return the text that `array_of_text` made numbers of; else raise `DataError`."""
    try:
        return bytes(int(number) for number in numbers).decode()
    except (ValueError, TypeError) as exc:
        raise DataError(
            f"a text of the state must be bytes of UTF-8 as numbers; got {numbers!r}. Pass a "
            "state as it was saved"
        ) from exc


@contextmanager
def all_taken(kind: type, values: Mapping[str, Any]) -> Generator[dict[str, Any]]:
    """Hand out a copy of a nested state's dictionary, from which the block takes everything.

    Raises
    ------
    DataError
        The block lacks a name, cannot use a value, or leaves something over.
    """
    left = dict(values)
    try:
        yield left
    except (KeyError, TypeError, ValueError) as exc:
        raise DataError(
            f"a {kind.__name__} needs what state_to_dict returned for one; missing or wrong: "
            f"{exc}"
        ) from exc
    if left:
        raise DataError(f"a {kind.__name__} has no {', '.join(sorted(left))}")


def with_prefix(prefix: str, state: Any) -> StateDict:  # noqa: ANN401  any optimizer's
    """Return what `state_to_dict` does, under names that begin with `prefix`."""
    return {f"{prefix}{name}": value for name, value in state_to_dict(state).items()}


def take_prefixed(prefix: str, left: dict[str, Any]) -> dict[str, Any]:
    """Take what `with_prefix` named out of `left`; return it under its own names."""
    names = sorted(name for name in left if name.startswith(prefix))
    return {name.removeprefix(prefix): left.pop(name) for name in names}


def state_to_dict(state: Any) -> StateDict:  # noqa: ANN401  each optimizer has its own type
    """Return the fields of an optimizer's state, by name.

    Returns
    -------
    dict of int, float and ndarray of float64; the arrays are copies
    """
    if isinstance(state, Nested):
        return state.to_dict()
    if not is_dataclass(state) or isinstance(state, type):
        raise DataError(
            f"state must be an optimizer's state (a dataclass); got {type(state).__name__}"
        )
    kinds = get_type_hints(type(state))
    return {f.name: _plain(getattr(state, f.name), kinds[f.name]) for f in fields(state)}


def state_from_dict(kind: type[StateT], values: Mapping[str, Any]) -> StateT:
    """Build a state of type `kind` from what `state_to_dict` returned for one.

    Parameters
    ----------
    kind : the optimizer's `state_type`
    values : one entry for each field; numbers may come as 0-d arrays, as files return them

    Raises
    ------
    DataError
        Names are missing or unknown, or a value is not of the field's kind.
    """
    if issubclass(kind, Nested):
        return kind.from_dict(values)
    kinds = get_type_hints(kind)
    names = set(kinds)
    missing, unknown = sorted(names - set(values)), sorted(set(values) - names)
    if missing or unknown:
        raise DataError(
            f"a {kind.__name__} needs exactly {sorted(names)}; missing {missing}, unknown "
            f"{unknown}. Pass what state_to_dict returned, for the same optimizer"
        )
    try:
        return kind(**{name: _plain(values[name], kinds[name]) for name in kinds})
    except (TypeError, ValueError) as exc:
        raise DataError(f"these are not the values of a {kind.__name__}: {exc}") from exc


def _plain(value: Any, kind: Any) -> NDArray[np.float64] | int | float:  # noqa: ANN401
    if kind is int:
        if int(value) != value:
            raise ValueError(f"a whole number was expected; got {value!r}")
        return int(value)
    return float(value) if kind is float else np.array(value, dtype=np.float64)
