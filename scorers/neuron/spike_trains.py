"""From rates to spike times: cells with a dead time, bursts, each unit's draws its own.

Knows arrays, uniform random numbers among them; nothing of images, sessions or what the rates
stand for.

A cell fires as a Poisson process that is blind for `dead_ms` after each of its spikes (a
non-paralysable counter). The rate drawn from is raised by r / (1 - r * dead), so that what is
left has the rate r that was asked for; its counts vary less than a Poisson process's, about by
(1 - r * dead)^2 (Mueller, Nucl. Instrum. Methods 112, 1973). A site picks up several cells,
each with a dead time of its own. A burst's spikes follow one another by 2 to 4 ms.

Each unit has a row of random numbers of its own, of one length whether it needs them or not:
its spikes do not depend on its company.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evolver.types import Matrix, Responses, Vector

MOST_BLIND = 0.6
"""Of its time that a cell can be blind; higher rates are not reached."""
_BURST_MS = (2.0, 4.0)
_BEFORE_MS = 150.0
"""Before a window, in which bursts begin that reach into it."""


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How spikes follow one another."""

    dead_ms: float = 0.0
    cells: int = 1
    burst: float = 0.0  # probability that a spike is followed by another of its burst


def highest_rate_hz(settings: TrainSettings) -> float:
    """Return the highest rate of all cells of a site together."""
    if settings.dead_ms == 0:
        return math.inf
    return MOST_BLIND * 1000 * settings.cells / settings.dead_ms / (1 - settings.burst)


def most_spikes(rate_hz: float, seconds: float, settings: TrainSettings) -> int:
    """Return for how many spikes random numbers are needed, at rates up to this one.

    Spikes in a dead time are among them, and those before a window with bursts.
    """
    events_hz = min(rate_hz, highest_rate_hz(settings)) * (1 - settings.burst)
    blind = events_hz * settings.dead_ms / settings.cells / 1000
    if settings.burst > 0:
        seconds += _BEFORE_MS / 1000
    return draws_needed(events_hz / (1 - blind) * seconds)


def draws_needed(expected: float) -> int:
    """Return how many spikes to provide for: more come once in 10^12 trials."""
    return int(expected + 8 * np.sqrt(expected) + 24)


def draw_spikes(
    rates_hz: Responses,
    window_ms: tuple[float, float],
    settings: TrainSettings,
    arrivals: Matrix,
    *,
    cells: Matrix | None = None,
    bursts: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.intp], Vector]:
    """Draw spikes of units.

    Parameters
    ----------
    rates_hz : (u, t) float64, >= 0, of each unit in t bins of one length
    window_ms : (start, end) of the bins
    settings : TrainSettings
    arrivals : (u, k) uniform in [0, 1); a unit has at most k spikes before its bursts
    cells : (u, k) uniform, needed where several cells have a dead time
    bursts : (u, k, 2) uniform, needed where there are bursts

    Returns
    -------
    units : (s,) intp, ascending
    times_ms : (s,) float64, ascending within a unit
    """
    start, end = window_ms
    width = (end - start) / rates_hz.shape[1]
    events_hz = rates_hz
    if settings.burst > 0:
        before = math.ceil(_BEFORE_MS / width)
        events_hz = np.concatenate([np.repeat(rates_hz[:, :1], before, axis=1), rates_hz], 1)
        events_hz *= 1 - settings.burst
        start -= before * width
    if settings.dead_ms > 0:
        dead_s = settings.dead_ms / settings.cells / 1000
        events_hz = np.minimum(events_hz, MOST_BLIND / dead_s)
        events_hz /= 1 - events_hz * dead_s
    units_n, bins = events_hz.shape
    expected = np.zeros((units_n, bins + 1))
    np.cumsum(events_hz, axis=1, out=expected[:, 1:])
    expected *= width / 1000
    arrivals = arrivals[:, : draws_needed(float(expected[:, -1].max()))]
    rank = np.cumsum(-np.log1p(-arrivals), axis=1)  # of a Poisson process of rate 1
    inside = rank < expected[:, -1:]
    units, columns = np.nonzero(inside)
    # All units' expected counts end to end, so that one search inverts them all.
    foot = np.concatenate([[0.0], np.cumsum(expected[:-1, -1] + 1)])
    expected += foot[:, None]
    ladder = expected.ravel()
    place = rank[inside] + foot[units]
    below = np.searchsorted(ladder, place, side="right") - 1
    height = ladder[below + 1] - ladder[below]
    times = below - units * (bins + 1) + (place - ladder[below]) / height
    times = start + times * width
    if settings.dead_ms > 0:
        cell = np.zeros(len(units), dtype=np.intp)
        if settings.cells > 1 and cells is not None:
            cell = (cells[units, columns] * settings.cells).astype(np.intp)
        kept = _outside_dead_time(units * settings.cells + cell, times, settings.dead_ms)
        units, columns, times = units[kept], columns[kept], times[kept]
    if settings.burst > 0 and bursts is not None:
        pairs = bursts[units, columns]
        units, times = _with_bursts(units, times, pairs, settings, window_ms)
    return units, times


def _outside_dead_time(
    cells: NDArray[np.intp], times: Vector, dead_ms: float
) -> NDArray[np.bool_]:
    """Return which spikes are at least `dead_ms` after the last kept one of their cell."""
    order = np.lexsort((times, cells))
    left = order
    while True:
        close = np.zeros(len(left), dtype=bool)
        same = cells[left[1:]] == cells[left[:-1]]
        close[1:] = same & (times[left[1:]] - times[left[:-1]] < dead_ms)
        # Of spikes close to one another only the first after a kept one is sure to go.
        first = close.copy()
        first[1:] &= ~close[:-1]
        if not first.any():
            break
        left = left[~first]
    kept = np.zeros(len(cells), dtype=bool)
    kept[left] = True
    return kept


def _with_bursts(
    units: NDArray[np.intp],
    times: Vector,
    pairs: NDArray[np.float64],
    settings: TrainSettings,
    window_ms: tuple[float, float],
) -> tuple[NDArray[np.intp], Vector]:
    """Return all spikes in a window, those that follow others in a burst among them."""
    # P(at least k follow) = burst^k.
    followers = (np.log(1 - pairs[:, 0]) / np.log(settings.burst)).astype(np.intp)
    shortest = max(_BURST_MS[0], settings.dead_ms)
    gaps = shortest + (_BURST_MS[1] - _BURST_MS[0]) * pairs[:, 1]
    parents = np.repeat(np.arange(len(units)), followers)
    firsts = np.repeat(np.cumsum(followers) - followers, followers)
    steps = np.arange(len(parents)) - firsts + 1
    all_times = np.concatenate([times, times[parents] + steps * gaps[parents]])
    all_units = np.concatenate([units, units[parents]])
    recorded = (all_times >= window_ms[0]) & (all_times < window_ms[1])
    all_units, all_times = all_units[recorded], all_times[recorded]
    order = np.lexsort((all_times, all_units))
    return all_units[order], all_times[order]
