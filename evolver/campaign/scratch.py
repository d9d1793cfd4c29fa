"""A task's folder for a while, on the disk of the machine that runs it.

It goes with its task. A process that is killed leaves it behind: whoever makes the next one on
that machine takes away those whose owner is gone, which their locks say.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

_PREFIX = "evolver-task-"
_LOCK = "lock"
_YOUNG_S = 60.0  # in which a folder may have no lock yet


@contextmanager
def scratch_folder() -> Generator[Path, None, None]:
    """Yield an empty folder, and take it away."""
    clear_scratch()
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as temporary:
        folder = Path(temporary)
        descriptor = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            inner = folder / "task"
            inner.mkdir()
            yield inner
        finally:
            os.close(descriptor)


@cache
def clear_scratch() -> None:
    """Take away folders of this user that ended processes left behind; once in a process."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            status = folder.stat()
            if status.st_uid != os.getuid() or time.time() - status.st_mtime < _YOUNG_S:
                continue
            descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        except OSError:  # gone meanwhile, or not one of these
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # its task is running
        else:
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)
