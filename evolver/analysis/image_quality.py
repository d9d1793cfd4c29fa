"""How far a set of images is from natural ones: Frechet distance and inception score.

Of features and class probabilities, whoever's they are: the published numbers are of Inception
v3 (2048 pooled features; Heusel et al. 2017, Salimans et al. 2016). Both are biased where
images are few, the distance upwards: so it comes with its floor, that of natural images from
other natural ones, of sets of the same size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evolver.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from evolver.types import Matrix

RIDGE = 1e-6
"""Added to both diagonals in the root of the covariances' product, where that is singular."""
_SINGULAR = 1e-12
"""Of the largest eigenvalue; the product's smallest below it is zero but for rounding."""


@dataclass(frozen=True, slots=True)
class FrechetDistance:
    """The squared Frechet distance of two normal distributions, as FID is.

    Attributes
    ----------
    value : float; NaN where undefined
    n, m : int, images of the two sets
    ridge : float, what was added to the diagonals in the root; 0 where nothing was needed
    reason : str, why it is undefined; empty where it is not
    """

    value: float
    n: int
    m: int
    ridge: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class InceptionScore:
    """Exp of the mean divergence of an image's classes from all images'.

    Attributes
    ----------
    mean, sd : float, over splits (n in the variance, as published); NaN where undefined
    n, splits : int
    reason : str, why it is undefined; empty where it is not
    """

    mean: float
    sd: float
    n: int
    splits: int
    reason: str = ""


def frechet_distance(first: ArrayLike, second: ArrayLike) -> FrechetDistance:
    """Return |mu1 - mu2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)).

    The root's trace is the sum of roots of the eigenvalues of S1^(1/2) S2 S1^(1/2), which are
    those of S1 S2 and are never negative. Where that matrix is singular, as with no more images
    than features, 1e-6 is added to the diagonals of S1 and S2 in it, as the published code
    does where its root fails; the distance of a set from itself is then a little below 0.

    Parameters
    ----------
    first, second : (n, c), (m, c) features, finite

    Raises
    ------
    DataError
        They are not two-dimensional with the same number of features, or not finite.
    """
    a, b = _features(first, "first"), _features(second, "second")
    if a.shape[1] != b.shape[1]:
        raise DataError(
            f"both sets must have the same features; got {a.shape[1]} and {b.shape[1]}"
        )
    n, m = len(a), len(b)
    if min(n, m) < 2:
        reason = f"a covariance needs two images at least; there are {n} and {m}"
        return FrechetDistance(float("nan"), n, m, reason=reason)
    between = a.mean(axis=0) - b.mean(axis=0)
    s1, s2 = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b))
    values = _product_eigenvalues(s1, s2)
    ridge = 0.0
    if values[0] <= _SINGULAR * values[-1]:
        ridge = RIDGE
        identity = ridge * np.eye(len(s1))
        values = _product_eigenvalues(s1 + identity, s2 + identity)
    root = float(np.sqrt(np.maximum(values, 0)).sum())
    value = float(between @ between + np.trace(s1) + np.trace(s2) - 2 * root)
    return FrechetDistance(value, n, m, ridge)


def frechet_with_floor(
    features: ArrayLike, natural: ArrayLike, *, rng: np.random.Generator
) -> tuple[FrechetDistance, FrechetDistance]:
    """Return the distance from natural images, and theirs from others, of sets of one size.

    Natural images are dealt into two halves, and all sets cut to the smallest of the three: a
    distance is only to be read beside its floor.

    Parameters
    ----------
    features : (n, c) of the images in question
    natural : (m, c); 2 n of them leave nothing out
    rng : which natural images are in which half, and which of the images are left out
    """
    a, b = _features(features, "features"), _features(natural, "natural")
    size = min(len(a), len(b) // 2)
    natural_order = rng.permutation(len(b))
    own = a[rng.permutation(len(a))[:size]]
    one, other = b[natural_order[:size]], b[natural_order[size : 2 * size]]
    return frechet_distance(own, one), frechet_distance(other, one)


_PER_SPLIT = 10  # images; of one image it is 1, whatever that is


def inception_score(probabilities: ArrayLike, *, splits: int = 10) -> InceptionScore:
    """Return exp(mean over images of KL(p(y|x) || p(y))) of each split, their mean and sd.

    Parameters
    ----------
    probabilities : (n, classes), each row sums to 1; in an order that is random with respect
        to what is drawn, because splits are consecutive
    splits : parts of one size, as published; images that are over are in the last ones

    Raises
    ------
    DataError
        A row is no distribution.
    """
    p = _features(probabilities, "probabilities")
    if (p < 0).any() or not np.allclose(p.sum(axis=1), 1, atol=1e-4):
        raise DataError("probabilities must be >= 0 and sum to 1 in every row")
    n = len(p)
    if splits < 1 or n < _PER_SPLIT * splits:
        reason = f"{splits} splits need {_PER_SPLIT * splits} images at least; there are {n}"
        return InceptionScore(float("nan"), float("nan"), n, splits, reason)
    scores = np.empty(splits)
    for i, part in enumerate(np.array_split(p, splits)):
        overall = part.mean(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(part > 0, part * (np.log(part) - np.log(overall)), 0)
        scores[i] = np.exp(terms.sum(axis=1).mean())
    return InceptionScore(float(scores.mean()), float(scores.std()), n, splits)


def _product_eigenvalues(s1: Matrix, s2: Matrix) -> Matrix:
    values, vectors = np.linalg.eigh(s1)
    half = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return np.linalg.eigvalsh(half @ s2 @ half).astype(np.float64)


def _features(values: ArrayLike, name: str) -> Matrix:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 2 or not x.shape[1] or not np.isfinite(x).all():
        raise DataError(f"{name} must be finite, of shape (images, k); got {x.shape}")
    return x
