"""Spikes around each onset: which windows are complete, which were lost. All of the logic.

Values and times that it is handed, of any acquisition that numbers its messages and counts
samples; no sockets, no clocks, no system's own format. What it promises: a window
that is handed over as ok holds every spike that the acquisition sent of it, each once, relative
to the onset that the photodiode saw; whatever may have been lost, came of a stall or of another
run of the acquisition, or cannot be placed, is aborted, and the reason says why.

Time goes on with the samples: a window is complete when a message tells of a later sample. A
heartbeat completes nothing: it may come also while nothing is recorded. A stamp that cannot be
of now, by the arrivals of those before it, completes nothing either: it is believed when three
messages in a row say the same, and costs the windows around it when they do not.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

import numpy as np

from rig_bridge.clocks import Residual
from rig_bridge.messages import Showing, ShowingStatus
from rig_bridge.rigs.heard import Heard
from rig_bridge.rigs.protocols import Recorded
from rig_bridge.rigs.sampled.alignment import Alignment
from rig_bridge.rigs.sampled.sequence import MessageSequence
from rig_bridge.trials import Array, Presentation, empty_arrays

_MS = 1_000_000
_MOST_SPIKES = 2_000_000
_MOST_COUNTED = 100
_MOST_HOLES = 1000
_AHEAD_NS = 100 * _MS  # a stamp may be of later than all before it told: they were all late
_AGREE_NS = 500 * _MS  # stamps in a row that say the same differ by no more
_BELIEVED = 3  # stamps in a row that part from the others, and are believed
_Key = TypeVar("_Key")


@dataclass(frozen=True, slots=True)
class SampleBlock:
    """Samples that were recorded; the samples themselves are not kept."""

    sample: int  # index of the first
    samples: int
    rate_hz: float


@dataclass(frozen=True, slots=True)
class UnitSpike:
    """A spike, as a spike detector or sorter found it."""

    sample: int  # index of the peak
    unit: int | None  # row of the rig's unit table; None: no unit's
    source: str  # where it came from, for people


@dataclass(frozen=True, slots=True)
class LineEdge:
    """A digital line went up or down."""

    sample: int
    line: int  # from 0
    rising: bool


SampledEvent: TypeAlias = SampleBlock | UnitSpike | LineEdge


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledMessage:
    """A message of an acquisition, as it came.

    Parameters
    ----------
    number : one more than the message's before; a gap is a loss
    fingerprint : of its bytes; a repeat has the same
    stream : whose samples it counts
    event : what it tells; None: nothing of use here
    arrived_ns : when it came, on the display's clock
    now_s : when it came, on a clock that never goes back
    """

    number: int
    fingerprint: int
    stream: str
    event: SampledEvent | None
    arrived_ns: int
    now_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowTiming:
    """What is to be set of the acquisition.

    Parameters
    ----------
    photodiode_line : TTL line, from 0; None: there is none, and onsets are only as good as the
        messages' arrivals
    stream : its name; empty: the first that is heard of
    rate_hz : None: as the continuous data say
    settle_ms : spikes come so much later than later samples at most; longer than the GUI's
        audio buffer
    stall_s : an acquisition that says nothing for so long has stalled
    jump_s : samples and arrivals do not part by more, or the sample clock was set; so say three
        messages in a row, or else a stamp is unreadable
    keep_s : of what was received, in sample time
    match_ms, late_ms, debounce_ms, alarm_ms : of `Alignment`
    """

    photodiode_line: int | None = 0
    stream: str = ""
    rate_hz: float | None = None
    settle_ms: float = 50.0
    stall_s: float = 2.0
    jump_s: float = 2.0
    keep_s: float = 60.0
    match_ms: float = 30.0
    late_ms: float = 150.0
    debounce_ms: float = 25.0
    alarm_ms: float = 5.0


@dataclass(slots=True)
class Tally:
    """What came, and what came of it, counted."""

    messages: int = 0
    spikes: int = 0
    edges: int = 0
    duplicates: int = 0
    lost: int = 0  # messages that are missing for good
    restarts: int = 0
    stalls: int = 0
    jumps: int = 0
    wild: int = 0  # stamps that cannot be, and were not believed
    aborted: int = 0  # windows
    reason: str = ""  # of the last one
    other_sources: dict[str, int] = field(default_factory=dict[str, int])  # of no unit's spikes
    other_lines: dict[int, int] = field(default_factory=dict[int, int])


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockState:
    """How the sample clock and the display's go together."""

    residual: Residual
    alarmed: bool
    steps: int
    matched: int  # images with an edge of the photodiode's
    missed: int
    given_up: int


