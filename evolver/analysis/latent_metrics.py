"""How near decoded latents are to true ones, and whether that could be chance.

True and decoded latents are (n, d), row by row of the same images. Images themselves are
compared by `image_similarity` (SSIM, features), and here by their luminance.

A cosine has a floor: where the mean latent is not 0, decoding it for every image has one. So
`LatentCosine` says it beside the cosine, and the cosine about the mean.

HYPER: Dado et al. 2022; Brain2GAN: Dado et al. 2024; identification: VanRullen & Reddy 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from evolver.analysis.image_similarity import pixel_correlation
from evolver.analysis.image_statistics import LUMA
from evolver.analysis.quantities import Quantity, finite_table, vector_of
from evolver.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from evolver.types import Codes, Matrix, Vector

LatentMeasure: TypeAlias = Callable[["Codes", "Codes"], Quantity]
"""Of true and decoded latents, both (n, d): larger is nearer."""
SETS = 1000
"""Of random latents, of a permutation test; published."""


@dataclass(frozen=True, slots=True, eq=False)
class LatentCosine:
    """Cosines between true and decoded latents.

    Attributes
    ----------
    each : (n,) float64, of each image; NaN where a latent is zero
    mean : Quantity, over images
    floor : Quantity, mean cosine between the mean latent and the true ones
    centred : Quantity, mean cosine of what is left of both without the mean latent
    """

    each: Vector
    mean: Quantity
    floor: Quantity
    centred: Quantity


@dataclass(frozen=True, slots=True, eq=False)
class LatentCorrelation:
    """Pearson's r over images, of each latent dimension.

    Attributes
    ----------
    each : (d,) float64; NaN where a dimension is constant in true or decoded latents
    mean : Quantity, over the dimensions that have one
    """

    each: Vector
    mean: Quantity


@dataclass(frozen=True, slots=True, eq=False)
class Identification:
    """Whether decoded latents tell which image was shown.

    Attributes
    ----------
    pairwise : Quantity, share of pairs of images that are told apart; chance is one half
    ranks : (n,) float64, of the true latent among all n by its correlation with the decoded
        one; 1 is best, equal ones share their mean rank, chance is (n + 1) / 2
    top : Quantity, share of images whose true latent is first
    """

    pairwise: Quantity
    ranks: Vector
    top: Quantity


@dataclass(frozen=True, slots=True, eq=False)
class RandomSets:
    """What a measure is of random values beside the observed one.

    Attributes
    ----------
    observed : (k,) float64, of each of the values shown, one or more
    p : (k,) float64, (1 + sets that are as large) / (1 + sets); NaN where undefined
    p_best : (k,) float64, the same against the largest of all k of each set: for whoever shows
        the best of many
    mean : (k,) float64, of the sets
    sets : int
    random : (sets, k) float64, the sets' values, for whoever draws them
    reason : str, why none has a p; empty where one has
    """

    observed: Vector
    p: Vector
    p_best: Vector
    mean: Vector
    sets: int
    random: Matrix
    reason: str = ""


def latent_cosine(true: ArrayLike, decoded: ArrayLike, mean_latent: ArrayLike) -> LatentCosine:
    """Compare latents by their angle.

    Parameters
    ----------
    true, decoded : (n, d)
    mean_latent : (d,) of the training set or the generator's prior, never of the test set
    """
    x, found = latent_pair(true, decoded)
    mean = vector_of(mean_latent, "mean_latent")
    if mean.shape != (x.shape[1],) or not np.isfinite(mean).all():
        raise DataError(f"mean_latent must be finite, ({x.shape[1]},); got {mean.shape}")
    each = _cosines(x, found)
    return LatentCosine(
        each=each,
        mean=_mean(each, "a latent is zero in every image"),
        floor=_mean(_cosines(x, np.broadcast_to(mean, x.shape)), "the mean latent is zero"),
        centred=_mean(
            _cosines(x - mean, found - mean), "true or decoded latents are the mean latent"
        ),
    )


def latent_correlation(true: ArrayLike, decoded: ArrayLike) -> LatentCorrelation:
    """Compare latents by Pearson's r over images, dimension by dimension.

    Parameters
    ----------
    true, decoded : (n, d)
    """
    x, found = latent_pair(true, decoded)
    each = columns_r(x, found)
    return LatentCorrelation(each, _mean(each, "no dimension varies over images in both"))


def mean_correlation(true: ArrayLike, decoded: ArrayLike) -> Quantity:
    """Return `latent_correlation`'s mean: the measure of occlusion and of time courses."""
    return latent_correlation(true, decoded).mean


