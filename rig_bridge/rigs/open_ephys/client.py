"""Open Ephys on a socket: the `Acquisition` that a rig is given.

Knows ZeroMQ and two clocks that are handed in. An OS thread of its own receives, so that
arrivals are stamped, nothing piles up, and heartbeats are sent, while an image is on the screen
or the session pauses; what the messages mean is for `Windows`, under a lock.
"""

from __future__ import annotations

import copy
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import zmq

from rig_bridge.errors import EndpointError, ProtocolError
from rig_bridge.forms import Form
from rig_bridge.messages import Level, Showing, Unit
from rig_bridge.rigs.open_ephys.format import (
    DATA_PORT,
    HEARTBEAT_S,
    MAX_FRAME_BYTES,
    PluginMessage,
    decode_plugin,
    heartbeat,
)
from rig_bridge.rigs.open_ephys.translate import to_sampled
from rig_bridge.rigs.open_ephys.units import UnitTable
from rig_bridge.rigs.protocols import Recorded
from rig_bridge.rigs.sampled.windows import ClockState, Tally, Windows, WindowTiming
from rig_bridge.steady import unix_ns
from rig_bridge.trials import Presentation

_log = logging.getLogger(__name__)

_DEAD_S = 5.0
_SOCKET_QUEUE = 4096
"""Messages that wait for the thread; beyond it they are dropped, and the gap is seen."""
_WAKE_MS = 50
_REPORT_EVERY = 500  # images with an edge of the photodiode
_LAST_PORT = 65_534  # the listening port is the next one


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How the acquisition is doing."""

    answers: bool  # heartbeats, within five seconds
    has_samples: bool  # samples come
    tally: Tally
    malformed: int
    clocks: ClockState


class OpenEphys:
    """An `Acquisition` behind the ZMQ Interface.

    Parameters
    ----------
    host, port : of the plugin; the listening port is the next one
    units : which spikes count
    timing : of the acquisition; None: as `WindowTiming` has it
    application : name that the plugin shows
    clock : seconds, never goes back
    display_clock : nanoseconds, the clock in which the display tells its flips

    Raises
    ------
    EndpointError
        The address is none.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = DATA_PORT,
        *,
        units: UnitTable,
        timing: WindowTiming | None = None,
        application: str = "evolver",
        clock: Callable[[], float] = time.monotonic,
        display_clock: Callable[[], int] = unix_ns,
    ) -> None:
        if not 1 <= port <= _LAST_PORT:
            raise EndpointError(f"Open Ephys' port must be 1 to {_LAST_PORT}; got {port}")
        self._units, self._windows = units, Windows(timing or WindowTiming())
        self._clock = clock
        self._alarmed, self._reported = False, 0
        self._warned: set[str] = set()
        self._notices: deque[tuple[Level, str]] = deque(maxlen=100)
        self._lock = threading.Lock()
        self._receiver = _Receiver(
            host, port, application, clock, display_clock, self._take, self._misread
        )
        self._receiver.start()

    @property
    def units(self) -> Sequence[Unit]:
        """The unit table."""
        return self._units.units

    @property
    def form(self) -> Form:
        """Spike times."""
        return "spikes"

    def expect(self, request: Presentation, showing: Showing) -> None:
        """Take the news that an image was on the screen."""
        with self._lock:
            self._windows.expect(request, showing, self._clock())

    def collect(self) -> Sequence[Recorded]:
        """Return the windows that are complete, or lost, by now.

        Raises
        ------
        EndpointError
            Receiving has ended.
        """
        if not self._receiver.is_alive():
            raise EndpointError(f"receiving from Open Ephys ended: {self._receiver.failure}")
        with self._lock:
            done = self._windows.collect(self._clock())
        for recorded in done:
            if recorded.status == "aborted":
                _log.info("presentation %s: %s", recorded.request.presentation, recorded.reason)
        self._report()
        return done

    @property
    def health(self) -> Health:
        """How it is doing."""
        receiver = self._receiver
        with self._lock:
            tally = copy.deepcopy(self._windows.tally)
            has_samples, clocks = self._windows.has_samples, self._windows.clocks
        return Health(
            answers=receiver.answers,
            has_samples=has_samples,
            tally=tally,
            malformed=receiver.malformed,
            clocks=clocks,
        )

    def _take(
        self, message: PluginMessage, header: bytes, arrived_ns: int, now_s: float
    ) -> None:
        sampled = to_sampled(
            message, header, units=self._units, arrived_ns=arrived_ns, now_s=now_s
        )
        with self._lock:
            self._windows.take(sampled)
        self._report_unusable()

    def _misread(self, reason: str) -> None:
        with self._lock:
            self._windows.misread(reason)
        self._report_unusable()

    def notices(self) -> Sequence[tuple[Level, str]]:
        """Return what is wrong, and every 500 images how the clocks go; each once."""
        self._report_unusable()
        notices = list(self._notices)
        self._notices.clear()
        return notices

    def close(self) -> None:
        """Stop listening."""
        self._receiver.close()

    def _report(self) -> None:
        health = self.health
        clocks, tally = health.clocks, health.tally
        if clocks.alarmed != self._alarmed:
            self._alarmed = clocks.alarmed
            left = clocks.residual
            self._notify(
                "warning" if clocks.alarmed else "info",
                f"the clocks of display and acquisition "
                f"{'do not go together' if clocks.alarmed else 'go together again'}: residual "
                f"{left.rms_s * 1000:.2f} ms rms, {left.max_s * 1000:.2f} ms at most",
            )
        if clocks.matched >= self._reported + _REPORT_EVERY:
            self._reported = clocks.matched
            left = clocks.residual
            text = (
                f"clocks of display and acquisition: {clocks.matched} images with an edge, "
                f"residual {left.rms_s * 1000:.2f} ms rms, {left.max_s * 1000:.2f} ms at most, "
                f"{clocks.steps} steps"
            )
            self._notify("info", text)
        if clocks.given_up and tally.edges == 0 and tally.other_lines:
            self._warn_once(
                f"no photodiode: edges came on lines {sorted(tally.other_lines)} only"
            )
        if tally.other_sources:
            self._warn_once(
                f"spikes of what is no unit are dropped: {sorted(tally.other_sources)[:10]}"
            )

    def _report_unusable(self) -> None:
        with self._lock:
            news = self._windows.heard.news(self._clock())
        if news:
            self._notify("warning", f"Open Ephys: {news}")

    def _warn_once(self, text: str) -> None:
        if text not in self._warned and len(self._warned) < 20:
            self._warned.add(text)
            self._notify("warning", text)

    def _notify(self, level: Level, text: str) -> None:
        _log.log(logging.WARNING if level == "warning" else logging.INFO, "%s", text)
        self._notices.append((level, text))


