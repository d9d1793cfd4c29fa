"""One train of spikes a unit, of the windows around every showing.

A recording has spikes by showing, in a window around its onset. Windows overlap wherever one
is longer than the time to the next showing, and then a rig reports a spike with both. In a
train it must be once, so each instant is taken from one showing alone: the last that began
before it and whose window it is in, or else the next, whose baseline it is. That needs no
tolerance, which a comparison of times that were rounded differently would. For a rig that
records, both showings say the same of an instant; a simulated one draws each window anew, and
what it drew twice of an instant is left out once. Showings that were broken off are not taken:
what is missing in them need not be silence.

Knows a recording and its clock. Many spikes do not fit into memory: the trains of a few units
are collected at a time, and all spikes are read once for each few.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evolver.export.clock import SessionClock
from evolver.recording import Recording

_MEET_S = 1e-9
_AT_ONCE = 1 << 20  # spikes read
_HELD = 12 << 20  # spikes of trains in memory, 8 bytes each


@dataclass(frozen=True, slots=True, eq=False)
class TakenWindows:
    """What part of each showing's window is in the trains."""

    start_ms: NDArray[np.float64]
    """(p,) relative to onset; not before `end_ms` where nothing is."""
    end_ms: NDArray[np.float64]
    onset_s: NDArray[np.float64]
    """(p,) session clock; NaN where it was not shown."""

    @property
    def any(self) -> NDArray[np.bool_]:
        """(p,) whether some is."""
        return self.start_ms < self.end_ms


def taken_windows(recording: Recording, clock: SessionClock) -> TakenWindows:
    """Return which part of each showing's window is taken; see this file's head."""
    table = recording.presentations
    start, end = recording.window_ms
    start_ms, end_ms = (np.full(len(table), np.inf) for _ in range(2))
    good = (table["status"] == "ok") & (table["form"] == "spikes")
    for rig in np.unique(table["rig"][good]):
        rows = np.flatnonzero(good & (table["rig"] == rig))
        rows = rows[np.argsort(table["onset_ns"][rows], kind="stable")]
        apart = np.diff(table["onset_ns"][rows]) / 1e6
        start_ms[rows] = start
        end_ms[rows] = end
        # The one before reaches to `end` after its own onset, so to `end - apart` of this.
        start_ms[rows[1:]] = np.clip(end - apart, start, max(start, 0.0))
        end_ms[rows[:-1]] = np.minimum(end, apart + start_ms[rows[1:]])
    onset = clock.rig_seconds(table["onset_ns"], table["rig"])
    return TakenWindows(start_ms, end_ms, onset)


def taken_seconds(taken: TakenWindows, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return when some rows' windows were recorded, joined where they meet.

    Returns
    -------
    (k, 2) start and end, session clock, in order
    """
    rows = rows[taken.any[rows]]
    start = taken.onset_s[rows] + taken.start_ms[rows] / 1e3
    return join_windows(np.stack([start, taken.onset_s[rows] + taken.end_ms[rows] / 1e3], 1))


def join_windows(windows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return windows, (k, 2) start and end, in order, and as one where they meet or overlap."""
    windows = windows[np.argsort(windows[:, 0], kind="stable")]
    end = np.maximum.accumulate(windows[:, 1])
    first = np.ones(len(windows), dtype=bool)
    first[1:] = windows[1:, 0] > end[:-1] + _MEET_S
    last = np.append(first[1:], True)[: len(windows)]
    return np.stack([windows[first, 0], end[last]], axis=1)


def count_taken(recording: Recording, taken: TakenWindows) -> NDArray[np.int64]:
    """Return how many spikes each unit's train has, (u,)."""
    counts = np.zeros(len(recording.units), dtype=np.int64)
    for unit, _ in _taken(recording, taken):
        counts += np.bincount(unit, minlength=len(counts))
    return counts


def trains(
    recording: Recording, taken: TakenWindows, counts: NDArray[np.int64]
) -> Iterator[NDArray[np.float64]]:
    """Yield every unit's train, one after the other, in pieces of several units.

    Parameters
    ----------
    recording, taken : of a session
    counts : what `count_taken` says of them

    Yields
    ------
    (k,) seconds on the session's clock, ascending within a unit: onset_s + time_ms / 1000
    """
    first = 0
    while first < len(counts):
        fits = np.searchsorted(np.cumsum(counts[first:]), _HELD, side="right")
        last = first + max(1, int(fits))
        ends = np.cumsum(counts[first:last])
        held = np.empty(int(ends[-1]))
        at = ends - counts[first:last]
        for unit, seconds in _taken(recording, taken):
            here = (unit >= first) & (unit < last)
            of_unit, when = unit[here] - first, seconds[here]
            order = np.argsort(of_unit, kind="stable")
            here_counts = np.bincount(of_unit, minlength=last - first)
            begin = np.cumsum(here_counts) - here_counts
            places = np.repeat(at - begin, here_counts) + np.arange(len(order))
            held[places] = when[order]
            at += here_counts
        for start, end in zip(ends - counts[first:last], ends, strict=True):
            held[start:end].sort()
        if len(held):
            yield held
        first = last


def _taken(
    recording: Recording, taken: TakenWindows
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Yield units and times, session clock, of the spikes that are in the trains."""
    for start, stop in spike_batches(recording):
        offsets, unit, time_ms = recording.spikes_between(start, stop)
        row = np.repeat(np.arange(start, stop), np.diff(offsets))
        time = time_ms.astype(np.float64)
        here = (time >= taken.start_ms[row]) & (time < taken.end_ms[row])
        yield unit[here].astype(np.int64), taken.onset_s[row[here]] + time[here] / 1e3


def spike_batches(recording: Recording) -> Iterator[tuple[int, int]]:
    """Yield (start, stop), rows whose spikes fit into memory together."""
    ends = recording.spike_offsets
    start = 0
    while start < len(ends) - 1:
        last = int(ends[start]) + _AT_ONCE
        stop = int(np.searchsorted(ends, last, side="right")) - 1
        stop = max(start + 1, stop)
        yield start, stop
        start = stop
