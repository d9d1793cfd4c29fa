"""The record itself: an append-only journal that survives kills, power loss and full disks.

Knows frames, segments and what a disk may do wrong; knows nothing of what a record says. A
record is acknowledged when `sync` has returned, and from then on no fault of the process, the
kernel or the power supply takes it away. The rules, and why:

- Bytes go to tracked offsets by `pwrite`: a failed write cannot move what comes after it.
- Everything not yet durable is kept in memory, so that it can be written again.
- After a failed write the file is cut back to its last durable byte.
- After a failed sync or cut the descriptor is never used again: the kernel may have dropped the
  pages and reports the error once only. A new segment takes everything not yet durable.
- A reader cuts what is torn (`reader.py`).
- The first record, without which the others say nothing, begins every later segment again, and
  stands twice in the first one: at its beginning, and some pages on.
"""

from __future__ import annotations

import contextlib
import errno
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

from evolver.errors import OrderError, RecordingError
from evolver.journal import frames
from evolver.journal.reader import (
    HEAD,
    JournalIndex,
    read_journal,
    segment_name,
    segment_paths,
)
from evolver.journal.records import AnyRecord, encode_record
from evolver.journal.storage import DISK_FULL, FileSystem, OsFileSystem
from evolver.session_folder import JOURNAL_LOCK

__all__ = ["JournalWriter", "read_journal"]

SEGMENT_BYTES = 64 << 20
_WRITE_BYTES = 1 << 20
_HEADS_APART_BYTES = 4096  # between the two of the first segment: a disk fails by the page


_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def is_locked(folder: Path, files: FileSystem | None = None) -> bool:
    """Whether another process writes the journal in `folder`, as far as locks tell."""
    lock = folder / JOURNAL_LOCK
    if not lock.is_file():
        return False
    files = OsFileSystem() if files is None else files
    try:
        files.close(files.lock(lock))
    except BlockingIOError:
        return True
    except (
        OSError
    ):  # no locks, or a place that cannot be written: whoever writes there will say
        return False
    return False