def mean_cosine(true: ArrayLike, decoded: ArrayLike) -> Quantity:
    """Return the mean cosine of latents; around a mean, hand in latents without it."""
    return _mean(_cosines(*latent_pair(true, decoded)), "a latent is zero in every image")


def mse_similarity(true: ArrayLike, decoded: ArrayLike) -> Vector:
    """Return HYPER's similarity of each image, (n,): 1 / (1 + mean squared difference).

    Parameters
    ----------
    true, decoded : (n, d), latents, or features of a network
    """
    x, found = latent_pair(true, decoded)
    return np.asarray(1 / (1 + ((x - found) ** 2).mean(axis=1)), dtype=np.float64)


def luminance_correlation(first: ArrayLike, second: ArrayLike) -> Quantity:
    """Return Pearson's r over pixels of two images' luminance (Rec. 601).

    Parameters
    ----------
    first, second : (h, w, 3), uint8 or 0 to 1
    """
    a, b = np.asarray(first), np.asarray(second)
    if a.ndim != 3 or a.shape[2] != 3 or a.shape != b.shape:
        raise DataError(f"images must be (h, w, 3), of one size; got {a.shape} and {b.shape}")
    first_, second_ = (
        np.asarray(image, dtype=np.float64) / (255 if image.dtype == np.uint8 else 1) @ LUMA
        for image in (a, b)
    )
    return pixel_correlation(first_, second_)


def identification(true: ArrayLike, decoded: ArrayLike) -> Identification:
    """Say whether decoded latents tell which image was shown.

    A pair (i, j) is told apart where r(x'_i, x_i) + r(x'_j, x_j) > r(x'_i, x_j) + r(x'_j, x_i),
    r Pearson's over latent dimensions; a tie counts as half a pair.

    Parameters
    ----------
    true, decoded : (n, d), n and d two or more
    """
    x, found = latent_pair(true, decoded)
    n = len(x)
    reason = ""
    if n < 2 or x.shape[1] < 2:
        reason = f"{n} images of {x.shape[1]} latents; two of both are needed"
    elif not (np.ptp(x, axis=1).all() and np.ptp(found, axis=1).all()):
        reason = "a true or decoded latent is the same in all dimensions"
    if reason:
        nothing = Quantity.undefined(reason)
        return Identification(nothing, np.full(n, np.nan), nothing)
    r = row_correlations(found, x)
    own = np.diag(r)
    gain = own[:, None] + own - r - r.T
    gain = np.where(np.abs(gain) < 1e-12, 0, gain)[np.triu_indices(n, 1)]
    pairwise = float(((gain > 0) + 0.5 * (gain == 0)).mean())
    above = (r > own[:, None] + 1e-12).sum(axis=1)
    level = (np.abs(r - own[:, None]) <= 1e-12).sum(axis=1)
    ranks = above + (level + 1) / 2
    return Identification(Quantity(pairwise), ranks, Quantity(float((ranks == 1).mean())))


def against_random(observed: ArrayLike, random: ArrayLike) -> RandomSets:
    """Return p of observed values against those of random sets.

    Parameters
    ----------
    observed : (k,), larger is nearer; NaN has no p
    random : (sets, k), of each set; NaN counts as large as the observed, which is on the safe
        side
    """
    values = vector_of(observed, "observed")
    sets = np.asarray(random, dtype=np.float64)
    if sets.ndim != 2 or sets.shape[1] != len(values) or not sets.size:
        raise DataError(
            f"random must be (sets, {len(values)}), a column a value; got {sets.shape}"
        )
    filled = np.where(np.isnan(sets), np.inf, sets)
    n = len(sets)
    p = (1 + (filled >= values).sum(axis=0)) / (1 + n)
    largest = np.where(np.isnan(values), -np.inf, filled).max(axis=1)
    p_best = (1 + (largest[:, None] >= values).sum(axis=0)) / (1 + n)
    none = np.isnan(values)
    drawn = np.isfinite(sets)
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN of a column without any
        mean = np.where(drawn, sets, 0).sum(axis=0) / drawn.sum(axis=0)
    return RandomSets(
        observed=values,
        p=np.where(none, np.nan, p),
        p_best=np.where(none, np.nan, p_best),
        mean=mean,
        sets=n,
        random=sets,
        reason="no value is defined" if none.all() else "",
    )


