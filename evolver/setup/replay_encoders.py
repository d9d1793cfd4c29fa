"""Simulated units that answer for images a recording does not have."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from evolver.config.tables import parse_session_file
from evolver.errors import ConfigError
from evolver.setup.simulated_rig import build_population, build_rig
from rig_bridge.forms import FORMS, Form
from rig_bridge.trials import TrialResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from evolver.recording import Recording
    from rig_bridge.messages import Hello
    from rig_bridge.rigs.simulated import SimulatedRig
    from rig_bridge.trials import Array, Image, Presentation


class SimulatedEncoder:
    """Model neurons in place of some of a recording's units; an `Encoder`. The rest is silent.

    Parameters
    ----------
    rig : answers, in the recording's form
    rows : (k,) the recording's unit of each of the rig's
    n_units : of the recording
    digests : of the networks behind it, by their names
    """

    def __init__(
        self,
        rig: SimulatedRig,
        rows: NDArray[np.intp],
        n_units: int,
        digests: dict[str, str],
    ) -> None:
        self._rig, self._rows, self._n_units = rig, rows, n_units
        self.digests = digests

    def prepare(self, images: dict[str, Image]) -> None:
        """Compute what the units see of these images."""
        self._rig.prepare(images)

    def present(self, image: Image, request: Presentation) -> TrialResult:
        """Return the response to one image."""
        result = self._rig.present(image, request)
        arrays = {
            array.name: self._placed(result.arrays[array.name], array.axes, array.name)
            for array in FORMS[result.form]
        }
        return msgspec.structs.replace(result, arrays=arrays)

    def _placed(self, values: Array, axes: tuple[str, ...], name: str) -> Array:
        """Return an array with the units counted as the recording does."""
        if name == "units":
            return self._rows[values].astype(values.dtype)
        if axes[:1] != ("u",):
            return values
        placed = np.zeros((self._n_units, *values.shape[1:]), values.dtype)
        placed[self._rows] = values
        return placed


def simulated_encoder(
    recording: Recording, hello: Hello, units: Sequence[str] = ()
) -> SimulatedEncoder:
    """Return model neurons that answer in place of a recording's units.

    Parameters
    ----------
    recording, hello : what is played back, and as which rig
    units : addresses, of the units that scores are made of, in the order of their rows; without
        any, those of the recording's own [simulation] table, by their labels

    Raises
    ------
    ConfigError
        A unit does not exist, or none of the recording's stands for it.
    """
    config = parse_session_file(recording.config, source="the recording's session file")
    changes: dict[str, object] = {"abort_rate": 0.0}
    if units:
        changes["units"] = tuple(units)
    table = msgspec.structs.replace(config.simulation, **changes)
    config = msgspec.structs.replace(config, simulation=table)
    population = build_population(config)
    labels = [unit.label for unit in hello.units]
    if units:
        rows = _scored_rows(recording)
        if len(rows) != len(population.labels):
            raise ConfigError(
                f"--answer must name a unit for each that scores are made of, {len(rows)}: "
                f"{', '.join(repr(labels[row]) for row in rows)}; got {len(population.labels)}"
            )
    else:
        strange = [label for label in population.labels if label not in labels]
        if strange:
            raise ConfigError(
                "--answer simulated needs a recording of the units that its [simulation] table "
                f"names; it has none called {', '.join(map(repr, strange[:4]))}. Name units "
                f"that stand for those that are scored: --answer {','.join(table.units[:2])}"
            )
        rows = [labels.index(label) for label in population.labels]
    form, bin_ms = _form(recording, hello)
    rig = build_rig(population, config, speed=math.inf, form=form, bin_ms=bin_ms)
    return SimulatedEncoder(
        rig, np.array(rows, dtype=np.intp), len(labels), dict(population.scorer.digests)
    )


def _scored_rows(recording: Recording) -> list[int]:
    """Return the units that scores are made of, each once."""
    rows: set[int] = set()
    for thread in recording.threads:
        rows |= {int(row) for key in ("units", "others") for row in thread.fitness.get(key, ())}
    return sorted(rows)


def _form(recording: Recording, hello: Hello) -> tuple[Form, float]:
    """Return the form of the recording's responses, and how wide its bins are, ms."""
    form = hello.capabilities[0]
    if form != "counts":
        return form, 10.0
    edges = recording.own_counts[0][2]
    return form, float(edges[1] - edges[0])
