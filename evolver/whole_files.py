"""Files that are in their place whole, or not at all.

Knows bytes and a path. Knows nothing of what is in a file.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex


@contextmanager
def whole_file(path: Path) -> Generator[Path]:
    """Hand out a name to write a file under; it is in its place, and on the disk, after that.

    Whatever interrupts it leaves the file that was there before, or none; a kill alone leaves
    the unfinished one, under another name, which begins with a dot.

    Parameters
    ----------
    path : the file; its folder is made where it is missing

    Yields
    ------
    the path to write, beside it and with its ending; there is nothing yet

    Raises
    ------
    OSError
        It cannot be written there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.stem[:100]}.{token_hex(6)}{path.suffix[:20]}")
    try:
        yield unfinished
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Put a file in its place; on the disk when this returns.

    Whatever interrupts it leaves the file that was there before, or none, and nothing beside.

    Parameters
    ----------
    path : the file; its folder is made where it is missing
    content : all of it

    Raises
    ------
    OSError
        It cannot be written there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