@dataclass(frozen=True, slots=True)
class _Stamped:
    """An event with its time on both clocks."""

    event: SampledEvent
    high: int  # the last sample it speaks of
    arrived_ns: int


@dataclass(frozen=True, slots=True)
class _Pending:
    """A window that is to be collected."""

    request: Presentation
    showing: Showing
    since_s: float


class Windows:
    """Turns messages and onsets into recorded windows.

    Parameters
    ----------
    timing : of the acquisition
    """

    def __init__(self, timing: WindowTiming) -> None:
        self._timing = timing
        self._stream = timing.stream
        self._sequence = MessageSequence()
        self._align = Alignment(
            match_ms=timing.match_ms,
            late_ms=timing.late_ms,
            debounce_ms=timing.debounce_ms,
            alarm_ms=timing.alarm_ms,
        )
        self._align.rate_hz = timing.rate_hz
        self._samples, self._which = array("q"), array("I")  # spikes, by sample
        self._holes: list[tuple[int, int, str]] = []  # samples that were not recorded
        self._blind: deque[tuple[int, int, str]] = deque(maxlen=1000)  # the same, display time
        self._first: int | None = None  # sample at which this acquisition begins for us
        self._progress = 0
        self._data_end: int | None = None
        self._arrived_ns: int | None = None  # the last message
        self._arrived_s = 0.0
        self._suspects: list[_Stamped] = []  # whose stamps part from those before
        self._pending: list[_Pending] = []
        self._done: list[Recorded] = []
        self.tally = Tally()
        self.heard = Heard("messages")

    @property
    def clocks(self) -> ClockState:
        """How the clocks go together."""
        a = self._align
        return ClockState(
            residual=a.fit.residual,
            alarmed=a.fit.alarmed,
            steps=a.fit.steps,
            matched=a.matched,
            missed=a.missed,
            given_up=a.given_up,
        )

    @property
    def has_samples(self) -> bool:
        """Whether samples come."""
        return self._first is not None

    # ------------------------------------------------------------------ what comes

    def take(self, message: SampledMessage) -> None:
        """Take a message."""
        arrived_ns, now_s = message.arrived_ns, message.now_s
        self.tally.messages += 1
        self.heard.take()
        event = message.event if self._is_ours(message) else None
        stamped = None if event is None else _Stamped(event, _extent(event)[1], arrived_ns)
        low = high = None
        if stamped is not None and not self._parts(stamped):
            low, high = _extent(stamped.event)
        lost = self._sequence.lost
        verdict = self._sequence.take(message.number, message.fingerprint, low, high)
        if verdict == "duplicate":
            self.tally.duplicates += 1
            return
        if verdict == "restart":
            self.tally.restarts += 1
            self._restart("loss: the acquisition was restarted", arrived_ns)
        if self._sequence.lost > lost:
            self._data_end = None  # what is missing may have been data
        self.tally.lost = self._sequence.lost
        if self._arrived_ns is not None and now_s - self._arrived_s > self._timing.stall_s:
            self.tally.stalls += 1
            text = f"loss: the acquisition stalled for {now_s - self._arrived_s:.1f} s"
            self._blind.append((self._arrived_ns, arrived_ns, text))
        self._arrived_ns, self._arrived_s = arrived_ns, now_s
        if stamped is not None:
            self._weigh(stamped)

    def misread(self, reason: str) -> None:
        """Take the news that something came that is no message, and why."""
        self.heard.take()
        self.heard.refuse(reason)

    def _is_ours(self, message: SampledMessage) -> bool:
        if message.event is None:
            return False
        self._stream = self._stream or message.stream
        if message.stream != self._stream:
            self.heard.other(message.stream)
        return message.stream == self._stream

    def _weigh(self, stamped: _Stamped) -> None:
        """Take an event whose stamp can be; of others, wait for what the next ones say."""
        if not self._parts(stamped):
            if self._suspects:
                self._refuse_suspects(stamped.high)
            self._accept(stamped)
            return
        if self._suspects and not self._agree(self._suspects[-1], stamped):
            self._refuse_suspects(self._progress)
        self._suspects.append(stamped)
        if len(self._suspects) < _BELIEVED:
            return
        suspects, self._suspects = self._suspects, []
        align, event = self._align, stamped.event
        apart_s = -self._ahead_ns(stamped) / 1e9
        if isinstance(event, SampleBlock) and event.rate_hz != align.rate_hz:
            self.tally.restarts += 1
            self._restart("loss: the sampling rate changed", stamped.arrived_ns)
            align.rate_hz = event.rate_hz
        elif abs(apart_s) > self._timing.jump_s:
            self.tally.jumps += 1
            text = f"loss: the sample clock jumped by {-apart_s:.1f} s"
            self._restart(text, stamped.arrived_ns)
        for suspect in suspects:
            self._accept(suspect)

    def _parts(self, stamped: _Stamped) -> bool:
        """Return whether a stamp is of later than now, or of long ago, or at another rate."""
        event, rate_hz = stamped.event, self._align.rate_hz
        if rate_hz is None:
            return False
        if isinstance(event, SampleBlock) and event.rate_hz != rate_hz:
            return True
        ahead_ns = self._ahead_ns(stamped)
        return ahead_ns > _AHEAD_NS or -ahead_ns > self._timing.jump_s * 1e9

    def _ahead_ns(self, stamped: _Stamped) -> int:
        """Return by how much a stamp is of later than now, as the arrivals before it tell."""
        lag_ns = self._align.arrivals.lag_ns
        if lag_ns is None:
            return 0
        return self._align.time_ns(stamped.high) + lag_ns - stamped.arrived_ns

    def _agree(self, one: _Stamped, other: _Stamped) -> bool:
        """Return whether two messages in a row say the same of the sample clock."""
        rates = {e.event.rate_hz for e in (one, other) if isinstance(e.event, SampleBlock)}
        return len(rates) < 2 and abs(self._ahead_ns(one) - self._ahead_ns(other)) <= _AGREE_NS

    def _refuse_suspects(self, high: int) -> None:
        """Drop events whose stamps were not believed: when they were, nobody knows.

        Parameters
        ----------
        high : the next sample that is believed
        """
        count, self._suspects = len(self._suspects), []
        self.tally.wild += count
        self.heard.refuse("its time stamp is not of now", count)
        margin = self._align.samples(self._timing.settle_ms)
        low = min(self._progress, high) - margin
        reason = "loss: a time stamp of the acquisition that is not of now"
        self._hole_at(low, max(self._progress, high) + margin, reason)
        self._data_end = None  # what was dropped may have been data

    def _accept(self, stamped: _Stamped) -> None:
        """Take an event whose stamp is believed, and let time go on."""
        event = stamped.event
        self._follow(stamped)
        match event:
            case UnitSpike():
                self._take_spike(event)
            case LineEdge(sample, line, rising):
                if rising:
                    self._take_edge(line, sample, stamped.arrived_ns)
            case SampleBlock(sample):
                before = stamped.high if self._data_end is None else self._data_end
                if sample > before:
                    self._hole_at(before, sample, "loss: samples are missing")
                self._data_end = max(before, stamped.high)

    def _follow(self, stamped: _Stamped) -> None:
        """Let time go on, up to now at most."""
        align, high, arrived_ns = self._align, stamped.high, stamped.arrived_ns
        if align.rate_hz is None and isinstance(stamped.event, SampleBlock):
            align.rate_hz = stamped.event.rate_hz
        if align.rate_hz is None:
            return
        ahead = max(0, round(self._ahead_ns(stamped) * (align.rate_hz / 1e9)))
        align.arrivals.add(align.time_ns(high), arrived_ns)
        if self._first is None:  # what was sent just before did not come
            self._first = high + align.samples(self._timing.settle_ms)
            self._progress = high
        self._progress = max(self._progress, high - ahead)
        align.passed(self._progress, arrived_ns)
        self._prune(self._progress - align.samples(self._timing.keep_s * 1000))

    def _take_spike(self, spike: UnitSpike) -> None:
        if spike.unit is None:
            _count(self.tally.other_sources, spike.source)
            return
        self.tally.spikes += 1
        if len(self._samples) >= _MOST_SPIKES:
            self._hole_at(spike.sample, spike.sample + 1, "loss: too many spikes to keep")
            return
        place = bisect_right(self._samples, spike.sample)
        self._samples.insert(place, spike.sample)
        self._which.insert(place, spike.unit)

    def _hole_at(self, low: int, high: int, reason: str) -> None:
        if len(self._holes) >= _MOST_HOLES:  # one that covers two
            last = self._holes.pop()
            low, high = min(low, last[0]), max(high, last[1])
        self._holes.append((low, high, reason))

    def _take_edge(self, line: int, sample: int, arrived_ns: int) -> None:
        if line == self._timing.photodiode_line:
            self.tally.edges += 1
            self._align.edge(sample, arrived_ns)
        else:
            _count(self.tally.other_lines, line)

    def _restart(self, reason: str, arrived_ns: int) -> None:
        """Abort what waits: its samples are not those that will come."""
        if self._arrived_ns is not None:
            self._blind.append((self._arrived_ns, arrived_ns, reason))
        self._done += [self._lost(window, reason) for window in self._pending]
        self._pending.clear()
        self._samples, self._which = array("q"), array("I")
        self._holes.clear()
        self._suspects.clear()
        self._align.restart()
        self._first, self._data_end = None, None

    # ------------------------------------------------------------------ what is wanted

    def expect(self, request: Presentation, showing: Showing, now_s: float) -> None:
        """Take the news that an image was on the screen."""
        self._align.onset(showing.onset_ns)
        self._pending.append(_Pending(request, showing, now_s))

    def collect(self, now_s: float) -> list[Recorded]:
        """Return what is complete, or lost, by now."""
        waiting: list[_Pending] = []
        for window in self._pending:
            recorded = self._resolve(window, now_s)
            if recorded is None:
                waiting.append(window)
            else:
                self._done.append(recorded)
        self._pending = waiting
        for recorded in self._done:
            if recorded.status == "aborted":
                self.tally.aborted += 1
                self.tally.reason = recorded.reason
        done_now, self._done = self._done, []
        return done_now

    def _resolve(self, window: _Pending, now_s: float) -> Recorded | None:
        """Return what is known of a window; None while more of it may come."""
        onset_ns, align = window.showing.onset_ns, self._align
        start_ms, end_ms = window.request.window_ms
        if window.showing.status == "aborted":  # reported at once, with the spikes until then
            return self._cut(window, align.expected(onset_ns), window.showing.reason)
        begin, end = onset_ns + round(start_ms * _MS), onset_ns + round(end_ms * _MS)
        for low, high, reason in self._blind:
            if begin < high and end > low:
                return self._lost(window, reason)
        expected = align.expected(onset_ns)
        if self._first is None or expected is None:
            return self._stalled(window, now_s)
        first = expected + align.samples(start_ms)
        if first < self._first:
            return self._lost(window, "loss: the acquisition began later than the window")
        settled = end_ms + self._timing.settle_ms
        if self._timing.photodiode_line is not None:
            settled += align.reach_ms
        if self._progress < expected + align.samples(settled):
            return self._stalled(window, now_s)
        if self._timing.photodiode_line is None:
            if align.trusts(onset_ns):
                return self._complete(window, expected, None)
            return self._cut(window, expected, "loss: samples came at another time than images")
        edge = align.match(onset_ns)
        if edge is None:
            reason = self._hole(first, expected + align.samples(end_ms))
            return self._cut(window, expected, reason or "no edge of the photodiode")
        line = align.fit.line
        seen_ns = None if line is None else line.at(align.time_ns(edge.sample))
        return self._complete(window, edge.sample, seen_ns)

    def _complete(self, window: _Pending, onset: int, onset_ns: int | None) -> Recorded:
        """Hand a window over that is complete, unless something in it was lost."""
        low, high = (onset + self._align.samples(ms) for ms in window.request.window_ms)
        if self._first is None or low < self._first:
            reason = "loss: the window is no longer kept"
        else:
            reason = self._hole(low, high)
        if reason:
            return self._cut(window, onset, reason)
        arrays = self._arrays(onset, low, high)
        return _recorded(window, "ok", "", onset_ns=onset_ns, arrays=arrays)

    def _hole(self, low: int, high: int) -> str:
        """Return why something in [low, high) may be lost; '' where nothing is."""
        margin = self._align.samples(self._timing.settle_ms)
        for gap in self._sequence.gaps:
            if gap.low - margin < high and gap.high + margin > low:
                return f"loss: {gap.count} messages of the acquisition are missing"
        return next((text for a, b, text in self._holes if a < high and b > low), "")

    def _stalled(self, window: _Pending, now_s: float) -> Recorded | None:
        """Give a window up when nothing has come for too long."""
        since = window.since_s
        if self._arrived_ns is not None:
            since = max(since, self._arrived_s)
        quiet = now_s - since
        # Messages that tell no time (another stream's, say) do not help a window for ever.
        waited = now_s - window.since_s - window.request.window_ms[1] / 1000
        if quiet <= self._timing.stall_s and waited <= 5 * self._timing.stall_s:
            return None
        what = "nothing came of the acquisition" if self._first is None else "it stalled"
        reason = f"loss: {what}, for {max(quiet, waited):.1f} s"
        if self._first is None and self.heard.summary:
            reason += f"; {self.heard.summary}"
        return self._lost(window, reason)

    def _cut(self, window: _Pending, onset: int | None, reason: str) -> Recorded:
        """Abort a window, with what there is of it."""
        if onset is None:
            return self._lost(window, reason)
        low, high = (onset + self._align.samples(ms) for ms in window.request.window_ms)
        arrays = self._arrays(onset, low, high)
        return _recorded(window, "aborted", reason, onset_ns=None, arrays=arrays)

    def _lost(self, window: _Pending, reason: str) -> Recorded:
        arrays = empty_arrays("spikes", units=0, window_ms=window.request.window_ms)
        return _recorded(window, "aborted", reason, onset_ns=None, arrays=arrays)

    def _arrays(self, onset: int, low: int, high: int) -> dict[str, Array]:
        first, last = bisect_left(self._samples, low), bisect_left(self._samples, high)
        relative = np.array(self._samples[first:last], dtype=np.float64) - onset
        return {
            "units": np.array(self._which[first:last], dtype="<u4"),
            "times_ms": (relative * (1000 / (self._align.rate_hz or 1.0))).astype("<f4"),
        }

    def _prune(self, before: int) -> None:
        if self._first is None or before - self._first < self._align.samples(1000):
            return  # not worth it yet
        self._first = before
        place = bisect_left(self._samples, before)
        del self._samples[:place]
        del self._which[:place]
        self._holes = [hole for hole in self._holes if hole[1] >= before]
        self._sequence.prune(before - self._align.samples(self._timing.settle_ms))
        self._align.prune(before)


def _extent(event: SampledEvent) -> tuple[int, int]:
    """Return the first sample that an event speaks of, and the one after the last."""
    if isinstance(event, SampleBlock):
        return event.sample, event.sample + event.samples
    return event.sample, event.sample


def _count(counts: dict[_Key, int], key: _Key) -> None:
    if key in counts or len(counts) < _MOST_COUNTED:
        counts[key] = counts.get(key, 0) + 1


def _recorded(
    window: _Pending,
    status: ShowingStatus,
    reason: str,
    *,
    onset_ns: int | None,
    arrays: dict[str, Array],
) -> Recorded:
    return Recorded(
        request=window.request,
        showing=window.showing,
        status=status,
        reason=reason,
        onset_ns=onset_ns,
        form="spikes",
        arrays=arrays,
    )
