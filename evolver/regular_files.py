"""Files of strangers: opened without waiting, read only if they are files, and never further.

Knows descriptors, lengths, and what parsers raise. Knows nothing of what is in a file. A pipe
that nobody writes to would be waited for until the session is killed, and a device such as
/dev/zero has no end: both are refused here, on the descriptor that is then read from, so that
what was checked is what is read.
"""

from __future__ import annotations

import lzma
import os
import stat
import struct
import tokenize
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator
    from io import BufferedReader

PARSER_ERRORS = (
    ArithmeticError, AttributeError, BufferError, EOFError, LookupError, MemoryError, OSError,
    RuntimeError, SyntaxError, SystemError, TypeError, ValueError, struct.error, zlib.error,
    lzma.LZMAError, tokenize.TokenError, zipfile.BadZipFile,
)  # fmt: skip
"""What a library's parser may raise on bytes that are not what they seem."""


class NotAFileError(OSError):
    """A path is of no regular file, or of one that is too large."""


@contextmanager
def opened(
    path: str | Path, *, at_most: int
) -> Generator[tuple[BufferedReader, int], None, None]:
    """Open a regular file; ``~`` at the start of its path is the user's home.

    Parameters
    ----------
    path : the file
    at_most : bytes it may have

    Yields
    ------
    file : open for reading
    size : its bytes; there may be fewer to read, and whoever reads more is to refuse them

    Raises
    ------
    OSError
        It cannot be opened. `NotAFileError`: it is a pipe, a device, a folder, or too large.
    """
    place = expanded(path)
    # Without waiting: a pipe without a writer opens at once, and is then seen to be one.
    descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    status = os.fstat(descriptor)
    if stat.S_ISDIR(status.st_mode):
        os.close(descriptor)
        raise NotAFileError("it must be a regular file; it is a folder")
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(status.st_mode):
            raise NotAFileError(f"it must be a regular file; it is {_kind(status.st_mode)}")
        if status.st_size > at_most:
            raise NotAFileError(
                f"it must have at most {_amount(at_most)}; it has {_amount(status.st_size)}"
            )
        yield file, status.st_size


def read_regular(path: str | Path, *, at_most: int) -> bytes:
    """Return all of a regular file, which may be read once; raises as `opened`."""
    with opened(path, at_most=at_most) as (file, size):
        content = file.read(size + 1)  # and no room for all that it may have
        if len(content) > size:
            content += file.read(at_most + 1 - len(content))
    if len(content) > at_most:  # it grew, or never had the length it said
        raise NotAFileError(f"it must have at most {_amount(at_most)}; it has more")
    return content


def expanded(path: str | Path) -> Path:
    """Return a path whose ``~`` is the user's home; as it was where there is none."""
    place = path if isinstance(path, Path) else Path(path)
    if not str(path).startswith("~"):
        return place
    try:
        return place.expanduser()
    except RuntimeError:  # nobody of that name
        return place


def _amount(size: int) -> str:
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} bytes"


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFIFO: "a pipe",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")
