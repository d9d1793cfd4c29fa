# pyright: basic
# h5py leaves half of its arguments untyped.
"""A new HDF5 file that a full disk refuses with an error.

HDF5 that cannot write cannot close its file either: it says so again for every object that is
let go, in tracebacks, and may end the process. So it writes through Python, and is never told:
what the disk refused is kept, the export is stopped by `DiskFile.check` before it goes on, HDF5
closes a file that it takes for whole, and the error is raised then.

Knows h5py and bytes; knows nothing of what is in the file.
"""

from __future__ import annotations

import io
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from evolver.whole_files import whole_file


class DiskFile(io.RawIOBase):
    """A file on a disk that takes everything, and keeps in memory what the disk refused.

    Parameters
    ----------
    path : the file to make
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("x+b", buffering=0)
        self._at, self._size = 0, 0
        self._refused: list[tuple[int, bytes]] = []
        self._error: OSError | None = None

    def check(self) -> None:
        """Raise what the disk said, if it has refused something.

        Raises
        ------
        OSError
            It has.
        """
        if self._error is not None:
            raise self._error

    def write(self, data: Any) -> int:  # noqa: ANN401  any buffer
        """Write, at once or in pieces as the system takes them."""
        rest = memoryview(data).cast("B")
        length = len(rest)
        try:
            self.check()
            self._file.seek(self._at)
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
        except OSError as error:
            self._error = self._error or error
            self._refused.append((self._at + length - len(rest), bytes(rest)))
        self._at += length
        if length:
            self._size = max(self._size, self._at)
        return length

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401  any buffer
        """Read what was written, wherever it is; zeros where nothing was."""
        into = memoryview(buffer).cast("B")
        length = max(0, min(len(into), self._size - self._at))
        data = b""
        try:
            self._file.seek(self._at)
            data = self._file.read(length) or b""
        except OSError as error:
            self._error = self._error or error
        into[:length] = data.ljust(length, b"\0")
        for start, refused in self._refused:
            first, last = max(start, self._at), min(start + len(refused), self._at + length)
            if first < last:
                into[first - self._at : last - self._at] = refused[first - start : last - start]
        self._at += length
        return length

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place; return it."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at}.get(whence, self._size)
        return self._at

    def truncate(self, size: int | None = None) -> int:
        """Make the file as long as this."""
        length = self._at if size is None else size
        try:
            self._file.truncate(length)
        except OSError as error:
            self._error = self._error or error
        self._refused = [
            (start, data[: length - start]) for start, data in self._refused if start < length
        ]
        self._size = length
        return length

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def writable(self) -> bool:
        """Return that it can be written."""
        return True

    def seekable(self) -> bool:
        """Return that it has places."""
        return True

    def close(self) -> None:
        """Give the file back."""
        self._file.close()
        super().close()


@contextmanager
def new_hdf5_file(
    path: Path, *, overwrite: bool, userblock: bytes = b""
) -> Generator[tuple[h5py.File, DiskFile]]:
    """Hand out a new HDF5 file, and what it is on; it is in its place, whole, after that.

    Parameters
    ----------
    path : the file
    overwrite : whether it may be there already
    userblock : what stands before HDF5's own bytes; 512 or more, a power of two, or none

    Yields
    ------
    the file; and its `DiskFile`, to be checked between large pieces

    Raises
    ------
    OSError
        It cannot be written there; its `errno` says why.
    """
    with whole_file(path, overwrite=overwrite) as unfinished, DiskFile(unfinished) as disk:
        try:
            with h5py.File(disk, "w", userblock_size=len(userblock)) as file:
                yield file, disk
            disk.seek(0)
            disk.write(userblock)
        finally:  # of the two errors the disk's says more
            disk.check()
