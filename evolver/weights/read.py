"""Weight files: read without running anything in them, and only when they are the ones named.

Knows which reader is whose (`kinds` says what a file is), digests, and how a network is found
among what a file holds: a lab's checkpoint has it inside a dict, beside an optimizer, under the
names that a wrapper gave it. Knows nothing of architectures, nor of where files lie or come
from (`hub`). Weights may be stored as float16 or bfloat16; they are widened to float32 here,
once.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

import msgspec
import safetensors.torch
import torch

from evolver.errors import ConfigError, WeightsError
from evolver.regular_files import PARSER_ERRORS
from evolver.weights.file_bytes import LARGEST, read_bytes
from evolver.weights.kinds import MOST_TENSORS, FileKind, kind_of, meaning
from evolver.weights.mxnet_files import read_mxnet
from evolver.weights.torch_files import read_torch

__all__ = [
    "LARGEST",
    "ReadWeights",
    "TensorTable",
    "TensorsDifferError",
    "chosen_device",
    "fill",
    "fitted",
    "floats",
    "parse_safetensors",
    "read_bytes",
    "read_weight_file",
    "read_weights",
    "safetensors_metadata",
]  # fmt: skip

TensorTable: TypeAlias = Mapping[str, torch.Tensor]
"""The tensors of a file or network, by name."""
_Network = TypeVar("_Network")

_WRAPPERS = ("module", "_orig_mod")  # DataParallel's, and torch.compile's
_MOST_PLACES, _MOST_GROUPS, _DEEPEST_GROUP = 64, 16, 3
_LONGEST_HEADER = 16 << 20  # bytes of a safetensors header
_LISTED = 4  # names, of those that differ


@dataclass(frozen=True, slots=True, eq=False)
class ReadWeights:
    """What a weight file holds."""

    path: Path
    kind: FileKind
    sha256: str
    """Of the whole file, 64 hexadecimal digits."""
    tables: Mapping[str, TensorTable]
    """TensorTable by name, for each place in the file; the outermost place is ''."""
    beside: tuple[str, ...] = ()
    """Places of what is no tensor, some of them."""

    def describe(self) -> str:
        """Return what there is, in a line."""
        parts = [
            f"{place or 'its outermost table'} ({len(table)} tensors{_under(table)})"
            for place, table in list(self.tables.items())[:8]
        ]
        more = "" if len(self.tables) <= 8 else f" and {len(self.tables) - 8} tables more"
        return ", ".join([*parts, *self.beside[:8]]) + more


def _under(table: TensorTable) -> str:
    """Return the names that a table's tensors are under, where they are few."""
    names = list(dict.fromkeys(name.partition(".")[0] for name in table))
    return f" under {', '.join(names)}" if len(names) <= _LISTED < len(table) else ""


class TensorsDifferError(WeightsError):
    """TensorTable are not those that a network wants."""

    def __init__(self, message: str, *, differing: int) -> None:
        super().__init__(message)
        self.differing = differing
        """How many are missing, too many, or of another shape or kind."""


def read_weight_file(path: str | Path, *, sha256: str | None = None) -> ReadWeights:
    """Read a safetensors file, torch's `.pt` or `.bin`, or MXNet's `.params`.

    Parameters
    ----------
    path : the file; what it is, its bytes say
    sha256 : the digest it must have, 64 hexadecimal digits; any when None

    Returns
    -------
    ReadWeights : floating-point tensors as float32, others as stored

    Raises
    ------
    WeightsError
        The file is missing, damaged, of another kind, or is not the one named.
    """
    path = Path(path)
    content = read_bytes(path)  # once: what is hashed is what is parsed
    digest = hashlib.sha256(content).hexdigest()
    if sha256 is not None and digest != sha256:
        raise WeightsError(
            f"{path} must have sha256 {sha256}; it has {digest}. It was changed or cut short: "
            "install the package again, or name your own file with weights="
        )
    kind = kind_of(content)
    beside: tuple[str, ...] = ()
    if kind in {"torch zip", "torch row"}:
        read = read_torch(content, path=path)
        tables, beside = read.tables, read.beside
    elif kind == "mxnet":
        arrays = read_mxnet(content, path=path)
        tables = {"": {name: torch.as_tensor(array.copy()) for name, array in arrays.items()}}
    elif kind == "safetensors":
        tables = {"": parse_safetensors(content, path)}
    else:
        raise WeightsError(
            "weights must be a safetensors file, or one of torch's or MXNet's; "
            f"{path} is {meaning(kind)}"
        )
    widened: dict[int, torch.Tensor] = {}  # a tensor that is there twice is widened once

    def wide(value: torch.Tensor) -> torch.Tensor:
        return widened.setdefault(
            id(value), value.float() if value.is_floating_point() else value
        )

    wide_tables = {
        place: {name: wide(value) for name, value in table.items()}
        for place, table in tables.items()
    }
    return ReadWeights(path, kind, digest, wide_tables, beside)


