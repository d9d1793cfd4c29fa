"""What eigenvalues say: how many directions matter, and how far steps go along them.

Eigenvalues are those of a metric, descending and none negative (`evolver.metric`).
"""

from __future__ import annotations

import numpy as np

from evolver.types import Vector


def participation(eigenvalues: Vector) -> float:
    """Return how many axes share the metric: (sum)^2 / sum of squares; 1 if one has it all."""
    return float(eigenvalues.sum() ** 2 / (eigenvalues**2).sum())


def spaced_ranks(m: int, most: int) -> list[int]:
    """Return up to `most` ranks out of 1 to m, evenly spaced on a logarithmic scale."""
    spaced = np.geomspace(1, m, min(most, m)).round().astype(int)
    for i in range(1, len(spaced)):  # the first ones would fall together
        spaced[i] = max(spaced[i], spaced[i - 1] + 1)
    return [int(rank) for rank in spaced]


def matching_sigma(eigenvalues: Vector, *, d: int, step: float, exponent: float) -> float:
    """Return the sigma of `HessianCMA` whose first steps are as long as an isotropic search's.

    A step is sigma * sum over axes of z lambda^-exponent, z standard normal; of all d
    dimensions alike, with `step` for sigma, it has the mean square step^2 d.

    Parameters
    ----------
    eigenvalues : ndarray of float64, shape (k,), of the axes that are searched, descending
    d : latent dimensions
    step : sigma of the isotropic search, latent units
    exponent : of the search along the metric
    """
    values = np.maximum(eigenvalues, 1e-6 * eigenvalues[0])
    return float(step * np.sqrt(d / np.sum(values ** (-2 * exponent))))
