"""Which photodiode edge belongs to which image, and through them sample time in display time.

Samples, nanoseconds and onsets that it is handed; no sockets, no clocks, no spikes. Sample time
is counted in nanoseconds too, from sample 0.

An edge belongs to an image when both say so: its sample, by the fit of the two clocks, and the
moment at which it arrived. Before there is a fit, the messages' arrivals give a first one: what
arrives is late by a little and never early, so an edge seems to come after its image, by less
than the time between images. An edge that only one of the two speaks for belongs to none: a
presentation too many that is shown again costs less than one image's spikes under the name of
another.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from dataclasses import dataclass

from rig_bridge.clocks import ClockFit, EarliestArrival

_MS = 1_000_000
_EARLY_NS = 20 * _MS  # a flip's time may come late by so much
_MOST_EDGES = 100_000
_STEP_MS = 5.0


@dataclass(frozen=True, slots=True)
class Edge:
    """The photodiode saw light."""

    sample: int
    arrived_ns: int  # display's clock


class Alignment:
    """Sample time in display time.

    Parameters
    ----------
    match_ms : a photodiode's edge is at most so far from where the fit expects it
    late_ms : it arrives at most so long after the image's flip
    debounce_ms : rising edges closer than this are one flickering image
    misses : so many images in a row without an edge of theirs, and the fit is given up
    alarm_ms : the fit's rms residual should not be above
    """

    def __init__(
        self,
        *,
        match_ms: float = 30.0,
        late_ms: float = 150.0,
        debounce_ms: float = 25.0,
        misses: int = 5,
        alarm_ms: float = 5.0,
    ) -> None:
        self._match_ns, self._late_ns = round(match_ms * _MS), round(late_ms * _MS)
        self._debounce_ms, self._give_up_after = debounce_ms, misses
        self.rate_hz: float | None = None
        self.fit = ClockFit(step_s=min(0.010, match_ms / 1000), alarm_s=alarm_ms / 1000)
        self.arrivals = EarliestArrival()
        self._edges: list[tuple[int, int]] = []  # (sample, arrived), rising
        self._passed: list[tuple[int, int]] = []  # (sample, when it first came)
        self._onsets: deque[int] = deque(maxlen=1000)
        self._misses = 0
        self.matched = self.missed = self.given_up = 0

    def time_ns(self, sample: int) -> int:
        """Return sample time; a rate must be known."""
        return round(sample * (1e9 / (self.rate_hz or 1.0)))

    def samples(self, ms: float) -> int:
        """Return how many samples a time is; a rate must be known."""
        return round(ms / 1000 * (self.rate_hz or 0.0))

    def edge(self, sample: int, arrived_ns: int) -> None:
        """Take a rising edge of the photodiode."""
        insort(self._edges, (sample, arrived_ns))
        if len(self._edges) > _MOST_EDGES:
            del self._edges[: _MOST_EDGES // 2]

    def passed(self, sample: int, arrived_ns: int) -> None:
        """Take the news that samples up to this one have been recorded."""
        if not self._passed or sample - self._passed[-1][0] >= self.samples(_STEP_MS):
            self._passed.append((sample, arrived_ns))

    def onset(self, onset_ns: int) -> None:
        """Take the news of an image's onset, by the display."""
        self._onsets.append(onset_ns)

    def expected(self, onset_ns: int) -> int | None:
        """Return the sample at an onset; None where nothing is known of the clocks."""
        if self.rate_hz is None:
            return None
        if self.fit.line is not None:
            at_ns = self.fit.line.inverse(onset_ns)
        elif self.arrivals.lag_ns is not None:
            at_ns = onset_ns - self.arrivals.lag_ns
        else:
            return None
        return round(at_ns * (self.rate_hz / 1e9))

    @property
    def reach_ms(self) -> float:
        """How far after the expected sample an edge may be."""
        return (self._late_ns if self.fit.line is None else self._match_ns) / _MS

    def match(self, onset_ns: int) -> Edge | None:
        """Return the edge of an image whose time is over, and fit the clocks to it.

        Call it once an image, when everything up to `reach_ms` after its expected sample has
        come.
        """
        expected = self.expected(onset_ns)
        if expected is None:
            return None
        edge = self._find(expected, onset_ns)
        if edge is None:
            self._miss()
            return None
        self._misses = 0
        self.matched += 1
        self.fit.add(self.time_ns(edge.sample), onset_ns)
        return edge

    def trusts(self, onset_ns: int) -> bool:
        """Return whether an image's sample, by the messages' arrivals alone, may be believed.

        It came when the image was on the screen: the samples have not stood still.
        """
        expected = self.expected(onset_ns)
        place = 0 if expected is None else bisect_left(self._passed, (expected, 0))
        if place < len(self._passed) and self._in_time(self._passed[place][1], onset_ns):
            self._misses = 0
            return True
        self._miss()
        return False

    def forget(self) -> None:
        """Give up what is known of the clocks' relation; edges are kept."""
        self.fit.forget()
        self.arrivals.forget()
        self._misses = 0

    def restart(self) -> None:
        """Take the news that samples are counted from anew."""
        self.forget()
        self._edges.clear()
        self._passed.clear()

    def prune(self, before: int) -> None:
        """Forget edges before a sample."""
        del self._edges[: bisect_left(self._edges, (before, 0))]
        del self._passed[: bisect_left(self._passed, (before, 0))]

    def _miss(self) -> None:
        self.missed += 1
        self._misses += 1
        if self._misses >= self._give_up_after:
            self.forget()
            self.given_up += 1

    def _in_time(self, arrived_ns: int, onset_ns: int) -> bool:
        return -_EARLY_NS <= arrived_ns - onset_ns <= self._late_ns

    def _find(self, expected: int, onset_ns: int) -> Edge | None:
        spacing = min(
            (abs(onset_ns - other) for other in self._onsets if other != onset_ns),
            default=10 * self._late_ns,
        )
        if self.fit.line is None:
            before, after = min(10 * _MS, spacing // 20), min(self._late_ns, spacing * 9 // 10)
        else:
            before = after = min(self._match_ns, spacing * 9 // 20)
        low = expected - self.samples(before / _MS)
        high = expected + self.samples(after / _MS)
        near = [
            edge
            for edge in self._onset_edges(low, high)
            if self._in_time(edge.arrived_ns, onset_ns)
        ]
        if self.fit.line is None and len(near) > 1:
            return None  # nothing tells yet which
        return min(near, key=lambda edge: abs(edge.sample - expected), default=None)

    def _onset_edges(self, low: int, high: int) -> list[Edge]:
        """Return the edges in [low, high] that are not the flicker of an earlier one."""
        quiet = self.samples(self._debounce_ms)
        first = bisect_left(self._edges, (low, 0))
        last = bisect_right(self._edges, (high, 2**63))
        return [
            Edge(*self._edges[i])
            for i in range(first, last)
            if i == 0 or self._edges[i][0] - self._edges[i - 1][0] >= quiet
        ]
