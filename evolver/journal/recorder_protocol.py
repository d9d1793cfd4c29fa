"""What an engine and its recorder's process say to each other, as bytes.

Knows a Unix-domain stream socket and the frames on it; a record's bytes are opened by nobody
here. A frame is a head (bytes of body, kind, a number) and a body. Both ends are of one
version: the supervisor starts both.
"""

from __future__ import annotations

import os
import selectors
import socket
import stat
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from evolver.errors import RecordingError
from evolver.journal import frames

HEAD = struct.Struct("<IBQ")
WELCOMED = struct.Struct("<QI")
BUSY = struct.Struct("<d")
NAME_BYTES = 16

# Engine to recorder. Numbers are of the engine's records, from 0, if nothing else is said.
HELLO = 1  # number: the engine's place; body: its name. The same engine goes on
RECORD = 2  # number, body: written in the order of the numbers, each once
FLUSH = 3  # somebody waits: sync now
RETRY = 4  # forget a storage error and write again
GOODBYE = 5  # the engine ends as it should
ASK = 6  # in place of a hello, by anyone: how are you?
# Recorder to engine.
WELCOME = 11  # number: the first record that is missing; body: place, CRC-32 of the one before
DURABLE = 12  # all below the number is durable; body: seconds spent since the last of these
REFUSED = 13  # body: why the disk refused
OVER = 14  # body: why this engine's records cannot follow those in the journal, ever
STATUS = 15  # body: a `RecorderStatus`

NO_PLACE = 2**64 - 1
"""The place of an engine without a record; else the sequence that its first one has."""

DISK_WAS_FULL = 4
"""Exit status of a recorder that found its disk full, which is no fault of its own."""

_MAX_BODY = frames.MAX_PAYLOAD_BYTES
_READ_AT_ONCE = 16 << 20


class RecorderStatus(Struct, frozen=True):
    """How a recorder is doing."""

    pid: int
    records: int  # durable, in the whole journal
    written_bytes: int  # durable, by this process
    bytes_per_minute: float  # of the last minutes
    free_bytes: int  # that the journal's disk still has room for
    waiting_records: int  # not durable yet
    waiting_bytes: int
    busy_seconds: float  # spent writing and syncing, by this process
    engine: bool  # whether one is connected
    error: str  # what the disk refuses; empty while all is well

    @property
    def minutes_left(self) -> float | None:
        """Minutes until the disk is full at this pace; None while nothing is written."""
        if self.bytes_per_minute <= 0:
            return None
        return self.free_bytes / self.bytes_per_minute


def pack_message(kind: int, number: int = 0, body: bytes = b"") -> bytes:
    """Return a frame."""
    return HEAD.pack(len(body), kind, number) + body


def receive(link: socket.socket) -> tuple[int, int, bytearray]:
    """Return the next frame's kind, number and body, waiting for it.

    Raises
    ------
    OSError
        The connection ended, or what came is no frame.
    """
    length, kind, number = HEAD.unpack(_exactly(link, HEAD.size))
    _check_length(length)
    return kind, number, _exactly(link, length)


def recorder_status(address: str, *, timeout_s: float = 2.0) -> RecorderStatus:
    """Ask the recorder at a socket how it is doing; anyone may, beside its engine.

    Raises
    ------
    RecordingError
        It cannot be reached, or does not answer in time.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(timeout_s)
            link.connect(address)
            link.sendall(pack_message(ASK))
            kind, _, body = receive(link)
    except OSError as exc:
        raise RecordingError(f"no recorder answers at {address}: {exc}") from exc
    if kind != STATUS:
        raise RecordingError(
            f"the recorder at {address} must answer with its status; got {kind}"
        )
    return msgspec.msgpack.decode(body, type=RecorderStatus)


def check_private(folder: Path) -> None:
    """Check that a folder, made if need be, is its owner's alone.

    Raises
    ------
    RecordingError
        Others may enter it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o077:
        raise RecordingError(
            f"{folder} must be open to its owner alone (mode 0700), for who can enter it can "
            f"write the journal; it has mode {mode:04o}. Choose another folder, or chmod it"
        )


def listen(address: Path) -> socket.socket:
    """Return a socket that listens at a path, in place of one that was left there.

    Raises
    ------
    RecordingError
        The path cannot be one of a socket.
    """
    address.unlink(missing_ok=True)  # of a recorder that was killed: we hold the journal's lock
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(address))
    except OSError as exc:
        listener.close()
        raise RecordingError(
            f"cannot listen at {address}: {exc}. Choose a shorter path, of 100 bytes at most"
        ) from exc
    address.chmod(0o600)
    listener.setblocking(False)
    listener.listen(16)
    return listener


def process_of(link: socket.socket) -> int | None:
    """Return a descriptor that is readable once the other end's process has ended.

    None where the system has none; then a new engine is the sign that the old one is gone.
    """
    if sys.platform != "linux":
        return None
    size = struct.calcsize("3i")
    try:
        peer = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        return os.pidfd_open(struct.unpack("3i", peer)[0])
    except OSError:
        return None


def has_ended(process: int, timeout_s: float) -> bool:
    """Whether the process of a descriptor of `process_of` ends within a time."""
    with selectors.DefaultSelector() as selector:
        selector.register(process, selectors.EVENT_READ)
        return bool(selector.select(timeout_s))


class Incoming:
    """Puts frames together from a socket that does not block.

    Parameters
    ----------
    link : non-blocking
    """

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._head: tuple[int, int] | None = None  # kind, number of the body under way
        self._into, self._filled = bytearray(HEAD.size), 0

    def frames(self) -> Iterator[tuple[int, int, bytearray]]:
        """Yield (kind, number, body) of what has come, up to some megabytes.

        Raises
        ------
        OSError
            The connection ended, or what came is no frame.
        """
        taken = 0
        while taken < _READ_AT_ONCE:
            if self._filled < len(self._into):
                try:
                    got = self._link.recv_into(memoryview(self._into)[self._filled :])
                except BlockingIOError:
                    return
                if not got:
                    raise ConnectionResetError("the other side is gone")
                self._filled += got
                taken += got
                continue
            data = self._into
            if self._head is None:
                length, kind, number = HEAD.unpack(data)
                _check_length(length)
                self._head = kind, number
                self._into, self._filled = bytearray(length), 0
                continue
            (kind, number), self._head = self._head, None
            self._into, self._filled = bytearray(HEAD.size), 0
            yield kind, number, data


def _check_length(length: int) -> None:
    if length > _MAX_BODY:
        raise OSError(f"a frame's body must be at most {_MAX_BODY} bytes; got {length}")


def _exactly(link: socket.socket, n: int) -> bytearray:
    data = bytearray(n)
    view = memoryview(data)
    while view:
        got = link.recv_into(view)
        if not got:
            raise ConnectionResetError("the other side is gone")
        view = view[got:]
    return data