def read_weights(
    path: str | Path, *, sha256: str | None = None
) -> tuple[dict[str, torch.Tensor], str]:
    """Read a file that holds tensors by name and nothing else; as `read_weight_file`.

    Returns
    -------
    tensors : floating-point ones as float32, others as stored
    sha256 : the digest of what was read

    Raises
    ------
    WeightsError
        As `read_weight_file`; or there are several tables of tensors.
    """
    file = read_weight_file(path, sha256=sha256)
    if len(file.tables) != 1:
        raise WeightsError(
            f"{path} must hold one table of tensors; it holds {file.describe()}. Name one"
        )
    (table,) = file.tables.values()
    return dict(table), file.sha256


def parse_safetensors(content: bytes, path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors in bytes of the kind "safetensors", as stored.

    Raises
    ------
    WeightsError
        There are too many, or the bytes are damaged.
    """
    (length,) = struct.unpack("<Q", content[:8])
    # Each entry opens a brace, and JSON has no other way to write one.
    if length > _LONGEST_HEADER or content.count(b"{", 8, 8 + length) > MOST_TENSORS + 100:
        raise WeightsError(
            f"{path} must hold at most {MOST_TENSORS} tensors, in a header of at most "
            f"{_LONGEST_HEADER >> 20} MiB; it has more"
        )
    try:
        return safetensors.torch.load(content)
    except (*PARSER_ERRORS, safetensors.SafetensorError) as error:
        raise WeightsError(
            f"{path} must be a whole safetensors file of numbers that torch has; "
            f"{str(error)[:200] or type(error).__name__}"
        ) from error


def safetensors_metadata(content: bytes) -> dict[str, str]:
    """Return the texts in the header of bytes that `parse_safetensors` took; {}: it has none.

    Raises
    ------
    msgspec.MsgspecError, UnicodeDecodeError
        They are no texts.
    """
    (length,) = struct.unpack("<Q", content[:8])
    header = msgspec.json.decode(content[8 : 8 + length], type=dict[str, msgspec.Raw])
    if "__metadata__" not in header:
        return {}
    return msgspec.json.decode(header["__metadata__"], type=dict[str, str])


# Which of a file's tables is a network's


def fitted(
    file: ReadWeights, build: Callable[[TensorTable], _Network], *, entry: str | None = None
) -> _Network:
    """Return what `build` makes of the one table in a file that is its network's.

    Tables are tried as they are, then without the names that wrappers put before all of theirs,
    then the part of a table that is under one name.

    Parameters
    ----------
    file : what was read
    build : makes the network of tensors; raises `WeightsError` unless they are its own, and
        before it changes anything
    entry : the table's place in the file, as ``g_ema``; whichever fits when None

    Raises
    ------
    WeightsError
        None fits, or several do and none was named, or there is no such entry.
    """
    failures: list[WeightsError] = []
    matches: dict[str, tuple[TensorTable, _Network]] = {}
    for place, table in _named(file, entry):
        for under, candidate in _unwrapped(place, table):
            try:
                network = build(candidate)
            except WeightsError as error:
                failures.append(error)
                continue
            if not any(_same(candidate, other) for other, _ in matches.values()):
                matches[under] = candidate, network
            if under == place:  # the whole of it: its parts are not looked at
                break
    if len(matches) > 1:
        raise WeightsError(
            f"{file.path} must say which of its networks to take; {', '.join(matches)} fit "
            f"alike. Name one by the option entry, as generator_options = {{ entry = "
            f'"{next(iter(matches))}" }}'
        )
    if matches:
        return next(iter(matches.values()))[1]
    nearest = min(failures, key=_differing)
    if len(file.tables) == 1 and not file.beside:
        raise nearest
    raise WeightsError(f"{nearest}. The file holds {file.describe()}") from nearest


def _differing(error: WeightsError) -> float:
    return error.differing if isinstance(error, TensorsDifferError) else float("inf")


def _named(file: ReadWeights, entry: str | None) -> list[tuple[str, TensorTable]]:
    """Return the tables to try, each with its place."""
    if entry is not None:
        for place, table in file.tables.items():
            if place == entry:
                return [(place, table)]
            if place and not entry.startswith(f"{place}."):
                continue
            start = (entry.removeprefix(f"{place}.") if place else entry) + "."
            under = {n.removeprefix(start): v for n, v in table.items() if n.startswith(start)}
            if under:
                return [(entry, under)]
        raise WeightsError(
            f"{file.path} must hold the entry {entry!r} that was named; it holds "
            f"{file.describe()}"
        )
    return list(file.tables.items())[:_MOST_PLACES]


def _unwrapped(place: str, table: TensorTable) -> Iterator[tuple[str, TensorTable]]:
    """Yield a table, and what it is without wrappers' names, and its parts; with places."""
    yield place, table
    plain = {
        ".".join(part for part in name.split(".") if part not in _WRAPPERS): value
        for name, value in table.items()
    }
    if len(plain) == len(table) and plain.keys() != table.keys():
        yield place, plain
    yield from _groups(place, table, 1)
    if plain.keys() != table.keys():
        yield from _groups(place, plain, 1)


def _groups(place: str, table: TensorTable, depth: int) -> Iterator[tuple[str, TensorTable]]:
    """Yield the parts of a table that are under one name each."""
    groups: dict[str, dict[str, torch.Tensor]] = {}
    for name, value in table.items():
        first, dot, rest = name.partition(".")
        if dot:
            groups.setdefault(first, {})[rest] = value
    if len(groups) > _MOST_GROUPS:
        return
    for first, group in groups.items():
        under = f"{place}.{first}" if place else first
        yield under, group
        if depth < _DEEPEST_GROUP:
            yield from _groups(under, group, depth + 1)


def _same(one: TensorTable, other: TensorTable) -> bool:
    return one.keys() == other.keys() and all(
        one[name] is other[name]
        or (one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]))
        for name in one
    )


