"""What both sides set on their sockets, and how they learn of connections.

Knows ZeroMQ; nothing of messages.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import zmq
from zmq.utils.monitor import recv_monitor_message

from rig_bridge.codec import MAX_FRAME_BYTES
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
            f"{endpoint!r}. Keys (CURVE), which any other address needs, are not available "
            "yet: run the rig on this machine, or bring it here through an ssh tunnel"
        )


class Monitor:
    """Connections that came and went on one socket."""

    _EVENTS = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self.socket = socket.get_monitor_socket(self._EVENTS)
        self.socket.setsockopt(zmq.LINGER, 0)

    def events(self) -> list[bool]:
        """Return what happened since the last call: True for a connection made, False lost."""
        happened: list[bool] = []
        while self.socket.poll(0):
            event = recv_monitor_message(self.socket)["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                happened.append(True)
            elif event == zmq.EVENT_DISCONNECTED:
                happened.append(False)
        return happened

    def close(self) -> None:
        """Stop listening."""
        self._socket.disable_monitor()
        self.socket.close(linger=0)
