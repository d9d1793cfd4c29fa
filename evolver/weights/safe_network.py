"""Networks out of pickles: modules, parameters and settings, as arrays and plain values.

Knows how torch and numpy lay their values in a pickle, and how the networks of Karras et al.
are kept there. Knows nothing of any architecture, and needs no torch.

Each name that such files hold means a value here, checked before it is made: a tensor must lie
inside its storage and take no more room than it, a storage must be as long as it says, numbers
must be plain numbers. Arrays are views of the file's bytes until `tensors` copies them.
"""
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# A pattern that captures from an object says nothing of what is inside; the checks do. They ask
# for a value's type before they compare it: an array's answer to == is another array.

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from evolver.errors import WeightsError
from evolver.weights.file_bytes import read_bytes
from evolver.weights.kinds import MOST_TENSORS, kind_of, meaning
from evolver.weights.safe_pickle import (
    GlobalName,
    Meaning,
    PickleError,
    ReadLimits,
    check_texts,
    read_pickle,
)

StoredArray: TypeAlias = NDArray[Any]

STORAGES: Final = {
    f"torch.{name}Storage": np.dtype(kind)
    for name, kind in (
        ("Double", "<f8"), ("Float", "<f4"), ("Half", "<f2"), ("Long", "<i8"), ("Int", "<i4"),
        ("Short", "<i2"), ("Char", "<i1"), ("Byte", "<u1"), ("Bool", "?"),
    )
}  # fmt: skip
_NUMBERS: Final = frozenset({
    "b1",
    "i1",
    "i2",
    "i4",
    "i8",
    "u1",
    "u2",
    "u4",
    "u8",
    "f2",
    "f4",
    "f8",
})
TORCH_MAGIC: Final = 0x1950A86A20F9469CFC6C
_LARGEST_FILE: Final = 4 << 30
_MOST_DIMS: Final = 8
_DEEPEST: Final = 16


@dataclass(frozen=True, slots=True, eq=False)
class Module:
    """A network, or a part of one: the name of its class, and its attributes.

    The source code that the file holds for it is dropped unread.
    """

    class_name: str
    state: Mapping[str, object]


@dataclass(frozen=True, slots=True, eq=False)
class Storage:
    """Numbers in a row, before a tensor gives them a shape."""

    numbers: StoredArray


@dataclass(slots=True, eq=False)
class NumpyType:
    """A numpy dtype in the making: its letters, then its byte order."""

    letters: str
    order: str = "<"

    def build(self, state: object) -> None:
        """Take the byte order; refuse fields, shapes and metadata."""
        match state:
            case (int(version), str(order), None, None, None, *_) if version == 3 and order in {
                "<",
                ">",
                "|",
                "=",
            }:
                self.order = order
            case _:
                raise PickleError("a dtype must be one of plain numbers")

    @property
    def dtype(self) -> np.dtype[Any]:
        """The finished dtype."""
        return np.dtype(("=" if self.order == "|" else self.order) + self.letters)


@dataclass(slots=True, eq=False)
class NumpyArray:
    """A numpy array in the making; `array` is there once its state came."""

    array: StoredArray | None = None

    def build(self, state: object) -> None:
        """Take shape, dtype and bytes, which must agree."""
        match state:
            case (int(version), shape, NumpyType() as kind, bool(fortran), memoryview()) if (
                version == 1
            ):
                raw = cast("memoryview", state[4])
            case _:
                raise PickleError("the state of an array must be shape, dtype, order and bytes")
        sizes, dtype = _counts("shape", shape), kind.dtype
        if _product(sizes) * dtype.itemsize != len(raw):
            raise PickleError(f"an array of shape {sizes} and {dtype} has {len(raw)} bytes")
        flat = np.frombuffer(raw, dtype) if len(raw) else np.zeros(0, dtype)
        self.array = flat.reshape(sizes, order="F" if fortran else "C")


def read_network(path: Path) -> tuple[object, bytes]:
    """Read a pickle of networks, running nothing that is in it; others' files are refused.

    Parameters
    ----------
    path : a file as StyleGAN3's training writes it, at most 4 GiB

    Returns
    -------
    value : dicts, lists and plain values, with a `Module` for each network
    content : the file's bytes, for a digest of what was read

    Raises
    ------
    WeightsError
        The file cannot be read.
    PickleError
        It holds what is not allowed, or is damaged.
    """
    content = read_bytes(path)
    kind = kind_of(content)
    if kind != "pickle":
        raise WeightsError(
            f"{path} must be a pickle of networks, as stylegan3-r-ffhq-1024x1024.pkl; it is "
            f"{meaning(kind)}"
        )
    try:
        return parse_network(content), content
    except PickleError as error:
        raise PickleError(
            f"{path} must be a network as StyleGAN3 pickles it; {error}"
        ) from None


