"""How the neurons of a population are drawn and fire: every number that can be set.

Knows numbers. Knows nothing of spikes, networks or areas of the brain (`sites`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from evolver.errors import ConfigError
from evolver.types import Vector
from scorers.neuron.spike_trains import TrainSettings, highest_rate_hz

Spread: TypeAlias = "float | tuple[float, float, float]"
"""What units differ in: one number for all, or the 10 %, 50 % and 90 % of a population."""

_TENTH = 1.2815515655446004
"""Standard deviations from the median to the last tenth of a normal distribution."""
_FURTHEST = 2.0
"""Standard deviations from the median that a unit is drawn at most: no monsters."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a spread's numbers may be, and how they are drawn between its three."""

    low: float
    high: float
    above: bool = False  # low itself is not allowed
    geometric: bool = False  # drawn by ratios, as rates are, not by differences

    def holds(self, value: float) -> bool:
        """Return whether a number lies within."""
        low = value > self.low if self.above else value >= self.low
        return low and value <= self.high

    def __str__(self) -> str:
        return f"{'above' if self.above else 'at least'} {self.low:g} and at most {self.high:g}"


SPREADS = {
    "baseline_hz": Bounds(0.0, 1000.0, geometric=True),
    "peak_hz": Bounds(0.0, 1000.0, above=True, geometric=True),
    "untuned": Bounds(0.0, 0.99),
    "saturation": Bounds(1.0, 100.0, above=True, geometric=True),
    "latency_ms": Bounds(0.0, 1000.0),
    "rise_ms": Bounds(0.5, 1000.0),
    "transient_ms": Bounds(0.5, 10_000.0),
    "sustained": Bounds(0.0, 1.0),
    "decay_ms": Bounds(0.5, 10_000.0),
}
"""The settings in which units differ."""

_NUMBERS = {
    "knee": Bounds(0.0, 10.0),
    "gain_sd": Bounds(0.0, 3.0),
    "gain_correlation": Bounds(0.0, 1.0),
    "drift_sd": Bounds(0.0, 3.0),
    "drift_showings": Bounds(1.0, 1e9),
    "contrast_ms": Bounds(0.0, 1000.0),
    "adaptation": Bounds(0.0, 1.0),
    "adaptation_showings": Bounds(1.0, 1e9),
    "dead_ms": Bounds(0.0, 100.0),
    "cells": Bounds(1, 1000),
    "burst": Bounds(0.0, 0.9),
    "silent": Bounds(0.0, 1.0),
}


BOUNDS = SPREADS | _NUMBERS
"""Of every setting."""


@dataclass(frozen=True, slots=True)
class NeuronConfig:
    """How the neurons of a population are drawn and fire.

    A `Spread` is one number for all units, or three: what 10 %, half and 90 % of them are
    below. The defaults are a plain cell's; what recorded sites are like stands in `sites`.

    Raises
    ------
    ConfigError
        A number is out of its bounds, or the three of a spread are not in order.
    """

    # --- the rate of a full response
    baseline_hz: Spread = 5.0  # spikes/s
    peak_hz: Spread = 60.0  # above baseline, at the peak of the response to the references' p99
    untuned: Spread = 0.0  # of that, what the references' median gives
    saturation: Spread = 3.0  # of that, the highest that any image gives
    knee: float = 0.1  # softness of the rectification, fraction of the p50 to p99 range
    silent: float = 0.0  # share of units that no image moves
    # --- its time course
    latency_ms: Spread = (45.0, 60.0, 75.0)  # from onset to the first change
    rise_ms: Spread = (15.0, 25.0, 35.0)  # from there to the peak
    transient_ms: Spread = (25.0, 40.0, 55.0)  # time constant of the fall after the peak
    sustained: Spread = (0.25, 0.4, 0.55)  # what remains of the peak
    decay_ms: Spread = (15.0, 30.0, 40.0)  # time constant after the image is gone
    contrast_ms: float = 0.0  # later by so much for each halving of an image's contrast
    # --- what changes from trial to trial
    gain_sd: float = 0.3  # of the gain, whose mean is 1
    gain_correlation: float = 0.2  # of log gains between units, as arousal would make
    drift_sd: float = 0.0  # of a gain that wanders, each unit's by itself
    drift_showings: float = 1000.0  # over which it does
    adaptation: float = 0.0  # of the response to an image shown again and again, what is lost
    adaptation_showings: float = 20.0  # other images after which 1/e of that is left
    # --- its spikes
    dead_ms: float = 0.0  # after a spike, in which a cell fires no other
    cells: int = 1  # whose spikes a site picks up: each has its own dead time
    burst: float = 0.0  # probability that a spike is followed by another within 2 to 4 ms

    def __post_init__(self) -> None:
        for name, bounds in SPREADS.items():
            numbers = three(getattr(self, name))
            if not all(bounds.holds(number) for number in numbers) or sorted(numbers) != list(
                numbers
            ):
                raise ConfigError(
                    f"{name} must be a number {bounds}, or three of them in rising order, the "
                    f"10 %, 50 % and 90 % of a population; got {getattr(self, name)}"
                )
        for name, bounds in _NUMBERS.items():
            if not bounds.holds(getattr(self, name)):
                raise ConfigError(f"{name} must be {bounds}; got {getattr(self, name)}")
        if self.cells != int(self.cells):
            raise ConfigError(f"cells must be a whole number; got {self.cells}")

        baseline = float(drawn(self.baseline_hz, SPREADS["baseline_hz"], np.array(_FURTHEST)))
        highest = highest_rate_hz(self.train)
        if baseline >= highest:
            raise ConfigError(
                f"baseline_hz must be below {highest:.4g}, the most that dead_ms = "
                f"{self.dead_ms:g} and {self.cells} cells leave, also for the units that have "
                f"most; got {self.baseline_hz}, up to {baseline:.4g}"
            )

    @property
    def train(self) -> TrainSettings:
        """How spikes follow one another."""
        return TrainSettings(self.dead_ms, self.cells, self.burst)

    def highest_hz(self) -> float:
        """Return the highest rate that any drive gives any unit of any population."""
        baseline, peak, saturation = (
            float(drawn(getattr(self, name), SPREADS[name], np.array(_FURTHEST)))
            for name in ("baseline_hz", "peak_hz", "saturation")
        )
        return baseline + peak * saturation


SETTINGS = tuple(f.name for f in fields(NeuronConfig))
"""Every setting, by name."""


def three(spread: Spread) -> tuple[float, float, float]:
    """Return a spread's 10 %, 50 % and 90 %."""
    return spread if isinstance(spread, tuple) else (spread, spread, spread)


def drawn(spread: Spread, bounds: Bounds, normal: NDArray[np.float64]) -> Vector:
    """Return what units with these draws of a standard normal distribution have.

    Between and beyond a spread's three numbers values lie on two halves of normal
    distributions that meet in the median, of logarithms where the bounds say so, within the
    bounds. A 10 % of 0 counts as a thousandth of the median there.
    """
    low, middle, high = three(spread)
    z = np.clip(normal, -_FURTHEST, _FURTHEST) / _TENTH
    if bounds.geometric and middle > 0:
        low = max(low, middle / 1000)
        ratio = np.where(z > 0, math.log(high / middle), math.log(middle / low))
        values = middle * np.exp(ratio * z)
    else:
        values = middle + np.where(z > 0, high - middle, middle - low) * z
    return np.clip(values, bounds.low, bounds.high)
