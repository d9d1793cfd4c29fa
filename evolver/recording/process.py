"""The recorder's process: takes records from an engine and puts them in the journal.

Composition: a socket, a `Recorder`, signals. Outlives the engines it serves: what one handed
over before it died is written and synced, and the next one goes on in the same journal. It ends
when it is told to (SIGTERM), or when its supervisor and then the engine are gone, and writes
everything first. An interrupt from the keyboard is not for it.

Run by the supervisor: ``python -m evolver.recording.process JOURNAL ADDRESS [--parent FD]``.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from evolver.errors import RecordingError
from evolver.recording import remote
from evolver.recording.index import segment_paths
from evolver.recording.journal import JournalWriter
from evolver.recording.recorder import Recorder
from evolver.recording.records import Event

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.2
_ENGINE_PATIENCE_S = 15.0  # for an engine's last records, once the supervisor is gone


@dataclass(slots=True, eq=False)
class _Engine:
    """The engine that speaks at present."""

    link: socket.socket
    name: bytes
    place: int  # sequence of its first record
    has: int  # records of it that were taken
    lock: threading.Lock = field(default_factory=threading.Lock)

    def say(self, kind: int, body: bytes) -> None:
        """Send a frame; an engine that is gone is not told."""
        with self.lock, contextlib.suppress(OSError):
            self.link.sendall(remote.HEAD.pack(len(body), kind) + body)


class RecorderProcess:
    """Serves one engine after another.

    Parameters
    ----------
    journal : folder of the journal, which goes on if it is there already
    address : path of the socket to listen on, in a folder that nobody else may enter
    parent : file descriptor that is closed when the supervisor is gone; None: nobody watches
    """

    def __init__(self, journal: Path, address: Path, *, parent: int | None = None) -> None:
        self._writer = JournalWriter(journal, resume=bool(segment_paths(journal)))
        self._recorder = Recorder(self._writer)
        self._sequence = self._writer.next_sequence
        self._address, self._parent = address, parent
        self._engine: _Engine | None = None
        self._last: bytes | None = None  # an engine that spoke and did not say goodbye
        self._waiting: deque[tuple[bytes, bytes, int]] = (
            deque()
        )  # the disk refuses them for now
        self._said: Exception | None = None  # an error the engine was told of
        self._busy_s = 0.0
        self._ended = False
        self._patience_until: float | None = None
        address.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(address))
        address.chmod(0o600)
        self._listener.listen(4)

    def end(self, *_: object) -> None:
        """End after what has come is written; a signal's handler."""
        self._ended = True

    def run(self) -> None:
        """Serve until the end.

        Raises
        ------
        RecordingError
            At the end the disk still refused something.
        """
        try:
            while not self._ended:
                self._turn()
            self._drain()
        finally:
            self._lost_engine()
            self._note_death()
            self._listener.close()
            self._address.unlink(missing_ok=True)
            self._recorder.close()

    # ------------------------------------------------------------------ inside

    def _turn(self) -> None:
        watched: list[socket.socket | int] = [self._listener]
        if self._engine is not None:
            watched.append(self._engine.link)
        if self._parent is not None:
            watched.append(self._parent)
        ready = select.select(watched, [], [], _LOOK_EVERY_S)[0]
        if self._engine is not None and self._engine.link in ready:
            self._hear(self._engine)
        if self._listener in ready:
            self._welcome(self._listener.accept()[0])
        if self._parent in ready and not os.read(self._parent or 0, 1):
            logger.error("the supervisor is gone: ending after the engine has")
            os.close(self._parent or 0)
            self._parent, self._patience_until = None, time.monotonic() + _ENGINE_PATIENCE_S
        if self._patience_until is not None and (
            self._engine is None or time.monotonic() > self._patience_until
        ):
            self._ended = True
        self._look()

    def _drain(self) -> None:
        """Take what the engine has sent already."""
        while self._engine is not None and select.select([self._engine.link], [], [], 0.0)[0]:
            self._hear(self._engine)

    def _welcome(self, link: socket.socket) -> None:
        link.settimeout(10.0)
        try:
            kind, body = remote.receive(link)
            name, place = remote.NAMED.unpack(body)
            if kind != remote.HELLO:
                raise OSError(f"the first frame must be a hello; got kind {kind}")
        except (OSError, struct.error) as exc:
            logger.warning("a stranger was sent away: %s", exc)
            link.close()
            return
        link.settimeout(None)
        self._drain()  # all that the engine before handed over
        self._lost_engine()
        if name != self._last:
            self._note_death()
        if place == remote.NO_PLACE:
            place = self._sequence
        self._engine = _Engine(link, name, place, self._sequence - place)
        self._last, self._said = name, None
        self._engine.say(remote.WELCOME, remote.PLACE.pack(place, self._engine.has))
        with contextlib.suppress(RecordingError):  # `_look` says it
            self._recorder.barrier()
            self._say_durable(name, self._engine.has)

    def _say_durable(self, name: bytes, number: int) -> None:
        """Say that this engine's records below `number` are durable, if it still listens."""
        engine = self._engine
        if engine is not None and engine.name == name:
            self._busy_s += self._recorder.take_busy_seconds()
            engine.say(remote.DURABLE, remote.BUSY.pack(number, self._busy_s))

    def _hear(self, engine: _Engine) -> None:
        try:
            kind, body = remote.receive(engine.link)
            number = remote.NUMBER.unpack_from(body)[0] if kind == remote.RECORD else -1
        except (OSError, struct.error):
            self._lost_engine()
            return
        if kind == remote.RECORD:
            if number == engine.has:
                engine.has += 1
                self._sequence += 1
                self._waiting.append((body[remote.NUMBER.size :], engine.name, number))
                self._take()
        elif kind == remote.FLUSH:
            self._recorder.flush()
        elif kind == remote.RETRY:
            self._said = None
            self._recorder.retry()
            self._take()
        elif kind == remote.GOODBYE:
            self._last = None
            self._recorder.flush()

    def _take(self) -> None:
        """Hand what waits to the recorder, as far as it takes it."""
        while self._waiting:
            payload, name, number = self._waiting[0]
            try:
                self._recorder.submit_payload(
                    payload, partial(self._say_durable, name, number + 1)
                )
            except RecordingError:
                return  # `_look` says it
            self._waiting.popleft()

    def _look(self) -> None:
        """Tell the engine, once, what the disk refuses."""
        error = self._recorder.error
        if error is not None and self._said is None and self._engine is not None:
            self._said = error
            self._engine.say(remote.REFUSED, str(error).encode())

    def _lost_engine(self) -> None:
        if self._engine is not None:
            engine, self._engine = self._engine, None
            engine.link.close()
            self._recorder.flush()

    def _note_death(self) -> None:
        """Say in the journal that an engine ended without a goodbye."""
        if self._last is None:
            return
        self._last = None
        text = "the engine ended without a word; what it had recorded is here"
        event = Event(time.time_ns(), "error", "engine_died", text)
        try:
            self._recorder.retry()
            self._take()
            self._recorder.submit(event)
            self._sequence += 1
        except RecordingError:
            logger.exception("the journal cannot say that an engine died")


def main() -> int:
    """Run the process."""
    parser = argparse.ArgumentParser(description="The recorder of a live session.")
    parser.add_argument("journal", type=Path)
    parser.add_argument("address", type=Path)
    parser.add_argument("--parent", type=int)
    options = parser.parse_args()
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    process = RecorderProcess(options.journal, options.address, parent=options.parent)
    signal.signal(signal.SIGTERM, process.end)
    try:
        process.run()
    except RecordingError:
        logger.exception("the journal is not complete")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
