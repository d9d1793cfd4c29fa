"""Arrays in numpy's files (`.npy`, `.npz`) of strangers: the header first, then the numbers.

Knows numpy's headers and zip archives; never unpickles. Knows nothing of what an array is for:
whoever asks says which shapes it may have, before anything is unpacked, because a few hundred
kilobytes of an archive may stand for a gigabyte.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from contextlib import contextmanager
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from evolver.errors import DataError
from evolver.regular_files import PARSER_ERRORS, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from numpy.typing import NDArray

LARGEST = 256 << 20
"""Bytes of one array, unpacked; the metric of DeePSim's fc6 has 134 MB."""
_LARGEST_FILE = 4 << 30
_LONGEST_HEADER = 16 << 10
_MOST_ENTRIES = 1000


class NumpyArchive:
    """The arrays in an open archive, by name."""

    def __init__(self, archive: zipfile.ZipFile, path: str | Path) -> None:
        entries = archive.infolist()
        if len(entries) > _MOST_ENTRIES:
            raise DataError(f"{path} must hold at most {_MOST_ENTRIES} arrays; it has more")
        self._archive, self._path = archive, path
        self._entries = {entry.filename.removesuffix(".npy"): entry for entry in entries}
        self.names = tuple(self._entries)

    def read(
        self, name: str, *, fits: Callable[[tuple[int, ...]], bool], text: bool = False
    ) -> NDArray[Any]:
        """Return one array.

        Parameters
        ----------
        name : one of `names`
        fits : whether it may have this shape; asked before its numbers are unpacked
        text : whether it is a text, instead of numbers

        Raises
        ------
        DataError
            It is too large, of another shape, or not whole.
        """
        entry, where = self._entries[name], f"{self._path}:{name}"
        try:
            with self._archive.open(entry) as file:
                return read_array(file, entry.file_size, where, fits=fits, text=text)
        except PARSER_ERRORS as error:
            raise DataError(f"{where} must be whole: {error}") from error


@contextmanager
def opened_archive(path: str | Path) -> Generator[NumpyArchive | None, None, None]:
    """Open an `.npz` file for reading; None where a regular file is no archive.

    Raises
    ------
    OSError
        It cannot be opened, or is no regular file.
    DataError
        It is a damaged archive.
    """
    with opened(path, at_most=_LARGEST_FILE) as (file, _):
        try:
            archive = zipfile.ZipFile(file)
        except PARSER_ERRORS as error:
            if not zipfile.is_zipfile(file):  # asked last: it reads the end once more
                yield None
                return
            raise DataError(f"{path} must be a whole archive: {error}") from error
        with archive:
            yield NumpyArchive(archive, path)


def read_array(
    file: IO[bytes],
    size: int,
    where: str,
    *,
    fits: Callable[[tuple[int, ...]], bool],
    text: bool = False,
) -> NDArray[Any]:
    """Return the array in numpy's format at the place of a file; as `NumpyArchive.read`.

    Parameters
    ----------
    file : read from where it is
    size : bytes that it says it has
    where : what it is called, in errors
    fits, text : as `NumpyArchive.read` takes them
    """
    if size > LARGEST:
        raise DataError(f"{where} must have at most {LARGEST >> 20} MiB; it has {size} B")
    start = file.read(_LONGEST_HEADER)
    try:
        shape, columns_first, dtype, length = _header(_header_bytes(start))
    except PARSER_ERRORS as error:
        raise DataError(f"{where} must be an array as numpy writes it: {error}") from error
    if dtype.hasobject or dtype.kind not in ("U" if text else "fiu"):
        kind = "a text" if text else "numbers"
        raise DataError(f"{where} must hold {kind}; it holds {dtype}")
    if any(length < 0 for length in shape):
        raise DataError(f"{where} must have a shape; its header says {shape}")
    count, rest = math.prod(shape), size - length
    if count * dtype.itemsize != rest:
        raise DataError(
            f"{where} must hold all its numbers; {shape} of {dtype} are "
            f"{count * dtype.itemsize} bytes, and there are {rest}"
        )
    if not fits(shape):
        raise DataError(f"{where} must have another shape; it has {shape}")
    content = start[length:] + file.read(rest)
    if len(content) != rest:
        raise DataError(f"{where} must hold all its numbers; it is cut short")
    array: NDArray[Any] = np.frombuffer(content, dtype)
    return array.reshape(shape[::-1]).T if columns_first else array.reshape(shape)


def _header_bytes(start: bytes) -> bytes:
    """Return the magic, the length and the header that an array's bytes begin with."""
    wide = start[6:7] != b"\x01"
    (length,) = struct.unpack_from("<I" if wide else "<H", start, 8)
    return start[: length + (12 if wide else 10)]


@lru_cache(maxsize=256)
def _header(content: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Return what a header says, and its length; kept, as thousands of files say the same."""
    head = io.BytesIO(content)
    version = np.lib.format.read_magic(head)
    read: Any = {(1, 0): np.lib.format.read_array_header_1_0}.get(
        version, np.lib.format.read_array_header_2_0
    )
    shape, columns_first, dtype = read(head)
    return shape, columns_first, dtype, head.tell()