def parse_network(content: bytes | memoryview) -> object:
    """Return the value in a pickle's bytes; as `read_network`."""
    view = memoryview(content).toreadonly()
    limits = ReadLimits()
    value, end = read_pickle(view, _names(limits), limits=limits)
    if end != len(view):
        raise PickleError(f"{len(view) - end} bytes follow the end")
    return value


def tensors(module: Module, *, at_most: int) -> dict[str, StoredArray]:
    """Return a module's parameters and buffers by name, ``part.part.weight``, copied.

    Parameters
    ----------
    module : the network
    at_most : bytes that all of them together may take; those of the file are enough

    Raises
    ------
    PickleError
        Parts are shared, nested too deep or misnamed, a tensor is none, or they take more room
        than `at_most`.
    """
    arrays: dict[str, StoredArray] = {}
    seen: set[int] = set()
    waiting: list[tuple[str, Module, int]] = [("", module, 0)]
    while waiting:
        prefix, part, depth = waiting.pop()
        if id(part) in seen or depth > _DEEPEST:
            raise PickleError(f"part {prefix!r} must be there once, at most {_DEEPEST} deep")
        seen.add(id(part))
        for role in ("_parameters", "_buffers"):
            for name, value in _table(part, role).items():
                if value is None:
                    continue
                if not isinstance(value, np.ndarray):
                    raise PickleError(f"{prefix}{name} must be a tensor")
                arrays[_joined(prefix, name)] = cast("StoredArray", value)
        if len(arrays) > MOST_TENSORS:
            raise PickleError(f"there must be at most {MOST_TENSORS} tensors")
        for name, value in _table(part, "_modules").items():
            if value is None:
                continue
            if not isinstance(value, Module):
                raise PickleError(f"part {prefix}{name} must be a module")
            waiting.append((_joined(prefix, name) + ".", value, depth + 1))
    total = sum(array.nbytes for array in arrays.values())
    if total > at_most:
        raise PickleError(f"tensors must take at most {at_most} bytes; they take {total}")
    return {name: np.array(array, order="C") for name, array in arrays.items()}


def _table(part: Module, role: str) -> dict[str, object]:
    table = part.state.get(role, {})
    if not isinstance(table, dict):
        raise PickleError(f"{role} of a {part.class_name} must be a dict")
    return cast("dict[str, object]", table)


def _joined(prefix: str, name: str) -> str:
    if not name.isidentifier() or len(name) > 100:
        raise PickleError(f"a part must have a name; found {name[:100]!r}")
    return prefix + name


# What each allowed name means. A meaning gets whatever the file has as arguments.


def _names(limits: ReadLimits) -> dict[str, Meaning]:
    def storage(args: tuple[object, ...]) -> Storage:
        return _storage(args, limits)

    names: dict[str, Meaning] = {
        "torch_utils.persistence._reconstruct_persistent_obj": _module,
        "torch._utils._rebuild_tensor_v2": rebuilt_tensor,
        "torch._utils._rebuild_parameter": rebuilt_parameter,
        "torch.storage._load_from_bytes": storage,
        "collections.OrderedDict": empty_table,
        "dnnlib.util.EasyDict": empty_table,
        "builtins.set": _set,
        "numpy.ndarray": not_called,
        "numpy.dtype": numpy_type,
    }
    for package in ("numpy.core", "numpy._core"):
        names[f"{package}.multiarray._reconstruct"] = numpy_array
        names[f"{package}.multiarray.scalar"] = numpy_number
    return names


def _module(args: tuple[object, ...]) -> Module:
    match args:
        case (
            {
                "type": str(kind),
                "version": int(version),
                "class_name": str(class_name),
                "state": dict(state),
            },
        ) if kind == "class" and version == 6:
            return Module(class_name, cast("dict[str, object]", state))
        case _:
            raise PickleError("must describe a class, in version 6, with its state")


