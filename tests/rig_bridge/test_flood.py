"""A peer that never ends its message: what it can make an engine hold, and for how long."""

from __future__ import annotations

import random
import socket
import struct
import sys
import time
from pathlib import Path

import pytest
import zmq

from rig_bridge import codec
from rig_bridge import messages as m
from rig_bridge.auth import EngineKeys, new_rig
from rig_bridge.events import RigJoined
from rig_bridge.flood import FloodGuard
from rig_bridge.server import EngineServer
from tests.limits import PATIENCE_S, wait_until
from tests.rig_bridge.samples import SESSION, hello
from tests.skips import NO_COUNTS
from tests.soak import further

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
        server._guard.rig_bytes = 24 * MIB
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
    notice = notices[-1] if notices else until(engine, m.Notice)
    assert "unfinished messages included" in notice.text
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
        wait_until(lambda: at_rest(engine) < 1000)  # the handshake alone
    assert engine.hello is not None
    raw.close()


@pytest.fixture
def connected():
    """The two ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        left = socket.create_connection(server.getsockname())
        right, _ = server.accept()
    with left, right:
        yield left, right


def seen(guard: FloodGuard, unread: int) -> None:
    """Wait until a guard sees so many bytes that are not read."""
    wait_until(lambda: guard.check() or guard.unread == unread)


def test_the_beginning_of_a_message_is_no_heartbeat(connected):
    """It looks like one until the rest is here; a rig without heartbeats may be silent."""
    (left, right), now = connected, [0.0]
    guard, rig = FloodGuard(clock=lambda: now[0]), right.fileno()
    left.send(bytes(12))
    guard.accepted(rig)
    seen(guard, 12)
    guard.read(rig, [10], by_rig=True)
    for _ in range(3):
        left.send(bytes(10))
        seen(guard, 10)
        guard.all_read()
        assert guard.beats == 1
        left.send(bytes(1000))
        seen(guard, 1010)
        guard.read(rig, [1001], by_rig=True)
        guard.all_read()
        assert guard.beats == 0
    now[0] += 1000.0
    left.send(b"x")
    seen(guard, 1)  # it is watched still: it was not ended


def test_what_is_read_before_a_connection_is_known_counts_as_read(connected):
    left, right = connected
    guard = FloodGuard()
    left.send(bytes(64 + 1010))
    guard.read(right.fileno(), [1001], by_rig=True)
    wait_until(lambda: len(right.recv(2000, socket.MSG_PEEK)) == 64 + 1010)
    guard.accepted(right.fileno())
    seen(guard, 64)
    guard.read(10**6, [10**6], by_rig=False)  # of a connection that nobody will know
    guard.accepted(10**6)
    seen(guard, 64)


def test_what_is_no_tcp_connection_is_not_watched():
    guard = FloodGuard(strangers_bytes=0)
    guard.accepted(10**6)  # no descriptor at all
    left, right = socket.socketpair()
    guard.accepted(left.fileno())
    right.send(b"x" * 100)
    guard.check()
    assert guard.take_ended() == guard.unread == 0
    left.close()
    right.close()


@pytest.mark.parametrize("encrypted", [further(False), True])
def test_nothing_is_counted_as_unread_once_all_is_read(encrypted, tmp_path):
    """The length of a message on the wire is known to the byte, encrypted or not."""
    key = new_rig(tmp_path / "keys", "rig", tmp_path / "rig.key") if encrypted else None
    keys = EngineKeys.load(tmp_path / "keys") if encrypted else None
    with (
        EngineServer("tcp://127.0.0.1:*", session=SESSION, name="test", keys=keys) as engine,
        zmq.Context() as context,
        context.socket(zmq.DEALER) as dealer,
    ):
        if key is not None:
            key.protect(dealer)
        dealer.connect(engine.endpoint)
        dealer.send_multipart(codec.encode_message(hello()))
        until(engine, RigJoined)
        lengths = (0, 1, 222, 223, 224, 255, 256, 257, 70_000)  # so few that each is noticed
        wait_until(lambda: engine._guard._connections)  # the news of it may come after all
        handshake = at_rest(engine)
        assert 0 < handshake < 1000
        for length in lengths:
            dealer.send_multipart([b"\xc1", bytes(length), b""])
            until(engine, m.Notice)
        assert at_rest(engine) == handshake


def at_rest(engine: EngineServer) -> int:
    """Bytes that are counted as unread when everything is read."""
    engine.poll(0.0)
    engine._guard.check()
    return engine._guard.unread


def test_what_strangers_may_leave_unfinished_is_bounded_over_all_of_them(engine):
    """Also while the engine reads nothing: another OS thread looks."""
    engine._guard.strangers_bytes = 4 * MIB
    before = resident()
    sent, connections = 0, [Raw(engine) for _ in range(6)]
    for raw in connections:
        try:
            for _ in range(64):
                raw.send(bytes(MIB), more=True)
                sent += 1
        except OSError:
            pass
    assert sent < 6 * 64
    assert resident() - before < 200 * MIB
    assert "at most 24 MiB of the rig's and 4 MiB" in until(engine, m.Notice).text
    for raw in connections:
        raw.close()


def test_messages_of_strangers_that_left_count_until_they_are_read(engine):
    engine._guard.strangers_bytes = 4 * MIB
    while engine._guard.unread < 3 * MIB:
        raw = Raw(engine)
        raw.send(bytes(MIB))
        raw.close()
        engine._guard.check()
    assert engine._guard.unread <= 5 * MIB
    until_read = engine.poll(0.0)
    assert not any(isinstance(event, RigJoined) for event in until_read)
    wait_until(lambda: at_rest(engine) == 0)
    rig = Raw(engine)
    rig.send(codec.encode_message(hello())[0])
    until(engine, RigJoined)
    rig.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"\x01\x00\x02\x00x",  # ZMTP 1: an identity without a name, and a message
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Mozilla/5.0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2,  # TLS
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x01\x05\x00\x00"
        + b"\x00\x02xy" * 9,  # ZMTP 2
        *(random.Random(seed).randbytes(300) for seed in range(12)),
    ],
    ids=lambda sent: repr(sent[:8]),
)
def test_what_speaks_another_language_is_read_past(engine, sent):
    host, port = engine.endpoint.removeprefix("tcp://").split(":")
    for _ in range(3):
        with socket.create_connection((host, int(port))) as other:
            other.sendall(sent)
            for _ in range(3):
                engine.poll(0.02)
    raw = Raw(engine)
    raw.send(codec.encode_message(hello())[0])
    until(engine, RigJoined)
    raw.close()
