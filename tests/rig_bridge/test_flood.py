"""A peer that never ends its message: what it can make an engine hold, and for how long."""

from __future__ import annotations

import socket
import struct
import sys
import time
from pathlib import Path

import pytest

from rig_bridge import codec
from rig_bridge import messages as m
from rig_bridge.events import RigJoined
from rig_bridge.server import EngineServer
from rig_bridge.sockets import FloodGuard
from tests.limits import PATIENCE_S
from tests.rig_bridge.samples import SESSION, hello
from tests.skips import NO_COUNTS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason=NO_COUNTS)
MIB = 2**20


def resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def frame(body: bytes, *, more: bool) -> bytes:
    """A frame of ZMTP 3 (RFC 23)."""
    return struct.pack(">BQ", 2 | more, len(body)) + body


class Raw:
    """A TCP connection that speaks ZMTP 3 as a DEALER, by hand."""

    def __init__(self, engine: EngineServer) -> None:
        self.engine = engine
        host, port = engine.endpoint.removeprefix("tcp://").split(":")
        self.socket = socket.create_connection((host, int(port)))
        self.socket.settimeout(PATIENCE_S)
        greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0")
        self.socket.sendall(greeting.ljust(64, b"\0"))
        self.read(64)
        properties = b"".join(
            bytes([len(name)]) + name + struct.pack(">I", len(value)) + value
            for name, value in ((b"Socket-Type", b"DEALER"), (b"Identity", b"raw"))
        )
        ready = b"\x05READY" + properties
        self.socket.sendall(bytes([4, len(ready)]) + ready)
        self.read(self.read(2)[1])  # the engine's READY

    def send(self, body: bytes, *, more: bool = False) -> None:
        self.socket.sendall(frame(body, more=more))

    def read(self, length: int) -> bytes:
        got = b""
        while len(got) < length:
            got += self.socket.recv(length - len(got))
        return got

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def engine():
    with EngineServer("tcp://127.0.0.1:*", session=SESSION, name="test") as server:
        server._guard._limit = 24 * MIB
        yield server


def until(engine: EngineServer, kind) -> m.Notice:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for event in engine.poll(0.1):
            if isinstance(event, kind):
                return event
    raise AssertionError("did not happen")


def test_a_message_without_end_ends_the_connection_and_frees_what_it_held(engine):
    raw = Raw(engine)
    raw.send(codec.encode_message(hello())[0])
    until(engine, RigJoined)
    before = resident()
    sent, notices = flood(engine, raw)
    raw.close()
    assert 20 < sent < 64  # MiB, by the limit of this test
    assert "without the end of a message" in notices[-1].text
    assert resident() - before < 64 * MIB
    again = Raw(engine)  # the engine lives
    again.send(codec.encode_message(hello())[0])
    until(engine, RigJoined)
    again.close()


def flood(engine: EngineServer, raw: Raw) -> tuple[int, list]:
    """Send frames of a message without end until the connection is; return MiB, notices."""
    chunk, sent, notices = bytes(MIB), 0, []
    try:
        while sent < 512:
            raw.send(chunk, more=True)
            sent += 1
            notices += [e for e in engine.poll(0.0) if isinstance(e, m.Notice)]
    except OSError:  # reset, or a broken pipe
        pass
    return sent, notices


def test_a_connection_that_ends_its_messages_may_send_any_number_of_bytes(engine):
    raw = Raw(engine)
    raw.send(codec.encode_message(hello())[0])
    until(engine, RigJoined)
    for _ in range(60):
        raw.send(b"\xc1", more=True)
        raw.send(bytes(MIB))
        assert "no message" in until(engine, m.Notice).text
    assert engine.hello is not None
    raw.close()


def test_what_is_no_tcp_connection_is_not_watched():
    guard = FloodGuard(0)
    guard.add(10**6)  # no descriptor at all
    left, right = socket.socketpair()
    guard.add(left.fileno())
    right.send(b"x" * 100)
    assert guard.check() == 0
    left.close()
    right.close()
