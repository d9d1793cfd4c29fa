"""The other side of the wire: Open Ephys with a simulated population, and faults on command.

For tests, and for trying a rig without hardware. `Emulation` makes the messages, buffer by
buffer, from the random generator that it is given, and knows no socket and no clock; `Emulator`
sends them in real time on real sockets, and does what comes to its listening port: heartbeats,
light on the photodiode (an event, with what the neurons see), faults.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias, get_args

import msgspec
import numpy as np
import zmq
from numpy.typing import NDArray

from rig_bridge.errors import EndpointError
from rig_bridge.rigs.open_ephys.format import (
    MAX_FRAME_BYTES,
    Data,
    Spike,
    Ttl,
    encode_plugin,
)

Fault: TypeAlias = Literal["drop", "duplicate", "reorder", "stall", "restart", "malform"]
Frames: TypeAlias = list[bytes]

_NODE = 101
_MOST_BUFFERS = 100  # at a time, when the machine was away


@dataclass(frozen=True, slots=True)
class SimulatedResponse:
    """What the neurons do about an image."""

    sample: int  # its onset
    end: int
    drives: NDArray[np.float64]  # (electrodes,) from 0, as a fraction of the peak rate


class Emulation:
    """Messages of an acquisition, one buffer after the other.

    Parameters
    ----------
    rng : of the spikes
    electrodes : each with one unsorted unit, "Electrode 1" and so on
    channels : continuous ones that are sent; 0: none
    rate_hz : of the samples
    line : of the photodiode
    baseline_hz, peak_hz : of the neurons
    latency_ms : from light to response
    """

    def __init__(
        self,
        rng: np.random.Generator,
        *,
        electrodes: int = 16,
        channels: int = 1,
        rate_hz: float = 30_000.0,
        line: int = 0,
        baseline_hz: float = 8.0,
        peak_hz: float = 80.0,
        latency_ms: float = 50.0,
        stream: str = "emulated",
    ) -> None:
        self._rng, self.electrodes, self._channels = rng, electrodes, channels
        self.rate_hz, self._line, self._stream = rate_hz, line, stream
        self._baseline_hz, self._peak_hz = baseline_hz, peak_hz
        self._latency = round(latency_ms / 1000 * rate_hz)
        self._number = 0
        self.sample = 0
        self._edges: list[tuple[int, bool]] = []
        self._responses: list[SimulatedResponse] = []
        self._faults: dict[Fault, int] = {}
        self._held: Frames | None = None
        self.sent = 0

    def light(self, sample: int, on_ms: float, drives: NDArray[np.float64] | None) -> None:
        """Let the photodiode, and the neurons, see an image from `sample` on."""
        end = sample + round(on_ms / 1000 * self.rate_hz)
        self._edges += [(sample, True), (end, False)]
        if drives is not None and drives.shape == (self.electrodes,):
            late = self._latency
            self._responses.append(SimulatedResponse(sample + late, end + late, drives))

    def fault(self, fault: Fault, count: int = 1) -> None:
        """Do this to the next `count` messages; a restart is at once."""
        if fault == "restart":
            self._number = self.sample = 0
            self._edges.clear()
            self._responses.clear()
        else:
            self._faults[fault] = self._faults.get(fault, 0) + count

    def advance(self, samples: int, *, now_ms: int) -> list[Frames]:
        """Return the messages of the next buffer of so many samples, faults included."""
        first, last = self.sample, self.sample + samples
        events: list[tuple[int, Spike | Ttl]] = []
        for edge in [edge for edge in self._edges if edge[0] < last]:
            self._edges.remove(edge)
            sample = max(first, edge[0])
            events.append((sample, Ttl(0, self._stream, self._line, edge[1], sample)))
        for electrode, sample in self._spikes(first, last):
            name = f"Electrode {electrode + 1}"
            events.append((sample, Spike(0, self._stream, name, 0, sample)))
        messages: list[Frames] = []
        for _, event in sorted(events, key=lambda event: event[0]):
            payload = bytes(8 if isinstance(event, Ttl) else 160)
            messages.append(self._encode(event, payload, now_ms))
        for channel in range(self._channels):
            data = Data(0, self._stream, channel, first, samples, self.rate_hz)
            messages.append(self._encode(data, bytes(4 * samples), now_ms))
        self.sample = last
        self._responses = [response for response in self._responses if response.end > last]
        return [frames for message in messages for frames in self._spoil(message)]

    def _encode(self, message: Data | Spike | Ttl, payload: bytes, now_ms: int) -> Frames:
        self._number += 1
        message = _numbered(message, self._number)
        return encode_plugin(message, payload, node=_NODE, now_ms=now_ms)

    def _spikes(self, first: int, last: int) -> list[tuple[int, int]]:
        """Return (electrode, sample) of a Poisson process whose rate is constant in parts."""
        cuts = {first, last}
        for response in self._responses:
            cuts |= {cut for cut in (response.sample, response.end) if first < cut < last}
        spikes: list[tuple[int, int]] = []
        for low, high in pairwise(sorted(cuts)):
            rates = np.full(self.electrodes, self._baseline_hz)
            for response in self._responses:
                if response.sample <= low < response.end:
                    rates = rates + response.drives * self._peak_hz
            for electrode in np.flatnonzero(counts := self._poisson(rates, high - low)):
                at = self._rng.integers(low, high, int(counts[electrode]))
                spikes += [(int(electrode), int(sample)) for sample in at]
        return spikes

    def _poisson(self, rates_hz: NDArray[np.float64], samples: int) -> NDArray[np.int64]:
        return self._rng.poisson(np.clip(rates_hz, 0, 1000) * (samples / self.rate_hz))

    def _spoil(self, frames: Frames) -> list[Frames]:
        if self._spend("drop"):
            return []
        self.sent += 1
        if self._spend("malform"):
            return [[frames[0], frames[1][: len(frames[1]) // 2], *frames[2:]]]
        if self._held is not None:
            held, self._held = self._held, None
            return [frames, held]
        if self._spend("reorder"):
            self._held = frames
            return []
        return [frames, frames] if self._spend("duplicate") else [frames]

    def _spend(self, fault: Fault) -> bool:
        left = self._faults.get(fault, 0)
        self._faults[fault] = max(0, left - 1)
        return left > 0


def _numbered(message: Data | Spike | Ttl, number: int) -> Data | Spike | Ttl:
    match message:
        case Data(_, stream, channel, sample, samples, rate):
            return Data(number, stream, channel, sample, samples, rate)
        case Spike(_, stream, electrode, sorted_id, sample):
            return Spike(number, stream, electrode, sorted_id, sample)
        case Ttl(_, stream, line, state, sample):
            return Ttl(number, stream, line, state, sample)


class Emulator:
    """An emulation on real sockets, in real time, in an OS thread of its own.

    Parameters
    ----------
    emulation : makes the messages
    host : to bind
    port : of the data; 0: any. The listening port is the next one
    buffer_ms : so much at a time
    clock : seconds, never goes back

    Raises
    ------
    EndpointError
        The ports cannot be had.
    """

    def __init__(
        self,
        emulation: Emulation,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        buffer_ms: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._emulation, self._clock = emulation, clock
        self._buffer = max(1, round(buffer_ms / 1000 * emulation.rate_hz))
        self._context = zmq.Context()
        self._data = self._context.socket(zmq.PUB)
        self._listen = self._context.socket(zmq.REP)
        for socket in (self._data, self._listen):
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)
        self.port = self._bind(host, port)
        self._stop = threading.Event()
        self._start_s = 0.0  # of sample 0
        self._stalled_until = float("-inf")
        self.heartbeats = self.lights = 0
        self._thread = threading.Thread(target=self._run, name="open ephys emulator")

    def __enter__(self) -> Emulator:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait(self, seconds: float) -> None:
        """Return after a while, or when it ends."""
        self._stop.wait(seconds)

    def _bind(self, host: str, port: int) -> int:
        problem = ""
        for _ in range(1 if port else 20):
            try:
                self._data.bind(f"tcp://{host}:{port or '*'}")
            except zmq.ZMQError as exc:
                problem = str(exc)
                break
            endpoint = self._data.getsockopt_string(zmq.LAST_ENDPOINT)
            bound = int(endpoint.rpartition(":")[2])
            try:
                self._listen.bind(f"tcp://{host}:{bound + 1}")
            except zmq.ZMQError as exc:
                problem = str(exc)
                self._data.unbind(endpoint)
            else:
                return bound
        for socket in (self._data, self._listen):
            socket.close(linger=0)
        self._context.term()
        raise EndpointError(
            f"the emulator needs port {port or 'any'} of {host} and the next one: {problem}"
        )

    # ------------------------------------------------------------------ its thread

    def _run(self) -> None:
        self._start_s = self._clock()
        try:
            while not self._stop.is_set():
                due_s = self._start_s + (self._emulation.sample + self._buffer) / self._rate
                left_s = max(0.0, min(due_s - self._clock(), 0.05))
                if self._listen.poll(int(left_s * 1000) + (left_s > 0)):
                    self._answer(self._listen.recv())
                self._advance()
        finally:
            self._data.close(linger=0)
            self._listen.close(linger=0)
            self._context.term()

    @property
    def _rate(self) -> float:
        return self._emulation.rate_hz

    def _advance(self) -> None:
        now = self._clock()
        if now < self._stalled_until:
            self._start_s = now - self._emulation.sample / self._rate  # time stands still
            return
        for _ in range(_MOST_BUFFERS):
            if (now - self._start_s) * self._rate < self._emulation.sample + self._buffer:
                return
            made = self._emulation.advance(self._buffer, now_ms=time.time_ns() // 1_000_000)
            for frames in made:
                self._data.send_multipart(frames)

    def _answer(self, request: bytes) -> None:
        """Do what is asked for; whatever it is, answer."""
        reply = b"JSON message could not be read"
        with suppress(msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError):
            reply = self._obey(msgspec.json.decode(request, type=dict[str, Any]))
        self._listen.send(reply)

    def _obey(self, asked: dict[str, Any]) -> bytes:
        match asked:
            case {"type": "heartbeat"}:
                self.heartbeats += 1
                return b"heartbeat received"
            case {"type": "event", "event": {"event_id": 1}}:
                on_ms = msgspec.convert(asked.get("on_ms", 100.0), float)
                drives = msgspec.convert(asked.get("drives"), list[float] | None)
                sample = int((self._clock() - self._start_s) * self._rate)
                seen = None if drives is None else np.array(drives, dtype=np.float64)
                if seen is not None and not np.isfinite(seen).all():
                    raise ValueError("drives must be finite")
                self._emulation.light(sample, min(max(on_ms, 0.0), 60_000.0), seen)
                self.lights += 1
            case {"type": "event"}:
                pass
            case {"type": "fault", "fault": fault} if fault in get_args(Fault):
                self._fault(fault, msgspec.convert(asked.get("count", 1), int))
            case _:
                return b"not understood"
        return b"message correctly parsed"

    def _fault(self, fault: Fault, count: int) -> None:
        if fault == "stall":
            self._stalled_until = self._clock() + count / 1000
            return
        self._emulation.fault(fault, count)
        if fault == "restart":
            self._start_s = self._clock()
