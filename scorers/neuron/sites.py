"""What recorded sites of macaque V1, V4 and IT are like, fitted to published experiments.

Source: the 86 evolutions of Wang & Ponce (Nature Neuroscience 2026): 6 sites in V1, 19 in V4,
61 in IT; responses of 40 or 30 images a generation, 100 ms each, PSTHs of 1 ms. Fitted, by the
functions of `benchmarks.neurons.fit`, which say how: baselines, time courses, latency against
contrast, adaptation, drift, dead time, and rates with their scatter. The dead time is that of
a threshold on a site's signal: scatter at the peak falls with the rate as (1 - rate * 1 ms)^2
in all three areas.

Assumed, for these data cannot tell: `gain_correlation`, for one site was published of each
session (0.2); and what one cell of a site does: a quarter of its rates, and a dead time of
2 ms, absolute and relative refractoriness together.
"""

from __future__ import annotations

from dataclasses import replace

from evolver.errors import ConfigError
from scorers.neuron.settings import NeuronConfig, Spread, three

AREAS = ("V1", "V4", "IT")
_CELLS = 4  # of a site
_CELL_DEAD_MS = 2.0

_FITTED = {
    "V1": NeuronConfig(
        baseline_hz=(22.0, 54.4, 82.5),
        peak_hz=(7.27, 469.0, 670.0),
        untuned=(0.354, 0.411, 0.561),
        saturation=(2.19, 2.84, 3.55),
        latency_ms=(38.6, 42.8, 57.6),
        rise_ms=(27.2, 34.6, 41.1),
        transient_ms=(15.7, 32.5, 115.0),
        sustained=(0.0623, 0.321, 0.441),
        decay_ms=(36.7, 91.3, 100.0),
        contrast_ms=5.3,
        gain_sd=0.114,
        drift_sd=0.049,
        drift_showings=300.0,
        adaptation=0.10,
        adaptation_showings=390.0,
        dead_ms=1.0,
    ),
    "V4": NeuronConfig(
        baseline_hz=(0.634, 7.81, 77.5),
        peak_hz=(16.8, 228.0, 438.0),
        untuned=(0.213, 0.36, 0.416),
        saturation=(1.45, 2.8, 4.0),
        latency_ms=(41.2, 48.8, 62.3),
        rise_ms=(17.2, 30.6, 43.8),
        transient_ms=(7.74, 34.2, 195.0),
        sustained=(0.175, 0.439, 0.721),
        decay_ms=(62.3, 100.0, 100.0),
        contrast_ms=4.1,
        gain_sd=0.058,
        drift_sd=0.037,
        drift_showings=300.0,
        adaptation=0.15,
        adaptation_showings=390.0,
        dead_ms=1.0,
    ),
    "IT": NeuronConfig(
        baseline_hz=(3.64, 27.6, 63.0),
        peak_hz=(18.1, 127.0, 224.0),
        untuned=(0.354, 0.372, 0.853),
        saturation=(2.37, 2.9, 4.43),
        latency_ms=(42.9, 54.1, 77.7),
        rise_ms=(5.0, 26.1, 77.0),
        transient_ms=(4.0, 20.2, 197.0),
        sustained=(0.0722, 0.596, 1.0),
        decay_ms=(63.1, 100.0, 100.0),
        contrast_ms=7.1,
        gain_sd=0.051,
        drift_sd=0.045,
        drift_showings=300.0,
        adaptation=0.25,
        adaptation_showings=390.0,
        dead_ms=1.0,
    ),
}


def site(area: str, *, single: bool = False) -> NeuronConfig:
    """Return how sites of an area fire, or single cells of them.

    Parameters
    ----------
    area : one of `AREAS`
    single : cells one by one; by default what an electrode picks up of several

    Raises
    ------
    ConfigError
        There is no such area.
    """
    if area not in _FITTED:
        raise ConfigError(f"area must be one of {', '.join(AREAS)}; got {area!r}")
    fitted = _FITTED[area]
    if not single:
        return fitted
    return replace(
        fitted,
        baseline_hz=_share(fitted.baseline_hz),
        peak_hz=_share(fitted.peak_hz),
        dead_ms=_CELL_DEAD_MS,
    )


def _share(spread: Spread) -> Spread:
    low, middle, high = three(spread)
    return low / _CELLS, middle / _CELLS, high / _CELLS
