"""The recorder: a worker that journals while the loop goes on.

Knows a journal writer and when to sync it; knows nothing of what a record says. Syncing costs
milliseconds whatever is synced, so records that come in a burst share one sync, unless someone
waits at a barrier.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from evolver.errors import OrderError, RecordingError
from evolver.journal import frames
from evolver.journal.records import AnyRecord, encode_record
from evolver.journal.writer import JournalWriter

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Item:
    payload: bytes | bytearray
    on_durable: Callable[[], None] | None


class Recorder:
    """Journals records on a worker of its own, in the order they were submitted.

    Parameters
    ----------
    journal : JournalWriter; the recorder is its only user from here on, and closes it
    sync_interval_s : float >= 0; two syncs begin at least this far apart, unless a barrier
        waits. It is how much of what no barrier asked for a power loss can take
    queue_bytes : int > 0; encoded records that may wait for the disk. Submitting beyond that
        waits for room, because dropping records and growing without bound are both worse
    clock : seconds, monotonic
    """

    def __init__(
        self,
        journal: JournalWriter,
        *,
        sync_interval_s: float = 0.05,
        queue_bytes: int = 512 << 20,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._interval = sync_interval_s
        self._queue_bytes = queue_bytes
        self._clock = clock
        self._changed = threading.Condition()
        # Everything below is guarded by the condition.
        self._queue: deque[_Item] = deque()  # not handed to the journal yet
        self._unsynced: list[_Item] = []  # the journal has them, the disk perhaps not
        self._bytes = 0  # in both of them
        self._submitted = 0
        self._durable = 0
        self._wanted = 0  # the highest `_durable` a barrier waits for
        self._error: Exception | None = None
        self._closing = False
        self._busy_s = 0.0
        self._worker = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._worker.start()

    def submit(self, record: AnyRecord, on_durable: Callable[[], None] | None = None) -> None:
        """Hand over a record and go on; waits only while the queue is full.

        Parameters
        ----------
        record : encoded here, so that what changes in it later is not what is kept
        on_durable : called without arguments once it is durable, on the recorder's worker. It
            must return at once and must not raise: wake an event loop, set an event

        Raises
        ------
        RecordingError
            The record is too long; or the disk refused something earlier. This record was not
            taken: mend the cause, call `retry`, submit it again.
        OrderError
            The recorder is closed.
        """
        begun = self._clock()
        payload = encode_record(record)
        frames.check_payload(payload)
        spent = self._clock() - begun
        with self._changed:
            self._busy_s += spent
        self.submit_payload(payload, on_durable)

    def submit_payload(
        self, payload: bytes | bytearray, on_durable: Callable[[], None] | None = None
    ) -> None:
        """Hand over a record that is already encoded; otherwise as `submit`."""
        with self._changed:
            self._check()
            while self._bytes and self._bytes + len(payload) > self._queue_bytes:
                self._wanted = self._submitted  # room is made by syncing, now
                self._changed.notify_all()
                self._changed.wait()
                self._check()
            self._queue.append(_Item(payload, on_durable))
            self._bytes += len(payload)
            self._submitted += 1
            self._changed.notify_all()

    def flush(self) -> None:
        """Have everything submitted so far synced at once, and do not wait for it."""
        with self._changed:
            self._wanted = max(self._wanted, self._submitted)
            self._changed.notify_all()

    def barrier(self) -> None:
        """Return when everything submitted before this call is durable.

        Raises
        ------
        RecordingError
            The disk refused. What was submitted is kept; mend the cause, call `retry`, and wait
            again.
        OrderError
            The recorder is closed.
        """
        with self._changed:
            target = self._submitted
            self._wanted = max(self._wanted, target)
            self._changed.notify_all()
            while True:
                self._check()
                if self._durable >= target:
                    return
                self._changed.wait()

    def retry(self) -> None:
        """Forget a storage error, if there was one, and write again what it held up."""
        with self._changed:
            self._error = None
            self._changed.notify_all()

    @property
    def error(self) -> Exception | None:
        """What holds the recorder up, until `retry`; None while all is well."""
        with self._changed:
            return self._error

    @property
    def waiting(self) -> tuple[int, int]:
        """Records that are not durable yet, and their bytes."""
        with self._changed:
            return self._submitted - self._durable, self._bytes

    def take_busy_seconds(self) -> float:
        """Return the seconds spent encoding, writing and syncing since last asked."""
        with self._changed:
            spent, self._busy_s = self._busy_s, 0.0
            return spent

    def close(self) -> None:
        """Make everything durable, end the worker, close the journal; twice is no error.

        Raises
        ------
        RecordingError
            The disk refused; the worker has ended and the journal is closed all the same.
        """
        with self._changed:
            if self._closing:
                return
            self._closing = True
            self._changed.notify_all()
        self._worker.join()
        self._journal.close()  # tries once more what the worker could not write
        left, self._unsynced = self._unsynced, []
        _tell(left)

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

    def _check(self) -> None:
        if self._closing:
            raise OrderError("the recorder is closed; make a new one")
        if self._error is not None:
            raise RecordingError(
                f"records cannot be written for now: {self._error}. They are kept, and are "
                "written once that is mended"
            ) from self._error

    def _work(self) -> None:
        """Take what is queued, write and sync it, tell who asked; until closed."""
        next_sync = -float("inf")
        closing = False
        while not closing:
            with self._changed:
                while not self._due(next_sync):
                    self._changed.wait(self._patience(next_sync))
                closing = self._closing
                fresh = list(self._queue)
                self._queue.clear()
                self._unsynced += fresh
            begun = self._clock()
            next_sync = begun + self._interval
            done: list[_Item] = []
            error: Exception | None = None
            try:
                for item in fresh:
                    self._journal.append_payload(item.payload)
                self._journal.sync()
                done = self._unsynced
            except RecordingError as exc:
                _log.error("%s", exc)
                error = exc
            with self._changed:
                self._busy_s += self._clock() - begun
                self._error = error
                if done:
                    self._unsynced = []
                    self._durable += len(done)
                    self._bytes -= sum(len(item.payload) for item in done)
                self._changed.notify_all()
            try:
                _tell(done)
            except Exception as exc:  # noqa: BLE001  the worker's outer frame: whoever waits must hear of it
                with self._changed:
                    self._error = exc
                    self._changed.notify_all()

    def _due(self, next_sync: float) -> bool:
        if self._closing:
            return True
        if self._error is not None or not (self._queue or self._unsynced):
            return False
        return (
            bool(self._unsynced)  # held up, and `retry` was called
            or self._wanted > self._durable
            or self._clock() >= next_sync
        )

    def _patience(self, next_sync: float) -> float | None:
        """Seconds to wait for a change; None for as long as it takes."""
        if self._error is not None or not self._queue:
            return None
        return max(0.0, next_sync - self._clock())


def _tell(items: list[_Item]) -> None:
    for item in items:
        if item.on_durable is not None:
            item.on_durable()
