"""A recorder in a process of its own, as the engine sees it.

The recorder's process (`recorder_process.py`) owns the journal and outlives the engine: what
was handed over is written and synced, whatever happens to the engine. The engine keeps
everything until it is acknowledged as durable and hands it over again to a recorder that was
restarted; numbers see to it that each record is taken once, and a checksum that the numbers
speak of the same records.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evolver.errors import OrderError, RecordingError
from evolver.journal import frames
from evolver.journal import recorder_protocol as wire
from evolver.journal.recorder_protocol import RecorderStatus, recorder_status
from evolver.journal.records import AnyRecord, encode_record

logger = logging.getLogger(__name__)

_CONNECT_EVERY_S = 0.05
_GOODBYE_S = 5.0  # at least; one that was not sent makes an end look like a fall
_CHUNK = 1 << 20
_SMALL = 1 << 14  # payloads below it share a call to the system


@dataclass(slots=True, eq=False)
class _Kept:
    number: int
    payload: bytes
    on_durable: Callable[[], None] | None


class RemoteRecorder:
    """Hands records to a recorder's process; the interface of `Recorder`.

    Parameters
    ----------
    address : path of the recorder's socket; it may come and go
    queue_bytes : records that may wait to be durable. Submitting beyond that waits for room,
        because dropping records and growing without bound are both worse
    patience_s : a recorder that cannot be reached, or that does not answer who waits, for so
        long is an error, until `retry`
    clock : seconds, monotonic
    """

    def __init__(
        self,
        address: str | Path,
        *,
        queue_bytes: int = 512 << 20,
        patience_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address, self._queue_bytes = str(address), queue_bytes
        self._patience_s, self._clock = patience_s, clock
        self._name = os.urandom(wire.NAME_BYTES)
        self._closed = threading.Event()
        self._changed = threading.Condition()
        # Everything below is guarded by the condition.
        self._place = wire.NO_PLACE
        self._kept: deque[_Kept] = deque()  # not known to be durable, in order
        self._outbox: deque[_Kept] = deque()  # those that this connection has not got
        self._connection: socket.socket | None = None  # welcomed
        self._last = b""  # the last durable record
        self._next = 0
        self._durable = 0
        self._bytes = 0
        self._flush = self._retry = False
        self._error: Exception | None = None
        self._over: RecordingError | None = None  # an error that no retry mends
        self._linked, self._heard = False, 0.0  # whether there is a recorder, when it spoke
        self._busy_s = 0.0
        self._sender = threading.Thread(
            target=self._send_all, name="record-sender", daemon=True
        )
        self._sender.start()

    def submit(self, record: AnyRecord, on_durable: Callable[[], None] | None = None) -> None:
        """Hand over a record and go on; waits only while too much waits to be durable.

        Parameters
        ----------
        record : encoded here, so that what changes in it later is not what is kept
        on_durable : called without arguments once it is durable, on another OS thread; must
            return at once and must not raise

        Raises
        ------
        RecordingError
            The record is too long; or the disk refused something earlier, or the recorder
            cannot be reached. This record was not taken: mend the cause, call `retry`, submit
            it again.
        OrderError
            The recorder is closed.
        """
        begun = self._clock()
        payload = encode_record(record)
        frames.check_payload(payload)
        with self._changed:
            now = self._clock()
            self._busy_s += now - begun
            self._check()
            while self._bytes and self._bytes + len(payload) > self._queue_bytes:
                self._ask_and_wait(now)
            kept = _Kept(self._next, payload, on_durable)
            self._kept.append(kept)
            if self._connection is not None:
                self._outbox.append(kept)
            self._next += 1
            self._bytes += len(payload)
            self._changed.notify_all()

    def attach(self) -> None:
        """Return once the recorder listens to this engine alone.

        From then on the journal holds all that any engine before has handed over.

        Raises
        ------
        RecordingError
            The recorder cannot be reached, or the disk refuses what an engine before this one
            has handed over.
        """
        with self._changed:
            begun = self._clock()
            while self._place == wire.NO_PLACE:
                self._check()
                self._ask_and_wait(begun)

    def barrier(self) -> None:
        """Return when everything submitted before this call is durable.

        Raises
        ------
        RecordingError
            The disk refused, or the recorder cannot be reached. What was submitted is kept;
            mend the cause, call `retry`, and wait again.
        OrderError
            The recorder is closed.
        """
        with self._changed:
            begun, target = self._clock(), self._next
            self._check()
            while self._durable < target:
                self._ask_and_wait(begun)

    def retry(self) -> None:
        """Forget an error, if there was one, and try again what it held up."""
        with self._changed:
            self._error = None
            self._retry = True
            self._changed.notify_all()

    @property
    def error(self) -> Exception | None:
        """What holds the recorder up, until `retry`; None while all is well."""
        with self._changed:
            return self._over or self._error

    @property
    def over(self) -> bool:
        """Whether the error is one that no `retry` mends."""
        with self._changed:
            return self._over is not None

    def take_busy_seconds(self) -> float:
        """Return the seconds spent encoding here and writing there since this was asked."""
        with self._changed:
            spent, self._busy_s = self._busy_s, 0.0
            return spent

    def status(self) -> RecorderStatus:
        """Ask the recorder how it is doing.

        Raises
        ------
        RecordingError
            It does not answer.
        """
        return recorder_status(self._address)

    def close(self) -> None:
        """Make everything durable, say goodbye; twice is no error.

        Raises
        ------
        RecordingError
            Something could not be made durable.
        """
        if self._closed.is_set():
            return
        try:
            self.barrier()
        finally:
            with self._changed:
                self._closed.set()
                self._changed.notify_all()
            self._sender.join(max(_GOODBYE_S, self._patience_s))  # its send ends by itself

    # ------------------------------------------------------------------ inside

    def _check(self) -> None:
        if self._closed.is_set():
            raise OrderError("the recorder is closed; make a new one")
        if self._over is not None:
            raise RecordingError(str(self._over)) from self._over
        if self._error is not None:
            raise RecordingError(
                f"records cannot be written for now: {self._error}. They are kept, and are "
                "written once that is mended"
            ) from self._error

    def _ask_and_wait(self, begun: float) -> None:
        """Have everything synced, and wait for a change; the condition is held."""
        self._flush = True
        self._changed.notify_all()
        self._changed.wait(self._patience_s)
        silent = self._clock() - max(begun, self._heard)
        if self._linked and self._error is None and silent >= self._patience_s:
            self._error = RecordingError(
                f"the recorder at {self._address} has not answered for {silent:.0f} s"
            )
        self._check()

    def _send_all(self) -> None:
        """Connect, again and again; hand over what is kept; until closed."""
        away = self._clock()
        while not self._closed.is_set() and self._over is None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
                try:
                    link.connect(self._address)
                except OSError as exc:
                    if self._clock() - away > self._patience_s:
                        self._fail(RecordingError(f"no recorder at {self._address}: {exc}"))
                        away = self._clock()
                    self._closed.wait(_CONNECT_EVERY_S)
                    continue
                try:
                    self._speak(link)
                except OSError as exc:
                    logger.warning("the recorder is gone (%s); looking for another", exc)
                    self._closed.wait(_CONNECT_EVERY_S)
            away = self._clock()

    def _speak(self, link: socket.socket) -> None:
        # A recorder that takes nothing for so long is looked for anew.
        seconds, rest = divmod(max(self._patience_s, 1e-3), 1.0)
        timeout = struct.pack("@ll", int(seconds), int(rest * 1e6))
        link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
        with self._changed:
            self._linked, self._heard, place = True, self._clock(), self._place
        link.sendall(wire.pack_message(wire.HELLO, place, self._name))
        listener = threading.Thread(
            target=self._listen, args=(link,), name="record-listener", daemon=True
        )
        listener.start()
        try:
            while self._send(link, listener):
                pass
        finally:
            with self._changed:
                self._linked, self._connection = False, None
                self._outbox.clear()
            try:
                link.shutdown(socket.SHUT_RDWR)
            except OSError:
                logger.debug("the recorder had closed the connection already")
            listener.join()

    def _send(self, link: socket.socket, listener: threading.Thread) -> bool:
        """Wait for something to send, and send it; return whether to go on."""
        with self._changed:
            while not self._something_to_send():
                self._changed.wait(0.5)
                if self._over is not None:
                    return False
                if not listener.is_alive():
                    raise OSError("the connection ended")
            batch: list[_Kept] = []
            size = 0
            while self._outbox and size < _CHUNK:
                batch.append(self._outbox.popleft())
                size += len(batch[-1].payload)
            welcomed = self._connection is link
            retry, self._retry = self._retry, False
            flush = self._flush and welcomed and not self._outbox
            if flush:
                self._flush = False
            closing = self._closed.is_set() and not self._outbox
        data = bytearray(wire.pack_message(wire.RETRY) if retry else b"")
        for kept in batch:
            data += wire.HEAD.pack(len(kept.payload), wire.RECORD, kept.number)
            if len(kept.payload) < _SMALL:
                data += kept.payload
            else:
                link.sendall(data)
                link.sendall(kept.payload)
                data = bytearray()
        if flush:
            data += wire.pack_message(wire.FLUSH)
        if closing and welcomed:
            data += wire.pack_message(wire.GOODBYE)
        link.sendall(data)
        return not closing

    def _something_to_send(self) -> bool:
        if self._closed.is_set() or self._retry:
            return True
        return self._connection is not None and bool(self._outbox or self._flush)

    def _listen(self, link: socket.socket) -> None:
        """Take what the recorder says, until the connection ends."""
        try:
            while True:
                kind, number, body = wire.receive(link)
                with self._changed:
                    self._heard = self._clock()
                if kind == wire.WELCOME:
                    self._welcome(link, number, *wire.WELCOMED.unpack(body))
                elif kind == wire.DURABLE:
                    self._make_durable(number, *wire.BUSY.unpack(body))
                elif kind == wire.REFUSED:
                    self._fail(RecordingError(body.decode("utf-8", "replace")))
                elif kind == wire.OVER:
                    self._end(body.decode("utf-8", "replace"))
        except (OSError, struct.error):
            with self._changed:
                self._changed.notify_all()

    def _welcome(self, link: socket.socket, has: int, place: int, crc: int) -> None:
        """Go on where the recorder's records of this engine end."""
        with self._changed:
            fits = self._durable <= has <= self._next
            if fits and has:
                at = has - 1 - self._durable
                fits = crc == zlib.crc32(self._last if at < 0 else self._kept[at].payload)
            if fits:
                self._place, self._connection = place, link
                self._outbox = deque(kept for kept in self._kept if kept.number >= has)
                self._changed.notify_all()
        if not fits:
            self._end(
                f"the journal behind {self._address} must end with this engine's records "
                f"{self._durable} to {self._next}; it has {has}, or others. Something else "
                "wrote to it, or it lost records: end this engine, and resume from the journal"
            )

    def _make_durable(self, number: int, busy_s: float) -> None:
        done: list[_Kept] = []
        with self._changed:
            self._busy_s += busy_s
            while self._kept and self._kept[0].number < number:
                done.append(self._kept.popleft())
                self._bytes -= len(done[-1].payload)
            if done:
                self._last, self._durable = done[-1].payload, done[-1].number + 1
            self._changed.notify_all()
        try:
            for kept in done:
                if kept.on_durable is not None:
                    kept.on_durable()
        except Exception as exc:  # noqa: BLE001  this thread's outer frame: whoever waits must hear of it
            self._fail(exc)

    def _fail(self, error: Exception) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def _end(self, text: str) -> None:
        with self._changed:
            self._over = RecordingError(text)
            self._changed.notify_all()
