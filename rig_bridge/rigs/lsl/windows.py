"""What a stream of samples has events so far, and which windows around onsets it covers.

Pure: no sockets, no clock, no pylsl. Times are seconds on this machine's LSL clock. A window is
answered only where everything in it is known to have come; a gap, a sample that cannot be read
or a number that is missing makes it a loss, never a smaller count. A stamp beyond now is
unreadable: it completes nothing, and costs the windows around it and no other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rig_bridge.forms import Form
from rig_bridge.rigs.heard import Heard
from rig_bridge.trials import Array, empty_arrays

Kind: TypeAlias = Literal["spikes", "voltages", "counts", "rates"]
Times: TypeAlias = NDArray[np.float64]
Samples: TypeAlias = NDArray[np.floating[Any]]

_MOST_COUNTS = 65_535  # in a bin: counts travel as uint16
_MOST_LOSSES = 1000
_MOST_AT_ONCE = 100
_BELIEVED = 3  # stamps in a row that lie back, and are believed


@dataclass(frozen=True, slots=True)
class StreamReading:
    """How a stream is read.

    Parameters
    ----------
    kind : what a sample is.
        spikes: irregular; a unit's index, or -1, a heartbeat: all before this time has been
        sent. A second channel, where there is one, counts the samples, so that none can be
        lost unseen;
        voltages: regular, a channel a unit; a spike is a crossing of `threshold`;
        counts: regular, a channel a unit, spikes since the sample before;
        rates: regular, a channel a unit, averaged over `rate_window_ms`
    bin_ms : counts in bins of so long; None: spike times (spikes and voltages only)
    threshold : of voltages, in the stream's own unit; crossed downwards if below zero
    rate_window_ms : of rates, from onset
    heartbeats : the stream of spikes sends them; without them a window counts as complete
        `latency_ms` after its end, and a stream that stalls for longer is not seen
    latency_ms : from a spike to its sample's arrival, at most
    jitter_ms : of a regular stream's time stamps; a shorter gap is not seen
    ahead_ms : a time stamp further beyond this machine's LSL clock is unreadable; the
        correction of the sender's clock may err by so much
    patience_s : a window that is not complete so long after its end is lost
    keep_s : of data; must be more than on + off + window

    Raises
    ------
    ValueError
        These do not go together.
    """

    kind: Kind
    bin_ms: float | None = None
    threshold: float | None = None
    rate_window_ms: tuple[float, float] = (50.0, 200.0)
    heartbeats: bool = False
    latency_ms: float = 200.0
    jitter_ms: float = 2.0
    ahead_ms: float = 50.0
    patience_s: float = 5.0
    keep_s: float = 10.0

    def __post_init__(self) -> None:
        if self.kind == "counts" and self.bin_ms is None:
            raise ValueError("a stream of counts needs bin_ms; got None")
        if self.bin_ms is not None and (self.kind == "rates" or not 0 < self.bin_ms <= 10_000):
            raise ValueError(
                f"bin_ms must be above 0 and at most 10000, and None for rates; "
                f"got {self.bin_ms} for {self.kind}"
            )
        if (self.kind == "voltages") != (self.threshold is not None) or self.threshold == 0:
            raise ValueError(
                "threshold must be given, and not 0, for voltages, and for them alone; "
                f"got {self.threshold} for {self.kind}"
            )
        if self.heartbeats and self.kind != "spikes":
            raise ValueError(f"heartbeats are of a stream of spikes; got {self.kind}")
        low, high = self.rate_window_ms
        numbers = (self.latency_ms, self.jitter_ms, self.ahead_ms, self.patience_s)
        if not (low < high and all(0 <= n <= 600_000 for n in (*numbers, self.keep_s - 1))):
            raise ValueError(
                "rate_window_ms must begin before it ends, latency, jitter, ahead and patience "
                f"must not be below 0, keep_s not below 1; got {self}"
            )

    @property
    def form(self) -> Form:
        """What comes of it."""
        if self.kind == "rates":
            return "rates"
        return "spikes" if self.bin_ms is None else "counts"

    def span_ms(self, window_ms: tuple[float, float]) -> tuple[float, float]:
        """Return the part of time around an onset that must be known."""
        return self.rate_window_ms if self.kind == "rates" else window_ms


class KnownEvents:
    """Events, and from when to when they are all known. Bounded.

    Parameters
    ----------
    most : events that are kept
    """

    def __init__(self, *, most: int = 2_000_000) -> None:
        self._most = most
        self._chunks: list[tuple[Times, NDArray[np.int64], Times]] = []
        self._held = 0
        self._losses: list[tuple[float, float, str]] = []
        self.known_from = math.inf
        self.known_to = -math.inf
        self.late = 0  # events that came after their time was said to be known

    def begin(self, at: float) -> None:
        """Take the news that from `at` on everything comes; ends an open loss."""
        if self.known_from == math.inf:
            self.known_from = at
        self._losses = [
            (start, at if end == math.inf else end, why) for start, end, why in self._losses
        ]
        self.know(at)

    def know(self, to: float) -> None:
        """Take the news that everything before `to` has come."""
        self.known_to = max(self.known_to, to)

    def add(self, times: Times, units: NDArray[np.int64], weights: Times) -> None:
        """Add events, (k,) each, in any order."""
        if not len(times):
            return
        self.late += int((times < self.known_to).sum())
        self._chunks.append((times, units, weights))
        self._held += len(times)
        while self._held > self._most:
            oldest = self._chunks.pop(0)[0]
            self._held -= len(oldest)
            after = math.nextafter(float(oldest.max()), math.inf)
            self.known_from = max(self.known_from, after)

    def lose(self, start: float, end: float, why: str) -> None:
        """Take the news that what happened from `start` to `end` is not known; inf: so far."""
        self._losses.append((start, end, f"loss: {why}"))
        if len(self._losses) > _MOST_LOSSES:
            first, second, *rest = self._losses
            both = (min(first[0], second[0]), max(first[1], second[1]), first[2])
            self._losses = [both, *rest]

    def lose_each(self, starts: Times, ends: Times, why: str) -> None:
        """Lose several parts of time, (k,) each; many of them as one."""
        if len(starts) > _MOST_AT_ONCE:
            self.lose(float(starts.min()), float(ends.max()), why)
            return
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            self.lose(start, end, why)

    def lost(self, start: float, end: float) -> str:
        """Return why [start, end) is not, and will not be, known; or ''."""
        if start < self.known_from < math.inf:  # inf: nothing came yet, and all still may
            return "loss: the window began before what is kept of the stream"
        for a, b, why in self._losses:
            if (a < end and b > start) or start <= a == b < end:
                return why
        return ""

    def between(self, start: float, end: float) -> tuple[Times, NDArray[np.int64], Times]:
        """Return times, units and weights of the events in [start, end), sorted by time."""
        picked = [
            (t[inside], u[inside], w[inside])
            for t, u, w in self._chunks
            if (inside := (t >= start) & (t < end)).any()
        ]
        if not picked:
            return np.zeros(0), np.zeros(0, np.int64), np.zeros(0)
        times, units, weights = (np.concatenate(part) for part in zip(*picked, strict=True))
        order = np.argsort(times, kind="stable")
        return times[order], units[order], weights[order]

    def forget(self, before: float) -> None:
        """Forget what was before; a window that begins there is a loss from now on."""
        if before <= self.known_from:
            return
        self.known_from = before
        self._chunks = [chunk for chunk in self._chunks if float(chunk[0].max()) >= before]
        self._held = sum(len(chunk[0]) for chunk in self._chunks)
        self._losses = [loss for loss in self._losses if loss[1] >= before]


class RegularDecoder:
    """Samples of a regular stream to events.

    Parameters
    ----------
    events : where they go
    reading : what they are
    rate_hz : nominal, above 0
    """

    def __init__(self, events: KnownEvents, reading: StreamReading, *, rate_hz: float) -> None:
        self._events, self._reading = events, reading
        self._period, self._jitter = 1 / rate_hz, reading.jitter_ms / 1000
        self._last: float | None = None  # stamp
        self._latest = -math.inf  # of the stamps that could be read
        self._back = 0  # stamps in a row that lay before it
        self._unread = ""  # why samples since the last were not read
        self._run = 0  # samples since the last gap
        self._began = 0.0  # stamp of the first of them
        self._beyond = np.zeros(0, np.bool_)  # the last sample, of each unit
        self.heard = Heard("samples")
        self.advice = ""  # what is to be set, where gaps are of the stamps and not of the data

    def restart(self) -> None:
        """Take the news that what comes next does not follow what came."""
        self._last, self._latest, self._back = None, -math.inf, 0
        self._unread = ""

    def feed(self, samples: Samples, stamps: Times, *, now: float) -> None:
        """Take samples (n, u), float32 or float64, their times (n,), s, and what time it is."""
        events = self._events
        self.heard.take(len(stamps))
        readable, turned = self._readable(stamps, now)
        follows_unread = self._follow_unread(readable, stamps, now)
        samples, stamps, turned = samples[readable], stamps[readable], turned[readable]
        if len(stamps):
            self._feed(samples, stamps, follows_unread=follows_unread, turned=turned)
        if self._last is not None:
            events.know(min(self._latest, now) - self._jitter)

    def _feed(
        self,
        samples: Samples,
        stamps: Times,
        *,
        follows_unread: dict[int, str],
        turned: NDArray[np.bool_],
    ) -> None:
        """Take samples whose stamps can be read.

        Parameters
        ----------
        follows_unread : places of samples that follow unreadable ones, and why these were so
        turned : which stamps lie back, and are believed
        """
        events = self._events
        good = np.ones(len(stamps), np.bool_)
        if self._last is None:
            events.begin(float(stamps[0]))
            self._last, self._run = float(stamps[0]), 0
            self._beyond = np.ones(samples.shape[1], np.bool_)  # not known: no crossing
            follows_unread.pop(0, None)
        before = np.concatenate([[self._last], stamps[:-1]])
        gap = stamps - before > 1.5 * self._period + self._jitter
        unread = np.zeros(len(stamps), np.bool_)
        for place, why in follows_unread.items():
            unread[place] = True
            if not turned[place]:
                low, high = sorted((float(before[place]), float(stamps[place])))
                events.lose(low, high, why)
        gap &= ~unread
        if not self._all_good(samples):
            good = self._each_good(samples)
        if gap.any():
            events.lose_each(before[gap], stamps[gap], self._gap(before, stamps, gap))
        for place in np.flatnonzero(turned).tolist():
            latest = max(self._latest, float(stamps[:place].max(initial=-math.inf)))
            events.lose(float(stamps[place]), latest, "time stamps went back")
            self._latest = -math.inf
        if not good.all():
            self.heard.refuse("a number that cannot be", int((~good).sum()))
        events.lose_each(stamps[~good], stamps[~good], "a sample that cannot be read")
        follows = ~(gap | unread | turned)
        events.add(*self._samples_to_events(samples, stamps, good, follows=follows))
        gaps = np.flatnonzero(gap)
        if len(gaps) or not self._run:
            first = int(gaps[-1]) if len(gaps) else 0
            self._run, self._began = len(stamps) - first, float(stamps[first])
        else:
            self._run += len(stamps)
        self._last = float(stamps[-1])
        since = int(np.flatnonzero(turned)[-1]) if turned.any() else 0
        self._latest = max(self._latest, float(stamps[since:].max()))

    def _readable(
        self, stamps: Times, now: float
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which stamps, (n,), can be of now, and at which time turned back for good."""
        finite = np.isfinite(stamps)
        readable = finite & (stamps <= now + self._reading.ahead_ms / 1000)
        turned = np.zeros(len(stamps), np.bool_)
        highest = np.maximum.accumulate(
            np.concatenate([[self._latest], np.where(readable, stamps, -math.inf)])
        )
        if not (stamps[readable] < highest[:-1][readable] - self._jitter).any():
            self._back = 0 if readable.any() else self._back
            return readable, turned
        latest = self._latest
        for i in np.flatnonzero(readable).tolist():
            stamp = float(stamps[i])
            if stamp >= latest - self._jitter:
                self._back, latest = 0, max(latest, stamp)
                continue
            self._back += 1
            if self._back < _BELIEVED:
                readable[i] = False
            else:  # the sender's clock was set
                turned[i] = True
                self._back, latest = 0, stamp
        return readable, turned

    def _follow_unread(
        self, readable: NDArray[np.bool_], stamps: Times, now: float
    ) -> dict[int, str]:
        """Return which readable samples follow unreadable ones, and why these were so."""
        if readable.all() and not self._unread:
            return {}
        follow: dict[int, str] = {}
        kept = 0
        for is_readable, stamp in zip(readable.tolist(), stamps.tolist(), strict=True):
            if is_readable:
                if self._unread:
                    follow[kept] = self._unread
                    self._unread = ""
                kept += 1
                continue
            self._unread = self._unread or _unreadable(stamp, now)
            self.heard.refuse(_unreadable(stamp, now))
        return follow

    def _gap(self, before: Times, stamps: Times, gap: NDArray[np.bool_]) -> str:
        """Return what the first gap is, and by which setting it would be none."""
        place = int(np.argmax(gap))
        last, run = float(before[place]), self._run + place
        gap_ms, period_ms = (float(stamps[place]) - last) * 1000, self._period * 1000
        setting = f"jitter_ms (--jitter-ms) is {self._reading.jitter_ms:g}"
        began = self._began if self._run else float(stamps[0])
        at_once = last - began < 0.5 * (run - 1) * self._period
        if at_once and gap_ms < 2 * run * period_ms:
            self.advice = (
                f"{run} samples stamped at once: the stream is stamped in chunks; {setting}, "
                f"set it to {math.ceil(gap_ms)} or more"
            )
            return f"a gap of {gap_ms:.1f} ms after {self.advice}"
        return (
            f"a gap of {gap_ms:.1f} ms after {run} samples {period_ms:.1f} ms apart; {setting}"
        )

    def _all_good(self, samples: Samples) -> bool:
        """Return whether every number is one; fast, and for counts never sure."""
        with np.errstate(all="ignore"):
            return self._reading.kind != "counts" and bool(np.isfinite(samples.sum()))

    def _each_good(self, samples: Samples) -> NDArray[np.bool_]:
        """Return which samples, (n,), can be read."""
        good = np.isfinite(samples)
        if self._reading.kind == "counts":
            good &= (samples >= 0) & (samples <= _MOST_COUNTS) & (samples == np.floor(samples))
        return np.all(good, axis=1)

    def _samples_to_events(
        self,
        samples: Samples,
        stamps: Times,
        good: NDArray[np.bool_],
        *,
        follows: NDArray[np.bool_],
    ) -> tuple[Times, NDArray[np.int64], Times]:
        threshold = self._reading.threshold
        if threshold is not None:
            beyond = samples <= threshold if threshold < 0 else samples >= threshold
            beyond[~good] = True  # not known: no crossing after it
            hit = np.empty_like(beyond)
            hit[0] = beyond[0] & ~self._beyond
            np.greater(beyond[1:], beyond[:-1], out=hit[1:])
            hit[~follows | ~good] = False
            self._beyond = beyond[-1].copy()
        elif self._reading.kind == "counts":
            hit = (samples > 0) & good[:, None]
        else:
            hit = np.repeat(good[:, None], samples.shape[1], axis=1)
        rows, units = np.nonzero(hit)
        weights = (
            np.ones(len(rows))
            if threshold is not None
            else samples[rows, units].astype(np.float64)
        )
        return stamps[rows], units.astype(np.int64), weights


