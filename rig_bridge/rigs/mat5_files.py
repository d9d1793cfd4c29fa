"""Numbers and names in a MATLAB file of version 5 to 7, read by a few checked steps.

As "MAT-File Format" of The MathWorks (chapter 1, level 5) has it. A rig reads files while they
are written, and what others put there; scipy's reader ended the process with a segmentation
fault in each of three runs of 4,000 files with a few changed bytes. Here every length is
compared with what there is before anything is taken from it, nothing nests deeper than a cell,
and what expands is bounded.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

HEAD_BYTES = 128
_LARGEST_VARIABLE = 64 << 20  # bytes, expanded
_PEEK = 2048  # bytes that hold a variable's class, shape and name
_MOST_NAMES = 100_000
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
_TEXTS = {16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELL, _CHAR, _FIRST_NUMERIC, _LAST_NUMERIC, _OPAQUE = 1, 4, 6, 15, 17
_CLASSES = {
    1: "cell",
    2: "struct",
    3: "object",
    4: "char",
    5: "sparse",
    16: "function",
    17: "string or object",
}
_COMPLEX = 0x0800

Value: TypeAlias = "NDArray[Any] | list[str] | str"
"""Numbers in MATLAB's shape; or names, of a cell or a char matrix; or what else it is."""


class MatFileError(ValueError):
    """A file is not what is wanted, or not yet whole; the text says what is wrong."""


@dataclass(frozen=True, slots=True)
class _Element:
    kind: int
    data: memoryview


def is_mat5(head: bytes) -> bool:
    """Return whether a file that begins so is of version 5 to 7."""
    return len(head) >= HEAD_BYTES and head[126:128] in {b"IM", b"MI"}


def read_mat5(content: bytes, wanted: Sequence[str]) -> tuple[dict[str, Value], list[str]]:
    """Return the variables of a file that are wanted and there, and the names of all.

    Raises
    ------
    MatFileError
        The file is not whole, or not of this kind.
    """
    if not is_mat5(content[:HEAD_BYTES]):
        raise MatFileError("it is no MATLAB file of version 5 to 7.3, or not whole")
    order = "<" if content[126:128] == b"IM" else ">"
    values: dict[str, Value] = {}
    names: list[str] = []
    for element in _elements(memoryview(content)[HEAD_BYTES:], order):
        compressed = element.kind == _COMPRESSED
        if not compressed and element.kind != _MATRIX:
            raise MatFileError(f"it holds an element of an unknown type, {element.kind}")
        start = _expanded(element.data, _PEEK) if compressed else element.data
        kind, shape, name = _heading(_body(start, order) if compressed else start, order)
        names.append(name)
        if name not in wanted:
            continue
        body = element.data
        if compressed:
            whole = _expanded(element.data, _LARGEST_VARIABLE + 1)
            if len(whole) > _LARGEST_VARIABLE:
                raise MatFileError(f"{name} must be at most {_LARGEST_VARIABLE >> 20} MiB")
            body = _one(whole, order).data
        values[name] = _value(body, order, kind, shape)
    return values, names


