"""How near decoded codes and images are to true ones, each measure against its chance.

Of codes chance is as many fresh codes of the training prior in the true ones' place, as
published. Of images it is the decoded images dealt anew to the items: fresh ones would have to
be drawn a thousand times as many, and any smaller pool of them would be the same in all sets.
"""

from __future__ import annotations

from math import inf, nan
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image

from evolver.analysis.image_similarity import (
    structural_similarities,
    structural_similarity,
)
from evolver.analysis.image_statistics import LUMA
from evolver.analysis.jackknife import GROUPS, jackknife_interval, jackknife_share
from evolver.analysis.latent_metrics import (
    against_random,
    identification,
    latent_cosine,
    latent_permutation,
    mean_correlation,
    mean_cosine,
    mse_similarity,
)
from evolver.analysis.quantities import Quantity
from evolver.analysis.rank_tests import MeanInterval, mean_interval
from evolver.analysis.success_rates import share as share_of
from evolver.reconstruction.results import CENTRED, CORRELATION, PAIRS, DecodingMeasure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from evolver.analysis.latent_metrics import Identification, LatentMeasure
    from evolver.reconstruction.results import DecodedImages
    from evolver.types import Codes, Images, Matrix, Vector

    CodeDraw: TypeAlias = Callable[[int, np.random.Generator], Codes]
    ImageFeatures: TypeAlias = Callable[[Images], Matrix]

MOST_IDENTIFIED = 300
"""Items among which one is told from the others."""
LARGEST_IMAGE = 256
"""Pixels a side of images that are measured; larger ones are shrunk to it."""
_COSINE, _SIMILARITY = "code cosine", "code similarity"
_OF_ONE_ITEM = (_COSINE, _SIMILARITY)  # which compare an item with its own code alone
LUMINANCE = "luminance correlation"
_NONE = np.zeros(0)


def code_measures(
    true: Codes,
    decoded: Codes,
    mean_code: Vector,
    draw: CodeDraw,
    *,
    rng: np.random.Generator,
    sets: int,
    levelled: Codes | None = None,
    known_means: Codes | None = None,
) -> tuple[DecodingMeasure, ...]:
    """Return every measure of decoded codes.

    Parameters
    ----------
    true, decoded : (m, d)
    mean_code : (d,) of the training items
    draw : fresh codes of the training prior
    rng : of the random sets
    sets : of them
    levelled : (m, d) decoded codes about one mean, for what compares items with one another;
        None: the decoded ones, of one decoder
    known_means : (m, d) mean code that each item's decoder was fitted on; None: the mean code
    """
    some = _spread_rows(len(true), MOST_IDENTIFIED)
    told = _Told()
    level = decoded if levelled is None else levelled
    means = np.broadcast_to(mean_code, true.shape) if known_means is None else known_means

    def centred(x: Codes, y: Codes) -> Quantity:
        return mean_cosine(x - mean_code, y - mean_code)

    def similarity(x: Codes, y: Codes) -> Quantity:
        return Quantity(float(mse_similarity(x, y).mean()))

    cosine = latent_cosine(true, decoded, mean_code)
    about_mean = latent_cosine(true - mean_code, level - mean_code, mean_code).each
    floor = mean_cosine(true, means)
    alike = mse_similarity(true, decoded)

    of_codes: list[tuple[str, LatentMeasure, MeanInterval, Vector]] = [
        (CORRELATION, mean_correlation, correlation_interval(true, level), _NONE),
        (_COSINE, mean_cosine, _over_items(cosine.each), cosine.each),
        (CENTRED, centred, _over_items(about_mean), about_mean),
        (_SIMILARITY, similarity, _over_items(alike, (0.0, 1.0)), alike),
        (PAIRS, told.pairwise, pairs_interval(true[some], level[some]), _NONE),
        ("first of all", told.first, _counted(told.first(true, level), len(some)), _NONE),
    ]
    groups = [(decoded, of_codes)]
    if levelled is not None:
        alone = [one for one in of_codes if one[0] in _OF_ONE_ITEM]
        others = [one for one in of_codes if one[0] not in _OF_ONE_ITEM]
        groups = [(decoded, alone), (levelled, others)]
    made: dict[str, DecodingMeasure] = {}
    for codes, asked in groups:
        random = latent_permutation(
            true, codes, [measure for _, measure, *_ in asked], draw, rng=rng, sets=sets
        )
        for i, (name, measure, interval, each) in enumerate(asked):
            made[name] = DecodingMeasure(
                name=name,
                kind="codes",
                value=measure(true, codes),
                low=interval.low,
                high=interval.high,
                n=interval.n,
                each=each,
                floor=floor.value if name == _COSINE else nan,
                chance=float(random.mean[i]),
                p=float(random.p[i]),
                null=random.random[:, i],
            )
    return tuple(made[name] for name, *_ in of_codes)