class SpikeDecoder:
    """Samples of an irregular stream of spikes to events.

    Parameters
    ----------
    events : where they go
    reading : heartbeats or none
    units : how many there are
    """

    def __init__(self, events: KnownEvents, reading: StreamReading, *, units: int) -> None:
        self._events, self._reading, self._units = events, reading, units
        self._last: tuple[float, float] | None = None  # stamp and number
        self._beat = -math.inf  # the latest
        self.heard = Heard("samples")
        self.advice = ""

    def restart(self) -> None:
        """Take the news that what comes next does not follow what came."""
        self._last, self._beat = None, -math.inf

    def feed(self, samples: Samples, stamps: Times, *, now: float) -> None:
        """Take samples (n, 1) or (n, 2), unit and number, their times (n,), and the time, s."""
        self.heard.take(len(stamps))
        if len(stamps):
            self._feed(samples, stamps, now)
        if self._reading.heartbeats:
            self._events.know(min(self._beat, now))

    def _feed(self, samples: Samples, stamps: Times, now: float) -> None:
        events = self._events
        units = samples[:, 0]
        is_of_now = np.isfinite(stamps) & (stamps <= now + self._reading.ahead_ms / 1000)
        is_of_now &= stamps >= min(events.known_from, now) - self._reading.keep_s
        good = (units >= -1) & (units < self._units) & (units == np.floor(units))
        if not good.all():
            odd = float(units[~good][0])
            self.heard.refuse(f"unit {odd:g} is not one of {self._units}", int((~good).sum()))
        # When it was nobody knows: after all that is known to have come, before now.
        wild = ~is_of_now & ~(good & (units < 0))
        if wild.any():
            events.lose(
                min(events.known_to, now), now, _unreadable(float(stamps[wild][0]), now)
            )
        if not is_of_now.all():
            reason = _unreadable(float(stamps[~is_of_now][0]), now)
            self.heard.refuse(reason, int((~is_of_now & good).sum()))
        where = stamps[is_of_now & ~good]
        events.lose_each(where, where, "a unit that is not in the table")
        if samples.shape[1] == 2:
            self._count(samples[:, 1].astype(np.float64), stamps, is_of_now, now)
        spikes = is_of_now & good & (units >= 0)
        times = stamps[spikes]
        events.add(times, units[spikes].astype(np.int64), np.ones(len(times)))
        beats = stamps[is_of_now & good & (units < 0)]
        self._beat = max(self._beat, float(beats.max(initial=-math.inf)))

    def _count(
        self, numbers: Times, stamps: Times, is_of_now: NDArray[np.bool_], now: float
    ) -> None:
        """Lose the time in which a sample's number is missing.

        Parameters
        ----------
        numbers, stamps : (n,) of the samples
        is_of_now : which stamps can be read; of the others the time is not known
        """
        events = self._events
        known = min(events.known_to, now)
        first = (stamps[0], numbers[0] - 1) if self._last is None else self._last
        before = np.concatenate([[first[0]], stamps[:-1]])
        readable_before = np.concatenate([[math.isfinite(first[0])], is_of_now[:-1]])
        missing = np.diff(numbers, prepend=first[1]) != 1
        both = is_of_now & readable_before
        starts = np.where(both, np.minimum(before, stamps), known)
        ends = np.where(both, np.maximum(before, stamps), now)
        events.lose_each(starts[missing], ends[missing], "samples' numbers are missing")
        last = float(stamps[-1]) if is_of_now[-1] else math.nan
        self._last = (last, float(numbers[-1]))