class _Receiver(threading.Thread):
    """Receives, stamps and decodes; sends the heartbeats."""

    def __init__(
        self,
        host: str,
        port: int,
        application: str,
        clock: Callable[[], float],
        display_clock: Callable[[], int],
        take: Callable[[PluginMessage, bytes, int, float], None],
        misread: Callable[[str], None],
    ) -> None:
        super().__init__(name="open ephys", daemon=True)
        self._clock, self._display_clock = clock, display_clock
        self._take, self._misread = take, misread
        self._heartbeat = heartbeat(application, secrets.token_hex(16))
        self._stopped = threading.Event()
        self._answered_s: float | None = None
        self.failure = "it was closed"
        self.malformed = 0
        self._context = zmq.Context()
        self._data = self._context.socket(zmq.SUB)
        self._beats = self._context.socket(zmq.DEALER)  # a REQ would stick at a lost answer
        for socket in (self._data, self._beats):
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)
            socket.setsockopt(zmq.RECONNECT_IVL, 100)
            socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        self._data.setsockopt(zmq.RCVHWM, _SOCKET_QUEUE)
        self._data.setsockopt(zmq.SUBSCRIBE, b"")
        self._beats.setsockopt(zmq.SNDHWM, 2)
        self._beats.setsockopt(zmq.IMMEDIATE, 1)
        try:
            self._data.connect(f"tcp://{host}:{port}")
            self._beats.connect(f"tcp://{host}:{port + 1}")
        except zmq.ZMQError as exc:
            self._close_sockets()
            raise EndpointError(f"Open Ephys' host must be one; got {host!r}: {exc}") from exc

    @property
    def answers(self) -> bool:
        """Whether heartbeats are answered."""
        return self._answered_s is not None and self._clock() - self._answered_s < _DEAD_S

    def close(self) -> None:
        """Stop; the sockets are closed by their own thread."""
        self._stopped.set()
        self.join(10.0)

    def run(self) -> None:
        """Receive until closed."""
        try:
            self._run()
        except zmq.ZMQError as exc:
            self.failure = str(exc)
        finally:
            self._close_sockets()

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._data, zmq.POLLIN)
        poller.register(self._beats, zmq.POLLIN)
        beat_s = float("-inf")
        while not self._stopped.is_set():
            if self._clock() - beat_s >= HEARTBEAT_S and self._beat():
                beat_s = self._clock()
            ready = dict(poller.poll(_WAKE_MS))
            if self._beats in ready:
                self._beats.recv_multipart()
                self._answered_s = self._clock()
            if self._data in ready:
                self._receive()

    def _beat(self) -> bool:
        try:
            self._beats.send_multipart([b"", self._heartbeat], zmq.NOBLOCK)
        except zmq.Again:  # nobody there
            return False
        return True

    def _receive(self) -> None:
        for _ in range(_SOCKET_QUEUE):  # then a look at the heartbeat
            try:
                frames = self._data.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            arrived = self._display_clock(), self._clock()
            try:
                message = decode_plugin(frames)
            except ProtocolError as exc:
                self.malformed += 1
                self._misread(f"no message of the ZMQ Interface: {exc}"[:300])
                continue
            self._take(message, frames[1], *arrived)

    def _close_sockets(self) -> None:
        self._data.close(linger=0)
        self._beats.close(linger=0)
        self._context.term()
