"""What supervisor and engine say to one another: values, and their frames on a pipe.

Knows MessagePack and file descriptors; knows nothing of who acts on what. A frame is four bytes
of length, little-endian, and one MessagePack value.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import TypeAlias

import msgspec
import numpy as np
from msgspec import Struct

from evolver.errors import DataError
from evolver.session.ports import CommandName, Progress
from evolver.session.schedule import Outcome, ThreadOutcome
from evolver.setup.preflight import Check

MAX_FRAME = 16 << 20
CANNOT_GO_ON = 3
"""Exit status of an engine that starting again would not help."""
_LENGTH = struct.Struct("<I")


class Said(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """Base of every message."""


class Waiting(Said, frozen=True, tag="waiting"):
    """The engine waits for something; '' when it goes on."""

    text: str
    endpoint: str = ""  # where a rig must connect to, once it can


class Preflight(Said, frozen=True, tag="preflight"):
    """What was checked before the first image. The engine goes on when it is confirmed."""

    checks: tuple[Check, ...]
    needs_confirmation: bool


class ThreadTold(Struct, frozen=True):
    """What one thread's optimizer was told."""

    thread: int
    generation: int
    scores: tuple[float, ...]
    sem: tuple[float, ...]


class Told(Said, frozen=True, tag="told"):
    """The session moved on: `Progress`, made plain."""

    generation: int
    generations: int
    shown: int
    planned: int
    aborted: int
    presentations: int
    elapsed_s: float
    idle_s: float
    state: str
    event: str
    block: int = -1  # committed just now
    threads: tuple[ThreadTold, ...] = ()
    reference_scores: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def of(cls, p: Progress) -> Told:
        """Make it plain."""
        done = p.outcome
        return cls(
            p.generation,
            p.generations,
            p.shown,
            p.planned,
            p.aborted,
            p.presentations,
            p.elapsed_s,
            p.idle_s,
            p.state,
            p.event,
            -1 if done is None else done.block,
            ()
            if done is None
            else tuple(
                ThreadTold(
                    t.thread, t.generation, tuple(t.scores.tolist()), tuple(t.sem.tolist())
                )
                for t in done.threads
            ),
            () if done is None else tuple(tuple(r.tolist()) for r in done.reference_scores),
        )

    def progress(self) -> Progress:
        """Return it as the loop told it, without the time budget."""
        outcome = None
        if self.block >= 0:
            outcome = Outcome(
                self.block,
                tuple(
                    ThreadOutcome(t.thread, t.generation, np.array(t.scores), np.array(t.sem))
                    for t in self.threads
                ),
                tuple(np.array(r) for r in self.reference_scores),
            )
        return Progress(
            generation=self.generation,
            generations=self.generations,
            shown=self.shown,
            planned=self.planned,
            aborted=self.aborted,
            presentations=self.presentations,
            elapsed_s=self.elapsed_s,
            idle_s=self.idle_s,
            state=self.state,
            outcome=outcome,
            budget=None,
            event=self.event,
        )


class Over(Said, frozen=True, tag="over"):
    """The session came to an end."""

    reason: str


class Failed(Said, frozen=True, tag="failed"):
    """The engine cannot go on, and starting it again would not help."""

    text: str


class Order(Said, frozen=True, tag="order"):
    """Supervisor to engine: a command."""

    name: CommandName
    text: str
    by: str


class Confirm(Said, frozen=True, tag="confirm"):
    """Supervisor to engine: the operator has seen the pre-flight checks."""


Message: TypeAlias = Waiting | Preflight | Told | Over | Failed | Order | Confirm

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def send(fd: int, message: Message) -> None:
    """Write one message; waits while the pipe is full.

    Raises
    ------
    OSError
        Nobody reads the pipe any more.
    """
    payload = _encoder.encode(message)
    data = memoryview(_LENGTH.pack(len(payload)) + payload)
    while data:
        data = data[os.write(fd, data) :]


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

    def read(self) -> Iterator[Message]:
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