class JournalWriter:
    """Appends records to a journal; one writer a folder, and one worker a writer.

    Parameters
    ----------
    folder : Path, made if need be
    files : the storage calls; another one in tests
    segment_bytes : int > 0; a new segment is begun once one has grown to this, and this much
        room is reserved for it. A segment is longer only where one record, with the first one
        before it, is
    resume : go on with an existing journal: in a new segment, after its last readable record

    Raises
    ------
    RecordingError
        The folder holds a journal and `resume` is False, another writer has it, or the disk
        refuses.
    DamagedJournalError
        The journal to go on with has no first record that can be read.
    """

    def __init__(
        self,
        folder: Path,
        *,
        files: FileSystem | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        resume: bool = False,
    ) -> None:
        self.folder = folder
        self._files = OsFileSystem() if files is None else files
        self._segment_bytes = segment_bytes
        self._pending: deque[bytes] = deque()  # frames not known to be durable
        self._fd: int | None = None
        self._end = 0  # durable bytes of the open segment
        self._closed = False
        self._durable_bytes = 0
        self._head = b""  # the frame of the first record, once there is one
        self._head_again = False  # it stands once in the first segment, and is due again
        self._lock = self._take_lock()
        try:
            self._next_segment, self._next_sequence, self._last_payload = self._look(
                resume=resume
            )
        except (OSError, RecordingError) as exc:
            self._files.close(self._lock)
            if isinstance(exc, RecordingError):
                raise
            raise RecordingError(f"cannot resume the journal in {folder}: {exc}") from exc

    @property
    def next_sequence(self) -> int:
        """The number the next record will get."""
        return self._next_sequence

    @property
    def durable_records(self) -> int:
        """Every record with a sequence below this is on the disk."""
        return self._next_sequence - len(self._pending)

    @property
    def durable_bytes(self) -> int:
        """Bytes of the frames that this writer made durable."""
        return self._durable_bytes

    @property
    def last_payload(self) -> bytes:
        """Payload of the last record that was there when the journal was opened; or empty."""
        return self._last_payload

    def append(self, record: AnyRecord) -> int:
        """Take a record; it is durable once `sync` has returned.

        Returns
        -------
        int, its sequence number

        Raises
        ------
        RecordingError
            The record is too long for a frame.
        OrderError
            The journal is closed.
        """
        return self.append_payload(encode_record(record))

    def append_payload(self, payload: bytes | bytearray) -> int:
        """Take a record that is already encoded; otherwise as `append`."""
        self._check_open()
        sequence = self._next_sequence
        self._pending.append(frames.pack_frame(sequence, payload))
        if sequence == HEAD:
            self._head = self._pending[-1]
        self._next_sequence += 1
        return sequence

    def sync(self) -> None:
        """Return when everything appended is durable.

        Raises
        ------
        RecordingError
            The disk refused. Nothing is lost: what was not written is kept, and `sync` may be
            called again once the cause is gone.
        OrderError
            The journal is closed.
        """
        self._check_open()
        try:
            self._write_pending()
        except OSError as exc:
            if exc.errno in DISK_FULL:
                self._refuse(exc)
            # The fault may lie in that file alone: one more try, in a new segment.
            try:
                self._drop_segment()
                self._write_pending()
            except OSError as again:
                self._refuse(again)

    def close(self) -> None:
        """Sync, give reserved room back, release the folder; closing twice is no error.

        Raises
        ------
        RecordingError
            The last sync failed; the journal is closed all the same.
        """
        if self._closed:
            return
        try:
            self.sync()
            self._repeat_head()
        finally:
            self._closed = True
            self._finish_segment()
            with contextlib.suppress(OSError):
                self._files.close(self._lock)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def _take_lock(self) -> int:
        try:
            self._files.make_folder(self.folder)
            return self._files.lock(self.folder / JOURNAL_LOCK)
        except BlockingIOError as exc:
            raise RecordingError(
                f"a journal must have one writer; another process is writing {self.folder}. "
                "Stop that session, or give this one another folder"
            ) from exc
        except OSError as exc:
            if exc.errno in _NO_LOCKS:
                raise RecordingError(
                    f"a journal must be where files can be locked, so that two processes never "
                    f"write it at once; in {self.folder} they cannot: {exc.strerror}. Choose a "
                    "folder on a local disk, or mount this one with locks"
                ) from exc
            raise RecordingError(
                f"cannot write a journal in {self.folder}: {exc}. Choose a folder on a disk "
                "that can be written"
            ) from exc

    def _look(self, *, resume: bool) -> tuple[int, int, bytes]:
        """Return the numbers of the first segment and record to write, and the last payload."""
        existing = segment_paths(self.folder)
        if not existing:
            return 0, 0, b""
        if not resume:
            raise RecordingError(
                f"{self.folder} already holds a journal, and a new session must not write over "
                "it. Choose another folder, or resume that session"
            )
        # What is read back here will be built upon, so it must not be in the page cache only.
        for path in existing:
            self._files.sync_file(path)
        self._files.sync_folder(self.folder)
        last = int(existing[-1].stem.rpartition("-")[2])
        index = JournalIndex(self.folder)
        payload = b""
        if index.has_begun():
            self._head = index.frame(HEAD)
            payload = index.frame(index.summary.last)[frames.HEADER_BYTES :]
        return last + 1, index.summary.last + 1, payload

    def _write_pending(self) -> None:
        while self._pending:
            if self._end and self._end + len(self._pending[0]) > self._segment_bytes:
                self._finish_segment()
            if self._fd is None:
                self._begin_segment()
            self._write_batch()

    def _write_batch(self) -> None:
        """Write and sync as many pending frames as the segment has room for, at least one."""
        if self._fd is None:
            return
        fd, offset, taken = self._fd, self._end, 0
        head = self._head_due()
        batch = [head]
        size = len(head)
        try:
            for frame in self._pending:
                if taken and offset + size + len(frame) > self._segment_bytes:
                    break
                batch.append(frame)
                size += len(frame)
                taken += 1
                if size >= _WRITE_BYTES:
                    offset = self._write(fd, b"".join(batch), offset)
                    batch, size = [], 0
            offset = self._write(fd, b"".join(batch), offset)
        except OSError:
            self._cut()
            raise
        try:
            self._files.fdatasync(fd)
        except OSError:
            self._drop_segment()
            raise
        first = self._end == 0 and self._pending[0] is self._head
        self._head_again = first or (self._head_again and not head)
        self._end = offset
        for _ in range(taken):
            self._durable_bytes += len(self._pending.popleft())

    def _head_due(self) -> bytes:
        """Return the first record's frame where it is to stand before the next one; or nothing.

        A reader takes it for a record that was written again, which it is.
        """
        if self._pending[0] is self._head:
            return b""
        if self._end == 0:
            return self._head
        apart = self._end >= len(self._head) + _HEADS_APART_BYTES
        fits = self._end + len(self._head) + len(self._pending[0]) <= self._segment_bytes
        return self._head if self._head_again and apart and fits else b""

    def _repeat_head(self) -> None:
        """Let a journal that ends within its first pages have its first record twice as well.

        Whatever the disk says to that, everything was recorded.
        """
        if self._fd is None or not self._head_again:
            return
        try:
            end = self._write(self._fd, self._head, self._end)
            self._files.fdatasync(self._fd)
        except OSError:
            self._drop_segment()
        else:
            self._end, self._head_again = end, False

    def _write(self, fd: int, data: bytes, offset: int) -> int:
        view = memoryview(data)
        while view:
            taken = self._files.pwrite(fd, view, offset)
            if taken <= 0:
                raise OSError(errno.EIO, "the disk took no bytes")
            view, offset = view[taken:], offset + taken
        return offset

    def _begin_segment(self) -> None:
        path = self.folder / segment_name(self._next_segment)
        self._next_segment += 1  # even if this fails: a name is never tried twice
        fd = self._fd = self._files.create(path)
        self._end = 0
        try:
            try:
                self._files.preallocate(fd, self._segment_bytes)
            except OSError:
                # Too little room for a whole segment, or a file system that cannot reserve:
                # use what there is.
                self._files.truncate(fd, 0)
            self._files.sync_folder(self.folder)
        except OSError:
            self._drop_segment()
            raise

    def _cut(self) -> None:
        """Take back what was written since the last sync."""
        if self._fd is not None:
            try:
                self._files.truncate(self._fd, self._end)
            except OSError:
                self._drop_segment()

    def _finish_segment(self) -> None:
        """Give reserved room back, and go on in another segment."""
        if self._fd is not None:
            with contextlib.suppress(OSError):  # a reader cuts the zeros as well
                self._files.truncate(self._fd, self._end)
        self._drop_segment()

    def _drop_segment(self) -> None:
        """Never touch the open segment again."""
        self._end = 0
        if self._fd is not None:
            fd, self._fd = self._fd, None
            with contextlib.suppress(OSError):
                self._files.close(fd)

    def _refuse(self, exc: OSError) -> None:
        what = (
            "free some space on that disk"
            if exc.errno in DISK_FULL
            else "check that disk and its connection"
        )
        raise RecordingError(
            f"cannot write the journal in {self.folder}: {exc}. Nothing is lost: "
            f"{len(self._pending)} records wait in memory; {what}, then try again"
        ) from exc

    def _check_open(self) -> None:
        if self._closed:
            raise OrderError(f"the journal in {self.folder} is closed; open a new writer")