def image_measures(
    images: DecodedImages,
    features: ImageFeatures | None,
    network: str,
    *,
    rng: np.random.Generator,
    sets: int,
) -> tuple[DecodingMeasure, ...]:
    """Return every measure of drawn images.

    Parameters
    ----------
    images : true and decoded
    features : (n, k) of images in a layer; None leaves them out
    network : its name
    rng : of the deals
    sets : of them
    """
    true, decoded = _small(images.true), _small(images.decoded)
    tables: list[tuple[str, Matrix, tuple[float, float]]] = [
        (LUMINANCE, _luminance_r(true, decoded), (-1.0, 1.0)),
        ("SSIM", structural_similarities(true, decoded), (-1.0, 1.0)),
    ]
    if features is not None:
        a, b = features(images.true), features(images.decoded)
        cosine, alike = _feature_tables(a, b)
        tables += [
            (f"feature cosine, {network}", cosine, (-1.0, 1.0)),
            (f"feature similarity, {network}", alike, (0.0, 1.0)),
        ]
    k = len(true)
    deals = [rng.permutation(k) for _ in range(sets)]
    return tuple(_of_table(name, table, deals, within) for name, table, within in tables)


def paired_measures(
    true: Images, decoded: Images, features: ImageFeatures | None, network: str
) -> dict[str, MeanInterval]:
    """Return the measures of `image_measures` without their chance, by name.

    Parameters
    ----------
    true, decoded : (k, h, w, 3) uint8
    features, network : as `image_measures` takes them
    """
    a, b = _small(true), _small(decoded)
    ssim = [structural_similarity(one, other).value for one, other in zip(a, b, strict=True)]
    values: dict[str, tuple[Vector, tuple[float, float]]] = {
        LUMINANCE: (np.diag(_luminance_r(a, b)), (-1.0, 1.0)),
        "SSIM": (np.array(ssim), (-1.0, 1.0)),
    }
    if features is not None:
        cosine, alike = _feature_tables(features(true), features(decoded))
        values |= {
            f"feature cosine, {network}": (np.diag(cosine), (-1.0, 1.0)),
            f"feature similarity, {network}": (np.diag(alike), (0.0, 1.0)),
        }
    return {
        name: _over_items(np.clip(each, *within), within)
        for name, (each, within) in values.items()
    }


def pairs_interval(true: Codes, decoded: Codes) -> MeanInterval:
    """Return the share of pairs of items that are told apart, and its interval.

    The interval is Wilson's, of the pairs' effective number (`jackknife_share`), of all pairs
    or none that of as many trials as there are items.
    """
    some = _spread_rows(len(true), MOST_IDENTIFIED)
    told, x, found = _Told(), true[some], decoded[some]
    return jackknife_share(lambda rows: told.pairwise(x[rows], found[rows]).value, len(some))


def item_ranks(true: Codes, decoded: Codes) -> Vector:
    """Return the rank of each item's true code, (m,); NaN of those that are not compared."""
    some = _spread_rows(len(true), MOST_IDENTIFIED)
    ranks = np.full(len(true), np.nan)
    ranks[some] = identification(true[some], decoded[some]).ranks
    return ranks


def correlation_interval(true: Codes, decoded: Codes, *, groups: int = GROUPS) -> MeanInterval:
    """Return the code correlation, and its interval over items, so many groups left out."""
    return _left_out(mean_correlation, true, decoded, (-1.0, 1.0), groups=groups)


def centred_interval(true: Codes, decoded: Codes, mean_code: Vector) -> MeanInterval:
    """Return the mean cosine about the mean code, and its interval over items."""
    each = latent_cosine(true - mean_code, decoded - mean_code, mean_code).each
    return _over_items(each)


