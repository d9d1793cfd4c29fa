"""Disks that fail: storage calls that raise, take half, forget, or are the process's last.

None of them waits for real platters: what a process has written outlives the process without,
and the power losses here are made up. That keeps thousands of syncs quick on a busy machine.
"""

import errno
import os
import shutil
import signal

from evolver.journal.storage import OsFileSystem

CALLS = ("make_folder", "lock", "create", "preallocate", "pwrite", "truncate", "fdatasync",
         "sync_file", "sync_folder")  # fmt: skip

SYNCS = ("fdatasync", "sync_file", "sync_folder")


class Disk:
    """A disk that counts its calls and lets `before` have a say in each.

    A sync that fails forgets what was written since the last one, as a kernel may.
    """

    def __init__(self):
        self.calls = []
        self.dirty = {}  # fd -> [(offset, length)]
        self._disk = OsFileSystem()

    def before(self, name, args):
        """Raise, or return a number of bytes that a write shall take, or None."""

    def __getattr__(self, name):
        real = getattr(self._disk, name)
        if name not in CALLS:
            return real

        def call(*args):
            self.calls.append(name)
            try:
                take = self.before(name, args)
            except OSError:
                if name == "fdatasync":
                    for offset, length in self.dirty.pop(args[0], []):
                        os.pwrite(args[0], bytes(length), offset)
                raise
            if name == "pwrite":
                fd, data, offset = args
                data = data if take is None else data[:take]
                self.dirty.setdefault(fd, []).append((offset, len(data)))
                return real(fd, data, offset)
            if name == "fdatasync":
                self.dirty.pop(args[0], None)
            return None if name in SYNCS else real(*args)

        return call


class FaultyDisk(Disk):
    """Fails the calls numbered in `at`, in one way."""

    def __init__(self, at=(), how="EIO"):
        super().__init__()
        self.at, self.how = set(at), how

    def before(self, name, args):
        """Fail if it is this call's turn."""
        if len(self.calls) - 1 not in self.at:
            return None
        if self.how == "short" and name == "pwrite":
            return max(1, len(args[1]) // 2)
        if self.how == "torn" and name == "pwrite":
            fd, data, offset = args
            os.pwrite(fd, data[: len(data) // 2], offset)
            self.dirty.setdefault(fd, []).append((offset, len(data) // 2))
        number = errno.ENOSPC if self.how in {"ENOSPC", "torn"} else errno.EIO
        raise OSError(number, os.strerror(number))


class KillingDisk(Disk):
    """Kills its own process at the call numbered `at`, half way through if it is a write."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def before(self, _name, args):
        """Kill if it is this call's turn."""
        if len(self.calls) - 1 == self.at:
            if _name == "pwrite":
                os.pwrite(args[0], args[1][: len(args[1]) // 2], args[2])
            os.kill(os.getpid(), signal.SIGKILL)


class ForgetfulDisk(Disk):
    """Knows what a power loss would leave: of what was not synced, any part.

    Written bytes are durable after fdatasync, a file's existence after sync_folder; before that
    each unsynced write, cut and file may have come through or not, by the dice of `lose`.
    """

    def __init__(self):
        super().__init__()
        self.paths = {}  # fd -> path
        self.durable = {}  # path -> bytes
        self.pending = {}  # path -> [("write", offset, data) | ("cut", length)]
        self.listed = set()

    def create(self, path):
        """Create; the folder does not list it durably yet."""
        fd = self._disk.create(path)
        self.paths[fd] = path
        self.durable[path], self.pending[path] = b"", []
        return fd

    def preallocate(self, fd, n_bytes):
        """Reserve zeros."""
        self._disk.preallocate(fd, n_bytes)
        self.pending[self.paths[fd]].append(("grow", n_bytes))

    def pwrite(self, fd, data, offset):
        """Write, into the cache."""
        self.pending[self.paths[fd]].append(("write", offset, bytes(data)))
        return self._disk.pwrite(fd, data, offset)

    def truncate(self, fd, n_bytes):
        """Cut, in the cache."""
        self.pending[self.paths[fd]].append(("cut", n_bytes))
        self._disk.truncate(fd, n_bytes)

    def fdatasync(self, fd):
        """Make the file's bytes durable."""
        path = self.paths[fd]
        for change in self.pending[path]:
            self.durable[path] = _apply(self.durable[path], change)
        self.pending[path] = []

    def sync_folder(self, _path):
        """Make the folder's list durable."""
        self.listed |= set(self.paths.values())

    def lose(self, target, rng):
        """Write into `target` what the disk may hold after a power loss now."""
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        for path, data in self.durable.items():
            if path not in self.listed and rng.random() < 0.5:
                continue
            for change in self.pending[path]:
                if rng.random() < 0.5:
                    if change[0] == "write" and rng.random() < 0.5:  # torn within
                        cut = int(rng.integers(len(change[2]) + 1))
                        change = ("write", change[1], change[2][:cut])
                    data = _apply(data, change)
            (target / path.name).write_bytes(data)


def _apply(data, change):
    if change[0] == "cut":
        return data[: change[1]].ljust(change[1], b"\0")
    if change[0] == "grow":
        return data.ljust(change[1], b"\0")
    _, offset, new = change
    data = data.ljust(offset, b"\0")
    return data[:offset] + new + data[offset + len(new) :]
