"""What both sides set on their sockets, addresses, and how they learn of connections.

Knows ZeroMQ; nothing of messages.
"""

from __future__ import annotations

import errno
import ipaddress
import re
from dataclasses import dataclass

import zmq
from zmq.utils.monitor import recv_monitor_message

from rig_bridge.codec import MAX_FRAME_BYTES
from rig_bridge.contact import Happened
from rig_bridge.errors import EndpointError, InUseError

_TCP = re.compile(
    r"tcp://(?:\[([0-9a-fA-F:.]{2,45})\]|([A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\*))"
    r":([0-9]{1,5}|\*)"
)
_IPC = re.compile(r"ipc://([^;\s@*][^;\s]{0,106}|\*)")

HEARTBEAT_MS = 1000
HEARTBEAT_TIMEOUT_MS = 5000
HIGH_WATER_MARK = 64


def set_options(socket: zmq.Socket[bytes]) -> None:
    """Set what holds for either side: no lingering, a size limit, small queues to send.

    What has come is never refused (RCVHWM 0). libzmq 4.3 ends the process ("Assertion failed:
    !_io_error") where a connection is lost while its queue is full, and then has a ping to
    send: one of its own heartbeats, or the answer to one of the peer's. A queue that is never
    full cannot come there; on the engine, whose peers may be strangers, `flood.FloodGuard`
    bounds what waits.
    """
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)


def set_engine_options(socket: zmq.Socket[bytes]) -> None:
    """Set the options of a ROUTER.

    It has no heartbeats of its own (see `set_options`). A rig's carry the time after which it
    counts as gone (HEARTBEAT_TTL), and of a machine that is gone TCP's own tell.
    """
    set_options(socket)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 2)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, 3)


def set_rig_options(socket: zmq.Socket[bytes], identity: bytes) -> None:
    """Set the options of a DEALER, whose heartbeats tell either side that the other is gone."""
    set_options(socket)
    socket.setsockopt(zmq.IDENTITY, identity)
    socket.setsockopt(zmq.IMMEDIATE, 1)
    socket.setsockopt(zmq.RECONNECT_IVL, 50)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TTL, HEARTBEAT_TIMEOUT_MS)


@dataclass(frozen=True, slots=True)
class Address:
    """An address of ``tcp://`` or ``ipc://``, taken apart.

    Parameters
    ----------
    host : the name or number as it was given, without brackets; the path of ``ipc://``
    port : 1 to 65535; 0: any free one; None for ``ipc://``
    """

    host: str
    port: int | None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.port is None or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_endpoint(endpoint: str) -> Address:
    """Take an address apart, strictly: what ZeroMQ might understand in another way is none.

    Raises
    ------
    EndpointError
        It is not ``tcp://HOST:PORT`` (a name, or a number, ``[…]`` around one of IPv6, or
        ``*``; 1 to 65535, or ``*`` for any free port), nor ``ipc://PATH``.
    """
    path = _IPC.fullmatch(endpoint)
    if path is not None:
        return Address(path[1], None)
    match = _TCP.fullmatch(endpoint)
    port = 0 if match is None or match[3] == "*" else int(match[3])
    if match is not None and match[1]:
        try:
            ipaddress.IPv6Address(match[1])
        except ValueError:
            match = None
    if match is None or (match[3] != "*" and not 1 <= port <= 65_535):
        raise EndpointError(
            "an address must be tcp://HOST:PORT with a port from 1 to 65535 (* for any that is "
            f"free), or ipc://PATH; got {endpoint!r}"
        )
    return Address(match[1] or match[2], port)


def check_loopback(endpoint: str) -> None:
    """Raise `EndpointError` unless only this machine can reach a socket bound there."""
    if not parse_endpoint(endpoint).is_loopback:
        raise EndpointError(
            f"the engine binds loopback addresses only, such as tcp://127.0.0.1:5765; got "
            f"{endpoint!r}. Any other address needs keys: make them with 'evolver keys new' "
            "and name their folder in the session file, rig.keys"
        )