def rebuilt_tensor(args: tuple[object, ...]) -> StoredArray:
    """Return the tensor that a file describes, a view that lies inside its storage."""
    match args:
        case (Storage(numbers=numbers), offset, size, stride, bool(), dict(hooks)) if not hooks:
            pass
        case _:
            raise PickleError("must have a storage, offset, size, stride and no hooks")
    sizes, strides = _counts("size", size), _counts("stride", stride)
    (first,) = _counts("offset", (offset,))
    if len(sizes) != len(strides):
        raise PickleError(f"size {sizes} and stride {strides} must be equally long")
    count = _product(sizes)
    last = first + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True))
    if count > numbers.size or (count and last >= numbers.size):
        raise PickleError(
            f"size {sizes}, stride {strides} and offset {first} must lie inside the storage of "
            f"{numbers.size} and take no more room"
        )
    if count == 0:
        return numbers[:0]
    steps = [step * numbers.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(numbers[first:], sizes, steps, writeable=False)


def rebuilt_parameter(args: tuple[object, ...]) -> StoredArray:
    """Return the tensor of a parameter."""
    match args:
        case (np.ndarray() as data, bool(), dict(hooks)) if not hooks:
            return cast("StoredArray", data)
        case _:
            raise PickleError("must have a tensor and no hooks")


def _storage(args: tuple[object, ...], limits: ReadLimits) -> Storage:
    """Read what torch.save wrote in its older layout: five pickles, then the numbers."""
    match args:
        case (memoryview(),):
            content = cast("memoryview", args[0])
        case _:
            raise PickleError("must have bytes")
    storages: list[tuple[np.dtype[Any], object, int]] = []

    def persistent(key: object) -> object:
        match key:
            case (str(role), GlobalName(text=kind), str(label), str(), int(count), None) if (
                role == "storage"
            ):
                storages.append((STORAGES[kind], label, count))
            case _:
                raise PickleError("must be the description of a storage")
        return storages

    end = 0
    parts: list[object] = []
    kinds = dict.fromkeys(STORAGES, not_called)
    for _ in range(5):
        part, end = read_pickle(content, kinds, start=end, limits=limits, persistent=persistent)
        parts.append(part)
    magic, version, system, stored, labels = parts
    if magic != TORCH_MAGIC or version != 1001 or stored is not storages or len(storages) != 1:
        raise PickleError("must be one storage in torch's older layout")
    if not isinstance(system, dict) or cast("dict[str, object]", system).get(
        "little_endian"
    ) is not True:  # fmt: skip
        raise PickleError("must be little-endian")
    dtype, label, count = storages[0]
    raw = content[end:]
    if labels != [label] or len(raw) < 8:
        raise PickleError("cut short: the storage's numbers are missing")
    (announced,) = struct.unpack("<q", raw[:8])
    if announced != count or count < 0 or count * dtype.itemsize != len(raw) - 8:
        raise PickleError(
            f"a storage of {count} {dtype} announces {announced} and has {len(raw) - 8} bytes"
        )
    return Storage(np.frombuffer(raw[8:], dtype) if count else np.zeros(0, dtype))


def numpy_type(args: tuple[object, ...]) -> NumpyType:
    """Return a dtype of plain numbers, in the making."""
    match args:
        case (str(letters), *_) if letters in _NUMBERS:
            return NumpyType(letters)
        case _:
            raise PickleError(f"must be one of plain numbers: {', '.join(sorted(_NUMBERS))}")


def numpy_array(args: tuple[object, ...]) -> NumpyArray:
    """Return an array in the making."""
    match args:
        case (GlobalName(text="numpy.ndarray"), tuple(), memoryview()):
            return NumpyArray()
        case _:
            raise PickleError("must make a numpy.ndarray")


def numpy_number(args: tuple[object, ...]) -> bool | int | float:
    """Return one number."""
    match args:
        case (NumpyType() as kind, memoryview()):
            raw = cast("memoryview", args[1])
            if len(raw) == kind.dtype.itemsize:
                return cast("bool | int | float", np.frombuffer(raw, kind.dtype)[0].item())
            raise PickleError(f"a number of {kind.dtype} has {len(raw)} bytes")
        case _:
            raise PickleError("must have a dtype and bytes")


def empty_table(args: tuple[object, ...]) -> dict[str, object]:
    """Return an empty dict."""
    if args:
        raise PickleError("must be made empty, and filled after")
    return {}


def _set(args: tuple[object, ...]) -> set[str]:
    match args:
        case ():
            return set()
        case (list(),):
            return set(check_texts(cast("list[object]", args[0])))
        case _:
            raise PickleError("must have a list")


def not_called(args: tuple[object, ...]) -> object:  # noqa: ARG001  as every meaning
    """Refuse: the name stands for a kind of thing, and makes none."""
    raise PickleError("may be named, but not called")


def _counts(what: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, tuple) or len(cast("tuple[object, ...]", value)) > _MOST_DIMS:
        raise PickleError(f"{what} must be a tuple of at most {_MOST_DIMS} numbers")
    counts = cast("tuple[object, ...]", value)
    for count in counts:
        if type(count) is not int or not 0 <= count <= _LARGEST_FILE:
            raise PickleError(f"{what} must be of whole numbers, 0 to {_LARGEST_FILE}")
    return cast("tuple[int, ...]", counts)


def _product(sizes: tuple[int, ...]) -> int:
    product = 1
    for size in sizes:
        product *= size
    if product == 0 and len(sizes) > 1:  # the other sizes would be bounded by nothing
        raise PickleError(f"size {sizes} holds nothing")
    return product
