"""A model that is wrong, for the guided arm's trial: fitted to scores that were shuffled.

Entered beside the optimizer that it is to be compared with, and what guides it as usual::

    --add "along=snes sigma=5.0 axes.k=128" --add "guided=guided sigma=5.0 axes.k=128"
    --add "misled=guided model=benchmarks.optimizers.guided:ShuffledScores sigma=5.0 axes.k=128"
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from evolver.optimizers.score_model import GaussianScores

if TYPE_CHECKING:
    from evolver.types import Matrix, Scores


class ShuffledScores(GaussianScores):
    """A Gaussian process that knows codes and scores, and not which belong together."""

    @classmethod
    def fit(cls, codes: Matrix, scores: Scores) -> Self:
        """Fit it to codes, (m, d), and scores, (m,), in another order."""
        order = np.random.default_rng(len(scores)).permutation(len(scores))
        return super().fit(codes, scores[order])
