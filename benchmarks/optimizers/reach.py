"""How many presentations it takes until the baseline's score of some generation is reached.

Knows outcomes and intervals. The score is the best clean one so far; whoever does not reach it
within a run is said to need more than the run has, so that means have no meaning and medians
do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.optimizers.contestants import BASELINE
from benchmarks.optimizers.intervals import Estimate, median_of
from evolver.analysis.across_runs import LEVEL

if TYPE_CHECKING:
    from benchmarks.optimizers.outcomes import RunOutcome

GENERATIONS = (10, 20, 40, 75)
"""Of the baseline, whose scores are to be reached."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Of one optimizer, one world and noise."""

    presentations: Estimate  # median over pairs; infinite: not reached
    never: float  # share of pairs that did not reach it


def presentations(
    outcomes: Sequence[RunOutcome], generation: int, *, level: float = LEVEL
) -> dict[str, Reach]:
    """Return by optimizer how many images it takes to reach the baseline's score.

    Parameters
    ----------
    outcomes : of one world and noise
    generation : of the baseline, counted from 1, whose best score so far is to be reached
    level : of the intervals
    """
    good = [o for o in outcomes if not o.failed]
    wanted = {
        (o.spec.unit, o.spec.seed): o.curve.best[generation - 1]
        for o in good
        if o.spec.optimizer == BASELINE and len(o.curve.best) >= generation
    }
    units = {unit: i for i, unit in enumerate(dict.fromkeys(unit for unit, _ in wanted))}
    broken = {o.spec.optimizer for o in outcomes if o.failed}
    reaches: dict[str, Reach] = {}
    for label in dict.fromkeys(o.spec.optimizer for o in good):
        own = [
            o
            for o in good
            if o.spec.optimizer == label and (o.spec.unit, o.spec.seed) in wanted
        ]
        if label in broken or not own:
            continue
        needed = np.array([_first(o, wanted[o.spec.unit, o.spec.seed]) for o in own])
        of = np.array([units[o.spec.unit] for o in own], dtype=np.int64)
        never = float(np.isinf(needed).mean())
        reaches[label] = Reach(median_of(needed, of, level=level), never)
    return reaches


def _first(outcome: RunOutcome, score: float) -> float:
    """Return after how many images a run has a score; infinite where it never has."""
    reached = np.array(outcome.curve.best) >= score
    return float(outcome.curve.evaluations[int(reached.argmax())]) if reached.any() else np.inf
