"""One population of neurons of several areas: each area's fire as its sites do.

Knows populations; nothing of networks, images or rigs. What a whole image does to all of them
(by how much later it is answered, what repeats leave) is told in one area's numbers, and scaled
to each one's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from evolver.errors import DataError
from evolver.types import Responses, Vector
from scorers.neuron.population import Neurons, SpikingPopulation
from scorers.neuron.settings import NeuronConfig


@dataclass(frozen=True, slots=True, eq=False)
class AreaPart:
    """The neurons of one area.

    Attributes
    ----------
    rows : (k,) which units of the whole they are, ascending
    neurons : theirs
    settings : how they fire
    """

    rows: NDArray[np.intp]
    neurons: SpikingPopulation
    settings: NeuronConfig


class AreaPopulation:
    """Neurons of several areas, with the face of a `SpikingPopulation`.

    Parameters
    ----------
    parts : of each area; together they are every unit once
    told : settings in whose numbers delays and adaptation are told to `spikes`

    Raises
    ------
    DataError
        A unit is in no area, or in two.
    """

    def __init__(self, parts: Sequence[AreaPart], told: NeuronConfig) -> None:
        rows = np.concatenate([part.rows for part in parts])
        if not np.array_equal(np.sort(rows), np.arange(len(rows))):
            raise DataError(f"every unit must be in one area; the areas' units are {rows}")
        self._parts, self._told, self.units = tuple(parts), told, len(rows)
        order = np.argsort(rows)
        self.neurons = Neurons(**{
            f.name: np.concatenate([getattr(p.neurons.neurons, f.name) for p in parts])[order]
            for f in fields(Neurons)
        })

    def amplitude_hz(self, drive: Responses) -> Responses:
        """Return as `SpikingPopulation.amplitude_hz`."""
        drive = np.asarray(drive, dtype=np.float64)
        if drive.shape[-1:] != (self.units,):
            raise DataError(f"drives must be one per unit, {self.units}; got {drive.shape}")
        amplitude = np.empty(drive.shape)
        for part in self._parts:
            amplitude[..., part.rows] = part.neurons.amplitude_hz(drive[..., part.rows])
        return amplitude

    def expected_rates(
        self, drive: Responses, window_ms: tuple[float, float], *, on_ms: float = 100.0
    ) -> Responses:
        """Return as `SpikingPopulation.expected_rates`."""
        rates = np.empty((len(drive), self.units))
        for part in self._parts:
            own = part.neurons.expected_rates(drive[:, part.rows], window_ms, on_ms=on_ms)
            rates[:, part.rows] = own
        return rates

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
        """Return as `SpikingPopulation.spikes`; delays and adaptation in `told`'s numbers."""
        units: list[NDArray[np.uint32]] = []
        times: list[NDArray[np.float32]] = []
        for part in self._parts:
            late = _ratio(part.settings.contrast_ms, self._told.contrast_ms)
            tired = _ratio(part.settings.adaptation, self._told.adaptation)
            unit, time = part.neurons.spikes(
                drive[part.rows],
                presentation=presentation,
                showing=showing,
                on_ms=on_ms,
                window_ms=window_ms,
                delay_ms=delay_ms * late,
                adaptation=1 - (1 - adaptation) * tired,
            )
            units.append(part.rows[unit].astype(np.uint32))
            times.append(time)
        every = np.concatenate(times)
        order = np.argsort(every, kind="stable")
        return np.concatenate(units)[order], every[order]


def _ratio(own: float, told: float) -> float:
    """Return how many times one number is another; 0 where nothing is told."""
    return own / told if told else 0.0
