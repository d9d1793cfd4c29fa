"""Optimizer states as plain dictionaries of arrays and numbers, and back.

Knows dataclasses of float64 arrays, ints and floats. Knows nothing of files: whoever keeps a
state (a journal, an HDF5 file) needs to store only what is in the dictionary, bit for bit.
"""

from __future__ import annotations

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
    from collections.abc import Mapping

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
