"""From runs to what can be said of optimizers: normalised scores, ratios, intervals.

Knows arrays. Units are what is sampled: every interval is over units, with all optimizers on
the same resampled units, so that what units have in common does not widen a difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evolver.analysis.across_runs import FEWEST, Interval, bootstrap
from evolver.analysis.trajectories import FloatArray

if TYPE_CHECKING:
    from benchmarks.optimizers.outcomes import RunOutcome


MEASURES = ("best", "mean_image", "best_matched", "mean_matched")
"""Attributes of an outcome: of the best and of the final mean image, as found and rescaled."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoreTable:
    """One world and noise: clean scores of every optimizer and unit, means over seeds."""

    labels: tuple[str, ...]
    units: tuple[str, ...]
    values: Mapping[str, FloatArray]  # measure -> (optimizers, units), over the unit's largest

    def normalised(self, measure: str) -> dict[str, Interval]:
        """Return each optimizer's mean over units, with its interval."""
        values = self.values[measure]
        return {
            label: bootstrap(row[None], _first)
            for label, row in zip(self.labels, values, strict=True)
        }

    def ratios(self, measure: str, *, to: str) -> dict[str, Interval]:
        """Return the ratio of each optimizer's mean over units to that of `to`, paired.

        Nobody has one where `to` was not run.
        """
        if to not in self.labels:
            return {}
        values = self.values[measure]
        base = values[self.labels.index(to)]
        return {
            label: bootstrap(np.stack([row, base]), _ratio)
            for label, row in zip(self.labels, values, strict=True)
        }

    def leaders(self, measure: str) -> tuple[str, list[str] | None]:
        """Return the optimizer with the largest mean, and those not told apart from it.

        None stands for those where there are too few units to tell.

        The others are those whose difference from it has an interval that reaches 0. It was
        picked for being first, which flatters it: those beside it are as good a choice.
        """
        values = self.values[measure]
        leader = values[int(np.argmax(values.mean(axis=1)))]
        first = self.labels[int(np.argmax(values.mean(axis=1)))]
        if len(self.units) < FEWEST:
            return first, None
        behind = {
            label: bootstrap((leader - row)[None], _first)
            for label, row in zip(self.labels, values, strict=True)
            if label != first
        }
        beside = [label for label, difference in behind.items() if difference.low <= 0]
        return first, sorted(beside, key=lambda label: behind[label].value)


def _first(means: FloatArray) -> FloatArray:
    return means[0]


def _ratio(means: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(means[1] > 0, means[0] / means[1], np.nan)


def tabulate(outcomes: Sequence[RunOutcome]) -> dict[str, dict[str, ScoreTable]]:
    """Return world -> noise -> scores, in the order of the outcomes.

    A unit's scale is its largest clean score under any optimizer, seed and noise (the
    published form), for all measures. Units that nobody drove above the references' median are
    left out; so is, for a noise, an optimizer with a failed or missing run.
    """
    tables: dict[str, dict[str, ScoreTable]] = {}
    for world in _distinct(o.spec.world for o in outcomes):
        runs = [o for o in outcomes if o.spec.world == world and not o.failed]
        scale = {
            unit: max(o.best for o in runs if o.spec.unit == unit)
            for unit in _distinct(o.spec.unit for o in runs)
        }
        units = tuple(unit for unit, largest in scale.items() if largest > 0)
        noises = _distinct(o.spec.noise for o in outcomes if o.spec.world == world)
        tables[world] = {
            noise: _scores([o for o in runs if o.spec.noise == noise], units, scale)
            for noise in noises
        }
    return tables


def _scores(
    runs: Sequence[RunOutcome], units: tuple[str, ...], scale: Mapping[str, float]
) -> ScoreTable:
    seeds = {o.spec.seed for o in runs}
    cells: dict[tuple[str, str], list[RunOutcome]] = {}
    for o in runs:
        cells.setdefault((o.spec.optimizer, o.spec.unit), []).append(o)
    labels = tuple(
        label
        for label in _distinct(o.spec.optimizer for o in runs)
        if all(len(cells.get((label, unit), [])) == len(seeds) for unit in units)
    )
    values: dict[str, FloatArray] = {
        measure: np.array(
            [
                [
                    np.mean([getattr(o, measure) for o in cells[label, unit]]) / scale[unit]
                    for unit in units
                ]
                for label in labels
            ],
            dtype=np.float64,
        ).reshape(len(labels), len(units))
        for measure in MEASURES
    }
    return ScoreTable(labels, units, values)


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
