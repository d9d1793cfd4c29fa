"""Who runs which task: several runs in one folder share its tasks, and do none twice.

A claim is a lock on one byte of the file ``claims``, at a place that the task's digest says. It
ends with the process that has it, however that ends, and leaves nothing behind. Where a file
system has no locks, everybody has every claim: a task may be done twice then, with one result.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

_FILE = "claims"
_DIGITS = 15  # of a digest: places below 2**60, which any file system can lock


@contextmanager
def claimed(folder: Path, digests: Iterable[str]) -> Generator[tuple[str, ...], None, None]:
    """Claim tasks; yield those that no other process has, and give them back behind it.

    A process has one call of this at a time: the end of one gives back whatever it has.

    Parameters
    ----------
    folder : the campaign's
    digests : of the tasks
    """
    descriptor = os.open(folder / _FILE, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        yield tuple(digest for digest in digests if _lock(descriptor, digest))
    finally:
        os.close(descriptor)


def _lock(descriptor: int, digest: str) -> bool:
    place = int(digest[:_DIGITS], 16)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True  # no locks here
    return True
