"""Lab Streaming Layer: what the display does goes out as markers, responses come in as streams.

`MarkedDisplay` wraps any display, so that a recorder in the lab has every onset on the clock
that all its streams share; `LslAcquisition` is the other half of a rig, for an amplifier or a
spike sorter with an LSL outlet. What samples mean is `lsl_windows`'; here are the streams.

LSL sends in clear to whoever asks: use it in a network of the lab's own.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rig_bridge.errors import EndpointError
from rig_bridge.forms import Form
from rig_bridge.messages import Level, ScreenInfo, Showing, Unit
from rig_bridge.rigs.lsl.clock import Clocks, check_name, load_pylsl
from rig_bridge.rigs.lsl.windows import (
    KnownEvents,
    RegularDecoder,
    SpikeDecoder,
    StreamReading,
    arrays_of,
    nothing_of,
)
from rig_bridge.rigs.protocols import ImageDisplay, Recorded
from rig_bridge.trials import Image, Presentation

_log = logging.getLogger(__name__)

_IRREGULAR_BUFFER = 1000  # hundreds of samples, as pylsl counts them
_VALUES_A_PULL = 1 << 20
_PULLS = 64
_MOST_WAITING = 10_000
_RETRY_S = 1.0
_TWIN_S = 0.75  # the second wave of questions goes out after 0.5 s
_LINGER_S = 0.2


# ---------------------------------------------------------------------------- markers out


class MarkerOutlet:
    """A stream of type Markers: one JSON object a sample.

    Parameters
    ----------
    name : of the stream, also its source id

    Raises
    ------
    EndpointError
        pylsl is not installed, or the name cannot be used.
    """

    def __init__(self, name: str = "evolver") -> None:
        self._pylsl = load_pylsl()
        check_name(name)
        info = self._pylsl.StreamInfo(name, "Markers", 1, 0.0, "string", name)
        self._outlet: Any = self._pylsl.StreamOutlet(info)
        self.clocks = Clocks(self._pylsl.local_clock)

    def push(self, event: Mapping[str, object], at_ns: int) -> None:
        """Send what happened at an instant of the unix clock, ns; never waits."""
        text = json.dumps(dict(event), separators=(",", ":"))
        self._outlet.push_sample([text], self.clocks.at(at_ns))

    def close(self) -> None:
        """Take the stream off the network, once the last markers had time to leave."""
        if self._outlet is not None and self._outlet.have_consumers():
            time.sleep(_LINGER_S)  # an outlet says of nothing when it was sent
        self._outlet = None


class MarkedDisplay:
    """An `ImageDisplay` that says on a marker stream what it does.

    Markers are sent when a presentation is over, stamped with the time of what they tell:
    ``block`` begin and end, ``onset`` and ``offset`` with presentation, attempt, the image's
    sha256, size and place, and how the onset is known. Thread and reference are not known to a
    rig: the recording has them under the presentation's number.

    Parameters
    ----------
    display : shows
    outlet : a stream for its markers
    """

    def __init__(self, display: ImageDisplay, outlet: MarkerOutlet) -> None:
        self._display, self._outlet = display, outlet
        self._block: tuple[int, int] | None = None  # its number, the end of its last image

    @property
    def screen_info(self) -> ScreenInfo:
        """The screen."""
        return self._display.screen_info

    def prepare(self, images: Mapping[str, Image]) -> None:
        """Get ready to show these images."""
        self._display.prepare(images)

    def show(self, image: Image, request: Presentation) -> Showing:
        """Show one image, and send its markers."""
        showing = self._display.show(image, request)
        if self._block is None or self._block[0] != request.block:
            self._end_block()
            event = {"event": "block begin", "block": request.block}
            self._outlet.push(event, showing.commanded_ns)
        self._block = request.block, showing.offset_ns
        which = {
            "block": request.block,
            "presentation": request.presentation,
            "attempt": request.attempt,
        }
        onset = {
            "event": "onset",
            **which,
            "sha256": request.sha256,
            "size_deg": request.size_deg,
            "position_deg": list(request.position_deg),
            "source": showing.onset_source,
        }
        offset = {
            "event": "offset",
            **which,
            "status": showing.status,
            "reason": showing.reason,
        }
        self._outlet.push(onset, showing.onset_ns)
        self._outlet.push(offset, showing.offset_ns)
        return showing

    def blank(self) -> None:
        """Clear the screen: a block is over."""
        self._display.blank()
        self._end_block()

    def close(self) -> None:
        """Give the screen back and take the stream off the network."""
        self._end_block()
        self._display.close()
        self._outlet.close()

    def _end_block(self) -> None:
        if self._block is not None:
            block, at_ns = self._block
            self._outlet.push({"event": "block end", "block": block}, at_ns)
            self._block = None


# ---------------------------------------------------------------------------- streams in


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A window that is to be collected."""

    request: Presentation
    showing: Showing
    onset: float  # LSL clock, s
    reason: str  # why nothing can come of it, or ''


