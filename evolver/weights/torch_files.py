"""torch's own weight files (`.pt`, `.bin`), read without running anything that is in them.

Knows the two layouts `torch.save` has had: a zip archive, and before it a row of pickles. Knows
nothing of architectures. What torch's reader for weights lets pass is looked at first:

- the pickle is taken apart, not run, and may name nothing but tensors and their containers;
- it is then read without its numbers, on torch's `meta` device: a file that speaks of more
  numbers than it holds (torch would grow a tensor's storage in silence) is refused before any
  memory is taken for them.
"""

from __future__ import annotations

import io
import pickletools
import struct
import warnings
import zipfile
from pickle import UnpicklingError
from typing import TYPE_CHECKING, cast

import torch

from evolver.errors import WeightsError

if TYPE_CHECKING:
    from pathlib import Path

ZIP, ROW = b"PK\x03\x04", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""First bytes of the two layouts."""

_NAMES = frozenset({
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    *(
        f"torch {kind}Storage"
        for kind in ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Short", "Char")
    ),
    *(f"torch {kind}Storage" for kind in ("Byte", "Bool")),
})
_CALLS_BY_OTHER_NAMES = frozenset({
    "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID",
})  # fmt: skip
_LARGEST_PICKLE = 4 << 20  # bytes; a network of a thousand tensors needs 0.2 MB
_PICKLES_IN_A_ROW = 5  # magic number, protocol, machine, tensors, order of their numbers
_MOST_ENTRIES = 20_000
# What torch and zipfile raise on files that are not what they seem.
_DAMAGE = (
    UnpicklingError, RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError,
    AssertionError, EOFError, OverflowError, MemoryError, OSError, struct.error,
    zipfile.BadZipFile, NotImplementedError,
)  # fmt: skip


def read_torch(content: bytes, *, path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors in a file of torch's.

    Parameters
    ----------
    content : the file's bytes, beginning with `ZIP` or `ROW`
    path : where they come from, for messages

    Returns
    -------
    dict : tensors by name, as stored

    Raises
    ------
    WeightsError
        The file is cut short, speaks of more numbers than it holds, is no plain table of
        tensors, or names code.
    """
    try:
        for pickled in _pickles(content):
            _look(pickled)
        with torch.serialization.skip_data():
            outline = torch.load(io.BytesIO(content), map_location="meta", weights_only=True)
        _check_outline(outline, len(content))
        table = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except _RefusedError as error:
        raise WeightsError(f"{path} {error}") from error
    except _DAMAGE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(
            f"{path} must be a file of weights as torch.save writes it; it is damaged or cut "
            f"short: {reason}. Fetch it again"
        ) from error
    return {name: value.detach() for name, value in table.items()}


class _RefusedError(Exception):
    """Why a file that can be read is not taken."""


def _pickles(content: bytes) -> list[io.BytesIO]:
    """Return what will be unpickled: one stream, read from as often as it is in the list."""
    if content.startswith(ROW):
        row = io.BytesIO(content[:_LARGEST_PICKLE])
        return [row] * _PICKLES_IN_A_ROW
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        if len(entries) > _MOST_ENTRIES:
            raise _RefusedError(
                f"must hold at most {_MOST_ENTRIES} tensors; it has {len(entries)} entries"
            )
        if any(e.compress_type != zipfile.ZIP_STORED for e in entries):
            raise _RefusedError("must not be compressed, since torch.save does not; it is")
        if sum(e.file_size for e in entries) > len(content):
            raise _RefusedError("must hold what its table of contents lists; it is shorter")
        tables = [e for e in entries if e.filename.endswith("/data.pkl")]
        if len(tables) != 1:
            raise _RefusedError(
                f"must hold one table of tensors, data.pkl; it holds {len(tables)}. A "
                "TorchScript archive is no file of weights"
            )
        if tables[0].file_size > _LARGEST_PICKLE:
            raise _RefusedError(f"must have a table of at most {_LARGEST_PICKLE >> 20} MiB")
        return [io.BytesIO(archive.read(tables[0]))]


def _look(pickled: io.BytesIO) -> None:
    """Raise unless the next pickle in the stream names nothing but tensors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd escapes in strings
        for code, argument, _ in pickletools.genops(pickled):
            if code.name == "PROTO" and argument != 2:
                raise _RefusedError(
                    f"must be pickled by protocol 2, torch's own; it says {argument}"
                )
            if code.name == "GLOBAL" and argument not in _NAMES:
                named = str(argument).replace(" ", ".")
                raise _RefusedError(
                    f"must hold tensors and nothing else; it names {named[:100]!r}, and a file "
                    "of weights has no use for that. It was not run. Do not trust its source"
                )
            if code.name in _CALLS_BY_OTHER_NAMES:
                raise _RefusedError(
                    f"must hold tensors and nothing else; it makes objects by {code.name}, "
                    "which torch.save has no use for. It was not run"
                )


def _check_outline(outline: object, size: int) -> None:
    """Raise unless it is tensors by name, that together have no more bytes than the file."""
    if not isinstance(outline, dict) or not outline:
        kind = type(cast("object", outline)).__name__
        raise _RefusedError(f"must hold tensors by name; it holds a {kind}")
    total = 0
    for name, value in cast("dict[object, object]", outline).items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise _RefusedError(
                f"must hold tensors by name, and nothing beside them; {str(name)[:60]!r} is a "
                f"{type(value).__name__}"
            )
        if value.dtype.is_complex or value.layout != torch.strided or value.is_quantized:
            raise _RefusedError(f"must hold plain numbers; {name!r} is {value.dtype}")
        total += max(value.untyped_storage().nbytes(), value.numel() * value.element_size())
    if total > size:
        raise _RefusedError(
            f"must hold all its tensors' numbers; they would take {total} bytes, and the file "
            f"has {size}: its shapes are not those of what is in it"
        )
