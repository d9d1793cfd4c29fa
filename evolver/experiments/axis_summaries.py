"""What `evolver.analysis` says of a thread's tuning along latent axes.

Axes come from any source as `TuningTrials`; nothing here knows which. What is undefined says
why.

Wang & Ponce, Nature Neuroscience 2026, Fig. 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evolver.analysis.axis_tuning import Tuning, tuning
from evolver.seeds import stream

if TYPE_CHECKING:
    from evolver.analysis.tuning_shapes import ShapeRule
    from evolver.experiments.experiment import AxisTrials, ExperimentThread


@dataclass(frozen=True, slots=True, eq=False)
class AxisSummary:
    """What is said of one axis of a thread.

    Attributes
    ----------
    axis : AxisTrials
    trials : int, with a response
    borrowed : int, those of them that are to the evolved code's own image and from elsewhere
    tuning : Tuning
    """

    axis: AxisTrials
    trials: int
    borrowed: int
    tuning: Tuning

    @property
    def label(self) -> str:
        """The half and the eigenvector, as figures have them; the source's name without one."""
        if self.axis.eigenvector < 0 or self.axis.family:
            return self.axis.name
        return f"{self.axis.half or 'axis'} {self.axis.eigenvector}"

    @property
    def shape(self) -> str:
        """In one word; "other" where it is neither monotonic nor a bell."""
        shape = self.tuning.shape
        if shape.reason:
            return ""
        return "bell" if shape.bell else "monotonic" if shape.monotonic else "other"


def axis_summaries(
    experiment: str, thread: ExperimentThread, *, shape: ShapeRule, seed: int
) -> tuple[AxisSummary, ...]:
    """Return what is said of each of a thread's axes; none where it has no trials along any.

    Parameters
    ----------
    experiment : its id
    thread : of it
    shape : rule of a curve's shape
    seed : of the restarts of fits
    """
    if thread.tuning is None:
        return ()
    summaries: list[AxisSummary] = []
    for axis in thread.tuning.axes:
        origin = thread.tuning.origin if axis.origin is None else axis.origin
        borrows = not (axis.step == 0).any()
        fits = tuning(
            axis.step,
            axis.response,
            origin=origin if borrows else None,
            shape=shape,
            # The same fit whenever and beside whatever else an experiment is analysed.
            rng=stream(seed, "analyze", "tuning", experiment, thread.name, axis.name),
        )
        borrowed = int(np.isfinite(origin).sum()) if borrows else 0
        trials = int(np.isfinite(axis.response).sum()) + borrowed
        summaries.append(AxisSummary(axis, trials, borrowed, fits))
    return tuple(summaries)
