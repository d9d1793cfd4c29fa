"""What supervisor and engine say to one another: values, and their frames on a pipe.

Knows MessagePack and file descriptors; knows nothing of who acts on what. A frame is four bytes
of length, little-endian, and one MessagePack value, whose key "kind" says which it is.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import TypeAlias

import msgspec
from msgspec import Struct

from evolver.errors import DataError
from evolver.session.ports import CommandName, Progress
from evolver.setup.preflight import Check

MAX_FRAME = 16 << 20
MAX_UNREAD = 1 << 20
"""Bytes that a `Writer` keeps for a reader that does not read."""
CANNOT_GO_ON = 3
"""Exit status of an engine that starting again would not help."""
_LENGTH = struct.Struct("<I")


class Waiting(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="waiting"):
    """The engine waits for something; '' when it goes on."""

    text: str
    no_rig_since_ns: int = 0  # where it is a rig, engine clock


class Listening(
    Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="listening"
):
    """The engine listens for a rig."""

    endpoint: str  # where a rig must connect to


class Preflight(
    Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="preflight"
):
    """What was checked before the first image. The engine goes on when it is confirmed."""

    checks: tuple[Check, ...]
    needs_confirmation: bool


class Over(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="over"):
    """The session came to an end."""

    reason: str


class Failed(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="failed"):
    """The engine cannot go on, and starting it again would not help."""

    text: str


class Order(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="order"):
    """Supervisor to engine: a command."""

    name: CommandName
    text: str
    by: str


class Confirm(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="confirm"):
    """Supervisor to engine: the operator has seen the pre-flight checks."""


class AreYouThere(
    Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="are_you_there"
):
    """Supervisor to engine: answer at once."""


class Here(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="here"):
    """The engine's answer to that, whatever its loop is busy with."""

    since_orders_s: float  # since the loop last asked for orders
    orders: int = 0  # that the loop has taken


PipeMessage: TypeAlias = (
    Waiting
    | Listening
    | Preflight
    | Progress
    | Over
    | Failed
    | Order
    | Confirm
    | AreYouThere
    | Here
)

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[PipeMessage] = msgspec.msgpack.Decoder(PipeMessage)


def send(fd: int, message: PipeMessage) -> None:
    """Write one message; waits while the pipe is full.

    Raises
    ------
    OSError
        Nobody reads the pipe any more.
    """
    data = memoryview(_frame(message))
    while data:
        data = data[os.write(fd, data) :]


def _frame(message: PipeMessage) -> bytes:
    payload = _encoder.encode(message)
    return _LENGTH.pack(len(payload)) + payload


class Writer:
    """Hands messages to a pipe and never waits for whoever reads it.

    Parameters
    ----------
    fd : of the pipe's end to write to, which is made non-blocking
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        os.set_blocking(fd, False)
        self._unread = bytearray()

    @property
    def unread(self) -> int:
        """Bytes that the pipe has had no room for yet."""
        return len(self._unread)

    def send(self, message: PipeMessage) -> bool:
        """Take a message; return False where the reader is too far behind to take another.

        Raises
        ------
        OSError
            Nobody reads the pipe any more.
        """
        frame = _frame(message)
        if self._unread and len(self._unread) + len(frame) > MAX_UNREAD:
            return False
        self._unread += frame
        self.flush()
        return True

    def flush(self) -> None:
        """Write what the pipe has room for.

        Raises
        ------
        OSError
            Nobody reads the pipe any more.
        """
        try:
            while self._unread:
                del self._unread[: os.write(self.fd, self._unread)]
        except BlockingIOError:
            return


class Reader:
    """Takes messages from a pipe, as far as they have come.

    Parameters
    ----------
    fd : read without waiting only where something has come
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.closed = False
        self._buffer = bytearray()

    def read(self) -> Iterator[PipeMessage]:
        """Read once, and yield what is complete; `closed` once the other side is gone.

        Raises
        ------
        DataError
            What came is no message.
        """
        data = os.read(self.fd, 1 << 16)
        if not data:
            self.closed = True
            return
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > MAX_FRAME:
                raise DataError(f"a message must be at most {MAX_FRAME} bytes; got {length}")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            try:
                yield _decoder.decode(payload)
            except msgspec.MsgspecError as exc:
                raise DataError(f"what came through the pipe is no message: {exc}") from exc
