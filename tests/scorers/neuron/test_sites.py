"""Sites of V1, V4 and IT: what published ones do, without a loop around them.

The bounds are 10 and 90 % of the published experiments, as `benchmarks.neurons` measures them.
"""

from __future__ import annotations

import functools
from typing import get_args

import msgspec
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from evolver.config.neuron_table import NeuronTable
from evolver.config.tables import AreaName
from evolver.errors import ConfigError
from evolver.seeds import stream
from scorers.neuron import AREAS, SETTINGS, SpikingPopulation, site
from scorers.neuron.settings import BOUNDS

PUBLISHED = {
    "baseline": {"V1": (22.0, 82.5), "V4": (0.63, 77.5), "IT": (3.6, 63.0)},
    "first": {"V1": (48.1, 199.0), "V4": (6.5, 159.0), "IT": (15.0, 129.0)},
    "sem": {"V1": (0.027, 0.112), "V4": (0.026, 0.113), "IT": (0.035, 0.122)},
    "peak": {"V1": (68.5, 90.5), "V4": (69.8, 138.0), "IT": (67.0, 147.0)},
    "width": {"V1": (43.0, 90.0), "V4": (46.6, 128.0), "IT": (36.0, 138.0)},
    "highest": {"V1": (82.6, 435.0), "V4": (47.0, 367.0), "IT": (51.6, 259.0)},
}
SITES, IMAGES = 200, 40


@functools.cache
def measured(area: str) -> dict[str, np.ndarray]:
    """What 200 sites do in a first generation of 40 images whose drives are spread."""
    quantiles = {"p50": np.zeros(SITES), "p99": np.ones(SITES)}
    population = SpikingPopulation(quantiles, site(area), functools.partial(stream, 5))
    drives = stream(6, "drives").normal(0.05, 0.3, (IMAGES, SITES))
    counts = np.zeros((IMAGES, SITES))
    for i, drive in enumerate(drives):
        units, times = population.spikes(
            drive, presentation=i, showing=1, on_ms=100.0, window_ms=(0.0, 200.0)
        )
        counts[i] = np.bincount(units[times >= 50], minlength=SITES)
    rates = counts / 0.15
    mean = rates.mean(axis=0)
    psth = population.psth(np.full(SITES, 0.6), (0.0, 200.0))
    psth = gaussian_filter1d(psth, 2.0, axis=1)
    base = population.neurons.baseline_hz
    peak = 50 + psth[:, 50:].argmax(axis=1)
    half = (psth.max(axis=1) + base) / 2
    return {
        "baseline": base,
        "first": mean,
        "sem": rates.std(axis=0, ddof=1) / np.sqrt(IMAGES) / np.maximum(mean, 1.0),
        "peak": peak,
        "width": (psth > half[:, None]).sum(axis=1),
        "highest": psth.max(axis=1),
    }


@pytest.mark.parametrize("area", AREAS)
@pytest.mark.parametrize("measure", PUBLISHED)
def test_the_median_and_a_third_of_the_sites_at_least_lie_within_what_was_published(
    area, measure
):
    low, high = PUBLISHED[measure][area]
    values = measured(area)[measure]
    assert low <= np.median(values) <= high
    assert np.mean((values >= low) & (values <= high)) > 1 / 3


def test_peaks_come_later_in_it_than_in_v1_and_adaptation_deepens():
    assert np.median(measured("IT")["peak"]) > np.median(measured("V1")["peak"]) + 5
    assert site("V1").adaptation < site("V4").adaptation < site("IT").adaptation


@pytest.mark.parametrize("area", AREAS)
def test_a_cell_fires_less_than_its_site_and_is_blind_longer(area):
    cell, whole = site(area, single=True), site(area)
    assert cell.peak_hz[1] == whole.peak_hz[1] / 4
    assert cell.dead_ms > whole.dead_ms
    assert cell.latency_ms == whole.latency_ms


def test_an_area_that_is_none_is_refused():
    with pytest.raises(ConfigError, match=r"one of V1, V4, IT; got 'MT'"):
        site("MT")


def test_the_session_file_names_every_area_and_every_setting():
    assert get_args(AreaName) == AREAS
    assert NeuronTable.__struct_fields__ == SETTINGS


@pytest.mark.parametrize("name", SETTINGS)
def test_the_session_file_allows_what_the_settings_allow(name):
    bounds = BOUNDS[name]
    edge = 1 if name == "cells" else 1e-9
    for value in (bounds.low, bounds.high, bounds.low - edge, bounds.high + edge * 1e12):
        given = int(value) if name == "cells" else value
        try:
            msgspec.convert({name: given}, NeuronTable)
            allowed = True
        except msgspec.ValidationError:
            allowed = False
        assert allowed == bounds.holds(value), value
