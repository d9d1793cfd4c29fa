"""Spike trains: the rate is the one asked for, whatever stands between the spikes."""

from __future__ import annotations

import numpy as np
import pytest

from evolver.seeds import stream
from scorers.neuron.spike_trains import TrainSettings, draw_spikes

WINDOW = (-100.0, 300.0)
TRIALS = 4000


def trains(rates_hz, settings, *, trials=TRIALS, seed=3):
    """Return the spikes of so many trials, as rows of one draw: (trial, times)."""
    rng = stream(seed, "trains")
    rates = np.broadcast_to(rates_hz, (trials, len(rates_hz)))
    k = 400
    return draw_spikes(
        rates,
        WINDOW,
        settings,
        rng.random((trials, k)),
        cells=rng.random((trials, k)),
        bursts=rng.random((trials, k, 2)),
    )


STEP = np.where((np.arange(400) > 150) & (np.arange(400) < 250), 180.0, 20.0)
EVERY = [
    TrainSettings(),
    TrainSettings(dead_ms=2.0),
    TrainSettings(dead_ms=3.0, cells=4),
    TrainSettings(burst=0.4),
    TrainSettings(dead_ms=1.5, burst=0.3),
]


@pytest.mark.parametrize("settings", EVERY)
def test_the_mean_rate_is_the_one_asked_for_before_in_and_after_a_step(settings):
    _, times = trains(STEP, settings)
    for first, last in ((-100, 40), (60, 140), (165, 300)):
        inside = STEP[first + 100 : last + 100]
        expected = inside.sum() / 1000 * TRIALS
        got = np.count_nonzero((times >= first) & (times < last))
        # 1 % for what a dead time's edge and a window's end cost, and 4 sd of counts in bursts.
        assert got == pytest.approx(expected, rel=0.01, abs=4 * np.sqrt(3 * expected))


@pytest.mark.parametrize(("dead_ms", "cells"), [(2.0, 1), (3.0, 3)])
def test_no_cell_fires_twice_within_its_dead_time(dead_ms, cells):
    units, times = trains(STEP, TrainSettings(dead_ms, cells), trials=300)
    apart = np.diff(times)[np.diff(units) == 0]
    if cells == 1:
        assert apart.min() >= dead_ms
    else:  # of any cells + 1 spikes in a row two are of one cell
        for unit in range(300):
            own = times[units == unit]
            assert (own[cells:] - own[:-cells] >= dead_ms).all()


@pytest.mark.parametrize("rate_hz", [50.0, 200.0])
def test_counts_with_a_dead_time_vary_as_renewal_theory_says(rate_hz):
    dead_ms = 2.0
    units, times = trains(np.full(400, rate_hz), TrainSettings(dead_ms))
    inside = (times >= -50) & (times < 300)
    counts = np.bincount(units[inside], minlength=TRIALS)
    fano = counts.var() / counts.mean()
    # Mueller 1973: (1 - rate * dead)^2, and an edge that is small in a long window.
    expected = (1 - rate_hz * dead_ms / 1000) ** 2
    assert fano == pytest.approx(expected, abs=0.06)


def test_bursts_are_as_long_as_they_are_told_to_be_and_counts_vary_more():
    settings = TrainSettings(burst=0.5)
    units, times = trains(np.full(400, 10.0), settings)
    apart = np.diff(times)[np.diff(units) == 0]
    short = apart < 4.001
    assert short.sum() / len(times) == pytest.approx(0.5, abs=0.03)
    assert np.median(apart[short]) == pytest.approx(3.0, abs=0.1)
    counts = np.bincount(units, minlength=TRIALS)
    # A geometric number of spikes an event: Fano (1 + burst) / (1 - burst).
    assert counts.var() / counts.mean() == pytest.approx(3.0, rel=0.12)


def test_spikes_are_sorted_within_units_and_inside_the_window():
    for settings in EVERY:
        units, times = trains(STEP, settings, trials=50)
        assert (np.diff(units) >= 0).all()
        assert (np.diff(times)[np.diff(units) == 0] >= 0).all()
        assert times.min() >= WINDOW[0]
        assert times.max() < WINDOW[1]


def test_without_a_rate_there_are_no_spikes():
    for settings in EVERY:
        units, times = trains(np.zeros(400), settings, trials=5)
        assert len(units) == len(times) == 0
