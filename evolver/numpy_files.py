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
import zlib
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from evolver.errors import DataError
from evolver.regular_files import PARSER_ERRORS, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

LARGEST = 256 << 20
"""Bytes of one array, unpacked; the metric of DeePSim's fc6 has 134 MB."""
_LARGEST_FILE = 4 << 30
_READ_AT_ONCE = 4 << 20
"""Bytes of an archive that is read whole, once: thousands of small ones are read in seconds."""
_SMALL = 4096  # bytes of an array
_LONGEST_HEADER = 16 << 10
_MOST_ENTRIES = 1000
_LOCAL = struct.Struct("<4s22xHH")  # signature, lengths of the name and of the rest
_PLAIN_FLAGS = 0x0006 | 0x0800  # how hard it was deflated; a name in UTF-8


class _Bytes(Protocol):
    def read(self, n: int, /) -> bytes: ...


class NumpyArchive:
    """The arrays in an open archive, by name.

    Parameters
    ----------
    archive : open for reading
    path : what it is called, in errors
    content : all of its bytes, where they were read
    """

    def __init__(
        self, archive: zipfile.ZipFile, path: str | Path, content: bytes | None = None
    ) -> None:
        entries = archive.infolist()
        if len(entries) > _MOST_ENTRIES:
            raise DataError(f"{path} must hold at most {_MOST_ENTRIES} arrays; it has more")
        self._archive, self._path, self._content = archive, path, content
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
            if self._content is not None and _is_plain(entry):
                member = _Member(self._content, entry)
                return read_array(member, entry.file_size, where, fits=fits, text=text)
            with self._archive.open(entry) as file:
                return read_array(file, entry.file_size, where, fits=fits, text=text)
        except PARSER_ERRORS as error:
            raise DataError(f"{where} must be whole: {error}") from error


class _Member:
    """An array's bytes in an archive in memory, from the beginning.

    What `zipfile` does with a file, for bytes that are there: three quarters of the time that
    many small arrays take would be for its locks, seeks and buffers.
    """

    def __init__(self, content: bytes, entry: zipfile.ZipInfo) -> None:
        place, name = entry.header_offset, entry.orig_filename.encode()
        signature, named, rest = _LOCAL.unpack_from(content, place)
        begin = place + _LOCAL.size
        if signature != b"PK\x03\x04" or content[begin : begin + named] != name:
            raise zipfile.BadZipFile(f"there is no {entry.filename} where it is said to be")
        begin += named + rest
        self._rest = content[begin : begin + entry.compress_size]
        self._stored = entry.compress_type == zipfile.ZIP_STORED
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._entry, self._crc, self._given = entry, 0, 0

    def read(self, n: int, /) -> bytes:
        """Return the next n bytes, or all that are left; the sum is looked at with the last."""
        n = min(n, self._entry.file_size - self._given)
        if n <= 0:
            return b""
        if self._stored:
            part, self._rest = self._rest[:n], self._rest[n:]
        else:
            part = self._inflate.decompress(self._rest, n)
            self._rest = self._inflate.unconsumed_tail
        self._given += len(part)
        self._crc = zlib.crc32(part, self._crc)
        if self._given == self._entry.file_size and self._crc != self._entry.CRC:
            raise zipfile.BadZipFile(f"the sum of {self._entry.filename} is another one")
        return part


def _is_plain(entry: zipfile.ZipInfo) -> bool:
    """Whether a member is stored or deflated and no more."""
    return (
        entry.compress_type in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
        and not entry.flag_bits & ~_PLAIN_FLAGS
        and entry.orig_filename.isascii()
    )


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
    with opened(path, at_most=_LARGEST_FILE) as (opened_file, size):
        content = opened_file.read(size) if size <= _READ_AT_ONCE else None
        file = opened_file if content is None else io.BytesIO(content)
        try:
            archive = zipfile.ZipFile(file)
        except PARSER_ERRORS as error:
            if not zipfile.is_zipfile(file):  # asked last: it reads the end once more
                yield None
                return
            raise DataError(f"{path} must be a whole archive: {error}") from error
        with archive:
            yield NumpyArchive(archive, path, content)


def archive_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return an `.npz` file; small arrays are not compressed, which would take longer."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
            small = array.nbytes <= _SMALL
            how = zipfile.ZIP_STORED if small else zipfile.ZIP_DEFLATED
            archive.writestr(f"{name}.npy", member.getvalue(), how)
    return content.getvalue()


def read_array(
    file: _Bytes,
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
