"""Imagined images: whether a decoder of what was seen tells which image was imagined.

VanRullen & Reddy 2019: a decoder fitted on responses to images is handed those of blocks in
which an image was imagined; pairs of blocks of two images are told apart by the correlations of
what is decoded with both true latents, as pairs of seen images are (`identification`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evolver.analysis.decoding_responses import repeat_means
from evolver.analysis.latent_metrics import (
    SETS,
    Identification,
    RandomSets,
    against_random,
    identification,
    row_correlations,
)
from evolver.analysis.quantities import Quantity, finite_table
from evolver.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from evolver.analysis.linear_decoders import LinearDecoder
    from evolver.types import Codes, Matrix, Vector


@dataclass(frozen=True, slots=True, eq=False)
class ImageryScores:
    """How well imagined images are told apart.

    Attributes
    ----------
    decoded : (b, d) float64, latents of each block
    pairwise : Quantity, share of pairs of blocks of two images that are told apart; chance is
        one half
    ranks : (b,) float64, of the imagined image's latent among all images on offer, by its
        correlation with what was decoded; 1 is best, chance is (n + 1) / 2
    averaged : Identification, of the mean of what was decoded over each image's blocks, among
        the images that were imagined
    chance : RandomSets, of `pairwise` and the averaged one, images dealt to blocks anew
    """

    decoded: Codes
    pairwise: Quantity
    ranks: Vector
    averaged: Identification
    chance: RandomSets


def imagery_scores(
    decoder: LinearDecoder,
    blocks: ArrayLike,
    image: ArrayLike,
    latents: ArrayLike,
    *,
    rng: np.random.Generator,
    shuffles: int = SETS,
) -> ImageryScores:
    """Decode imagined blocks, and say whether they tell which image was imagined.

    Parameters
    ----------
    decoder : fitted on responses to images that were seen
    blocks : (b, c) finite, responses of imagined blocks, in the decoder's units
    image : (b,) int, which row of `latents` was imagined
    latents : (n, d) true ones of the images on offer, two or more
    rng : of the shuffles
    shuffles : deals of the blocks' images
    """
    x, which = finite_table(latents, "latents"), np.asarray(image)
    decoded = decoder.predict(blocks)
    if which.shape != (len(decoded),) or which.dtype.kind not in "iu" or not len(which):
        raise DataError(
            f"image must be int, one for each of {len(decoded)} blocks; got {which.dtype} "
            f"{which.shape}"
        )
    if len(x) < 2 or which.min() < 0 or which.max() >= len(x):
        raise DataError(f"image must be 0 to {len(x) - 1}, a row of two latents or more")
    if shuffles < 1:
        raise DataError(f"shuffles must be 1 or more; got {shuffles}")
    r = row_correlations(decoded, x)
    pairwise, averaged = _pairwise(r, which), _averaged(decoded, which, x)
    random = np.empty((shuffles, 2))
    for row in random:
        dealt = which[rng.permutation(len(which))]
        row[:] = _pairwise(r, dealt).value, _averaged(decoded, dealt, x).pairwise.value
    own = r[np.arange(len(which)), which][:, None]
    ranks = (r > own + 1e-12).sum(axis=1) + ((np.abs(r - own) <= 1e-12).sum(axis=1) + 1) / 2
    return ImageryScores(
        decoded=decoded,
        pairwise=pairwise,
        ranks=np.where(np.isnan(own[:, 0]), np.nan, ranks),
        averaged=averaged,
        chance=against_random([pairwise.value, averaged.pairwise.value], random),
    )


def _pairwise(r: Matrix, which: NDArray[np.integer]) -> Quantity:
    """Return the share of pairs of blocks of two images that are told apart; a tie is half."""
    cross = r[:, which]  # of block i with the image of block j
    own = np.diag(cross)
    gain = own[:, None] + own - cross - cross.T
    first, second = np.triu_indices(len(which), 1)
    gain = gain[first, second][which[first] != which[second]]
    gain = gain[np.isfinite(gain)]
    if not len(gain):
        return Quantity.undefined("no two blocks are of two images, with latents that vary")
    gain = np.where(np.abs(gain) < 1e-12, 0, gain)
    return Quantity(float(((gain > 0) + 0.5 * (gain == 0)).mean()))


def _averaged(decoded: Codes, which: NDArray[np.integer], x: Matrix) -> Identification:
    means = repeat_means(decoded, which)
    return identification(x[means.image], means.mean)
