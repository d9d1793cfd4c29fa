"""A recorder in a process of its own, and how an engine speaks to it.

The recorder's process owns the journal and outlives the engine: what was handed over is written
and synced, whatever happens to the engine. The engine keeps everything until it is acknowledged
as durable and hands it over again to a recorder that was restarted; numbers see to it that each
record is taken once.

Knows a Unix-domain stream socket and frames of bytes; a record's bytes are opened by nobody
here. Frames: four bytes of length, one of kind, and what the kind says.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evolver.errors import OrderError, RecordingError
from evolver.recording import frames
from evolver.recording.records import AnyRecord, encode

logger = logging.getLogger(__name__)

HEAD = struct.Struct("<IB")  # length of what follows, kind
NUMBER = struct.Struct("<Q")
NAMED = struct.Struct("<16sQ")
PLACE = struct.Struct("<QQ")
BUSY = struct.Struct("<Qd")

# Engine to recorder.
HELLO = 1  # the engine's name and the place of its first record: the same one goes on
RECORD = 2  # number, payload: written in the order of the numbers, each once
FLUSH = 3  # somebody waits: sync now
RETRY = 4  # forget a storage error and write again
GOODBYE = 5  # the engine ends as it should
# Recorder to engine.
WELCOME = 11  # the place of the engine's first record, the first number that is missing
DURABLE = 12  # number below which all is durable, and seconds spent on it so far
REFUSED = 13  # why the disk refused, text

_CONNECT_EVERY_S = 0.05
_CHUNK = 1 << 20
NO_PLACE = 2**64 - 1  # of an engine that has no record in the journal yet
MAX_FRAME = frames.MAX_PAYLOAD_BYTES + 64


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
    patience_s : a recorder that cannot be reached for so long is an error, until `retry`
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
        self._name, self._place = os.urandom(16), NO_PLACE
        self._changed = threading.Condition()
        # Everything below is guarded by the condition.
        self._kept: deque[_Kept] = deque()  # not known to be durable, in order
        self._unsent = 0  # how many of them, from the right, this connection has not got
        self._next = 0
        self._durable = 0
        self._bytes = 0
        self._flush = self._retry = False
        self._error: Exception | None = None
        self._busy_s = self._busy_taken = 0.0
        self._encode_s = 0.0
        self._closing = False
        self._socket: socket.socket | None = None
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
        payload = encode(record)
        frames.check_payload(payload)
        with self._changed:
            self._encode_s += self._clock() - begun
            self._check()
            while self._bytes and self._bytes + len(payload) > self._queue_bytes:
                self._flush = True
                self._changed.notify_all()
                self._changed.wait()
                self._check()
            self._kept.append(_Kept(self._next, payload, on_durable))
            self._next += 1
            self._unsent += 1
            self._bytes += len(payload)
            self._changed.notify_all()

    def attach(self) -> None:
        """Return once the recorder listens to this engine alone.

        From then on the journal holds all that any engine before has handed over.

        Raises
        ------
        RecordingError
            The recorder cannot be reached.
        """
        with self._changed:
            while self._place == NO_PLACE:
                self._check()
                self._changed.wait()

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
            target = self._next
            while True:
                self._check()
                if self._durable >= target:
                    return
                self._flush = True
                self._changed.notify_all()
                self._changed.wait()

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
            return self._error

    def take_busy_seconds(self) -> float:
        """Return the seconds spent encoding here and writing there since this was asked."""
        with self._changed:
            spent = self._encode_s + self._busy_s - self._busy_taken
            self._encode_s, self._busy_taken = 0.0, self._busy_s
            return spent

    def close(self) -> None:
        """Make everything durable, say goodbye; twice is no error.

        Raises
        ------
        RecordingError
            Something could not be made durable.
        """
        with self._changed:
            if self._closing:
                return
        try:
            self.barrier()
        finally:
            with self._changed:
                self._closing = True
                self._changed.notify_all()
            self._sender.join(5.0)

    # ------------------------------------------------------------------ inside

    def _check(self) -> None:
        if self._closing:
            raise OrderError("the recorder is closed; make a new one")
        if self._error is not None:
            raise RecordingError(
                f"the recorder is held up: {self._error}. Once that is mended, call retry()"
            ) from self._error

    def _send_all(self) -> None:
        """Connect, again and again; hand over what is kept; until closed."""
        away = self._clock()
        while True:
            with self._changed:
                if self._closing:
                    return
            link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                link.connect(self._address)
            except OSError as exc:
                link.close()
                if self._clock() - away > self._patience_s:
                    self._fail(RecordingError(f"no recorder at {self._address}: {exc}"))
                    away = self._clock()
                time.sleep(_CONNECT_EVERY_S)
                continue
            try:
                self._speak(link)
            except OSError as exc:
                logger.warning("the recorder is gone (%s); looking for another", exc)
            finally:
                link.close()
            away = self._clock()

    def _speak(self, link: socket.socket) -> None:
        hello = NAMED.pack(self._name, self._place)
        link.sendall(HEAD.pack(len(hello), HELLO) + hello)
        kind, body = receive(link)
        if kind != WELCOME:
            raise OSError(f"the recorder said {kind} instead of welcome")
        place, has = PLACE.unpack(body)
        with self._changed:
            self._place = place
            self._changed.notify_all()
            self._unsent = sum(kept.number >= has for kept in self._kept)
        listener = threading.Thread(target=self._listen, args=(link,), name="record-listener")
        listener.daemon = True
        listener.start()
        try:
            while True:
                with self._changed:
                    while not (self._unsent or self._flush or self._retry or self._closing):
                        self._changed.wait(0.5)
                        if not listener.is_alive():
                            raise OSError("the connection ended")
                    if not listener.is_alive():
                        raise OSError("the connection ended")
                    first = len(self._kept) - self._unsent
                    batch: list[_Kept] = []
                    size = 0
                    for i in range(first, len(self._kept)):
                        if size > _CHUNK:
                            break
                        batch.append(self._kept[i])
                        size += len(self._kept[i].payload)
                    self._unsent -= len(batch)
                    flush = self._flush and not self._unsent
                    retry, self._retry = self._retry, False
                    if flush:
                        self._flush = False
                    closing = self._closing
                parts = [
                    HEAD.pack(NUMBER.size + len(kept.payload), RECORD)
                    + NUMBER.pack(kept.number)
                    + kept.payload
                    for kept in batch
                ]
                if retry:
                    parts.insert(0, HEAD.pack(0, RETRY))
                if flush:
                    parts.append(HEAD.pack(0, FLUSH))
                if closing:
                    parts.append(HEAD.pack(0, GOODBYE))
                link.sendall(b"".join(parts))
                if closing:
                    return
        finally:
            link.shutdown(socket.SHUT_RDWR)

    def _listen(self, link: socket.socket) -> None:
        try:
            while True:
                kind, body = receive(link)
                if kind == DURABLE:
                    number, busy = BUSY.unpack(body)
                    self._make_durable(number, busy)
                elif kind == REFUSED:
                    self._fail(RecordingError(body.decode("utf-8", "replace")))
        except OSError:
            with self._changed:
                self._changed.notify_all()

    def _make_durable(self, number: int, busy: float) -> None:
        done: list[_Kept] = []
        with self._changed:
            while self._kept and self._kept[0].number < number:
                kept = self._kept.popleft()
                self._bytes -= len(kept.payload)
                done.append(kept)
            self._unsent = min(self._unsent, len(self._kept))
            self._durable = max(self._durable, number)
            self._busy_s = max(self._busy_s, busy)
            self._changed.notify_all()
        for kept in done:
            if kept.on_durable is not None:
                kept.on_durable()

    def _fail(self, error: Exception) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()


def receive(link: socket.socket) -> tuple[int, bytes]:
    """Return the next frame's kind and body.

    Raises
    ------
    OSError
        The connection ended, or what came is no frame.
    """
    length, kind = HEAD.unpack(_exactly(link, HEAD.size))
    if length > MAX_FRAME:
        raise OSError(f"a frame must be at most {MAX_FRAME} bytes; got {length}")
    return kind, _exactly(link, length)


def _exactly(link: socket.socket, n: int) -> bytes:
    data = bytearray(n)
    view = memoryview(data)
    while view:
        got = link.recv_into(view)
        if not got:
            raise ConnectionResetError("the other side is gone")
        view = view[got:]
    return bytes(data)