@dataclass(frozen=True, slots=True, eq=False)
class _Joined:
    """An open inlet of the stream."""

    inlet: Any
    opened: float  # everything from this LSL time on comes
    correction: float  # from the sender's LSL clock to ours, s


class LslAcquisition:
    """An `Acquisition` that reads one LSL stream.

    A stream that goes away is looked for until it is back; what is not known of meanwhile is
    an aborted presentation, its reason beginning with 'loss'.

    Parameters
    ----------
    name : of the stream; there must be one of it
    reading : how it is read
    units : the unit table. Required for spikes; of a regular stream the channels' labels, if
        None
    timeout_s : to find the stream

    Raises
    ------
    EndpointError
        pylsl is not installed; there is no such stream, or more than one; or it is not what
        `reading` says.
    """

    def __init__(
        self,
        name: str,
        reading: StreamReading,
        *,
        units: Sequence[Unit] | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        self._pylsl = load_pylsl()
        check_name(name)
        self._name, self._reading = name, reading
        self._closed = threading.Event()
        self._rejoined: queue.SimpleQueue[_Joined] = queue.SimpleQueue()
        self._seeker: threading.Thread | None = None
        joined = self._connect(timeout_s)
        self._inlet: Any = joined.inlet
        self._correction = joined.correction
        info = self._inlet.info(timeout_s)
        channels, rate = int(info.channel_count()), float(info.nominal_srate())
        self._shape = (channels, rate)
        self._units = _unit_table(info, reading, units)
        self._events = KnownEvents()
        self._decoder: RegularDecoder | SpikeDecoder = (
            SpikeDecoder(self._events, reading, units=len(self._units))
            if reading.kind == "spikes"
            else RegularDecoder(self._events, reading, rate_hz=rate)
        )
        if reading.kind == "spikes":
            self._events.begin(joined.opened)
        self._clocks = Clocks(self._pylsl.local_clock)
        self._waiting: deque[_Waiting] = deque()
        self._notices: deque[tuple[Level, str]] = deque(maxlen=100)
        self._advised = ""

    @property
    def units(self) -> Sequence[Unit]:
        """The unit table."""
        return self._units

    @property
    def form(self) -> Form:
        """What `collect` hands over."""
        return self._reading.form

    @property
    def late(self) -> int:
        """How many spikes came so late that a window may have been handed over without."""
        return self._events.late

    @property
    def connected(self) -> bool:
        """Whether the stream is there."""
        return self._inlet is not None

    def expect(self, request: Presentation, showing: Showing) -> None:
        """Take the news that an image was on the screen: its window is to be collected."""
        onset, reason = self._clocks.at(showing.onset_ns), ""
        if self._clocks.stepped_since(onset):
            reason = "loss: the computer's clock was set while the image was on the screen"
        if len(self._waiting) >= _MOST_WAITING:
            reason = f"loss: {_MOST_WAITING} windows are waiting already"
        self._waiting.append(_Waiting(request, showing, onset, reason))

    def collect(self) -> Sequence[Recorded]:
        """Return the windows that are complete by now, or lost, each once; never wait."""
        now = self._clocks.now()
        self._rejoin()
        self._drain()
        done: list[Recorded] = []
        still: deque[_Waiting] = deque()
        for window in self._waiting:
            recorded = self._recorded(window, now)
            if recorded is None:
                still.append(window)
            else:
                done.append(recorded)
        self._waiting = still
        oldest = min((w.onset + self._span(w)[0] / 1000 for w in still), default=now)
        self._events.forget(min(oldest, now - self._reading.keep_s))
        return done

    def notices(self) -> Sequence[tuple[Level, str]]:
        """Return what came of the stream and is of no use, and when it went; each once."""
        notices = list(self._notices)
        self._notices.clear()
        return notices

    def close(self) -> None:
        """Leave the stream."""
        self._closed.set()
        if self._seeker is not None:
            self._seeker.join()
        self._inlet = None

    # ------------------------------------------------------------------ inside

    def _span(self, window: _Waiting) -> tuple[float, float]:
        return self._reading.span_ms(window.request.window_ms)

    def _recorded(self, window: _Waiting, now: float) -> Recorded | None:
        """Return what is known of a window; None while it is not complete."""
        window_ms = window.request.window_ms
        start, end = (window.onset + ms / 1000 for ms in self._span(window))
        reading, events = self._reading, self._events
        reason = window.reason or events.lost(start, end)
        if not reason and events.known_to < end:
            if now <= end + reading.patience_s:
                return None
            reason = (
                f"loss: the stream did not reach the window's end in {reading.patience_s:g} s; "
                f"{self._decoder.heard.summary or 'nothing came of it'}"
            )
        n = len(self._units)
        arrays = nothing_of(reading, window_ms, units=n)
        if not reason:
            arrays, reason = arrays_of(reading, events, window.onset, window_ms, units=n)
        return Recorded(
            request=window.request,
            showing=window.showing,
            status="aborted" if reason else "ok",
            reason=reason[:200],
            onset_ns=None,
            form=reading.form,
            arrays=arrays,
        )

    def _drain(self) -> None:
        """Read what has come; notice where the stream is gone."""
        if self._inlet is None:
            return
        events, reading, late = self._events, self._reading, self._events.late
        asked_at = self._pylsl.local_clock()
        per_pull = max(64, _VALUES_A_PULL // self._shape[0])
        total = 0
        try:
            with contextlib.suppress(self._pylsl.util.TimeoutError):  # the last one stands
                self._correction = float(self._inlet.time_correction(0.001))
            for _ in range(_PULLS):
                samples, stamps = self._inlet.pull_chunk(
                    0.0, max_samples=per_pull, as_numpy=True
                )
                total += len(stamps)
                now = self._pylsl.local_clock()
                self._decoder.feed(_floats(samples), stamps + self._correction, now=now)
                if len(stamps) < per_pull:
                    break
            else:
                return  # more to come: nothing is known to be complete
        except RuntimeError as exc:  # pylsl's errors: lost, timeout, internal
            self._notify(f"is gone: {exc}; looking for it")
            self._inlet = None
            events.lose(events.known_to, math.inf, "the stream went away")
            self._decoder.restart()
            self._seeker = threading.Thread(target=self._seek, daemon=True, name="lsl-seeker")
            self._seeker.start()
            return
        if news := self._decoder.heard.news(asked_at):
            self._notify(f"is not read in whole: {news}")
        if (advice := self._decoder.advice) and not self._advised:
            self._advised = advice
            self._notify(f"has gaps: {advice}")
        if reading.kind != "spikes":
            return
        if events.late > late:
            _log.warning(
                "%d spikes of %s came after their time was taken to be complete: latency_ms, "
                "%g, is too short, or a heartbeat came too early",
                events.late - late,
                self._name,
                reading.latency_ms,
            )
        if total >= _IRREGULAR_BUFFER * 100:
            events.lose(events.known_to, asked_at, "more spikes came than were kept")
        if not reading.heartbeats:
            events.know(asked_at - reading.latency_ms / 1000)

    def _rejoin(self) -> None:
        """Go on with a stream that came back."""
        try:
            joined = self._rejoined.get_nowait()
        except queue.Empty:
            return
        self._inlet, self._correction, self._seeker = joined.inlet, joined.correction, None
        if self._reading.kind == "spikes":
            self._events.begin(joined.opened)
        self._notify("is back")

    def _notify(self, text: str) -> None:
        _log.warning("the LSL stream %s %s", self._name, text)
        self._notices.append(("warning", f"the LSL stream {self._name} {text}"))

    def _seek(self) -> None:
        """Look for the stream until it is back as it was; a thread of its own."""
        while not self._closed.is_set():
            try:
                joined = self._connect(_RETRY_S)
                info = joined.inlet.info(_RETRY_S)
                if (info.channel_count(), info.nominal_srate()) == self._shape:
                    self._rejoined.put(joined)
                    return
                _log.error("the stream %s came back with another shape", self._name)
            except (EndpointError, RuntimeError):
                pass  # not there yet
            self._closed.wait(_RETRY_S / 4)

    def _others(self) -> str:
        """Return a sentence that names the streams that are there."""
        found: list[Any] = self._pylsl.resolve_streams(_TWIN_S)
        names = sorted({str(info.name()) for info in found} - {self._name})
        listed = ", ".join(repr(name) for name in names[:10])
        return f"Others that are there: {listed}." if names else "There is no other."

    def _connect(self, timeout_s: float) -> _Joined:
        """Find the stream and begin to read it."""
        pylsl = self._pylsl
        streams: list[Any] = pylsl.resolve_byprop("name", self._name, 1, timeout_s)
        if len(streams) == 1:  # the first answer; another stream of the name may be slower
            twins: list[Any] = pylsl.resolve_byprop("name", self._name, 2, _TWIN_S)
            streams = twins or streams
        if len(streams) != 1:
            raise EndpointError(
                f"there must be one LSL stream named {self._name!r}; found {len(streams)}. "
                f"{self._others()} Is it started, on a network that this machine reaches "
                "(LSLAPICFG)?"
            )
        kind, rate = self._reading.kind, float(streams[0].nominal_srate())
        channels = int(streams[0].channel_count())
        if streams[0].channel_format() == pylsl.cf_string or (kind == "spikes") == (rate > 0):
            raise EndpointError(
                f"a stream of {kind} must have numbers "
                f"{'at irregular times' if kind == 'spikes' else 'at a regular rate'}; "
                f"{self._name!r} has a rate of {rate:g} Hz"
            )
        if channels > (2 if kind == "spikes" else 10_000):
            raise EndpointError(
                f"a stream of {kind} must have fewer channels; {self._name!r} has {channels}"
            )
        buffer = _IRREGULAR_BUFFER if kind == "spikes" else math.ceil(self._reading.keep_s)
        try:
            inlet = pylsl.StreamInlet(streams[0], max_buflen=buffer, recover=False)
            inlet.open_stream(timeout_s)
            opened = pylsl.local_clock()
            correction = float(inlet.time_correction(max(timeout_s, 2.0)))
        except RuntimeError as exc:
            raise EndpointError(f"the LSL stream {self._name!r} cannot be read: {exc}") from exc
        return _Joined(inlet, opened, correction)


def _floats(samples: NDArray[Any]) -> NDArray[Any]:
    """Return numbers of any kind as floating ones; those that are stay as they are."""
    return samples if samples.dtype.kind == "f" else samples.astype(np.float64)


def _unit_table(
    info: Any,  # noqa: ANN401  pylsl's
    reading: StreamReading,
    units: Sequence[Unit] | None,
) -> tuple[Unit, ...]:
    channels = int(info.channel_count())
    if reading.kind == "spikes":
        if not units:
            raise EndpointError("a stream of spikes says no units' names: units must be given")
        return tuple(units)
    if units is not None:
        if len(units) != channels:
            raise EndpointError(
                f"there must be a unit a channel, {channels}; got {len(units)} units"
            )
        return tuple(units)
    labels: list[str | None] = list(info.get_channel_labels() or [])
    labels += [None] * (channels - len(labels))
    return tuple(
        Unit(i, 0, "", (label or f"channel {i}")[:200])
        for i, label in enumerate(labels[:channels])
    )
