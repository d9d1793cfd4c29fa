"""The engine's side of the wire on a socket: `EngineServer`.

Knows ZeroMQ and a clock that is handed in; what to say and when is `EngineLink`'s.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import zmq

from rig_bridge import codec
from rig_bridge.auth import EngineKeys
from rig_bridge.engine_link import EngineAction, EngineLink, SendToRig
from rig_bridge.errors import EndpointError, ProtocolError
from rig_bridge.events import FROZEN_S, RigEvent
from rig_bridge.flood import ConnectionWatch, FloodGuard
from rig_bridge.messages import Hello, Ping, Show
from rig_bridge.sockets import (
    bind,
    check_loopback,
    parse_endpoint,
    set_engine_options,
)
from rig_bridge.steady import asleep_s
from rig_bridge.trials import ShowRequest

_WAKE_S = 0.1
_PROBE_FOR_S, _PROBE_EVERY_S = 1.0, 0.02
_READ_AT_ONCE = 256


class EngineServer:
    """Talks to one rig. Used from one OS thread; a context manager.

    Parameters
    ----------
    endpoint : loopback address to bind, ``tcp://127.0.0.1:*`` for any free port
    session : hexadecimal id; an engine that resumes a session keeps it, and so gets the results
        that the rig has kept
    name : the session's, for people
    window_ms : to be recorded around each onset, milliseconds
    places : whether presentations have sizes and positions of their own
    answer_timeout_s : what is unanswered is asked for again after so long without a word from
        the rig; longer than the longest presentation
    clock : monotonic, seconds; for timeouts. How long `poll` waits is real time
    keys : who is let in; without them only this machine can reach the engine

    Attributes
    ----------
    endpoint : resolved, to hand to a rig
    bytes_sent : of all messages so far, frames only
    encode_seconds : spent turning messages into frames so far
    send_seconds : spent handing frames to the network so far
    last_send_seconds : the part of it that the last show took

    Raises
    ------
    EndpointError
        The address is not loopback and there are no keys, or it cannot be bound.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        session: str,
        name: str,
        window_ms: tuple[float, float] = (-100.0, 300.0),
        places: bool = False,
        answer_timeout_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        keys: EngineKeys | None = None,
    ) -> None:
        parse_endpoint(endpoint)
        if keys is None:
            check_loopback(endpoint)
        self._link = EngineLink(
            session=session,
            name=name,
            window_ms=window_ms,
            places=places,
            answer_timeout_s=answer_timeout_s,
        )
        self._clock = clock
        self._events: list[RigEvent] = []
        self._outbox: deque[tuple[SendToRig, list[codec.FrameBytes]]] = deque()
        self._probe_until = self._probe_next = 0.0
        self._listened_at: float | None = None  # real seconds, those asleep included
        self._unreachable: bytes | None = None
        self.bytes_sent = 0
        self.encode_seconds = self.send_seconds = self.last_send_seconds = 0.0
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        set_engine_options(self._socket)
        self._gate = None if keys is None else keys.protect(self._context, self._socket)
        self._guard = FloodGuard(curve=keys is not None)
        self._watch = ConnectionWatch(self._socket, self._guard)
        try:
            self.endpoint = bind(self._socket, endpoint)
        except EndpointError:
            self.close()
            raise
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._watch.wake_fd, zmq.POLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def hello(self) -> Hello | None:
        """The hello of the rig that is there; None while there is none."""
        return self._link.hello

    @property
    def connected(self) -> bool:
        """Whether there is a rig that was welcomed."""
        return self._link.peer is not None

    @property
    def unanswered(self) -> dict[int, tuple[int, ...]]:
        """Presentations that are asked for and not answered, by block."""
        return self._link.unanswered

    def next_attempt(self, block: int) -> int:
        """Return the attempt number that the next `show` of a block must have, or exceed.

        What was asked for again of its own accord took numbers too. An engine that resumes a
        session must besides stay above every attempt in its journal.
        """
        return self._link.next_attempt(block)

    def show(self, request: ShowRequest) -> None:
        """Ask for presentations and return; queued until a rig is there.

        Raises
        ------
        RequestError
            The request contradicts itself, an earlier one, or a limit of the protocol.
        """
        self._do(self._link.show(request, self._clock()))

    def poll(self, timeout_s: float) -> list[RigEvent]:
        """Return what happened, as soon as anything did, after `timeout_s` at the latest.

        Nothing is sent, resent or noticed except in here and in the other methods: call it
        often, at least once a second.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            self._turn()
            left = deadline - time.monotonic()
            if self._events or left <= 0:
                events, self._events = self._events, []
                return events
            self._wait(left)

    def hold(self, on: bool) -> None:  # noqa: FBT001  it is the state that is wanted
        """Have nothing shown after the presentation under way, or go on."""
        self._do(self._link.hold(on, self._clock()))

    def ack(self, block: int, presentations: Sequence[int]) -> None:
        """Say that the results handed up of these presentations are durable.

        Raises
        ------
        RequestError
            One of them was not handed up.
        """
        self._do(self._link.ack(block, presentations))

    def end(self, reason: str, *, timeout_s: float = 2.0) -> None:
        """End the session: best effort, waiting at most `timeout_s` for the rig's bye."""
        self._do(self._link.end(reason))
        deadline = time.monotonic() + timeout_s
        while self._link.peer is not None and (left := deadline - time.monotonic()) > 0:
            self._wait(left)
            self._turn()

    def close(self) -> None:
        """Close the socket at once; a second time does nothing."""
        if not self._socket.closed:
            self._watch.close()
            self._socket.close(linger=0)
            if self._gate is not None:
                self._gate.close()
            self._context.term()

    # ------------------------------------------------------------------ inside

    def _wait(self, left_s: float) -> None:
        wake = _PROBE_EVERY_S if self._outbox or self._probing() else _WAKE_S
        self._poller.poll(math.ceil(min(left_s, wake) * 1000))

    def _probing(self) -> bool:
        return self._link.peer is not None and time.monotonic() < self._probe_until

    def _turn(self) -> None:
        """Read what came, send what is due."""
        listened_at, self._listened_at = self._listened_at, time.monotonic() + asleep_s()
        if listened_at is not None and self._listened_at - listened_at > FROZEN_S:
            self._do(self._link.woke(self._listened_at - listened_at, self._clock()))
        if self._watch.take_lost():
            # Somebody's connection ended; whose, only a send can tell, and not at once.
            self._probe_until = time.monotonic() + _PROBE_FOR_S
        self._receive()
        now = time.monotonic()
        if self._probing() and now >= self._probe_next:
            self._probe_next = now + _PROBE_EVERY_S
            self._do(self._link.ping(self._clock()))
        self._do(self._link.tick(self._clock()))
        self._empty_outbox()
        if self._unreachable is not None:
            self._receive()  # the last words of a rig that is gone
            self._lose_unreachable()

    def _lose_unreachable(self) -> None:
        gone, self._unreachable = self._unreachable, None
        if gone is not None and gone == self._link.peer:
            self._do(self._link.lost("the connection to the rig is gone"))

    def _receive(self) -> None:
        for _ in range(_READ_AT_ONCE):
            try:
                peer, *frames = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                self._guard.all_read()
                break
            self._read(peer.bytes, [frame.buffer for frame in frames])
            if (descriptor := _descriptor(peer)) is not None:
                self._guard.read(
                    descriptor,
                    [len(frame) for frame in frames],
                    by_rig=peer.bytes == self._link.peer,
                )
        self._report_flood()

    def _report_flood(self) -> None:
        if ended := self._guard.take_ended():
            text = (
                f"{ended} connection(s) ended: at most {self._guard.rig_bytes >> 20} MiB of "
                f"the rig's and {self._guard.strangers_bytes >> 20} MiB of all others' may "
                "wait to be read, unfinished messages included"
            )
            self._do(self._link.notice("flood", "error", text, self._clock()))

    def _read(self, peer: bytes, frames: list[memoryview]) -> None:
        now = self._clock()
        try:
            message, arrays = codec.decode_from_rig(frames)
        except ProtocolError as error:
            self._do(self._link.misread(peer, error, now))
            return
        if isinstance(message, Hello):
            if peer == self._link.peer:
                self._outbox.clear()  # all of it is asked for again, after the welcome
                self._unreachable = None
            else:
                self._do(self._link.ping(now))  # is the rig we have still there?
                self._lose_unreachable()
        self._do(self._link.received(peer, message, arrays, now))

    def _do(self, actions: Sequence[EngineAction]) -> None:
        for action in actions:
            if not isinstance(action, SendToRig):
                self._events.append(action)
                continue
            if isinstance(action.message, Ping) and self._outbox:
                continue  # what is in the outbox asks the same question
            started = time.perf_counter()
            if action.header is None:
                frames = codec.encode_message(action.message, action.arrays)
            else:
                frames = codec.join(action.header, action.arrays)
            self.encode_seconds += time.perf_counter() - started
            self._outbox.append((action, frames))
        self._empty_outbox()

    def _empty_outbox(self) -> None:
        while self._outbox:
            action, frames = self._outbox[0]
            started = time.perf_counter()
            try:
                self._socket.send_multipart([action.peer, *frames], zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return  # its queue is full: once more at the next turn
            except zmq.ZMQError as exc:
                if exc.errno != zmq.EHOSTUNREACH:
                    raise
                self._outbox.popleft()
                if action.peer == self._link.peer:
                    self._outbox.clear()
                    self._unreachable = action.peer  # `_turn` reads what it sent first
                continue
            self._outbox.popleft()
            self.bytes_sent += sum(map(len, frames))
            took = time.perf_counter() - started
            self.send_seconds += took
            if isinstance(action.message, Show):
                self.last_send_seconds = took


def _descriptor(frame: zmq.Frame) -> int | None:
    """Return the connection a frame came on; None where ZeroMQ cannot tell.

    It cannot of what speaks an older ZMTP, or none: a browser, say.
    """
    try:
        return int(frame.get(zmq.SRCFD))
    except zmq.ZMQError:
        return None
