"""torch's own weight files (`.pt`, `.bin`, checkpoints), read without torch's reader.

Knows the two layouts `torch.save` has had: a zip archive, and before it a row of pickles. Knows
nothing of architectures. The pickles are read by the machine of `safe_pickle`, which can call
nothing: torch's own reader ends the process on some files, and grows a tensor's storage in
silence where a file speaks of more numbers than it holds. A tensor here is a view of the file's
bytes until all of them together are known to be no more than the file.

A checkpoint holds more than weights: dicts inside dicts, an optimizer's state, an epoch, the
arguments of a program. Every dict that has tensors is handed out under its place, as
``state_dict`` or ``nets.g_ema``; what else there is is named and dropped.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import numpy as np
import torch

from evolver.errors import WeightsError
from evolver.regular_files import PARSER_ERRORS
from evolver.weights.kinds import MOST_TENSORS, ROW, entry_count
from evolver.weights.safe_network import (
    STORAGES,
    TORCH_MAGIC,
    Storage,
    StoredArray,
    empty_table,
    not_called,
    numpy_array,
    numpy_number,
    numpy_type,
    rebuilt_parameter,
    rebuilt_tensor,
)
from evolver.weights.safe_pickle import (
    GlobalName,
    Meaning,
    PickleError,
    ReadLimits,
    read_pickle,
)

if TYPE_CHECKING:
    from pathlib import Path

Tables: TypeAlias = dict[str, dict[str, torch.Tensor]]
"""Tensors by name, for each place in the file; the place of the outermost dict is ''."""

_BFLOAT16: Final = "torch.BFloat16Storage"
_KINDS: Final[Mapping[str, np.dtype[Any]]] = {**STORAGES, _BFLOAT16: np.dtype("<u2")}
_LARGEST_PICKLE: Final = 8 << 20  # bytes; a network of a thousand tensors needs 0.2 MB
_MOST_STEPS: Final = 800_000  # a tensor takes some thirty
_DEEPEST: Final = 6
_REMEDY: Final = (
    "If it is your own, save the tensors alone: torch.save(model.state_dict(), FILE). It was "
    "not run; do not trust a file whose source you do not know"
)


@dataclass(frozen=True, slots=True, eq=False)
class TorchContent:
    """What a file of torch's holds."""

    tables: Tables
    beside: tuple[str, ...]
    """Places of what is no tensor, a few of them, as ``epoch``."""


def read_torch(content: bytes, *, path: Path) -> TorchContent:
    """Read the tensors in a file of torch's.

    Parameters
    ----------
    content : the file's bytes, of the kind "torch zip" or "torch row"
    path : where they come from, for messages

    Returns
    -------
    TorchContent : every dict of tensors by its place; tensors as stored, bfloat16 as float32

    Raises
    ------
    WeightsError
        The file is cut short, speaks of more numbers than it holds, has no tensors by name, or
        names code.
    """
    try:
        read = _read_row if content.startswith(ROW) else _read_zip
        return _sorted_out(read(memoryview(content)), most_bytes=2 * len(content))
    except PickleError as error:
        remedy = f". {_REMEDY}" if "is refused" in str(error) else ""
        raise WeightsError(
            f"{path} must hold tensors by name, as torch.save writes them; {error}{remedy}"
        ) from None
    except PARSER_ERRORS as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(
            f"{path} must be a file of weights as torch.save writes it; it is damaged or cut "
            f"short: {reason}. Fetch it again"
        ) from error


# The pickles


class _Table(dict[str, object]):
    """An OrderedDict in the making; of the attributes that torch gives it, none is wanted."""

    __slots__ = ()

    def build(self, state: object) -> None:
        """Drop the attributes."""


class _Ignored:
    """A value that no network needs, as a program's arguments."""

    __slots__ = ()

    def build(self, state: object) -> None:
        """Drop what it holds."""


@dataclass(slots=True, eq=False)
class _Rebuilder:
    """Makes tensors of storages; a tensor that is mentioned twice is one."""

    made: dict[tuple[object, ...], StoredArray] = field(default_factory=dict)  # pyright: ignore[reportUnknownVariableType]

    def __call__(self, args: tuple[object, ...]) -> StoredArray:
        """Return the tensor that the file describes."""
        array = rebuilt_tensor(args)
        storage, key = cast("Storage", args[0]), args[1:4]
        return self.made.setdefault((id(storage), *key), array)


