"""What a fitness has learnt from a session's own responses: a norm of each unit, or a target.

Values only, each made of the one before and of a block's responses, in the order in which
blocks are committed: the same record gives the same state, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from evolver.types import Vector


def _nothing() -> Vector:
    return np.zeros(0)


@dataclass(frozen=True, slots=True, eq=False)
class FitnessState:
    """Of one thread's fitness, after so many committed blocks.

    Attributes
    ----------
    blocks : committed ones that it is made of
    showings : valid ones of references, of which the next two are
    mean : ndarray of float64, shape (v,), response of each unit to the references; of those
        that are scored, then of the others; empty where nothing is normalised
    squares : (v,), sum of the squared differences from it
    target_showings : valid ones of the target's image, or images that a best was among
    target : ndarray of float64, shape (k,), of the scored units; empty where the session makes
        none
    """

    blocks: int = 0
    showings: int = 0
    mean: Vector = field(default_factory=_nothing)
    squares: Vector = field(default_factory=_nothing)
    target_showings: int = 0
    target: Vector = field(default_factory=_nothing)

    def with_norm(self, responses: Sequence[Vector]) -> FitnessState:
        """Return it with a block's responses to references, each (v,), in its norm.

        Two groups' means and squares joined, after Chan, Golub & LeVeque (1979).
        """
        if not responses:
            return self
        block = np.stack(responses)
        n, before = len(block), self.showings
        mean = block.mean(axis=0)
        squares = ((block - mean) ** 2).sum(axis=0)
        if before:
            away, total = mean - self.mean, before + n
            mean = self.mean + away * (n / total)
            squares = self.squares + squares + away**2 * (before * n / total)
        return replace(self, showings=before + n, mean=mean, squares=squares)

    def with_image(self, responses: Sequence[Vector]) -> FitnessState:
        """Return it with a block's responses to the target's image, (k,), in their mean."""
        if not responses:
            return self
        n, before = len(responses), self.target_showings
        mean = np.stack(responses).mean(axis=0)
        if before:
            mean = self.target + (mean - self.target) * (n / (before + n))
        return replace(self, target_showings=before + n, target=mean)

    def with_best(self, images: Sequence[Vector]) -> FitnessState:
        """Return it with a block's images in the best, each (k,), a mean over its showings."""
        if not images:
            return self
        best: NDArray[np.float64] = np.stack(images).max(axis=0)
        if self.target_showings:
            best = np.maximum(self.target, best)
        return replace(self, target_showings=self.target_showings + len(images), target=best)

    def sd(self, least: float) -> Vector:
        """Return each unit's standard deviation over references, (v,), never below its error.

        Parameters
        ----------
        least : what one spike in one showing adds to a rate, spikes/s. One spike in all
            showings is the least that could have been seen: less is taken for that, so that
            silence at first does not make a later spike count without bound
        """
        n = self.showings
        sd = np.sqrt(self.squares / (n - 1)) if n > 1 else np.zeros_like(self.squares)
        return np.maximum(sd, least / np.sqrt(n))