def latent_permutation(
    true: ArrayLike,
    decoded: ArrayLike,
    measures: Sequence[LatentMeasure],
    draw: Callable[[int, np.random.Generator], Codes],
    *,
    rng: np.random.Generator,
    sets: int = SETS,
) -> RandomSets:
    """Return p of decoded latents: how often fresh ones of the prior are as near to them.

    Each set is as many latents as there are images, in the true ones' place. They have the mean
    of the true ones, so that a cosine's floor is in both.

    Parameters
    ----------
    true, decoded : (n, d)
    measures : k; of one scale, if the best of them is to be shown
    draw : returns so many latents of the training set's prior, (n, d)
    rng : of the draws
    sets : published: 1,000

    Returns
    -------
    RandomSets of k values
    """
    x, found = latent_pair(true, decoded)
    if sets < 1 or not measures:
        raise DataError(f"sets and measures must be 1 or more; got {sets} and {len(measures)}")
    random = np.empty((sets, len(measures)))
    for row in random:
        fresh = finite_table(draw(len(x), rng), "drawn latents")
        if fresh.shape != x.shape:
            raise DataError(f"drawn latents must be {x.shape}; got {fresh.shape}")
        row[:] = [measure(fresh, found).value for measure in measures]
    return against_random([measure(x, found).value for measure in measures], random)


def shuffled_identification(
    true: ArrayLike, decoded: ArrayLike, *, rng: np.random.Generator, shuffles: int = SETS
) -> RandomSets:
    """Compare pairwise identification with that of decoded latents dealt anew to images.

    Parameters
    ----------
    true, decoded : (n, d)
    rng : of the deals
    shuffles : of them

    Returns
    -------
    RandomSets of one value
    """
    x, found = latent_pair(true, decoded)
    if shuffles < 1:
        raise DataError(f"shuffles must be 1 or more; got {shuffles}")
    random = [
        [identification(x, found[rng.permutation(len(x))]).pairwise.value]
        for _ in range(shuffles)
    ]
    return against_random([identification(x, found).pairwise.value], random)


def columns_r(first: Matrix, second: Matrix) -> Vector:
    """Return Pearson's r of each column of two tables, (k,); NaN where one is constant."""
    a, b = first - first.mean(axis=0), second - second.mean(axis=0)
    product = (a * b).sum(axis=0)
    sizes = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
    vary: NDArray[np.bool_] = _varies(first) & _varies(second)
    return np.divide(product, sizes, out=np.full(len(sizes), np.nan), where=vary)


def row_correlations(first: Matrix, second: Matrix) -> Matrix:
    """Return Pearson's r of each row of one table with each of another, (n, m).

    NaN where a row is constant.

    Parameters
    ----------
    first, second : (n, d), (m, d)
    """
    rows: list[Matrix] = []
    for table in (first, second):
        centred = table - table.mean(axis=1, keepdims=True)
        lengths = np.linalg.norm(centred, axis=1, keepdims=True)
        varies = np.ptp(table, axis=1, keepdims=True) > 0
        rows.append(
            np.divide(centred, lengths, out=np.full_like(centred, np.nan), where=varies)
        )
    return rows[0] @ rows[1].T


def latent_pair(true: ArrayLike, decoded: ArrayLike) -> tuple[Codes, Codes]:
    """Return true and decoded latents as tables of one shape.

    Raises
    ------
    DataError
        They are not finite, of other shapes, or there are none.
    """
    x, found = finite_table(true, "true latents"), finite_table(decoded, "decoded latents")
    if x.shape != found.shape or not x.size:
        raise DataError(
            f"true and decoded latents must be of one shape, (n, d); got {x.shape} and "
            f"{found.shape}"
        )
    return x, found


def _varies(table: Matrix) -> NDArray[np.bool_]:
    """Return which columns vary by more than rounding."""
    largest = np.abs(table).max(axis=0, initial=0)
    return np.asarray(np.ptp(table, axis=0) > 1e-12 * largest, dtype=np.bool_)


def _cosines(a: Matrix, b: Matrix) -> Vector:
    sizes = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.divide(
        (a * b).sum(axis=1), sizes, out=np.full(len(sizes), np.nan), where=sizes > 0
    )


def _mean(values: Vector, reason: str) -> Quantity:
    defined = values[np.isfinite(values)]
    return Quantity(float(defined.mean())) if len(defined) else Quantity.undefined(reason)
