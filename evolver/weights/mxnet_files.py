"""MXNet's lists of arrays (`.params`), read without MXNet.

Knows the bytes of the list and of the arrays in it, as MXNet 0.11 to 1.9 write them (magic
numbers V1 to V3), dense ones. Knows nothing of architectures. Every length is compared with
what is left of the file before memory is taken for it.

The list, little-endian: u64 0x112, u64 reserved, u64 number of arrays, the arrays, u64 number
of names, each a u64 length and its bytes. An array: u32 magic, i32 storage type (V2 and V3; 0
is dense), u32 number of dimensions, an i64 each, i32 device type, i32 device, i32 number type,
the numbers in C order.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

import numpy as np

from evolver.errors import WeightsError
from evolver.weights.kinds import MOST_TENSORS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_TYPES = ("<f4", "<f8", "<f2", "u1", "<i4", "i1", "<i8")
_MOST_DIMENSIONS, _LONGEST_NAME = 8, 1000


def read_mxnet(content: bytes, *, path: Path) -> dict[str, NDArray[np.generic]]:
    """Read the arrays in a file of MXNet's.

    Parameters
    ----------
    content : the file's bytes, of the kind "mxnet"
    path : where they come from, for messages

    Returns
    -------
    dict : arrays by name, of the shape and type they are stored in; read-only

    Raises
    ------
    WeightsError
        The file is cut short, speaks of more numbers than it holds, or has arrays without
        names, sparse ones or unknown types.
    """
    cursor = _Cursor(content, path)
    cursor.numbers("<QQ")
    (count,) = cursor.numbers("<Q")
    if count * 24 > cursor.left:  # bytes of the smallest array
        raise cursor.refusal(f"lists {count} arrays")
    if count > MOST_TENSORS:
        raise cursor.refusal(f"lists {count} arrays, more than {MOST_TENSORS}")
    arrays = [_array(cursor) for _ in range(count)]
    (named,) = cursor.numbers("<Q")
    if named != count:
        raise WeightsError(f"{path} must name each of its {count} arrays; it names {named}")
    table: dict[str, NDArray[np.generic]] = {}
    for array in arrays:
        (length,) = cursor.numbers("<Q")
        if length > _LONGEST_NAME:
            raise cursor.refusal(f"has a name of {length} bytes")
        name = cursor.take(length).decode("utf-8", "replace")
        name = name.removeprefix("arg:").removeprefix("aux:")
        if name in table:
            raise WeightsError(f"{path} must name each array once; it names {name!r} twice")
        table[name] = array
    if cursor.left:
        raise WeightsError(f"{path} must end with its names; {cursor.left} bytes follow them")
    return table


def _array(cursor: _Cursor) -> NDArray[np.generic]:
    (magic,) = cursor.numbers("<I")
    if magic not in {_V1, _V2, _V3}:
        raise cursor.refusal(f"has an array that begins with {magic:#x}")
    if magic != _V1:
        (storage,) = cursor.numbers("<i")
        if storage != 0:
            raise cursor.refusal(f"has a sparse array (storage type {storage})")
    (dimensions,) = cursor.numbers("<I")
    if not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise cursor.refusal(f"has an array of {dimensions} dimensions")
    shape = cursor.numbers(f"<{dimensions}q")
    _, _, kind = cursor.numbers("<iii")
    if not 0 <= kind < len(_TYPES):
        raise cursor.refusal(f"has numbers of type {kind}")
    dtype = np.dtype(_TYPES[kind])
    if min(shape) < 0 or math.prod(shape) * dtype.itemsize > cursor.left:
        raise cursor.refusal(f"has an array of shape {shape}")
    content = cursor.take(math.prod(shape) * dtype.itemsize)
    return np.frombuffer(content, dtype).reshape(shape)


class _Cursor:
    """A place in the file; refuses to go beyond its end."""

    def __init__(self, content: bytes, path: Path) -> None:
        self._content, self._path, self._at = memoryview(content), path, 0

    @property
    def left(self) -> int:
        """Bytes after this place."""
        return len(self._content) - self._at

    def take(self, length: int) -> bytes:
        if length > self.left:
            raise self.refusal(f"needs {length} bytes more")
        self._at += length
        return bytes(self._content[self._at - length : self._at])

    def numbers(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def refusal(self, fault: str) -> WeightsError:
        return WeightsError(
            f"{self._path} must be a whole list of dense arrays as MXNet writes it; at byte "
            f"{self._at}, with {self.left} left, it {fault}. It is damaged, cut short or of "
            "another kind"
        )