def _names(tensor: Meaning, parameter: Meaning) -> dict[str, Meaning]:
    names: dict[str, Meaning] = {
        "torch._utils._rebuild_tensor_v2": tensor,
        "torch._utils._rebuild_parameter": parameter,
        "collections.OrderedDict": lambda args: _Table(empty_table(args)),
        # What stands beside weights in a checkpoint.
        "argparse.Namespace": _ignored,
        "torch.device": _ignored,
        "torch.Size": _ignored,
        "_codecs.encode": _encoded,
        "numpy.dtype": numpy_type,
        "numpy.ndarray": not_called,
    }
    for package in ("numpy.core", "numpy._core"):
        names[f"{package}.multiarray._reconstruct"] = numpy_array
        names[f"{package}.multiarray.scalar"] = numpy_number
    numbers = ("float32", "float16", "bfloat16", "float64")
    return names | dict.fromkeys((*_KINDS, *(f"torch.{n}" for n in numbers)), not_called)


def _ignored(args: tuple[object, ...]) -> _Ignored:  # noqa: ARG001  as every meaning
    return _Ignored()


def _nothing(args: tuple[object, ...]) -> None:  # noqa: ARG001  as every meaning
    return None


def _encoded(args: tuple[object, ...]) -> memoryview:
    match args:
        case (str(text), str(encoding)) if encoding == "latin1":
            return memoryview(text.encode("latin1"))
        case _:
            raise PickleError("must have a text, in latin1")


def _limits() -> ReadLimits:
    return ReadLimits(steps=_MOST_STEPS, text=16 << 20, number_keys=True)


def _described(key: object, last: tuple[object, ...]) -> tuple[str, str, int]:
    """Return kind, label and count of the storage that a persistent id describes."""
    parts = cast("tuple[object, ...]", key) if isinstance(key, tuple) else ()
    match parts[:5]:
        case (str(role), GlobalName(text=kind), str(label), str(), int(count)) if (
            role == "storage" and kind in _KINDS and parts[5:] == last and count >= 0
        ):
            return kind, label, count
        case _:
            raise PickleError("must describe a storage of numbers, and no view of another")


def _storage(kind: str, count: int, raw: memoryview) -> Storage:
    dtype = _KINDS[kind]
    if count * dtype.itemsize != len(raw):
        raise PickleError(
            f"must hold all its tensors' numbers; a storage of {count} numbers of "
            f"{dtype.itemsize} bytes has {len(raw)} bytes"
        )
    numbers = np.frombuffer(raw, dtype) if count else np.zeros(0, dtype)
    if kind == _BFLOAT16:  # the upper half of a float32, which numpy has no name for
        numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
    return Storage(numbers)


def _protocol_2(pickled: memoryview, start: int = 0) -> None:
    if bytes(pickled[start : start + 2]) != b"\x80\x02":
        raise PickleError("must be pickled by protocol 2, torch's own")


# The layouts


def _read_zip(content: memoryview) -> object:
    if entry_count(content.obj) > 2 * MOST_TENSORS:  # pyright: ignore[reportArgumentType]
        raise PickleError(f"must hold at most {MOST_TENSORS} tensors; it has far more entries")
    with zipfile.ZipFile(BytesIO(content)) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        if len(entries) != len(archive.infolist()):
            raise PickleError("must name each entry once")
    if len(entries) > MOST_TENSORS + 100:
        raise PickleError(
            f"must hold at most {MOST_TENSORS} tensors; it has {len(entries)} entries"
        )
    tables = [name for name in entries if name.endswith("/data.pkl")]
    if len(tables) != 1:
        raise PickleError(f"must hold one table of tensors, data.pkl; it holds {len(tables)}")
    folder = tables[0].removesuffix("data.pkl")
    pickled = _entry(content, entries[tables[0]])
    if len(pickled) > _LARGEST_PICKLE:
        raise PickleError(f"must have a table of at most {_LARGEST_PICKLE >> 20} MiB")
    order = entries.get(f"{folder}byteorder")
    if order is not None and bytes(_entry(content, order)) != b"little":
        raise PickleError("must be little-endian; its byteorder says that it is not")
    storages: dict[str, tuple[str, int, Storage]] = {}

    def persistent(key: object) -> object:
        kind, label, count = _described(key, ())
        if label not in storages:
            entry = entries.get(f"{folder}data/{label}")
            if entry is None:
                raise PickleError(
                    f"must hold all its tensors' numbers; {label!r:.60} is missing"
                )
            storages[label] = kind, count, _storage(kind, count, _entry(content, entry))
        known_kind, known_count, storage = storages[label]
        if (known_kind, known_count) != (kind, count):
            raise PickleError("must describe each storage in one way")
        return storage

    _protocol_2(pickled)
    names = _names(_Rebuilder(), rebuilt_parameter)
    return read_pickle(pickled, names, limits=_limits(), persistent=persistent)[0]


