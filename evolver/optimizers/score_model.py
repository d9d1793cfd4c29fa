"""Models that predict scores from codes, fitted to what a search has been told.

Knows codes and scores. Knows nothing of searches, generators or neurons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
from scipy.spatial.distance import pdist, squareform

if TYPE_CHECKING:
    from evolver.types import Matrix, Scores, Vector

_WIDTHS, _NOISES = (0.5, 1.0, 2.0), (0.1, 1.0, 10.0)  # of the median distance; of the variance
_STEPS = 30  # uphill, to the end of a proposal


class ScoreModel(Protocol):
    """Anything that predicts which way scores rise."""

    @classmethod
    def fit(cls, codes: Matrix, scores: Scores) -> Self:
        """Return a new one, fitted to what was shown.

        Parameters
        ----------
        codes : array of float64, shape (m, d), m > 2, latent units; along axes, where the
            search has some: d is how many
        scores : array of float64, shape (m,), larger is better
        """
        ...

    def uphill(self, base: Vector, distance: float) -> Vector:
        """Return a code with a higher prediction.

        Parameters
        ----------
        base : array of float64, shape (d,)
        distance : latent units

        Returns
        -------
        array of float, shape (d,), finite, at most `distance` from `base`
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class GaussianScores:
    """A Gaussian process with a squared-exponential kernel, up to a shift and a scale."""

    codes: Matrix  # (m, d)
    weights: Vector  # (m,)
    width: float  # of the kernel, latent units

    @classmethod
    def fit(cls, codes: Matrix, scores: Scores) -> Self:
        """Fit by the width and noise whose leave-one-out errors are smallest.

        The errors are those of Rasmussen & Williams (2006), eq. 5.12.

        Parameters
        ----------
        codes, scores : (m, d) and (m,), m > 2
        """
        y = (scores - scores.mean()) / max(float(scores.std()), 1e-12)
        pairs = np.asarray(pdist(codes, "sqeuclidean"), np.float64)
        squared = np.asarray(squareform(pairs), np.float64)
        usual = max(float(np.median(pairs)) ** 0.5, 1e-12)
        identity = np.eye(len(y))
        fits: list[tuple[float, float, Vector]] = []
        for factor in _WIDTHS:
            kernel: Matrix = np.exp(-squared / (2 * (factor * usual) ** 2))
            for noise in _NOISES:
                precision = np.asarray(np.linalg.inv(kernel + noise * identity), np.float64)
                weights = precision @ y
                left_out = float(np.square(weights / np.diag(precision)).mean())
                fits.append((left_out, factor * usual, weights))
        _, width, weights = min(fits, key=lambda fit: fit[0])
        return cls(codes, weights, width)

    def slope(self, code: Vector) -> Vector:
        """Return how the prediction rises at a code, (d,)."""
        away = self.codes - code
        near = np.exp(-np.square(away).sum(axis=1) / (2 * self.width**2))
        return (self.weights * near) @ away / self.width**2

    def uphill(self, base: Vector, distance: float) -> Vector:
        """Return the end of a path uphill from `base`, so far away from it at most, (d,)."""
        code = base.copy()
        for _ in range(_STEPS):
            slope = self.slope(code)
            length = float(np.linalg.norm(slope))
            if length == 0:
                break
            code = code + slope * (2 * distance / _STEPS / length)
            off = code - base
            code = base + off * min(1.0, distance / max(float(np.linalg.norm(off)), 1e-12))
        return code
