"""What both sides set on their sockets, and how they learn of connections.

Knows ZeroMQ, and what Linux tells of a TCP connection; nothing of messages.
"""

from __future__ import annotations

import ipaddress
import socket as tcp
import struct
from urllib.parse import urlsplit

import zmq
from zmq.utils.monitor import recv_monitor_message

from rig_bridge.codec import MAX_FRAME_BYTES, MAX_MESSAGE_BYTES
from rig_bridge.errors import EndpointError

HEARTBEAT_MS = 1000
HEARTBEAT_TIMEOUT_MS = 5000
HIGH_WATER_MARK = 64


def set_options(socket: zmq.Socket[bytes]) -> None:
    """Set what holds for either side: no lingering, small queues, heartbeats, size limit."""
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
    socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TTL, HEARTBEAT_TIMEOUT_MS)


def check_loopback(endpoint: str) -> None:
    """Raise `EndpointError` unless only this machine can reach a socket bound there."""
    url = urlsplit(endpoint)
    if url.scheme == "ipc":
        return
    host = (url.hostname or "").strip("[]")
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if url.scheme != "tcp" or not loopback:
        raise EndpointError(
            f"the engine binds loopback addresses only, such as tcp://127.0.0.1:5765; got "
            f"{endpoint!r}. Any other address needs keys: make them with 'evolver keys new' "
            "and name their folder in the session file, rig.keys"
        )


class FloodGuard:
    """Ends connections on which more came than a message may have, and no message.

    ZeroMQ hands a message over when its last frame is here, and until then keeps every frame:
    a peer that never ends one would fill the memory. No option of ZeroMQ bounds that. What
    Linux counts as received on a TCP connection does, as often as `check` is called; elsewhere,
    and on ``ipc://``, nothing is watched.

    Parameters
    ----------
    limit_bytes : received since the last message that ended
    """

    # struct tcp_info of linux/tcp.h: tcpi_bytes_received, since Linux 4.1.
    _RECEIVED_AT, _SIZE = 128, 136

    def __init__(self, limit_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._limit = limit_bytes
        self._connections: dict[int, tuple[object, int]] = {}  # descriptor: peer, bytes by then

    def add(self, descriptor: int) -> None:
        """Watch the connection that ZeroMQ accepted as `descriptor`."""
        self._connections.pop(descriptor, None)
        seen = self._look(descriptor)
        if seen is not None:
            self._connections[descriptor] = (seen[0], 0)

    def message_ended(self, descriptor: int) -> None:
        """Take the news that a message of this connection has ended."""
        if descriptor in self._connections:
            seen = self._look(descriptor)
            if seen is not None:
                self._connections[descriptor] = seen

    def check(self) -> int:
        """End what must be ended; return how many. Call it when every message has been read."""
        ended = 0
        for descriptor, (peer, base) in list(self._connections.items()):
            seen = self._look(descriptor)
            if seen is None or seen[0] != peer:  # closed, and perhaps another one by now
                del self._connections[descriptor]
            elif seen[1] - base > self._limit:
                self._look(descriptor, end=True)  # ZeroMQ drops what it has of it
                del self._connections[descriptor]
                ended += 1
        return ended

    def _look(self, descriptor: int, *, end: bool = False) -> tuple[object, int] | None:
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
                connection.shutdown(tcp.SHUT_RDWR)
            info = connection.getsockopt(tcp.IPPROTO_TCP, option, self._SIZE)
            peer: object = connection.getpeername()
        except OSError:
            return None
        finally:
            connection.detach()  # it is ZeroMQ's, to close when it likes
        if len(info) < self._SIZE:
            return None
        return peer, int(struct.unpack_from("=Q", info, self._RECEIVED_AT)[0])


class Monitor:
    """Connections that came and went on one socket."""

    _EVENTS = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | zmq.EVENT_ACCEPTED

    def __init__(self, socket: zmq.Socket[bytes], guard: FloodGuard | None = None) -> None:
        self._socket, self._guard = socket, guard
        self.socket = socket.get_monitor_socket(self._EVENTS)
        self.socket.setsockopt(zmq.LINGER, 0)

    def events(self) -> list[bool]:
        """Return what happened since the last call: True for a connection made, False lost."""
        happened: list[bool] = []
        while self.socket.poll(0):
            message = recv_monitor_message(self.socket)
            event = message["event"]
            if event == zmq.EVENT_ACCEPTED and self._guard is not None:
                self._guard.add(int(message["value"]))
            elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                happened.append(True)
            elif event == zmq.EVENT_DISCONNECTED:
                happened.append(False)
        return happened

    def close(self) -> None:
        """Stop listening."""
        self._socket.disable_monitor()
        self.socket.close(linger=0)
