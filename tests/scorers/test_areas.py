"""Neurons of several areas in one population fire as each area's would by themselves."""

from functools import partial

import numpy as np
import pytest

from evolver import config, seeds
from evolver.errors import ConfigError, DataError
from evolver.setup.simulated_rig import build_population, build_rig
from scorers.neuron import SpikingPopulation, site
from scorers.neuron.areas import AreaPart, AreaPopulation

WINDOW = (-100.0, 300.0)
TOLD = site("IT")


def part(area, rows, spread=1.0):
    """Return an area's neurons, whose quantiles differ from unit to unit."""
    rows = np.array(rows)
    quantiles = {"p50": 0.1 * rows, "p99": 0.1 * rows + spread}
    stream = partial(seeds.stream, 5, "simulation", "area", area)
    return AreaPart(rows, SpikingPopulation(quantiles, site(area), stream), site(area))


@pytest.fixture(scope="module")
def both():
    parts = part("V1", [0, 3]), part("IT", [1, 2, 4])
    return parts, AreaPopulation(parts, TOLD)


def test_rates_are_those_of_each_area(both):
    parts, whole = both
    drive = np.random.default_rng(1).normal(size=(6, 5))
    rates = whole.expected_rates(drive, WINDOW)
    amplitude = whole.amplitude_hz(drive)
    for own in parts:
        expected = own.neurons.expected_rates(drive[:, own.rows], WINDOW)
        np.testing.assert_array_equal(rates[:, own.rows], expected)
        np.testing.assert_array_equal(
            amplitude[:, own.rows], own.neurons.amplitude_hz(drive[:, own.rows])
        )
        np.testing.assert_array_equal(
            whole.neurons.latency_ms[own.rows], own.neurons.neurons.latency_ms
        )


@pytest.mark.parametrize(("delay_ms", "adaptation"), [(0.0, 1.0), (12.0, 0.8)])
def test_spikes_are_those_of_each_area_and_in_order(both, delay_ms, adaptation):
    parts, whole = both
    drive = np.linspace(0.5, 2.0, 5)
    how = {"presentation": 3, "showing": 1, "on_ms": 100.0, "window_ms": WINDOW}
    units, times = whole.spikes(drive, delay_ms=delay_ms, adaptation=adaptation, **how)
    assert len(times) > 20
    assert (np.diff(times) >= 0).all()
    for own in parts:
        # V1's latency follows contrast less than IT's, in whose numbers it is told, and so on.
        late = delay_ms * own.settings.contrast_ms / TOLD.contrast_ms
        left = 1 - (1 - adaptation) * own.settings.adaptation / TOLD.adaptation
        unit, time = own.neurons.spikes(drive[own.rows], delay_ms=late, adaptation=left, **how)
        mine = np.isin(units, own.rows)
        np.testing.assert_array_equal(units[mine], own.rows[unit])
        np.testing.assert_array_equal(times[mine], time)


def test_every_unit_is_in_one_area():
    with pytest.raises(DataError, match="every unit must be in one area"):
        AreaPopulation([part("V1", [0, 1]), part("IT", [1, 2])], TOLD)


def session(area, units=("mini:conv2:0-2", "mini:fc5:0-1")):
    text = config.commented_session_file(
        config.Config(
            session=config.SessionTable("s"),
            presentation=config.PresentationTable(on_ms=100.0, off_ms=50.0),
            threads=(config.ThreadTable("t", "mini-texture"),),
            simulation=config.SimulationTable(units=units, area=area),
        )
    )
    return config.parse_session_file(text)


def test_a_session_file_names_the_area_of_each_entry_of_its_units():
    settings = session(("V1", "IT"))
    population = build_population(settings)
    rig = build_rig(population, settings, speed=float("inf"))
    areas = [unit.area for unit in rig.hello("r", software="s").units]
    assert areas == ["simulated V1"] * 3 + ["simulated IT"] * 2
    assert population.settings.contrast_ms == site("IT").contrast_ms
    assert population.settings.adaptation == site("IT").adaptation


def test_units_of_one_area_are_what_they_were_without_a_list():
    one, listed = (build_population(session(a)) for a in ("V4", ("V4", "V4")))
    drive = np.ones(5)
    how = {"presentation": 1, "showing": 1, "on_ms": 100.0, "window_ms": WINDOW}
    for a, b in zip(
        one.neurons.spikes(drive, **how), listed.neurons.spikes(drive, **how), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_as_many_areas_as_entries():
    with pytest.raises(ConfigError, match=r"one for each of the 2 entries.*found 3"):
        session(("V1", "V4", "IT"))
