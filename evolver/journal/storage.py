"""The storage calls a journal makes, one method each, so that tests can fail every one of them.

Knows the operating system; knows nothing of frames or records. Every method raises `OSError`
as the system does, and none retries. POSIX only: journals are read anywhere, but written where
there is pwrite, flock and a sync of folders.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import sys
from pathlib import Path
from typing import Protocol

logger = logging.getLogger(__name__)

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_CANNOT = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF)
_CANNOT_OPEN = (errno.EISDIR, errno.EACCES, errno.EPERM, errno.EINVAL)


def is_full(error: BaseException | None) -> bool:
    """Return whether an error, or what it came from, says that a disk is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            return True
        error = error.__cause__
    return False


class FileSystem(Protocol):
    """What a journal asks of a disk."""

    def make_folder(self, path: Path) -> None:
        """Create a folder and its parents, durably; no error if it exists."""
        ...

    def lock(self, path: Path) -> int:
        """Lock a file, made if need be.

        Raises
        ------
        BlockingIOError
            Another process holds it.
        """
        ...

    def create(self, path: Path) -> int:
        """Create a file that must not exist yet, for writing."""
        ...

    def preallocate(self, fd: int, n_bytes: int) -> None:
        """Reserve room, reading as zeros, from the start of the file."""
        ...

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        """Write at an offset; return how many bytes were taken, which may be fewer."""
        ...

    def truncate(self, fd: int, n_bytes: int) -> None:
        """Cut the file to a length."""
        ...

    def fdatasync(self, fd: int) -> None:
        """Return when what was written is on the disk."""
        ...

    def sync_file(self, path: Path) -> None:
        """Open an existing file, sync it, close it."""
        ...

    def sync_folder(self, path: Path) -> None:
        """Return when the folder's list of files is on the disk."""
        ...

    def close(self, fd: int) -> None:
        """Give a descriptor back; a lock on it goes with it."""
        ...


class OsFileSystem:
    """`FileSystem` by the operating system."""

    def make_folder(self, path: Path) -> None:
        """Create a folder and its parents, durably; no error if it exists."""
        if path.is_dir():
            return
        self.make_folder(path.parent)
        path.mkdir(exist_ok=True)
        self.sync_folder(path.parent)

    def lock(self, path: Path) -> int:
        """Lock a file, made if need be.

        Raises
        ------
        BlockingIOError
            Another process holds it.
        """
        fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise
        return fd

    def create(self, path: Path) -> int:
        """Create a file that must not exist yet, for writing."""
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)

    def preallocate(self, fd: int, n_bytes: int) -> None:
        """Reserve room, reading as zeros, from the start of the file."""
        if sys.platform == "linux":
            os.posix_fallocate(fd, 0, n_bytes)

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        """Write at an offset; return how many bytes were taken, which may be fewer."""
        return os.pwrite(fd, data, offset)

    def truncate(self, fd: int, n_bytes: int) -> None:
        """Cut the file to a length."""
        os.ftruncate(fd, n_bytes)

    def fdatasync(self, fd: int) -> None:
        """Return when what was written is on the disk."""
        if sys.platform == "darwin":
            # There, fsync leaves data in the drive's own cache.
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
        else:
            os.fdatasync(fd)

    def sync_file(self, path: Path) -> None:
        """Open an existing file, sync it, close it."""
        _sync(path, os.O_RDWR)

    def sync_folder(self, path: Path) -> None:
        """Return when the folder's list of files is on the disk."""
        sync_folder(path)

    def close(self, fd: int) -> None:
        """Give a descriptor back; a lock on it goes with it."""
        os.close(fd)


def _sync(path: Path, access: int) -> None:
    fd = os.open(path, access | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_folder(path: Path) -> None:
    """Return when a folder's list of files is on the disk.

    Where a file system cannot sync a folder (CIFS, exFAT and others answer that it is no valid
    request), everything is synced instead, which is slower and promises the same.

    Raises
    ------
    OSError
        The disk refuses.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        if exc.errno not in _CANNOT_OPEN:
            raise
        _sync_everything(path, exc)
        return
    try:
        os.fsync(fd)
    except OSError as exc:
        if exc.errno not in _CANNOT:
            raise
        _sync_everything(path, exc)
    finally:
        os.close(fd)


def _sync_everything(path: Path, why: OSError) -> None:
    logger.info("%s cannot be synced by itself: %s", path, why)
    os.sync()


def disk_free_bytes(path: Path) -> int:
    """Return the bytes that can still be written where `path`, or its nearest parent, lies."""
    for folder in (path, *path.absolute().parents):
        if folder.exists():
            return shutil.disk_usage(folder).free
    return 0
