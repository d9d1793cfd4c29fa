"""A population of model neurons: what units say of an image to the spikes they fire.

Knows arrays and random streams handed to it; nothing of networks, images, rigs or scores.

A drive (a CNN unit's activation, say) becomes a response: `untuned` of `peak_hz` at the median
of reference images, `peak_hz` at their 99th percentile, and on beyond it, so that an image
better than every reference is worth more spikes, towards `saturation` times `peak_hz`. It
scales the unit's own time course (latency, peak, sustained part), a baseline is added, gains
multiply both (a trial's, partly shared between units: Goris, Movshon & Simoncelli 2014; and one
that wanders over hours), and spikes are drawn from the resulting rate (`spike_trains`).

The randomness of one presentation is a stream of its own, named by presentation and by which
showing of it this is: order, batches and repeats of the question change nothing, nor does the
company of a unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from evolver.errors import DataError
from evolver.types import Responses, Vector
from scorers.neuron.settings import SPREADS, NeuronConfig, drawn
from scorers.neuron.spike_trains import draw_spikes, highest_rate_hz, most_spikes

StreamByName: TypeAlias = Callable[..., np.random.Generator]
"""A name, strings and integers, to the random generator of that name (`evolver.seeds`)."""

_BIN_MS = 1.0
_HIGHEST_GAIN = 3.0
"""For which random numbers are drawn; a trial of a higher one loses its last spikes."""


@dataclass(frozen=True, slots=True, eq=False)
class Neurons:
    """What is fixed of each unit of a population; every array (u,) float64."""

    threshold: Vector  # drive at the references' median
    scale: Vector  # from there to their 99th percentile
    baseline_hz: Vector
    peak_hz: Vector
    untuned: Vector
    saturation: Vector
    latency_ms: Vector
    rise_ms: Vector
    transient_ms: Vector
    sustained: Vector
    decay_ms: Vector
    silent: NDArray[np.bool_]


def draw_neurons(
    quantiles: Mapping[str, Vector], config: NeuronConfig, stream: StreamByName
) -> Neurons:
    """Draw a population.

    Parameters
    ----------
    quantiles : ``p50`` and ``p99`` of each unit's drive over reference images, each (u,)
    config : NeuronConfig
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
    draws = np.array([stream("neuron", i).random(len(SPREADS) + 1) for i in range(len(p50))])
    normal = ndtri(np.clip(draws, 1e-12, 1 - 1e-12))
    spread = p99 - p50
    return Neurons(
        threshold=p50,
        # A unit that no reference moves has no scale of its own; its drive's size is one.
        scale=np.where(spread > 0, spread, np.maximum(np.abs(p50), 1.0)),
        silent=draws[:, len(SPREADS)] < config.silent,
        **{
            name: drawn(getattr(config, name), bounds, normal[:, k])
            for k, (name, bounds) in enumerate(SPREADS.items())
        },
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
        self._train = config.train
        self._highest_hz = min(config.highest_hz(), highest_rate_hz(self._train))
        self._room_hz = self._highest_hz - self.neurons.baseline_hz
        self._rises = lru_cache(maxsize=16)(self._rise)
        self._drifts = lru_cache(maxsize=4)(self._drift_knot)

    def amplitude_hz(self, drive: Responses) -> Responses:
        """Return how far the rate rises above baseline at its peak.

        Parameters
        ----------
        drive : (n, u) or (u,) float64, the scorer's unit

        Returns
        -------
        ndarray of float64, of the same shape, spikes/s, >= 0
        """
        neurons, knee = self.neurons, self._config.knee
        drive = np.asarray(drive, dtype=np.float64)
        if drive.shape[-1:] != (self.units,) or not np.isfinite(drive).all():
            raise DataError(
                f"drives must be finite, one per unit, {self.units}; got shape {drive.shape}"
            )
        x = (drive - neurons.threshold) / neurons.scale
        x = neurons.untuned + (1 - neurons.untuned) * x
        if knee > 0:  # smooth, so that an optimizer feels a slope below threshold too
            x = knee * np.logaddexp(0.0, x / knee)
        # 1 at 1, with a slope that falls towards `saturation`.
        fall = np.log(neurons.saturation / (neurons.saturation - 1))
        response = neurons.saturation * -np.expm1(-np.maximum(x, 0.0) * fall)
        amplitude = np.minimum(neurons.peak_hz * response, self._room_hz)
        return np.where(neurons.silent, 0.0, amplitude)

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
        mean = self._rises(on_ms, window_ms).mean(axis=1)
        return self.neurons.baseline_hz + self.amplitude_hz(drive) * mean

    def psth(
        self, drive: Vector, window_ms: tuple[float, float], *, on_ms: float = 100.0
    ) -> Responses:
        """Return the rate in 1 ms bins, (u, t) float64 spikes/s, for one drive (u,)."""
        rise = self._rises(on_ms, window_ms)
        return self.neurons.baseline_hz[:, None] + self.amplitude_hz(drive)[:, None] * rise

    def spikes(
        self,
        drive: Vector,
        *,
        presentation: int,
        showing: int,
        on_ms: float,
        window_ms: tuple[float, float],
        delay_ms: float = 0.0,
        adaptation: float = 1.0,
    ) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """Draw the spikes of one presentation.

        Parameters
        ----------
        drive : (u,) float64
        presentation, showing : name the random stream
        on_ms : how long the image is on screen
        window_ms : recorded, relative to onset
        delay_ms : of this image's response, beyond each unit's latency; < 0 is earlier
        adaptation : what is left of the response, in [0, 1]

        Returns
        -------
        units : (k,) uint32
        times_ms : (k,) float32, after onset, ascending
        """
        rng = self._stream("spikes", presentation, showing)
        shared = float(rng.standard_normal())
        seconds = (window_ms[1] - window_ms[0]) / 1000
        k = most_spikes(_HIGHEST_GAIN * self._highest_hz, seconds, self._train)
        uniform = rng.random((self.units, k + 1))
        gain = self._gain(shared, ndtri(np.clip(uniform[:, 0], 1e-12, 1 - 1e-12)))
        if self._config.drift_sd > 0:
            gain = gain * self._drift(presentation)
        rise = self._rises(on_ms, window_ms)
        if delay_ms != 0:
            rise = _later(rise, round(delay_ms / (seconds * 1000) * rise.shape[1]))
        rates = rise * (gain * adaptation * self.amplitude_hz(drive))[:, None]
        rates += (gain * self.neurons.baseline_hz)[:, None]
        train = self._train
        cells = bursts = None
        if train.dead_ms > 0 and train.cells > 1:
            cells = self._stream("cells", presentation, showing).random((self.units, k))
        if train.burst > 0:
            bursts = self._stream("bursts", presentation, showing).random((self.units, k, 2))
        units, times = draw_spikes(
            rates, window_ms, train, uniform[:, 1:], cells=cells, bursts=bursts
        )
        order = np.argsort(times, kind="stable")
        return units[order].astype(np.uint32), times[order].astype(np.float32)

    def _gain(self, shared: float, own: Vector) -> Vector:
        """Return one trial's gains, (u,): log-normal, mean 1, correlated between units."""
        together = self._config.gain_correlation
        log = np.sqrt(together) * shared + np.sqrt(1 - together) * own
        return _log_normal(log, self._config.gain_sd)

    def _drift(self, presentation: int) -> Vector:
        """Return each unit's slow gain at a presentation, (u,), mean 1 over long times."""
        knot, part = divmod(presentation / self._config.drift_showings, 1.0)
        before, after = self._drifts(int(knot)), self._drifts(int(knot) + 1)
        # On a circle's arc from one knot to the next the variance stays 1.
        log = np.cos(part * np.pi / 2) * before + np.sin(part * np.pi / 2) * after
        return _log_normal(log, self._config.drift_sd)

    def _drift_knot(self, knot: int) -> Vector:
        return self._stream("drift", knot).standard_normal(self.units)

    def _rise(self, on_ms: float, window_ms: tuple[float, float]) -> Responses:
        """Return the time course in bins of about 1 ms, (u, t); a full response peaks at 1."""
        start, end = window_ms
        if not (np.isfinite([start, end, on_ms]).all() and start < end and on_ms > 0):
            raise DataError(
                "a window must begin before it ends and on_ms be above 0; "
                f"got {window_ms} and {on_ms}"
            )
        edges = np.linspace(start, end, max(1, int(np.ceil((end - start) / _BIN_MS))) + 1)
        return self._shape((edges[:-1] + edges[1:]) / 2, on_ms)

    def _shape(self, t_ms: Vector, on_ms: float) -> Responses:
        """Return the time course at t_ms after onset, (u, t): 1 at the peak of a long image."""
        n = self.neurons
        since = np.maximum(t_ms[None, :] - n.latency_ms[:, None], 0.0)
        rise = np.minimum(since / n.rise_ms[:, None], 1.0)
        rise = rise * rise * (3 - 2 * rise)
        past = np.maximum(since - n.rise_ms[:, None], 0.0)
        transient = np.exp(-past / n.transient_ms[:, None])
        level = n.sustained[:, None] + (1 - n.sustained[:, None]) * transient
        gone = np.exp(-np.maximum(since - on_ms, 0.0) / n.decay_ms[:, None])
        return rise * level * gone


def _log_normal(log: Vector, sd: float) -> Vector:
    """Return draws of mean 1 and standard deviation `sd` from those of a normal one."""
    variance = np.log1p(sd**2)
    return np.exp(np.sqrt(variance) * log - variance / 2)


def _later(rise: Responses, bins: int) -> Responses:
    """Return time courses moved by so many bins; what comes in has not begun."""
    moved = np.zeros_like(rise)
    if bins > 0:
        moved[:, bins:] = rise[:, :-bins]
    elif bins < 0:
        moved[:, :bins] = rise[:, -bins:]
        moved[:, bins:] = rise[:, -1:]
    else:
        moved[:] = rise
    return moved
