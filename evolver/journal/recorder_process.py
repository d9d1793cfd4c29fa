"""The recorder's process: takes records from an engine and puts them in the journal.

Composition: sockets, a `Recorder`, signals. Outlives the engines it serves: what one handed
over before it died is written and synced, and the next one goes on in the same journal. It ends
when it is told to (SIGTERM), or when its supervisor and then the engine are gone, and writes
everything first. An interrupt from the keyboard is not for it.

Nothing an engine does can hold it up: no read and no write on a socket waits.

Run by the supervisor:
``python -m evolver.journal.recorder_process JOURNAL ADDRESS [--parent FD]``.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import selectors
import signal
import socket
import struct
import sys
import time
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from evolver.clock import SYSTEM_CLOCK
from evolver.errors import RecordingError
from evolver.journal import recorder_protocol as wire
from evolver.journal.reader import segment_paths
from evolver.journal.recorder import Recorder
from evolver.journal.records import Event
from evolver.journal.storage import FileSystem, disk_free_bytes, is_full
from evolver.journal.writer import JournalWriter
from evolver.logs import log_to_stderr

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.2
_ENGINE_PATIENCE_S = 15.0  # for an engine's last records, once the supervisor is gone
_EXIT_PATIENCE_S = 1.0  # for the end of a process whose socket is closed
_PACE_OVER_S = 600.0
_PACE_EVERY_S = 5.0
_DIED = "the engine ended without a word; what it had recorded is here"


@dataclass(slots=True, eq=False)
class _Link:
    """One connection, of whoever it may be."""

    socket: socket.socket
    incoming: wire.Incoming
    outgoing: bytearray

    def send(self) -> None:
        """Send what can be sent without waiting; one that is gone is not told."""
        with contextlib.suppress(OSError):
            while self.outgoing:
                del self.outgoing[: self.socket.send(self.outgoing)]


@dataclass(slots=True, eq=False)
class _Engine:
    """The engine that writes at present, connected or not."""

    name: bytes
    place: int  # sequence of its first record
    has: int  # records of it that were taken
    last: bytes | bytearray  # the last of them
    link: _Link | None = None
    process: int | None = None  # file descriptor that is readable once it has ended
    lost_ns: int = 0  # when its connection ended without a goodbye
    durable: int = 0  # records of it; set by the recorder's worker
    acknowledged: int = 0  # of them, those it was told of


class RecorderProcess:
    """Serves one engine after another.

    Parameters
    ----------
    journal : folder of the journal, which goes on if it is there already
    address : path of the socket to listen on, in a folder that nobody else may enter
    parent : file descriptor that is closed when the supervisor is gone; None: nobody watches
    files : the journal's storage calls; another one in tests

    Raises
    ------
    RecordingError
        The journal cannot be written, or others may enter the socket's folder.
    """

    def __init__(
        self,
        journal: Path,
        address: Path,
        *,
        parent: int | None = None,
        files: FileSystem | None = None,
    ) -> None:
        wire.check_private(address.parent)
        self._writer = JournalWriter(journal, resume=bool(segment_paths(journal)), files=files)
        self._recorder = Recorder(self._writer)
        self._sequence = self._writer.next_sequence
        self._address, self._parent = address, parent
        self._engine: _Engine | None = None
        self._over: set[bytes] = set()  # engines that wrote here and must not any more
        self._newcomer: tuple[_Link, bytes, int] | None = None  # waits for what was before it
        # What the disk refuses for now, and whom to tell when it is durable.
        self._waiting: deque[tuple[bytes | bytearray, Callable[[], None]]] = deque()
        self._reported: Exception | None = None  # an error the engine was told of
        self._busy_s = self._unreported_s = 0.0
        self._pace = deque([(time.monotonic(), 0)])
        self._ended = False
        self._end_by: float | None = None
        try:
            self._listener = wire.listen(address)
        except RecordingError:
            self._recorder.close()
            raise
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._woken)
        if parent is not None:
            self._selector.register(parent, selectors.EVENT_READ, self._orphaned)

    def end(self, *_: object) -> None:
        """End after what has come is written; a signal's handler, callable on any thread."""
        self._ended = True
        self._wake()

    def run(self) -> None:
        """Serve until the end.

        Raises
        ------
        RecordingError
            At the end the disk still refused something.
        """
        try:
            while not self._ended:
                self._turn(_LOOK_EVERY_S)
            self._listener.close()
            self._address.unlink(missing_ok=True)
            engine = self._engine
            if engine is not None:
                self._receive_all(engine)
                # One that is connected lives, and goes on with another recorder.
                if (
                    self._engine is engine
                    and engine.link is None
                    and (
                        engine.process is None
                        or wire.has_ended(engine.process, _EXIT_PATIENCE_S)
                    )
                ):
                    self._note_death(engine)
            self._take()
        finally:
            self._close()

    # ------------------------------------------------------------------ turns

    def _turn(self, timeout_s: float) -> None:
        for key, events in self._selector.select(timeout_s):
            if isinstance(key.data, _Link):
                self._serve(key.data, events)
            else:
                key.data()
        self._report()
        if self._newcomer is not None and not self._waiting and not self._recorder.waiting[0]:
            self._welcome(*self._newcomer)
        if self._end_by is not None:
            gone = self._engine is None or self._engine.link is None
            self._ended |= gone or time.monotonic() > self._end_by

    def _serve(self, link: _Link, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            link.send()
        if events & selectors.EVENT_READ:
            self._receive(link)
        self._watch(link)

    def _send(self, link: _Link, frame: bytes) -> None:
        link.outgoing += frame
        link.send()
        self._watch(link)

    def _watch(self, link: _Link) -> None:
        if link.socket.fileno() >= 0:
            wanted = selectors.EVENT_READ
            if link.outgoing:
                wanted |= selectors.EVENT_WRITE
            self._selector.modify(link.socket, wanted, link)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            own, _ = self._listener.accept()
            own.setblocking(False)
            link = _Link(own, wire.Incoming(own), bytearray())
            self._selector.register(own, selectors.EVENT_READ, link)

    def _woken(self) -> None:
        with contextlib.suppress(OSError):
            self._wake_read.recv(4096)

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it will wake anyhow
            self._wake_write.send(b"w")

    def _orphaned(self) -> None:
        if self._parent is not None and not os.read(self._parent, 1):
            logger.error("the supervisor is gone: ending after the engine has")
            self._selector.unregister(self._parent)
            os.close(self._parent)
            self._parent, self._end_by = None, time.monotonic() + _ENGINE_PATIENCE_S

    def _report(self) -> None:
        """Tell the engine what is durable, and what the disk refuses; keep the pace."""
        spent = self._recorder.take_busy_seconds()
        self._busy_s += spent
        self._unreported_s += spent
        now = time.monotonic()
        if now - self._pace[-1][0] >= _PACE_EVERY_S:
            self._pace.append((now, self._writer.durable_bytes))
            while now - self._pace[0][0] > _PACE_OVER_S:
                self._pace.popleft()
        engine = self._engine
        if (
            engine is not None
            and engine.link is not None
            and engine.durable > engine.acknowledged
        ):
            engine.acknowledged = engine.durable
            body = wire.BUSY.pack(self._unreported_s)
            self._unreported_s = 0.0
            self._send(engine.link, wire.pack_message(wire.DURABLE, engine.acknowledged, body))
        error = self._recorder.error
        link = self._newcomer[0] if self._newcomer is not None else engine and engine.link
        if error is not None and self._reported is None and link is not None:
            self._reported = error
            self._send(link, wire.pack_message(wire.REFUSED, body=str(error).encode()))

    # ------------------------------------------------------------------ what comes

    def _receive(self, link: _Link) -> None:
        """Take what has come on one connection."""
        try:
            for kind, number, body in link.incoming.frames():
                self._handle(link, kind, number, body)
        except (OSError, struct.error) as exc:
            self._lost(link, exc)

    def _receive_all(self, engine: _Engine) -> None:
        """Take everything that an engine has sent already."""
        while engine.link is not None:
            with selectors.DefaultSelector() as selector:
                selector.register(engine.link.socket, selectors.EVENT_READ)
                if not selector.select(0.0):
                    return
            self._receive(engine.link)

    def _handle(self, link: _Link, kind: int, number: int, body: bytearray) -> None:
        engine = self._engine
        known = engine is not None and engine.link is link
        if kind == wire.HELLO and len(body) == wire.NAME_BYTES and not known:
            self._take_hello(link, bytes(body), number)
        elif kind == wire.ASK:
            status = msgspec.msgpack.encode(self._status())
            self._send(link, wire.pack_message(wire.STATUS, body=status))
        elif kind == wire.RETRY:
            self._reported = None
            self._recorder.retry()
            self._take()
        elif engine is None or not known:
            raise ConnectionAbortedError(f"kind {kind} came before a hello")
        elif kind == wire.RECORD and number <= engine.has:
            if number == engine.has:  # else it came before
                engine.has += 1
                engine.last = body
                self._sequence += 1
                self._waiting.append((body, partial(self._is_durable, engine, engine.has)))
                self._take()
        elif kind == wire.FLUSH:
            self._recorder.flush()
        elif kind == wire.GOODBYE:
            self._forget(engine)
            self._recorder.flush()
        else:
            raise ConnectionAbortedError(f"kind {kind}, number {number} cannot come here")

    def _take_hello(self, link: _Link, name: bytes, place: int) -> None:
        """Let an engine in once all that came before it is durable."""
        engine = self._engine
        if engine is not None:
            self._receive_all(engine)
        engine = self._engine  # unless that was a goodbye
        again = engine is not None and engine.name == name
        # A recorder before this one knew it; whether nobody wrote since, its checksum tells.
        known = engine is None and not self._over and place <= self._sequence
        if name in self._over or not (place == wire.NO_PLACE or again or known):
            text = "another engine writes this journal now, or it lost records; this must end"
            self._send(link, wire.pack_message(wire.OVER, body=text.encode()))
            return
        if engine is not None:
            if engine.link is not None:
                self._drop(engine.link)
            if not again:
                self._note_death(engine)
        if self._newcomer is not None and self._newcomer[0] is not link:
            self._drop(self._newcomer[0])
        self._newcomer, self._reported = (link, name, place), None
        self._recorder.flush()

    def _welcome(self, link: _Link, name: bytes, place: int) -> None:
        self._newcomer = None
        engine = self._engine
        if engine is None:
            place = self._sequence if place == wire.NO_PLACE else place
            has = self._sequence - place
            last = self._writer.last_payload if has else b""
            engine = self._engine = _Engine(
                name, place, has, last, process=wire.process_of(link.socket)
            )
            if engine.process is not None:
                self._selector.register(
                    engine.process, selectors.EVENT_READ, self._engine_ended
                )
        engine.link = link
        engine.durable = engine.acknowledged = engine.has
        crc = zlib.crc32(engine.last)
        body = wire.WELCOMED.pack(engine.place, crc)
        self._send(link, wire.pack_message(wire.WELCOME, engine.has, body))
        self._send(link, wire.pack_message(wire.DURABLE, engine.has, wire.BUSY.pack(0.0)))

    def _take(self) -> None:
        """Hand what waits to the recorder, as far as it takes it."""
        while self._waiting:
            payload, on_durable = self._waiting[0]
            try:
                self._recorder.submit_payload(payload, on_durable)
            except RecordingError:
                return  # `_report` sends it
            self._waiting.popleft()

    def _is_durable(self, engine: _Engine, number: int) -> None:
        """Note that an engine's first `number` records are durable; on the recorder's worker.

        A number and no count: a welcome may have said it before this is called.
        """
        engine.durable = number
        self._wake()

    # ------------------------------------------------------------------ endings

    def _lost(self, link: _Link, why: Exception) -> None:
        self._drop(link)
        engine = self._engine
        if engine is not None and engine.link is None:
            self._recorder.flush()
        else:
            logger.info("a connection ended: %s", why)

    def _engine_ended(self) -> None:
        engine = self._engine
        if engine is not None:
            self._receive_all(engine)
            if self._engine is engine:
                if engine.link is not None:  # a process that it began holds the socket
                    self._drop(engine.link)
                self._note_death(engine)

    def _drop(self, link: _Link) -> None:
        """Close a connection."""
        if link.socket.fileno() >= 0:
            self._selector.unregister(link.socket)
            link.socket.close()
        if self._newcomer is not None and self._newcomer[0] is link:
            self._newcomer = None
        if self._engine is not None and self._engine.link is link:
            self._engine.link, self._engine.lost_ns = None, SYSTEM_CLOCK.time_ns()

    def _forget(self, engine: _Engine) -> None:
        """Have nothing to do with an engine any more."""
        self._over.add(engine.name)
        self._engine = engine.link = None
        if engine.process is not None:
            self._selector.unregister(engine.process)
            os.close(engine.process)
            engine.process = None

    def _note_death(self, engine: _Engine) -> None:
        """Say in the journal that an engine ended without a goodbye.

        Not in an empty one: its first record says what the session is, and nothing was lost.
        """
        self._forget(engine)
        if self._sequence == 0:
            return
        event = Event(engine.lost_ns, "error", "engine_died", _DIED)
        self._waiting.append((msgspec.msgpack.encode(event), self._wake))
        self._sequence += 1
        self._recorder.flush()
        self._take()

    def _close(self) -> None:
        """Write what is left, let everything go."""
        for key in list(self._selector.get_map().values()):
            if isinstance(key.data, _Link):
                self._drop(key.data)
        if self._engine is not None and self._engine.process is not None:
            os.close(self._engine.process)
        self._selector.close()
        self._listener.close()
        self._address.unlink(missing_ok=True)
        try:
            if self._waiting:  # the disk refused: a last try
                self._recorder.retry()
                with contextlib.suppress(RecordingError):
                    self._recorder.barrier()
                self._take()
        finally:
            try:
                self._recorder.close()
            finally:
                self._wake_read.close()
                self._wake_write.close()
        if self._waiting:
            raise RecordingError(f"{len(self._waiting)} records could not be written")

    def _status(self) -> wire.RecorderStatus:
        (began, before), now = self._pace[0], time.monotonic()
        written = self._writer.durable_bytes
        records, size = self._recorder.waiting
        size += sum(len(payload) for payload, _ in self._waiting)
        error = self._recorder.error
        return wire.RecorderStatus(
            pid=os.getpid(),
            records=self._writer.durable_records,
            written_bytes=written,
            bytes_per_minute=60 * (written - before) / max(now - began, 1e-3),
            free_bytes=disk_free_bytes(self._writer.folder),
            waiting_records=records + len(self._waiting),
            waiting_bytes=size,
            busy_seconds=self._busy_s,
            engine=self._engine is not None and self._engine.link is not None,
            error="" if error is None else str(error),
        )


def main() -> int:
    """Run the process."""
    parser = argparse.ArgumentParser(description="The recorder of a live session.")
    parser.add_argument("journal", type=Path)
    parser.add_argument("address", type=Path)
    parser.add_argument("--parent", type=int)
    options = parser.parse_args()
    log_to_stderr(logging.INFO)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        process = RecorderProcess(options.journal, options.address, parent=options.parent)
        signal.signal(signal.SIGTERM, process.end)
        process.run()
    except RecordingError as exc:
        logger.exception("the journal is not complete")
        return wire.DISK_WAS_FULL if is_full(exc) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
