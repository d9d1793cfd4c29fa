"""Model neurons: what a unit says of an image to spikes, as a recorded neuron would fire them.

Knows arrays and random streams handed to it; nothing of networks, images, rigs or scores.

A drive (a CNN unit's activation, say) becomes a response amplitude by rectification: 0 near
the median of reference images, `peak_hz` at their 99th percentile, and on in a straight line
beyond, so that an image better than every reference is worth more spikes. It scales the
unit's own time course (latency, transient, sustained part), a baseline is added, a trial's gain
multiplies both (Goris, Movshon & Simoncelli 2014: variance = mean + (gain sd * mean)^2), and
spikes are drawn from the resulting rate as a Poisson process.

The randomness of one presentation is a stream of its own, named by presentation and by which
showing of it this is: order, batches and repeats of the question change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from evolver.errors import ConfigError, DataError
from evolver.types import Responses, Vector

StreamByName: TypeAlias = Callable[..., np.random.Generator]
"""A name, strings and integers, to the random generator of that name (`evolver.seeds`)."""

_BIN_MS = 1.0


@dataclass(frozen=True, slots=True)
class NeuronConfig:
    """How the neurons of a population are drawn and fire.

    Ranges are (low, high) of a uniform draw per unit, milliseconds unless said otherwise.
    """

    peak_hz: float = 60.0  # at the peak of the response to the references' 99th percentile
    baseline_hz: tuple[float, float] = (2.0, 10.0)  # spikes/s
    max_hz: float | None = None  # of the rate at any moment; None: no saturation
    knee: float = 0.1  # softness of the rectification, fraction of the p50 to p99 range
    gain_sd: float = 0.3  # of the trial-to-trial gain, whose mean is 1
    gain_correlation: float = 0.2  # of log gains between units, as arousal would make
    latency_ms: tuple[float, float] = (40.0, 80.0)
    rise_ms: tuple[float, float] = (5.0, 15.0)  # time constant of the onset
    transient_ms: tuple[float, float] = (20.0, 60.0)  # time constant of its decay
    sustained: tuple[float, float] = (0.2, 0.6)  # what remains, fraction
    decay_ms: tuple[float, float] = (15.0, 40.0)  # time constant after the image is gone

    def __post_init__(self) -> None:
        """Raise `ConfigError` where a value is out of its range."""
        ranges = {
            name: getattr(self, name)
            for name in (
                "baseline_hz",
                "latency_ms",
                "rise_ms",
                "transient_ms",
                "sustained",
                "decay_ms",
            )
        }
        for name, (low, high) in ranges.items():
            positive = name in {"rise_ms", "transient_ms", "decay_ms"}
            if not (0 <= low <= high < np.inf) or (positive and low == 0):
                raise ConfigError(
                    f"{name} must be (low, high) with {'0 <' if positive else '0 <='} low <= "
                    f"high; got {(low, high)}"
                )
        if self.sustained[1] > 1:
            raise ConfigError(f"sustained must be at most 1; got {self.sustained}")
        if not (self.peak_hz > 0 and self.knee >= 0 and self.gain_sd >= 0):
            raise ConfigError(
                "peak_hz must be above 0, knee and gain_sd not below 0; got "
                f"{self.peak_hz}, {self.knee}, {self.gain_sd}"
            )
        if not 0 <= self.gain_correlation <= 1:
            raise ConfigError(
                f"gain_correlation must be in [0, 1]; got {self.gain_correlation}"
            )
        if self.max_hz is not None and not self.max_hz > 0:
            raise ConfigError(f"max_hz must be above 0, or absent; got {self.max_hz}")


@dataclass(frozen=True, slots=True, eq=False)
class Neurons:
    """What is fixed of each unit of a population; every array (u,) float64."""

    threshold: Vector  # drive of amplitude 0
    scale: Vector  # drive above threshold of amplitude peak_hz
    baseline_hz: Vector
    latency_ms: Vector
    rise_ms: Vector
    transient_ms: Vector
    sustained: Vector
    decay_ms: Vector


def draw_neurons(
    quantiles: Mapping[str, Vector], config: NeuronConfig, stream: StreamByName
) -> Neurons:
    """Draw a population.

    Parameters
    ----------
    quantiles : ``p50`` and ``p99`` of each unit's drive over reference images, each (u,)
    config : ranges
    stream : unit i's constants are drawn from ``stream("neuron", i)``, so that a unit is the
        same in a population of any size

    Raises
    ------
    DataError
        where the quantiles are not (u,), finite and in order
    """
    p50 = np.asarray(quantiles["p50"], dtype=np.float64)
    p99 = np.asarray(quantiles["p99"], dtype=np.float64)
    if p50.ndim != 1 or p50.shape != p99.shape or not len(p50):
        raise DataError(f"p50 and p99 must be (u,) with u >= 1; got {p50.shape}, {p99.shape}")
    if not (np.isfinite(p50).all() and np.isfinite(p99).all() and (p99 >= p50).all()):
        raise DataError("p50 and p99 must be finite, and p99 not below p50")
    draws = np.array([stream("neuron", i).random(6) for i in range(len(p50))]).T

    def between(k: int, bounds: tuple[float, float]) -> Vector:
        return bounds[0] + (bounds[1] - bounds[0]) * draws[k]

    spread = p99 - p50
    return Neurons(
        threshold=p50,
        # A unit that no reference moves has no scale of its own; its drive's size is one.
        scale=np.where(spread > 0, spread, np.maximum(np.abs(p50), 1.0)),
        baseline_hz=between(0, config.baseline_hz),
        latency_ms=between(1, config.latency_ms),
        rise_ms=between(2, config.rise_ms),
        transient_ms=between(3, config.transient_ms),
        sustained=between(4, config.sustained),
        decay_ms=between(5, config.decay_ms),
    )


class SpikingPopulation:
    """A population of model neurons: drives to spikes, and to the rates behind them.

    Parameters
    ----------
    quantiles : ``p50`` and ``p99`` of each unit's drive over reference images, each (u,)
    config : ranges and gains
    stream : random generators by name, as ``functools.partial(evolver.seeds.stream, seed)``

    Attributes
    ----------
    neurons : what was drawn for each unit
    units : how many
    """

    def __init__(
        self, quantiles: Mapping[str, Vector], config: NeuronConfig, stream: StreamByName
    ) -> None:
        self.neurons = draw_neurons(quantiles, config, stream)
        self.units = len(self.neurons.threshold)
        self._config, self._stream = config, stream
        self._peak = self._shape(np.arange(0.0, 1000.0, 0.25), np.inf).max(
            axis=1, keepdims=True
        )
        self._courses = lru_cache(maxsize=16)(self._course)

    def amplitude_hz(self, drive: Responses) -> Responses:
        """Return how far the rate rises above baseline at its peak.

        Parameters
        ----------
        drive : (n, u) or (u,) float64, the scorer's unit

        Returns
        -------
        ndarray of float64, of the same shape, spikes/s, >= 0
        """
        neurons, config = self.neurons, self._config
        drive = np.asarray(drive, dtype=np.float64)
        if drive.shape[-1:] != (self.units,) or not np.isfinite(drive).all():
            raise DataError(
                f"drives must be finite, one per unit, {self.units}; got shape {drive.shape}"
            )
        x = (drive - neurons.threshold) / neurons.scale
        if config.knee > 0:  # smooth, so that an optimizer feels a slope below threshold too
            x = config.knee * np.logaddexp(0.0, x / config.knee)
        amplitude = config.peak_hz * np.maximum(x, 0.0)
        if config.max_hz is not None:
            ceiling = np.maximum(config.max_hz - neurons.baseline_hz, 0.0)
            amplitude = np.minimum(amplitude, ceiling)
        return amplitude

    def expected_rates(
        self, drive: Responses, window_ms: tuple[float, float], *, on_ms: float = 100.0
    ) -> Responses:
        """Return the mean rate in a window, without noise: what infinitely many repeats give.

        Parameters
        ----------
        drive : (n, u) float64
        window_ms : (start, end) relative to onset
        on_ms : how long the image is on screen

        Returns
        -------
        ndarray of float64, shape (n, u), spikes/s, baseline included
        """
        rises = self._courses(on_ms, window_ms)[:, -1]  # seconds at full amplitude
        seconds = (window_ms[1] - window_ms[0]) / 1000
        return self.neurons.baseline_hz + self.amplitude_hz(drive) * rises / seconds

    def psth(
        self, drive: Vector, window_ms: tuple[float, float], *, on_ms: float = 100.0
    ) -> Responses:
        """Return the rate in 1 ms bins, (u, t) float64 spikes/s, for one drive (u,)."""
        course = self._courses(on_ms, window_ms)
        seconds = (window_ms[1] - window_ms[0]) / 1000 / (course.shape[1] - 1)
        rise = np.diff(course, axis=1) / seconds
        return self.neurons.baseline_hz[:, None] + self.amplitude_hz(drive)[:, None] * rise

    def spikes(
        self,
        drive: Vector,
        *,
        presentation: int,
        showing: int,
        on_ms: float,
        window_ms: tuple[float, float],
    ) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """Draw the spikes of one presentation.

        Parameters
        ----------
        drive : (u,) float64
        presentation, showing : name the random stream
        on_ms : how long the image is on screen
        window_ms : recorded, relative to onset

        Returns
        -------
        units : (k,) uint32
        times_ms : (k,) float32, after onset, ascending
        """
        rng = self._stream("spikes", presentation, showing)
        gain = self._gain(rng)
        course = self._courses(on_ms, window_ms)
        bins = course.shape[1] - 1
        seconds = (window_ms[1] - window_ms[0]) / 1000
        # Expected spikes from the window's start to every bin edge, (u, t + 1).
        expected = self.neurons.baseline_hz[:, None] * np.linspace(0, seconds, bins + 1)
        expected += self.amplitude_hz(drive)[:, None] * course
        totals = expected[:, -1]
        units = np.repeat(np.arange(self.units), rng.poisson(gain * totals))
        # All units' distribution functions end to end, so that one search inverts them all.
        steps = expected / np.where(totals > 0, totals, 1.0)[:, None]
        ladder = (steps + np.arange(self.units)[:, None]).ravel()
        place = units + rng.random(len(units))
        below = np.searchsorted(ladder, place, side="right") - 1
        width = ladder[below + 1] - ladder[below]
        inside = (place - ladder[below]) / width
        times = below - units * (bins + 1) + inside
        times = window_ms[0] + times * (window_ms[1] - window_ms[0]) / bins
        order = np.argsort(times, kind="stable")
        return units[order].astype(np.uint32), times[order].astype(np.float32)

    def _gain(self, rng: np.random.Generator) -> Vector:
        """Draw one trial's gains, (u,): log-normal, mean 1, correlated between units."""
        # The draws are made at any sd, so that changing it changes no other number.
        draws = rng.standard_normal(self.units + 1)
        shared = self._config.gain_correlation
        log = np.sqrt(shared) * draws[0] + np.sqrt(1 - shared) * draws[1:]
        variance = np.log1p(self._config.gain_sd**2)
        return np.exp(np.sqrt(variance) * log - variance / 2)

    def _course(self, on_ms: float, window_ms: tuple[float, float]) -> Responses:
        """Return the integral of the time course, (u, t + 1) seconds at full amplitude."""
        start, end = window_ms
        if not (np.isfinite([start, end, on_ms]).all() and start < end and on_ms > 0):
            raise DataError(
                "a window must begin before it ends and on_ms be above 0; "
                f"got {window_ms} and {on_ms}"
            )
        bins = max(1, int(np.ceil((end - start) / _BIN_MS)))
        edges = np.linspace(start, end, bins + 1)
        rate = self._shape((edges[:-1] + edges[1:]) / 2, on_ms)
        # A full response peaks at 1, however long the image stays; the search for the peak is
        # on a grid and a hair too low.
        rate = np.minimum(rate / self._peak, 1.0)
        course = np.zeros((self.units, bins + 1))
        np.cumsum(rate * ((end - start) / bins / 1000), axis=1, out=course[:, 1:])
        return course

    def _shape(self, t_ms: Vector, on_ms: float) -> Responses:
        """Return the time course at t_ms after onset, (u, t), not normalised."""
        n = self.neurons
        t = t_ms[None, :] - n.latency_ms[:, None]
        since = np.maximum(t, 0.0)
        rise = 1 - np.exp(-since / n.rise_ms[:, None])
        transient = np.exp(-since / n.transient_ms[:, None])
        level = n.sustained[:, None] + (1 - n.sustained[:, None]) * transient
        gone = np.exp(-np.maximum(t - on_ms, 0.0) / n.decay_ms[:, None])
        return rise * level * gone
