"""Which units a recorded thread's score weighs, and what it is counted in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from evolver.errors import RecordingError
from evolver.experiments.experiment import RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evolver.recording import ThreadData


class UnitWeights(Struct, frozen=True):
    """What of a recorded fitness is needed; files say more."""

    units: tuple[int, ...] = ()  # rows of the unit table
    weights: tuple[float, ...] = ()
    unit: str = RATE

    def labels(self, table: NDArray[Any]) -> tuple[str, ...]:
        """Return the labels of the units that are weighed, sorted.

        Parameters
        ----------
        table : the recording's units
        """
        weighed = zip(self.units, self.weights, strict=True)
        return tuple(sorted(str(table[unit]["label"]) for unit, weight in weighed if weight))


_WeightsT = TypeVar("_WeightsT", bound=UnitWeights)


def read_fitness(thread: ThreadData, kind: type[_WeightsT]) -> _WeightsT:
    """Return what of a thread's fitness a type has.

    Raises
    ------
    RecordingError
        The recording does not say it, or has no weight for each unit.
    """
    try:
        fitness = msgspec.convert(thread.fitness, kind)
    except msgspec.ValidationError as error:
        raise RecordingError(
            f"the fitness of thread {thread.name!r} must say its units, weights and windows; "
            f"it cannot be read: {error}"
        ) from error
    if len(fitness.units) != len(fitness.weights):
        raise RecordingError(
            f"the fitness of thread {thread.name!r} must have a weight for each of its "
            f"{len(fitness.units)} units; it has {len(fitness.weights)}"
        )
    return fitness


def read_unit_weights(thread: ThreadData, *, units: int) -> UnitWeights:
    """Return a thread's fitness.

    Parameters
    ----------
    thread : of a recording
    units : how many that recording has

    Raises
    ------
    RecordingError
        It is no fitness, or watches units that are not recorded.
    """
    fitness = read_fitness(thread, UnitWeights)
    if not all(0 <= unit < units for unit in fitness.units):
        raise RecordingError(
            f"thread {thread.name!r} must watch units that are recorded; it watches "
            f"{fitness.units[:5]} of {units}"
        )
    return fitness