class _Told:
    """Whether codes tell which item was shown, of `MOST_IDENTIFIED` at most: two answers.

    Both measures are asked of the same codes, one after the other: what was found is kept.
    """

    def __init__(self) -> None:
        self._codes: tuple[Codes, Codes] | None = None
        self._found: Identification | None = None

    def pairwise(self, true: Codes, decoded: Codes) -> Quantity:
        return self._of(true, decoded).pairwise

    def first(self, true: Codes, decoded: Codes) -> Quantity:
        return self._of(true, decoded).top

    def _of(self, true: Codes, decoded: Codes) -> Identification:
        codes, found = self._codes, self._found
        if found is None or codes is None or codes[0] is not true or codes[1] is not decoded:
            some = _spread_rows(len(true), MOST_IDENTIFIED)
            found = identification(true[some], decoded[some])
            self._codes, self._found = (true, decoded), found
        return found


def _left_out(
    measure: LatentMeasure,
    true: Codes,
    decoded: Codes,
    within: tuple[float, float],
    *,
    groups: int = GROUPS,
) -> MeanInterval:
    """Return a measure with the interval of leaving items out."""
    return jackknife_interval(
        lambda rows: measure(true[rows], decoded[rows]).value,
        len(true),
        groups=groups,
        within=within,
    )


def _counted(share: Quantity, n: int) -> MeanInterval:
    """Return a share of items with Wilson's interval: one or none of them is no certainty."""
    if share.reason:
        return MeanInterval(nan, nan, nan, 0)
    counted = share_of(round(share.value * n), n)
    return MeanInterval(share.value, counted.low, counted.high, n)


def _over_items(each: Vector, within: tuple[float, float] = (-1.0, 1.0)) -> MeanInterval:
    return mean_interval(each[np.isfinite(each)], within=within)


def _of_table(
    name: str,
    table: Matrix,
    deals: Sequence[NDArray[np.intp]],
    within: tuple[float, float],
) -> DecodingMeasure:
    """Return a measure of which every true image's with every decoded one is in a table."""
    each = np.diag(table).astype(np.float64)
    interval = mean_interval(np.clip(each[np.isfinite(each)], *within), within=within)
    if not interval.n:
        value = Quantity.undefined("no image has one: it is of one colour, or too small")
        return DecodingMeasure(name, "images", value, nan, nan, 0, each)
    rows = np.arange(len(table))
    null = np.array([_mean_of_defined(table[rows, deal]) for deal in deals])
    random = against_random([interval.mean], null[:, None])
    return DecodingMeasure(
        name=name,
        kind="images",
        value=Quantity(interval.mean),
        low=interval.low,
        high=interval.high,
        n=interval.n,
        each=each,
        chance=float(random.mean[0]),
        p=float(random.p[0]),
        null=null,
    )


def _mean_of_defined(values: Vector) -> float:
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else inf


def _luminance_r(true: Images, decoded: Images) -> Matrix:
    """Return Pearson's r of luminance, of every true image with every decoded one, (k, k)."""
    first, second = (
        (images.reshape(len(images), -1, 3) @ LUMA).astype(np.float64)
        for images in (true, decoded)
    )
    return _unit_rows(first - first.mean(axis=1, keepdims=True)) @ (
        _unit_rows(second - second.mean(axis=1, keepdims=True)).T
    )


def _feature_tables(a: Matrix, b: Matrix) -> tuple[Matrix, Matrix]:
    """Return cosine and 1 / (1 + mean squared difference) of every pair of features."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * (a @ b.T)
    alike = 1 / (1 + np.maximum(squares, 0) / a.shape[1])
    return _unit_rows(a) @ _unit_rows(b).T, alike


def _unit_rows(table: Matrix) -> Matrix:
    """Return rows of length 1; NaN where a row is 0."""
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    return np.divide(table, lengths, out=np.full_like(table, np.nan), where=lengths > 1e-9)


def _small(images: Images) -> Images:
    """Return images of `LARGEST_IMAGE` pixels a side at most, by means over pixels."""
    height, width = images.shape[1:3]
    if max(height, width) <= LARGEST_IMAGE:
        return images
    scale = LARGEST_IMAGE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.stack([
        np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
        for image in images
    ])


def _spread_rows(m: int, most: int) -> NDArray[np.intp]:
    """Return all of m rows, or as many as there may be, evenly spread."""
    return np.unique(np.linspace(0, m - 1, min(m, most)).round().astype(np.intp))