def _unreadable(stamp: float, now: float) -> str:
    """Return why a stamp cannot be read."""
    if not math.isfinite(stamp):
        return "a time stamp that is no number"
    if stamp > now:
        return f"a time stamp {stamp - now:.3g} s beyond now"
    return f"a time stamp {now - stamp:.3g} s ago, before the ones that came before it"


def arrays_of(
    reading: StreamReading,
    events: KnownEvents,
    onset: float,
    window_ms: tuple[float, float],
    *,
    units: int,
) -> tuple[Mapping[str, Array], str]:
    """Return what `events` knows of the window around `onset`, as `TrialResult.arrays`.

    Returns
    -------
    arrays, and ''; or arrays of nothing, and why
    """
    start, end = (onset + ms / 1000 for ms in reading.span_ms(window_ms))
    times, which, weights = events.between(start, end)
    ms = (times - onset) * 1000
    nothing = nothing_of(reading, window_ms, units=units)
    if reading.form == "spikes":
        return {"units": which.astype("<u4"), "times_ms": ms.astype("<f4")}, ""
    if reading.form == "rates":
        seen = np.bincount(which, minlength=units)
        if (seen == 0).any():
            return nothing, f"loss: no sample in the rates' window {reading.rate_window_ms}"
        return {"rates": (np.bincount(which, weights, minlength=units) / seen)}, ""
    edges: Times = nothing["edges_ms"]
    counts = np.zeros((units, len(edges) - 1))
    places = np.searchsorted(edges, ms, side="right") - 1
    np.add.at(counts, (which, np.clip(places, 0, counts.shape[1] - 1)), weights)
    if counts.max(initial=0) > _MOST_COUNTS:
        return nothing, f"loss: more than {_MOST_COUNTS} counts in a bin"
    return {"counts": counts.astype("<u2"), "edges_ms": edges}, ""


def nothing_of(
    reading: StreamReading, window_ms: tuple[float, float], *, units: int
) -> dict[str, Array]:
    """Return the arrays of a window of which nothing is known."""
    width = window_ms[1] - window_ms[0]
    bins = max(1, round(width / (reading.bin_ms or width)))
    return empty_arrays(reading.form, units=units, window_ms=window_ms, bins=bins)