# A network and its tensors


def floats(tensors: TensorTable, *, path: Path) -> TensorTable:
    """Return tensors if all are of real floating-point numbers.

    Raises
    ------
    WeightsError
        Some are whole numbers, truths or complex: of quantised weights, or no weights at all.
    """
    others = [f"{n} ({_dtype(v)})" for n, v in tensors.items() if not v.is_floating_point()]
    if others:
        raise TensorsDifferError(
            f"{path} must hold weights as floating-point numbers; it has "
            f"{_some(others)}. Whole numbers would draw other images: save it before it is "
            "quantised",
            differing=len(others),
        )
    return tensors


def fill(net: torch.nn.Module, tensors: TensorTable, *, path: Path) -> None:
    """Put tensors into a network that must want exactly these, by name, shape and kind.

    A network that was made `without_numbers` takes them as its own.

    Raises
    ------
    WeightsError
        A tensor is missing, too many, of another shape, or of whole numbers (or complex) where
        the network has floating-point ones, and the other way round.
    """
    state = net.state_dict()
    wanted = {name: tuple(value.shape) for name, value in state.items()}
    given = {name: tuple(value.shape) for name, value in tensors.items()}
    missing = [f"{name} {wanted[name]}" for name in wanted if name not in given]
    surplus = [f"{name} {given[name]}" for name in given if name not in wanted]
    shared = [name for name in wanted if name in given]
    reshaped = [
        f"{name} {given[name]}, wanted {wanted[name]}"
        for name in shared
        if given[name] != wanted[name]
    ]
    recast = [
        f"{name} {_dtype(tensors[name])}, wanted {_dtype(state[name])}"
        for name in shared
        if _number_kind(tensors[name]) != _number_kind(state[name])
    ]
    parts = [
        f"{label}: {_some(names)}"
        for label, names in (
            ("missing", missing),
            ("not wanted", surplus),
            ("of another shape", reshaped),
            ("of another kind of number", recast),
        )
        if names
    ]
    if parts:
        raise TensorsDifferError(
            f"{path} must hold the tensors of {type(net).__name__}, by name, shape and kind; "
            f"it differs in {len(missing) + len(surplus) + len(reshaped) + len(recast)}. "
            + "; ".join(parts),
            differing=len(missing) + len(surplus) + len(reshaped) + len(recast),
        )
    on_meta = any(value.is_meta for value in state.values())
    net.load_state_dict(dict(tensors), assign=on_meta)


def _some(names: list[str]) -> str:
    shown = ", ".join(name[:80] for name in names[:_LISTED])
    return shown + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")


def _dtype(value: torch.Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _number_kind(value: torch.Tensor) -> str:
    if value.is_complex():
        return "complex"
    if value.is_floating_point():
        return "float"
    return "bool" if value.dtype == torch.bool else "integer"


def chosen_device(name: str) -> torch.device:
    """Return the torch device of that name; raise `ConfigError` if this machine has none."""
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"device must be one torch can use here, as 'cpu'; {name!r}: {reason}"
        ) from error
    return device