def _entry(content: memoryview, entry: zipfile.ZipInfo) -> memoryview:
    """Return an entry's bytes, not copied."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
        raise PickleError("must not be compressed or encrypted, since torch.save does neither")
    at = entry.header_offset
    head = bytes(content[at : at + 30])
    if len(head) < 30 or head[:4] != b"PK\x03\x04":
        raise PickleError(f"cut short: entry {entry.filename!r:.60} is not where it should be")
    name_length, extra_length = struct.unpack("<HH", head[26:])
    start = at + 30 + name_length + extra_length
    part = content[start : start + entry.file_size]
    if len(part) != entry.file_size:
        raise PickleError("must hold what its table of contents lists; it is shorter")
    if zlib.crc32(part) != entry.CRC:
        raise PickleError(f"damaged: the check sum of {entry.filename!r:.60} is another")
    return part


def _read_row(content: memoryview) -> object:
    """Read magic number, protocol, machine, tensors, labels; then numbers, label by label."""
    head = content[:_LARGEST_PICKLE]
    limits, described = _limits(), dict[str, tuple[str, int]]()

    def noted(key: object) -> object:
        kind, label, count = _described(key, (None,))
        if described.setdefault(label, (kind, count)) != (kind, count):
            raise PickleError("must describe each storage in one way")
        return None

    def step(start: int, names: Mapping[str, Meaning], persistent: Callable[[object], object]):  # noqa: ANN202
        _protocol_2(head, start)
        return read_pickle(head, names, start=start, limits=limits, persistent=persistent)

    magic, end = step(0, {}, _no_storage)
    version, end = step(end, {}, _no_storage)
    machine, start = step(end, {}, _no_storage)
    # Where a storage's numbers lie is said after the tensors that are made of them.
    _, end = step(start, _names(_nothing, _nothing), noted)
    labels, end = step(end, {}, _no_storage)
    little = (
        cast("dict[str, object]", machine).get("little_endian")
        if isinstance(machine, dict)
        else 0
    )
    if magic != TORCH_MAGIC or version != 1001 or little is not True:
        raise PickleError("must be in torch's older layout, little-endian")
    storages: dict[str, Storage] = {}
    for label in cast("list[object]", labels) if isinstance(labels, list) else [labels]:
        if not isinstance(label, str) or label not in described or label in storages:
            raise PickleError("must list each of its storages once")
        kind, count = described[label]
        stop = end + 8 + count * _KINDS[kind].itemsize
        raw = content[end + 8 : stop]
        if bytes(content[end : end + 8]) != struct.pack("<Q", count):
            raise PickleError(
                f"cut short: a storage of {count} numbers announces another count"
            )
        storages[label], end = _storage(kind, count, raw), stop
    if missing := sorted(described.keys() - storages):
        raise PickleError(f"must hold all its tensors' numbers; {missing[:3]} are missing")

    def persistent(key: object) -> object:
        return storages[_described(key, (None,))[1]]

    names = _names(_Rebuilder(), rebuilt_parameter)
    return read_pickle(head, names, start=start, limits=_limits(), persistent=persistent)[0]


def _no_storage(key: object) -> object:  # noqa: ARG001  as every answer to a persistent id
    raise PickleError("names a storage where there is none")


# What is in them


def _sorted_out(value: object, *, most_bytes: int) -> TorchContent:
    """Return the dicts of tensors in a value, copied, and the places of what else there is."""
    if not isinstance(value, dict):
        raise PickleError(f"it holds a {type(value).__name__}")
    found: dict[str, dict[str, StoredArray]] = {}
    beside: list[str] = []
    waiting: list[tuple[str, dict[object, object], int]] = [("", cast("Any", value), 0)]
    seen: set[int] = set()
    while waiting:
        place, table, depth = waiting.pop(0)
        if id(table) in seen or depth > _DEEPEST:
            continue
        seen.add(id(table))
        for key, held in table.items():
            name = f"{place}.{key}" if place else str(key)
            if isinstance(key, str) and isinstance(held, np.ndarray):
                found.setdefault(place, {})[key] = cast("StoredArray", held)
            elif isinstance(key, str) and isinstance(held, dict):
                waiting.append((name, cast("dict[object, object]", held), depth + 1))
            elif len(beside) < 8 and len(name) < 60:
                beside.append(name)
    if not found:
        listed = f"; it holds {', '.join(beside)}" if beside else "; it holds an empty dict"
        raise PickleError(f"there are no tensors by name{listed}")
    arrays = {id(a): a for table in found.values() for a in table.values()}
    if sum(map(len, found.values())) > MOST_TENSORS:
        raise PickleError(f"must hold at most {MOST_TENSORS} tensors")
    total = sum(array.nbytes for array in arrays.values())
    if total > most_bytes:
        raise PickleError(
            f"must hold all its tensors' numbers; they would take {total} bytes, which is more "
            "than the file has"
        )
    copies = {key: torch.as_tensor(np.array(a, order="C")) for key, a in arrays.items()}
    return TorchContent(
        {place: {k: copies[id(a)] for k, a in t.items()} for place, t in found.items()},
        tuple(beside),
    )
