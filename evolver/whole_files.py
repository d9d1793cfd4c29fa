"""Files that are in their place whole, or not at all.

Knows bytes and a path. Knows nothing of what is in a file.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_whole(path: Path, content: bytes, *, shared: bool = False) -> None:
    """Put a file in its place; on the disk when this returns.

    Whatever interrupts it leaves the file that was there before, or none, and nothing beside.

    Parameters
    ----------
    path : the file; its folder is made where it is missing
    content : all of it
    shared : whether whoever may read other new files of this user may read it

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
            if shared:
                mask = os.umask(0)
                os.umask(mask)
                os.fchmod(file.fileno(), 0o666 & ~mask)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
