"""A fitness as the record has it, and back: all that a score was made with but the responses.

Values and JSON only.
"""

from __future__ import annotations

import json
from typing import Any, cast

import msgspec
import numpy as np

from evolver.config.fitness_table import FitnessTable
from evolver.errors import RecordingError
from evolver.session.fitness import Fitness, Target


def fitness_text(table: FitnessTable, fitness: Fitness) -> str:
    """Return the JSON that says how a thread was scored.

    The session file's keys that its kind uses; `units`, `others` and `weights` in numbers, rows
    of the rig's unit table; `unit`, what scores are counted in; of a target, `target_values`,
    `target_sha256` of the file they are from, `target_reference`, the row of the reference.

    Parameters
    ----------
    table : what the session file says
    fitness : what was made of it
    """
    values = cast("dict[str, object]", msgspec.to_builtins(table))
    kept = {name: value for name, value in values.items() if name not in table.unused_keys()}
    kept |= {
        "units": fitness.units.tolist(),
        "weights": fitness.weights.tolist(),
        "unit": fitness.unit,
    }
    if fitness.kind == "contrast":
        kept["others"] = fitness.others.tolist()
    if (target := fitness.target) is not None:
        kept |= {
            "target_values": target.values.tolist(),
            "target_sha256": target.sha256,
            "target_reference": target.reference,
        }
    return json.dumps(kept)


def recorded_fitness(text: str, n_units: int) -> Fitness:
    """Return the fitness that a record tells of; the inverse of `fitness_text`.

    Parameters
    ----------
    text : JSON, as the journal's first record and the recording have it
    n_units : rows of the rig's unit table

    Raises
    ------
    RecordingError
        It says too little, or what this version does not know.
    """
    try:
        said = cast("dict[str, Any]", json.loads(text))
        names = set(FitnessTable.__struct_fields__)
        table = msgspec.convert({k: v for k, v in said.items() if k in names}, FitnessTable)
        target = None
        if table.kind == "target":
            values = np.array(said["target_values"], dtype=np.float64)
            target = Target(values, said["target_reference"], said["target_sha256"])
    except (ValueError, LookupError, TypeError, AttributeError) as exc:
        raise RecordingError(
            f"a recorded fitness must say how scores were made; it cannot be read: {exc}"
        ) from exc
    labels = [""] * n_units  # units are recorded by their rows
    return Fitness.resolve(table, labels, key="the recorded fitness", target=target)
