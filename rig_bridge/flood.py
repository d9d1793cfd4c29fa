"""What strangers can make an engine hold: bytes that wait to be read, over all connections.

Knows what Linux tells of a TCP connection, and how long ZeroMQ's frames are on the wire;
nothing of messages. The socket's own queue has no limit (see `sockets.set_options`), so that
this is what bounds the memory.
"""

from __future__ import annotations

import contextlib
import os
import socket as tcp
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import zmq

from rig_bridge.codec import MAX_FRAME_BYTES
from rig_bridge.sockets import HEARTBEAT_TIMEOUT_MS, Monitor

RIG_BYTES = 3 * MAX_FRAME_BYTES
"""Unread of the rig's connection; its longest message is a header and two arrays."""
STRANGERS_BYTES = 16 * 2**20
"""Unread of all other connections together; what they have to say is a hello, below 64 KiB."""
CONNECTIONS = 64
"""Connections at a time, beside the rig's."""

SILENT_S = HEARTBEAT_TIMEOUT_MS / 1000
"""A rig whose heartbeats came, and of which not a byte came for so long, is gone."""

_LOOK_EVERY_MS = 20
_BEATS_KEPT = 64
_LONGEST_BEAT = 100  # bytes of a heartbeat, encrypted or not; it is never read as a message
# struct tcp_info of linux/tcp.h: tcpi_bytes_received, since Linux 4.1.
_RECEIVED_AT, _SIZE = 128, 136
_SHORT = 256  # a frame below has a header of 2 bytes, else of 9 (RFC 23)
_CURVE_BYTES = 33  # "\x07MESSAGE", a nonce, a flag and a MAC around each frame (RFC 26)


def bytes_on_wire(frame_bytes: Sequence[int], *, curve: bool) -> int:
    """Return how many bytes a message of such frames takes on a connection."""
    total = 0
    for length in frame_bytes:
        body = length + (_CURVE_BYTES if curve else 0)
        total += body + (2 if body < _SHORT else 9)
    return total


@dataclass(slots=True, eq=False)
class _Connection:
    peer: object
    received: int = 0  # bytes, as Linux counts
    read: int = 0  # of them, taken from the queue as whole messages
    resting: int = 0  # unread when everything had been read, at the last look
    # Of late: what rested after each heartbeat. None is one of which bytes are read later: they
    # were the beginning of a message.
    beats: deque[int] = field(default_factory=lambda: deque[int](maxlen=_BEATS_KEPT))
    moved_at: float = 0.0  # when bytes last came, seconds, monotonic

    @property
    def unread(self) -> int:
        return max(0, self.received - self.read)


