"""From runs to what can be said of optimizers: normalised scores, ratios, who leads.

Knows outcomes and intervals. What is sampled are pairs, a unit with a seed: all optimizers are
compared on the same pairs, so that what units have in common does not widen a difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.optimizers.contestants import BASELINE
from benchmarks.optimizers.intervals import Comparison, Estimate, compare, mean_of
from benchmarks.optimizers.outcomes import MEASURES
from evolver.analysis.across_runs import LEVEL

if TYPE_CHECKING:
    from benchmarks.optimizers.outcomes import RunOutcome
    from evolver.analysis.trajectories import FloatArray, Ints

FEWEST_UNITS = 10
"""Of fewer, nothing is told: the ends of a bootstrap of so few are too near, and there are many
optimizers to be told apart."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoreTable:
    """One world and noise: clean scores of every optimizer and pair of a unit and a seed."""

    labels: tuple[str, ...]
    units: Ints  # (pairs,) the number of each pair's unit
    scale: FloatArray  # (pairs,) the unit's largest clean score, of any run
    values: Mapping[str, FloatArray]  # measure -> (optimizers, pairs), NaN where not run
    level: float = LEVEL  # of all intervals

    def normalised(self, measure: str) -> dict[str, Estimate]:
        """Return each optimizer's mean, each unit in parts of its largest clean score."""
        return {
            label: self._mean(row / self.scale)
            for label, row in zip(self.labels, self.values[measure], strict=True)
        }

    def comparisons(self, measure: str, *, to: str) -> dict[str, Comparison]:
        """Return what each optimizer has of the score of `to`, in pairs.

        Nobody has anything where `to` was not run.
        """
        if to not in self.labels:
            return {}
        values = self.values[measure]
        base = values[self.labels.index(to)]
        return {
            label: compare(row, base, self.units, level=self.level)
            for label, row in zip(self.labels, values, strict=True)
        }

    def mean(self, measure: str, label: str) -> float:
        """Return an optimizer's mean clean score over its pairs; NaN where it has none."""
        scores = self.values[measure][self.labels.index(label)]
        return mean_of(scores[np.isfinite(scores)], self.units[np.isfinite(scores)]).value

    def leader(self, measure: str) -> str:
        """Return the optimizer that is farthest above the baseline, of those with most pairs.

        Others were stopped because they were settled.
        """
        parts = self.values[measure] / self.scale
        if BASELINE in self.labels:
            parts = parts - parts[self.labels.index(BASELINE)]
        pairs = np.isfinite(parts).sum(axis=1)
        means = np.array([
            row[np.isfinite(row)].mean() if n else -np.inf
            for row, n in zip(parts, pairs, strict=True)
        ])
        return self.labels[int(np.argmax(np.where(pairs == pairs.max(), means, -np.inf)))]

    def leaders(self, measure: str) -> tuple[str, list[str] | None]:
        """Return the optimizer that leads, and those not told apart from it.

        None stands for those where there are fewer than `FEWEST_UNITS` units, too few to tell.

        The others are those whose difference from it has an interval that reaches 0. It was
        picked for being first, which flatters it: those beside it are as good a choice.
        """
        first = self.leader(measure)
        parts = self.values[measure] / self.scale
        lead = parts[self.labels.index(first)]
        if len(np.unique(self.units[np.isfinite(lead)])) < FEWEST_UNITS:
            return first, None
        behind = {
            label: self._mean(lead - row)
            for label, row in zip(self.labels, parts, strict=True)
            if label != first
        }
        beside = [label for label, difference in behind.items() if not difference.low > 0]
        return first, sorted(beside, key=lambda label: behind[label].value)

    def _mean(self, values: FloatArray) -> Estimate:
        run = np.isfinite(values)
        return mean_of(values[run], self.units[run], level=self.level)


def tabulate(
    outcomes: Sequence[RunOutcome], *, level: float = LEVEL
) -> dict[str, dict[str, ScoreTable]]:
    """Return world -> noise -> scores, in the order of the outcomes.

    A unit's scale is its largest clean score under any optimizer, seed and noise (the
    published form), for all measures. Units that nobody drove above the references' median are
    left out; so is, for a noise, an optimizer with a failed run.

    Parameters
    ----------
    outcomes : of all runs; a pair that an optimizer was not run on is none of its
    level : of all intervals
    """
    tables: dict[str, dict[str, ScoreTable]] = {}
    for world in _distinct(o.spec.world for o in outcomes):
        every = [o for o in outcomes if o.spec.world == world]
        runs = [o for o in every if not o.failed]
        scale = {unit: largest for unit, largest in _largest(runs).items() if largest > 0}
        tables[world] = {
            noise: _scores([o for o in every if o.spec.noise == noise], scale, level)
            for noise in _distinct(o.spec.noise for o in every)
        }
    return tables


def units_without_scale(outcomes: Sequence[RunOutcome]) -> dict[tuple[str, str], float]:
    """Return (world, unit) -> largest clean score, of units that `tabulate` leaves out."""
    return {
        (world, unit): largest
        for world in _distinct(o.spec.world for o in outcomes)
        for unit, largest in _largest([
            o for o in outcomes if o.spec.world == world and not o.failed
        ]).items()
        if not largest > 0
    }


def _largest(runs: Sequence[RunOutcome]) -> dict[str, float]:
    """Return the largest clean score of each unit."""
    largest: dict[str, float] = {}
    for o in runs:
        largest[o.spec.unit] = max(o.best, largest.get(o.spec.unit, o.best))
    return largest


def _scores(runs: Sequence[RunOutcome], scale: Mapping[str, float], level: float) -> ScoreTable:
    broken = {o.spec.optimizer for o in runs if o.failed}
    runs = [o for o in runs if o.spec.optimizer not in broken and o.spec.unit in scale]
    pairs = list(dict.fromkeys((o.spec.unit, o.spec.seed) for o in runs))
    labels = _distinct(o.spec.optimizer for o in runs)
    places = {pair: i for i, pair in enumerate(pairs)}
    numbers = {unit: i for i, unit in enumerate(scale)}
    values = {measure: np.full((len(labels), len(pairs)), np.nan) for measure in MEASURES}
    for o in runs:
        at = labels.index(o.spec.optimizer), places[o.spec.unit, o.spec.seed]
        for measure in MEASURES:
            values[measure][at] = o.finals[measure]
    return ScoreTable(
        tuple(labels),
        np.array([numbers[unit] for unit, _ in pairs], dtype=np.int64),
        np.array([scale[unit] for unit, _ in pairs], dtype=np.float64),
        values,
        level,
    )


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
