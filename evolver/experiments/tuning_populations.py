"""How units of many experiments are tuned along latent axes: shapes and peaks, by success.

Axes of valid experiments that tune their unit (analysis of variance) are counted, those of
threads that succeeded against those of threads that did not, each generator and each half of
its code apart. Axes of one session are counted as if each were a session of its own, as
published.

Wang & Ponce, Nature Neuroscience 2026, Fig. 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evolver.analysis.success_rates import (
    CountedShare,
    ShareTest,
    compare_shares,
    histogram_shares,
)

if TYPE_CHECKING:
    from evolver.experiments.axis_summaries import AxisSummary
    from evolver.experiments.populations import ExperimentPopulation
    from evolver.types import Vector

SHAPES = ("bell", "monotonic")
PEAK_BINS = 9
"""An odd number, so that the evolved code is inside the middle one."""
SUCCESSES, OTHERS = "successes", "others"


@dataclass(frozen=True, slots=True, eq=False)
class AxisGroup:
    """Axes of one generator's code, or of one half of it, whose steps are alike.

    Attributes
    ----------
    generator, half : whose; `half` is empty where axes lie in the whole code
    family, step_unit : as `AxisTrials` has them
    shown : int, axes along which there are trials, of threads with a verdict
    successes, others : those that tune their unit, of threads that succeeded and that did not
    """

    generator: str
    half: str
    family: str
    step_unit: str
    shown: int
    successes: tuple[AxisSummary, ...]
    others: tuple[AxisSummary, ...]

    @property
    def label(self) -> str:
        """As figures have it."""
        return ", ".join(filter(None, (self.generator, self.half, self.family)))


@dataclass(frozen=True, slots=True)
class ShapeShare:
    """How often tuned axes have a shape: `test.first` of successes, `test.second` of others."""

    group: AxisGroup
    shape: str
    test: ShareTest


@dataclass(frozen=True, slots=True, eq=False)
class PeakShares:
    """Where tuning curves peak.

    Attributes
    ----------
    edges : (`PEAK_BINS` + 1,) of the range of the group's steps, in its unit
    successes, others : share of their peaks in each bin
    """

    group: AxisGroup
    edges: Vector
    successes: list[CountedShare]
    others: list[CountedShare]


def axis_groups(population: ExperimentPopulation) -> list[AxisGroup]:
    """Return the axes of a population in the order they come in.

    By generator, half, and what their steps are: angles are not counted with latent units.
    """
    groups: list[AxisGroup] = []
    for k, generator in enumerate(population.generators):
        of: dict[tuple[str, str, str], dict[bool, list[AxisSummary]]] = {}
        for member in population.members:
            thread = member.threads[k]
            if thread.success.defined:
                for axis in thread.axes:
                    alike = axis.axis.half, axis.axis.family, axis.axis.step_unit
                    kinds = of.setdefault(alike, {True: [], False: []})
                    kinds[thread.success.success].append(axis)
        for alike, kinds in of.items():
            tuned = {
                succeeded: tuple(
                    axis for axis in axes if axis.tuning.anova.tuned and axis.shape
                )
                for succeeded, axes in kinds.items()
            }
            shown = len(kinds[True]) + len(kinds[False])
            groups.append(AxisGroup(generator, *alike, shown, tuned[True], tuned[False]))
    return groups


def shape_shares(population: ExperimentPopulation) -> list[ShapeShare]:
    """Return how often tuned axes are bells and monotonic, successes against others."""
    return [
        ShapeShare(
            group,
            shape,
            compare_shares(
                *(
                    (sum(axis.shape == shape for axis in axes), len(axes))
                    for axes in (group.successes, group.others)
                )
            ),
        )
        for group in axis_groups(population)
        for shape in SHAPES
    ]


def peak_shares(population: ExperimentPopulation) -> list[PeakShares]:
    """Return which share of tuned axes peak where; each group in bins of its own steps' range.

    One generator's codes may reach a hundred times as far as another's.
    """
    rows: list[PeakShares] = []
    for group in axis_groups(population):
        axes = (*group.successes, *group.others)
        if not axes:
            continue
        steps = np.concatenate([axis.tuning.steps for axis in axes])
        edges = np.linspace(float(steps.min()), float(steps.max()), PEAK_BINS + 1)
        shares = (
            histogram_shares([axis.tuning.peak.value for axis in of], edges)
            for of in (group.successes, group.others)
        )
        rows.append(PeakShares(group, edges, *shares))
    return rows