class FloodGuard:
    """Ends connections on which more came than may wait to be read.

    ZeroMQ hands a message over when its last frame is here, and until then keeps every frame;
    what is complete waits in a queue. Counted are both: bytes received, less those of the
    messages read, over all connections, and those of connections that ended meanwhile.
    Elsewhere than on Linux, and on ``ipc://`` (whose file is its owner's), nothing is watched.

    Used from two OS threads: one looks, the other reads.

    Parameters
    ----------
    rig_bytes : unread at most of the rig's connection
    strangers_bytes : of all others together
    connections : of others, at most
    curve : frames are encrypted, and so longer
    clock : monotonic, seconds
    """

    def __init__(
        self,
        *,
        rig_bytes: int = RIG_BYTES,
        strangers_bytes: int = STRANGERS_BYTES,
        connections: int = CONNECTIONS,
        curve: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self.rig_bytes, self.strangers_bytes = rig_bytes, strangers_bytes
        self._most, self._curve = connections, curve
        self._lock = threading.Lock()
        self._connections: dict[int, _Connection] = {}  # by descriptor, the oldest first
        self._ghosts: dict[int, int] = {}  # unread of connections that are over
        self._early: dict[int, int] = {}  # read of connections that are not known yet
        self._rig = -1  # the descriptor of the rig's
        self._ended = 0

    def accepted(self, descriptor: int) -> None:
        """Watch the connection that ZeroMQ accepted as `descriptor`."""
        with self._lock:
            self._forget(descriptor)
            seen = _look(descriptor)
            early = self._early.pop(descriptor, 0)
            if seen is not None:
                self._connections[descriptor] = _Connection(
                    *seen, read=min(early, seen[1]), moved_at=self._clock()
                )

    def read(self, descriptor: int, frame_bytes: Sequence[int], *, by_rig: bool) -> None:
        """Take the news that a message of such frames was read.

        Parameters
        ----------
        descriptor, frame_bytes : the connection, and the lengths of the frames
        by_rig : the connection is that of the rig
        """
        length = bytes_on_wire(frame_bytes, curve=self._curve)
        with self._lock:
            ghost = min(length, self._ghosts.get(descriptor, 0))
            if ghost:  # descriptors are used again: first what the connection before it left
                self._ghosts[descriptor] -= ghost
            connection = self._connections.get(descriptor)
            if connection is not None:
                connection.read += length - ghost
            else:  # messages are quicker than the news of their connection
                self._early[descriptor] = self._early.get(descriptor, 0) + length - ghost
            if by_rig and self._rig != descriptor:
                self._rig = descriptor
                if connection is not None:
                    connection.resting = connection.unread

    def all_read(self) -> None:
        """Take the news that nothing waits to be read but unfinished messages."""
        with self._lock:
            self._ghosts.clear()
            rig = self._connections.get(self._rig)
            if rig is not None and rig.unread != rig.resting:
                if 0 < rig.unread - rig.resting <= _LONGEST_BEAT:
                    rig.beats.append(rig.unread)
                while rig.beats and rig.beats[-1] > rig.unread:
                    rig.beats.pop()
                rig.resting = rig.unread

    def check(self) -> None:
        """Look at every connection, and end what must be ended."""
        with self._lock:
            for descriptor, connection in list(self._connections.items()):
                seen = _look(descriptor)
                if seen is None or seen[0] != connection.peer:
                    self._forget(descriptor)  # closed, and perhaps another one by now
                elif seen[1] != connection.received:
                    connection.received, connection.moved_at = seen[1], self._clock()
            rig = self._connections.get(self._rig)
            if rig is not None and rig.unread > self.rig_bytes:
                self._end(self._rig)
            elif rig is not None and rig.beats and self._clock() - rig.moved_at > SILENT_S:
                _look(self._rig, end=True)  # frozen: ZeroMQ says that it is gone
                self._forget(self._rig)
            self._check_strangers()

    def _check_strangers(self) -> None:
        others = [d for d in self._connections if d != self._rig]
        for descriptor in others[: max(0, len(others) - self._most)]:
            self._end(descriptor)
        others = [d for d in others if d in self._connections]
        total = sum(self._ghosts.values()) + sum(self._connections[d].unread for d in others)
        for descriptor in sorted(others, key=lambda d: -self._connections[d].unread):
            if total <= self.strangers_bytes:
                break
            total -= self._connections[descriptor].unread
            self._end(descriptor)

    def take_ended(self) -> int:
        """Return how many connections were ended since this was last asked."""
        with self._lock:
            ended, self._ended = self._ended, 0
            return ended

    @property
    def beats(self) -> int:
        """Heartbeats of the rig of late, as far as was seen."""
        with self._lock:
            rig = self._connections.get(self._rig)
            return 0 if rig is None else len(rig.beats)

    @property
    def unread(self) -> int:
        """Bytes that wait to be read, as of the last look."""
        with self._lock:
            live = sum(connection.unread for connection in self._connections.values())
            return live + sum(self._ghosts.values())

    def _end(self, descriptor: int) -> None:
        _look(descriptor, end=True)  # ZeroMQ drops what is unfinished of it
        self._forget(descriptor)
        self._ended += 1

    def _forget(self, descriptor: int) -> None:
        gone = self._connections.pop(descriptor, None)
        if gone is not None and gone.unread:
            self._ghosts[descriptor] = self._ghosts.get(descriptor, 0) + gone.unread
        if descriptor == self._rig:
            self._rig = -1


def _look(descriptor: int, *, end: bool = False) -> tuple[object, int] | None:
    """Return peer and bytes received; None where it is over, or nobody can tell."""
    option = getattr(tcp, "TCP_INFO", None)
    if option is None:
        return None
    try:
        connection = tcp.socket(fileno=descriptor)
    except OSError:
        return None
    try:
        if connection.family not in {tcp.AF_INET, tcp.AF_INET6}:
            return None
        if end:
            # With a reset, once ZeroMQ closes it: whoever goes on sending hears of it at once.
            connection.setsockopt(tcp.SOL_SOCKET, tcp.SO_LINGER, struct.pack("ii", 1, 0))
            connection.shutdown(tcp.SHUT_RDWR)
        info = connection.getsockopt(tcp.IPPROTO_TCP, option, _SIZE)
        peer: object = connection.getpeername()
    except OSError:
        return None
    finally:
        connection.detach()  # it is ZeroMQ's, to close when it likes
    if len(info) < _SIZE:
        return None
    return peer, int(struct.unpack_from("=Q", info, _RECEIVED_AT)[0])


class ConnectionWatch:
    """Watches the connections of one bound socket from an OS thread of its own.

    So that what strangers send is bounded also while the engine computes, or waits for a disk.

    Parameters
    ----------
    socket : not bound yet
    guard : FloodGuard

    Attributes
    ----------
    wake_fd : readable after a connection was lost
    """

    def __init__(self, socket: zmq.Socket[bytes], guard: FloodGuard) -> None:
        self._guard = guard
        self._monitor = Monitor(socket)
        self._lost = self._over = False
        self.wake_fd, self._wake_end = os.pipe()
        os.set_blocking(self.wake_fd, False)
        os.set_blocking(self._wake_end, False)
        self._worker = threading.Thread(target=self._work, name="connections", daemon=True)
        self._worker.start()

    def take_lost(self) -> bool:
        """Return whether a connection was lost since this was last asked."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.wake_fd, 4096):
                pass
        lost, self._lost = self._lost, False
        return lost

    def close(self) -> None:
        """End the watching."""
        self._over = True
        self._worker.join()
        self._monitor.close()
        os.close(self.wake_fd)
        os.close(self._wake_end)

    def _work(self) -> None:
        while not self._over:
            self._monitor.socket.poll(_LOOK_EVERY_MS)
            lost = False
            for event, value in self._monitor.raw_events():
                if event == zmq.EVENT_ACCEPTED:
                    self._guard.accepted(value)
                elif event == zmq.EVENT_DISCONNECTED:
                    lost = True
            self._guard.check()
            if lost:
                self._lost = True
                with contextlib.suppress(BlockingIOError):
                    os.write(self._wake_end, b"x")
