"""Model neurons: the spikes follow the rates that are promised, and depend on names alone."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest

from evolver.errors import ConfigError, DataError
from evolver.seeds import stream
from scorers.neuron import NeuronConfig, SpikingPopulation, draw_neurons
from tests.soak import further

WINDOW = (-100.0, 300.0)
STREAM = functools.partial(stream, 11)


def population(units=8, **changes) -> SpikingPopulation:
    quantiles = {"p50": np.linspace(-1, 1, units), "p99": np.linspace(-1, 1, units) + 2.0}
    return SpikingPopulation(quantiles, NeuronConfig(**changes), STREAM)


def at(p: SpikingPopulation, fraction: float):
    """A drive that far from the median to the 99th percentile of the references."""
    return p.neurons.threshold + fraction * p.neurons.scale


def counts(p: SpikingPopulation, drive, trials=600, window=(50.0, 250.0), on_ms=100.0):
    """Spikes of each unit inside a window in each trial: (trials, units)."""
    out = np.zeros((trials, p.units))
    for k in range(trials):
        units, times = p.spikes(drive, presentation=k, showing=1, on_ms=on_ms, window_ms=WINDOW)
        inside = (times >= window[0]) & (times < window[1])
        out[k] = np.bincount(units[inside], minlength=p.units)
    return out


# ---------------------------------------------------------------- from drive to rate


def test_reference_quantiles_are_about_baseline_and_peak():
    p = population(knee=0.1)
    assert (p.amplitude_hz(at(p, 0.0)) < 0.1 * 60).all()
    np.testing.assert_allclose(p.amplitude_hz(at(p, 1.0)), 60.0, rtol=1e-3)
    peak = p.psth(at(p, 1.0), (0.0, 1000.0), on_ms=1000.0).max(axis=1)
    np.testing.assert_allclose(peak, 60.0 + p.neurons.baseline_hz, rtol=0.01)


def test_a_hard_knee_is_silent_below_threshold_and_a_soft_one_still_rises():
    hard, soft = population(knee=0.0), population(knee=0.1)
    assert (hard.amplitude_hz(at(hard, -0.5)) == 0).all()
    fractions = np.linspace(-0.5, 4.0, 50)
    amplitudes = np.array([soft.amplitude_hz(at(soft, f)) for f in fractions])
    assert (np.diff(amplitudes, axis=0) > 0).all()


def test_beyond_the_references_the_response_rises_and_saturates():
    p = population(saturation=2.5)
    amplitudes = np.array([p.amplitude_hz(at(p, f)) for f in (1.0, 2.0, 4.0, 100.0)])
    assert (np.diff(amplitudes, axis=0) > 0).all()
    np.testing.assert_allclose(amplitudes[-1], 2.5 * 60, rtol=1e-9)
    assert p.psth(at(p, 100.0), WINDOW).max() <= 150.0 + p.neurons.baseline_hz.max()


def test_an_untuned_part_answers_the_references_median():
    p = population(untuned=0.5, knee=0.0)
    median, best = p.amplitude_hz(at(p, 0.0)), p.amplitude_hz(at(p, 1.0))
    np.testing.assert_allclose(best, 60.0)
    # Half of the way to the best, on a curve that saturates.
    assert ((median > 30) & (median < 40)).all()
    assert (p.amplitude_hz(at(p, -1.0)) == 0).all()


def test_silent_units_have_a_baseline_and_no_response():
    p = population(units=400, silent=0.3, baseline_hz=5.0)
    silent = p.neurons.silent
    assert 0.2 < silent.mean() < 0.4
    rates = p.expected_rates(at(p, 3.0), (50.0, 200.0))
    np.testing.assert_allclose(rates[silent], 5.0)
    assert (rates[~silent] > 10.0).all()


def test_drives_come_one_by_one_or_in_batches():
    p = population()
    drives = np.array([at(p, f) for f in (0.0, 0.7, 2.0)])
    batch = p.expected_rates(drives, (50.0, 200.0))
    assert batch.shape == (3, 8)
    for one, drive in zip(batch, drives, strict=True):
        np.testing.assert_array_equal(one, p.expected_rates(drive, (50.0, 200.0)))


def test_a_unit_that_references_do_not_move_has_a_scale_all_the_same():
    p = SpikingPopulation({"p50": np.zeros(1), "p99": np.zeros(1)}, NeuronConfig(), STREAM)
    assert np.isfinite(p.expected_rates(np.ones((1, 1)), WINDOW)).all()
    assert p.amplitude_hz(np.ones(1)) > p.amplitude_hz(np.zeros(1))


# ---------------------------------------------------------------- time course


def test_nothing_happens_before_the_latency_and_the_response_ends_after_the_image():
    p = population(gain_sd=0.0)
    rate = p.psth(at(p, 1.0), WINDOW, on_ms=100.0)
    t = np.arange(-100, 300) + 0.5
    for unit in range(p.units):
        latency = p.neurons.latency_ms[unit]
        baseline = p.neurons.baseline_hz[unit]
        np.testing.assert_allclose(rate[unit, t < latency], baseline)
        assert (rate[unit, (t > latency + 1) & (t < latency + 100)] > baseline).all()
        assert rate[unit, -1] < rate[unit].max() / 2


def test_a_longer_image_is_a_longer_response():
    p = population()
    drive = at(p, 1.0)
    rates = [p.expected_rates(drive, (0.0, 600.0), on_ms=on) for on in (50.0, 100.0, 400.0)]
    assert (rates[0] < rates[1]).all()
    assert (rates[1] < rates[2]).all()


@pytest.mark.parametrize("window", [(50.0, 200.0), (-100.0, 0.0), (37.3, 111.9)])
def test_the_psth_integrates_to_the_expected_rate(window):
    p = population()
    drive = at(p, 1.5)
    np.testing.assert_allclose(
        p.psth(drive, window).mean(axis=1), p.expected_rates(drive, window), rtol=1e-9
    )


def test_latencies_are_spread_as_they_are_told_to():
    n = population(units=200).neurons
    np.testing.assert_allclose(
        np.percentile(n.latency_ms, [10, 50, 90]), (45.0, 60.0, 75.0), atol=4.0
    )


# ---------------------------------------------------------------- spikes


@pytest.mark.parametrize(
    ("gain_sd", "fraction"),
    [(0.4, -1.0), (0.0, 0.5), (0.4, 2.0), *map(further, (0.0, 0.4, 0.0), (-1.0, 0.5, 2.0))],
)
def test_mean_counts_are_the_expected_ones(gain_sd, fraction):
    p = population(gain_sd=gain_sd)
    drive = at(p, fraction)
    got = counts(p, drive)
    expected = p.expected_rates(drive, (50.0, 250.0)) * 0.2
    error = np.sqrt((expected + (gain_sd * expected) ** 2) / len(got))
    assert (np.abs(got.mean(axis=0) - expected) < 4.5 * error).all()


def test_spike_times_follow_the_psth():
    p = population(units=1, gain_sd=0.0)
    drive = at(p, 3.0)
    edges = np.arange(-100, 301, 10.0)
    trials = 1000
    histogram = np.zeros(len(edges) - 1)
    for k in range(trials):
        _, times = p.spikes(drive, presentation=k, showing=1, on_ms=100.0, window_ms=WINDOW)
        histogram += np.histogram(times, edges)[0]
    expected = p.psth(drive, WINDOW)[0].reshape(-1, 10).sum(axis=1) / 1000 * trials
    # Chi-square over 40 bins: mean 40, sd 9.
    assert ((histogram - expected) ** 2 / expected).sum() < 40 + 5 * 9


def test_without_gain_noise_counts_are_poisson_and_with_it_they_vary_more():
    quiet, noisy = population(gain_sd=0.0), population(gain_sd=0.5)
    drive = at(quiet, 3.0)
    trials = 800
    a, b = counts(quiet, drive, trials), counts(noisy, drive, trials)
    fano = a.var(axis=0) / a.mean(axis=0)
    np.testing.assert_allclose(fano, 1.0, atol=5 * np.sqrt(2 / trials))
    mean = b.mean(axis=0)
    # Goris et al. 2014, eq. 2: variance = mean + (sd * mean)^2.
    np.testing.assert_allclose(b.var(axis=0), mean + 0.25 * mean**2, rtol=0.3)


def test_gains_are_shared_as_far_as_they_are_told_to():
    def correlation(shared):
        p = population(gain_sd=0.5, gain_correlation=shared)
        matrix = np.corrcoef(counts(p, at(p, 5.0), 400).T)
        return matrix[np.triu_indices(p.units, 1)].mean()

    assert abs(correlation(0.0)) < 0.05
    assert correlation(1.0) > 0.4


def test_spikes_are_sorted_in_range_and_typed():
    p = population(units=64)
    units, times = p.spikes(
        at(p, 2.0), presentation=5, showing=1, on_ms=100.0, window_ms=WINDOW
    )
    assert (units.dtype, times.dtype) == (np.uint32, np.float32)
    assert len(units) == len(times) > 0
    assert (np.diff(times) >= 0).all()
    assert times[0] >= WINDOW[0]
    assert times[-1] <= WINDOW[1]
    assert units.max() < 64


def test_without_baseline_and_drive_there_are_no_spikes():
    p = population(baseline_hz=0.0, knee=0.0)
    units, _ = p.spikes(at(p, -1.0), presentation=0, showing=1, on_ms=100.0, window_ms=WINDOW)
    assert len(units) == 0


# ---------------------------------------------------------------- randomness


def test_spikes_depend_on_presentation_and_showing_and_on_nothing_else():
    p, q = population(), population()
    drive = at(p, 1.0)

    def draw(who, presentation, showing):
        units, times = who.spikes(
            drive, presentation=presentation, showing=showing, on_ms=100.0, window_ms=WINDOW
        )
        return units.tolist(), times.tolist()

    forwards = {k: draw(p, k, 1) for k in range(10)}
    backwards = {k: draw(q, k, 1) for k in reversed(range(10))}
    assert forwards == backwards
    assert draw(p, 3, 1) == forwards[3]
    assert draw(p, 3, 2) != forwards[3]
    assert len({str(v) for v in forwards.values()}) == 10


def test_another_seed_is_another_population_with_other_spikes():
    quantiles = {"p50": np.zeros(3), "p99": np.ones(3)}
    a, b = (
        SpikingPopulation(quantiles, NeuronConfig(), functools.partial(stream, seed))
        for seed in (1, 2)
    )
    assert (a.neurons.latency_ms != b.neurons.latency_ms).all()


@pytest.mark.parametrize(
    "changes", [{}, {"dead_ms": 1.5, "cells": 3, "burst": 0.2, "drift_sd": 0.2}]
)
def test_a_unit_is_the_same_in_any_company(changes):
    few, many = (
        SpikingPopulation(
            {"p50": np.zeros(n), "p99": np.ones(n)}, NeuronConfig(**changes), STREAM
        )
        for n in (2, 9)
    )
    for field in dataclasses.fields(few.neurons):
        np.testing.assert_array_equal(
            getattr(few.neurons, field.name), getattr(many.neurons, field.name)[:2]
        )
    drives = np.array([1.0, 0.5, 7.0, 0.0, 2.0, 3.0, 1.0, 1.0, 1.0])

    def trains(p, drive):
        units, times = p.spikes(drive, presentation=7, showing=1, on_ms=100.0, window_ms=WINDOW)
        return [times[units == unit].tolist() for unit in range(2)]

    assert trains(few, drives[:2]) == trains(many, drives)


# ---------------------------------------------------------------- image, repeats, hours


def test_a_delay_moves_the_response_and_nothing_else():
    p = population(units=1, gain_sd=0.0, baseline_hz=0.0)
    drive = at(p, 2.0)

    def mean_time(delay_ms):
        times = [
            p.spikes(
                drive,
                presentation=k,
                showing=1,
                on_ms=100.0,
                window_ms=(-100.0, 400.0),
                delay_ms=delay_ms,
            )[1]
            for k in range(150)
        ]
        return np.concatenate(times).mean()

    usual = mean_time(0.0)
    # The same random numbers: each spike is moved by the delay.
    assert mean_time(20.0) - usual == pytest.approx(20.0, abs=0.5)
    assert mean_time(-20.0) - usual == pytest.approx(-20.0, abs=0.5)


def test_adaptation_takes_its_share_of_the_response_and_leaves_the_baseline():
    p = population(units=4, gain_sd=0.0, knee=0.0)

    def count(drive, left):
        return sum(
            len(
                p.spikes(
                    drive,
                    presentation=k,
                    showing=1,
                    on_ms=100.0,
                    window_ms=WINDOW,
                    adaptation=left,
                )[0]
            )
            for k in range(400)
        )

    assert count(at(p, -1.0), 0.5) == count(at(p, -1.0), 1.0)
    baseline = count(at(p, -1.0), 1.0)
    fresh, adapted = (count(at(p, 2.0), left) - baseline for left in (1.0, 0.5))
    assert adapted / fresh == pytest.approx(0.5, abs=0.05)


def test_a_gain_wanders_slowly_around_one():
    p = population(units=200, drift_sd=0.2, drift_showings=500.0, gain_sd=0.0)
    gains = np.array([p._drift(k) for k in range(0, 20_000, 100)])
    assert gains.mean() == pytest.approx(1.0, abs=0.02)
    assert gains.std(axis=0).mean() == pytest.approx(0.2, abs=0.03)
    steps = np.abs(np.diff(gains, axis=0)).mean()
    assert steps < 0.4 * np.abs(gains[:-10] - gains[10:]).mean()
    np.testing.assert_allclose(p._drift(499), p._drift(500), rtol=0.01)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "wrong",
    [
        {"peak_hz": 0.0},
        {"knee": -0.1},
        {"gain_sd": -1.0},
        {"gain_correlation": 1.5},
        {"saturation": 1.0},
        {"untuned": 1.0},
        {"latency_ms": (80.0, 60.0, 70.0)},
        {"rise_ms": (0.0, 1.0, 2.0)},
        {"sustained": (0.5, 0.7, 1.5)},
        {"baseline_hz": (-1.0, 1.0, 1.0)},
        {"decay_ms": (1.0, 2.0, float("nan"))},
        {"cells": 1.5},
        {"burst": 0.95},
        {"adaptation_showings": 0.0},
        {"silent": float("nan")},
    ],
)
def test_settings_out_of_range_are_refused_by_name(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        NeuronConfig(**wrong)


@pytest.mark.parametrize(
    ("p50", "p99"),
    [
        (np.zeros(2), np.zeros(3)),
        (np.ones(2), np.zeros(2)),
        (np.zeros(0), np.zeros(0)),
        (np.zeros(2), np.array([1.0, np.nan])),
    ],
)
def test_quantiles_that_are_none_are_refused(p50, p99):
    with pytest.raises(DataError, match="p50"):
        draw_neurons({"p50": p50, "p99": p99}, NeuronConfig(), STREAM)


@pytest.mark.parametrize("drive", [np.zeros(3), np.full(8, np.nan)])
def test_drives_that_do_not_fit_are_refused(drive):
    with pytest.raises(DataError, match="drives"):
        population().amplitude_hz(drive)


def test_a_window_that_is_none_is_refused():
    p = population()
    with pytest.raises(DataError, match="window"):
        p.expected_rates(at(p, 1.0), (200.0, 50.0))


def test_a_dead_time_bounds_the_rate_and_a_baseline_beyond_it_is_refused():
    p = population(dead_ms=5.0, peak_hz=900.0)
    assert p.psth(at(p, 100.0), WINDOW).max() == pytest.approx(120.0, abs=0.1)
    with pytest.raises(ConfigError, match=r"below 120, the most that dead_ms = 5 and 1 cells"):
        population(dead_ms=5.0, baseline_hz=200.0)
    population(dead_ms=5.0, baseline_hz=200.0, cells=8)


@pytest.mark.parametrize(
    ("baseline_hz", "changes"),
    [
        further(590.0, {"dead_ms": 1.0}),
        (290.0, {"dead_ms": 2.0}),
        further(50.0, {"burst": 0.9, "dead_ms": 1.0}),
        (80.0, {"burst": 0.5, "dead_ms": 4.0}),
    ],
)
def test_a_baseline_is_the_same_from_a_windows_start_to_its_end(baseline_hz, changes):
    p = population(units=4, baseline_hz=baseline_hz, gain_sd=0.0, peak_hz=1e-3, **changes)
    drive = at(p, -1.0)
    times = np.concatenate([
        p.spikes(drive, presentation=k, showing=1, on_ms=100.0, window_ms=WINDOW)[1]
        for k in range(400)
    ])
    rates = np.histogram(times, np.arange(-100, 301, 20))[0] / (400 * 4 * 0.02)
    np.testing.assert_allclose(rates, baseline_hz, rtol=0.15)