def check_bound(asked: str, bound: str) -> None:
    """Raise `EndpointError` unless a socket is where it was asked to be.

    Parameters
    ----------
    asked : the address it was bound to
    bound : what ZeroMQ says it is bound to (LAST_ENDPOINT)
    """
    wanted, got = parse_endpoint(asked), parse_endpoint(bound)
    if wanted.port is None or got.port is None:
        fits = wanted == got or (wanted.host == "*" and got.port is None)
    else:
        fits = wanted.port in {0, got.port} and got.port > 0
        fits = fits and (not wanted.is_loopback or got.is_loopback)
    if not fits:
        raise EndpointError(
            f"the socket must be where it was asked to be, {asked!r}; it is at {bound!r}. "
            "Name a number, such as tcp://127.0.0.1:5765"
        )


_ADVICE = {
    errno.EADDRINUSE: "it is in use. Is another session running ('evolver ctl status'), or "
    "another program? End it, or name another port; tcp://127.0.0.1:* takes any that is free",
    errno.EADDRNOTAVAIL: "this machine has no such address. Name one of its own, or "
    "tcp://0.0.0.0:PORT for all of them",
    errno.ENODEV: "this machine has no such address. Name one of its own, or "
    "tcp://0.0.0.0:PORT for all of them",
    errno.EACCES: "this user may not listen there. Name a port above 1023",
}


def bind(socket: zmq.Socket[bytes], endpoint: str) -> str:
    """Have a socket listen at an address; return where it does, as it is to be handed to rigs.

    Raises
    ------
    EndpointError
        It cannot.
    """
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as exc:
        why = _ADVICE.get(exc.errno or 0, str(exc))
        kind = InUseError if exc.errno == errno.EADDRINUSE else EndpointError
        raise kind(f"{endpoint} must be free to listen at; {why}") from exc
    bound = socket.getsockopt_string(zmq.LAST_ENDPOINT)
    check_bound(endpoint, bound)
    return bound


def check_free(endpoint: str) -> None:
    """Listen at an address for a moment; raise `EndpointError` if that cannot be."""
    context = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    try:
        set_engine_options(socket)
        bind(socket, endpoint)
    finally:
        socket.close(linger=0)
        context.term()


class Monitor:
    """Connections that came and went on one socket.

    Parameters
    ----------
    socket : of the connections
    attempts : whether attempts that came to nothing are told as well
    """

    _EVENTS = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | zmq.EVENT_ACCEPTED
    _ATTEMPTS = (
        zmq.EVENT_CONNECTED
        | zmq.EVENT_CONNECT_DELAYED
        | zmq.EVENT_CONNECT_RETRIED
        | zmq.EVENT_CLOSED
        | zmq.EVENT_HANDSHAKE_FAILED_AUTH
        | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
        | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    )

    def __init__(self, socket: zmq.Socket[bytes], *, attempts: bool = False) -> None:
        self._socket = socket
        wanted = self._EVENTS | self._ATTEMPTS if attempts else self._EVENTS
        self.socket = socket.get_monitor_socket(wanted)
        self.socket.setsockopt(zmq.LINGER, 0)
        self._tried = False  # since the last time that another try was put off

    def raw_events(self) -> list[tuple[int, int]]:
        """Return ZeroMQ's events and their values since the last call."""
        happened: list[tuple[int, int]] = []
        while self.socket.poll(0):
            message = recv_monitor_message(self.socket)
            happened.append((int(message["event"]), int(message["value"])))
        return happened

    def events(self) -> list[Happened]:
        """Return what happened since the last call, of a socket that connects."""
        happened: list[Happened] = []
        for event, _ in self.raw_events():
            match event:
                case zmq.EVENT_CONNECT_RETRIED if not self._tried:
                    happened.append(Happened.NO_HOST)  # there was no address to try
                case zmq.EVENT_CONNECT_RETRIED:
                    self._tried = False
                case _:
                    self._tried = True
                    if event in _HAPPENED:
                        happened.append(_HAPPENED[event])
        return happened

    def close(self) -> None:
        """Stop listening."""
        self._socket.disable_monitor()
        self.socket.close(linger=0)


_HAPPENED: dict[int, Happened] = {
    zmq.EVENT_HANDSHAKE_SUCCEEDED: Happened.MADE,
    zmq.EVENT_DISCONNECTED: Happened.LOST,
    zmq.EVENT_CLOSED: Happened.NOBODY,
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: Happened.KEY_REFUSED,
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: Happened.NO_HANDSHAKE,
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: Happened.NO_HANDSHAKE,
}