def _elements(data: memoryview, order: str) -> Iterator[_Element]:
    """Yield what lies end to end in `data`, each on 8 bytes, but after a compressed one."""
    at = 0
    while at < len(data):
        if len(data) - at < 8:
            raise MatFileError("it ends within an element")
        kind, length = struct.unpack_from(order + "II", data, at)
        if kind >> 16:  # of at most 4 bytes, which stand in the tag
            kind, length, begin, padded = kind & 0xFFFF, kind >> 16, at + 4, 4
            if length > padded:
                raise MatFileError("it holds an element that is longer than its place")
        else:
            begin = at + 8
            padded = length if kind == _COMPRESSED else -(-length // 8) * 8
        if begin + length > len(data):
            raise MatFileError("it ends within an element")
        yield _Element(kind, data[begin : begin + length])
        at = begin + padded


def _one(data: memoryview, order: str) -> _Element:
    element = next(_elements(data, order), None)
    if element is None or element.kind != _MATRIX:
        raise MatFileError("it holds a compressed element that is no variable")
    return element


def _body(start: memoryview, order: str) -> memoryview:
    """Return what follows the tag of a variable, of which only the beginning is here."""
    if len(start) < 8 or struct.unpack_from(order + "I", start)[0] != _MATRIX:
        raise MatFileError("it holds a compressed element that is no variable")
    return start[8:]


def _expanded(data: memoryview, most: int) -> memoryview:
    try:
        return memoryview(zlib.decompressobj().decompress(data, most))
    except zlib.error as exc:
        raise MatFileError(f"it cannot be expanded ({exc})") from exc


def _heading(body: memoryview, order: str) -> tuple[int, tuple[int, ...], str]:
    """Return class (with its flags), shape and name of a variable."""
    parts = _elements(body, order)
    flags = next(parts, None)
    if flags is None or flags.kind != 6 or len(flags.data) != 8:
        raise MatFileError("it holds a variable without a class")
    kind = int(struct.unpack_from(order + "I", flags.data)[0])
    if kind & 0xFF == _OPAQUE:
        return kind, (), _name(next(parts, None))
    sizes = next(parts, None)
    if sizes is None or sizes.kind != 5 or not 8 <= len(sizes.data) <= 128:
        raise MatFileError("it holds a variable without a shape")
    shape = tuple(int(n) for n in _array(sizes, order))
    if min(shape) < 0:
        raise MatFileError("it holds a variable of a negative size")
    return kind, shape, _name(next(parts, None))


def _name(element: _Element | None) -> str:
    if element is None or element.kind != 1:
        raise MatFileError("it holds a variable without a name")
    return bytes(element.data).decode("ascii", "replace")


def _value(body: memoryview, order: str, kind: int, shape: tuple[int, ...]) -> Value:
    name_of_kind = kind & 0xFF
    parts = list(_limited(_elements(body, order)))[3:]
    if name_of_kind == _CELL:
        if len(parts) != math.prod(shape):
            raise MatFileError("it holds a cell array of another number of cells than it says")
        return [_cell(part, order) for part in parts]
    if kind & _COMPLEX:
        return "complex"
    if name_of_kind not in {_CHAR, *range(_FIRST_NUMERIC, _LAST_NUMERIC + 1)}:
        return _CLASSES.get(name_of_kind, "of an unknown class")
    if len(parts) != 1:
        raise MatFileError("it holds a variable without its values")
    if name_of_kind == _CHAR:
        return _rows(parts[0], order, shape)
    values = _array(parts[0], order)
    if len(values) != math.prod(shape):
        raise MatFileError("it holds a variable of another size than its shape says")
    return values.reshape(shape, order="F")


def _limited(elements: Iterator[_Element]) -> Iterator[_Element]:
    for number, element in enumerate(elements):
        if number > _MOST_NAMES:
            raise MatFileError(f"a cell array must have at most {_MOST_NAMES} cells")
        yield element


def _cell(part: _Element, order: str) -> str:
    """Return the text in a cell; a cell of something else is told apart by no text."""
    if part.kind != _MATRIX:
        raise MatFileError("it holds a cell that is no variable")
    if not part.data:
        return ""
    kind, shape, _ = _heading(part.data, order)
    found = _value(part.data, order, kind, shape) if kind & 0xFF == _CHAR else None
    if not isinstance(found, list) or len(found) > 1:
        what = _CLASSES.get(kind & 0xFF, "numeric")
        raise MatFileError(f"each cell must hold one character vector; one is {what}")
    return found[0] if found else ""


def _rows(part: _Element, order: str, shape: tuple[int, ...]) -> list[str]:
    """Return the rows of a char matrix, which lies column by column."""
    if part.kind in _TEXTS:
        coding = _TEXTS[part.kind]
        if coding != "utf-8":
            coding += "-le" if order == "<" else "-be"
        try:
            text = bytes(part.data).decode(coding)
        except UnicodeDecodeError as exc:
            raise MatFileError(f"it holds a text that is not {_TEXTS[part.kind]}") from exc
    else:
        codes = _array(part, order)
        if codes.dtype.kind != "u" or codes.dtype.itemsize > 2:
            raise MatFileError("it holds a text of an unknown coding")
        text = "".join(map(chr, codes.tolist()))
    if len(text) != math.prod(shape) or len(shape) != 2:
        raise MatFileError("it holds a text of another size than its shape says")
    return [text[row :: shape[0]] for row in range(shape[0])] if text else []


def _array(element: _Element, order: str) -> NDArray[Any]:
    if element.kind not in _NUMBERS:
        raise MatFileError(f"it holds numbers of an unknown type, {element.kind}")
    dtype = np.dtype(order + _NUMBERS[element.kind])
    if len(element.data) % dtype.itemsize:
        raise MatFileError("it holds a number that is not whole")
    return np.frombuffer(element.data, dtype)
