"""Which site a decoder decodes from: one site's responses, the others replaced by their mean.

A site is an area, or any group of channels. Two questions:

    site_occlusion    one decoder of all channels, tested with one site's responses alone
    region_scores     a decoder of its own for each site's channels, and for all but them,
                      against as many channels drawn at random

Occlusion: Brain2GAN (Dado et al. 2024). As published, a response is replaced by the mean of the
other test images, (sum of x_j, j not i) / (n - 1). That carries -x_i / (n - 1), of the image
that is tested: a site without information then scores r near -1 where its own noise is small.
The training mean carries nothing. Regions: VanRullen & Reddy 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from evolver.analysis.latent_metrics import against_random, mean_correlation
from evolver.analysis.quantities import Quantity, check_choice, finite_table, vector_of
from evolver.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from evolver.analysis.decoding import Decoder, LinearDecoder
    from evolver.analysis.latent_metrics import LatentMeasure
    from evolver.types import Matrix, Vector

OccludedBy: TypeAlias = Literal["training", "paper"]
"""What responses of other sites become: training means, or as published, those of other test
images."""


@dataclass(frozen=True, slots=True)
class SiteScore:
    """What one site's responses alone tell.

    Attributes
    ----------
    site : str
    channels : int
    score : Quantity, of the measure
    """

    site: str
    channels: int
    score: Quantity


@dataclass(frozen=True, slots=True)
class RegionScore:
    """Decoders with and without a site, beside decoders of as many random channels.

    Attributes
    ----------
    site : str
    channels : int
    inside, outside : Quantity, of a decoder of the site's channels, and of all but them
    random_inside, random_outside : Quantity, mean of decoders of as many channels, drawn at
        random
    p_inside : float, (1 + draws that are as high as inside) / (1 + draws); NaN where undefined
    p_outside : float, the same of draws that are as low as outside: whether the site is missed
    reason : str, why nothing is compared; empty where it is
    """

    site: str
    channels: int
    inside: Quantity
    outside: Quantity
    random_inside: Quantity
    random_outside: Quantity
    p_inside: float
    p_outside: float
    reason: str = ""


def site_members(sites: Sequence[str], channels: int) -> dict[str, NDArray[np.bool_]]:
    """Return which channels, (c,), are of each site, in the order in which sites first come.

    Parameters
    ----------
    sites : (c,) the site of each channel
    channels : c
    """
    if len(sites) != channels or not channels:
        raise DataError(f"sites must name one of each of {channels} channels; got {len(sites)}")
    labels = np.array([str(site) for site in sites])
    return {str(site): labels == site for site in dict.fromkeys(labels.tolist())}


def occluded(
    responses: ArrayLike,
    kept: ArrayLike,
    training_mean: ArrayLike,
    *,
    by: OccludedBy = "training",
) -> Matrix:
    """Return responses, (n, c), with all channels but some replaced by a mean.

    Parameters
    ----------
    responses : (n, c) of test images
    kept : (c,) bool, channels that stay
    training_mean : (c,); 0 after z-scoring
    by : "paper" takes the mean of the other test images instead
    """
    check_choice(by, OccludedBy, "by")
    table, mean = (
        finite_table(responses, "responses"),
        vector_of(training_mean, "training_mean"),
    )
    stay = np.asarray(kept)
    n, channels = table.shape
    if stay.dtype != np.bool_ or stay.shape != (channels,) or mean.shape != (channels,):
        raise DataError(
            f"kept (bool) and training_mean must be ({channels},), as responses have channels; "
            f"got {stay.dtype} {stay.shape} and {mean.shape}"
        )
    if by == "training":
        return np.where(stay, table, mean)
    if n < 2:
        raise DataError(f"the mean of other test images needs two or more; got {n}")
    return np.where(stay, table, (table.sum(axis=0) - table) / (n - 1))


def site_occlusion(
    decoder: LinearDecoder,
    responses: ArrayLike,
    latents: ArrayLike,
    sites: Sequence[str],
    training_mean: ArrayLike,
    *,
    measure: LatentMeasure = mean_correlation,
    by: OccludedBy = "training",
) -> list[SiteScore]:
    """Score a decoder of all channels on one site's responses after another.

    Parameters
    ----------
    decoder : fitted on all channels
    responses : (n, c) of test images, in the decoder's units
    latents : (n, d) true ones
    sites : (c,) the site of each channel, such as its area
    training_mean : (c,) of the training responses, in the decoder's units; 0 after z-scoring
    measure : of true and decoded latents
    by : "paper" occludes with the mean of the other test images

    Returns
    -------
    one a site, in the order in which they first come
    """
    table, x = finite_table(responses, "responses"), finite_table(latents, "latents")
    scores: list[SiteScore] = []
    for site, members in site_members(sites, table.shape[1]).items():
        shown = occluded(table, members, training_mean, by=by)
        score = measure(x, decoder.predict(shown))
        scores.append(SiteScore(site, int(members.sum()), score))
    return scores


def region_scores(
    decoder: Decoder,
    training: tuple[ArrayLike, ArrayLike],
    test: tuple[ArrayLike, ArrayLike],
    sites: Sequence[str],
    *,
    rng: np.random.Generator,
    draws: int = 100,
    measure: LatentMeasure = mean_correlation,
) -> list[RegionScore]:
    """Fit decoders of each site's channels, and of all but them, and of as many random ones.

    Each site takes 2 + 2 draws fits.

    Parameters
    ----------
    decoder : what is fitted
    training, test : responses (n, c) and latents (n, d) of each
    sites : (c,) the site of each channel
    rng : of the channels that are drawn
    draws : of random channels, of either number
    measure : of true and decoded latents of the test

    Returns
    -------
    one a site, in the order in which they first come
    """
    if draws < 1:
        raise DataError(f"draws must be 1 or more; got {draws}")
    y, x = finite_table(training[0], "training"), finite_table(training[1], "training latents")
    shown, true = finite_table(test[0], "test"), finite_table(test[1], "test latents")
    if shown.shape[1] != y.shape[1]:
        raise DataError(
            f"test must have the {y.shape[1]} channels of training; got {shown.shape[1]}"
        )

    def score(members: NDArray[np.bool_]) -> Quantity:
        fit = decoder.fit(y[:, members], x)
        return measure(true, fit.predict(shown[:, members]))

    def random(count: int) -> Vector:
        values = np.empty(draws)
        for i in range(draws):
            members = np.zeros(y.shape[1], dtype=np.bool_)
            members[rng.permutation(len(members))[:count]] = True
            values[i] = score(members).value
        return values

    scores: list[RegionScore] = []
    for site, members in site_members(sites, y.shape[1]).items():
        count = int(members.sum())
        if count == len(members):
            reason = "all channels are of one site"
            nothing = Quantity.undefined(reason)
            scores.append(
                RegionScore(
                    site,
                    count,
                    score(members),
                    nothing,
                    nothing,
                    nothing,
                    np.nan,
                    np.nan,
                    reason,
                )
            )
            continue
        inside, outside = score(members), score(~members)
        as_many, as_many_left = random(count), random(len(members) - count)
        # Whether the site is missed is a test of the other tail.
        high = against_random([inside.value], as_many[:, None])
        low = against_random([-outside.value], -as_many_left[:, None])
        scores.append(
            RegionScore(
                site=site,
                channels=count,
                inside=inside,
                outside=outside,
                random_inside=_quantity(float(high.mean[0])),
                random_outside=_quantity(-float(low.mean[0])),
                p_inside=float(high.p[0]),
                p_outside=float(low.p[0]),
                reason=high.reason or low.reason,
            )
        )
    return scores


def _quantity(value: float) -> Quantity:
    if np.isnan(value):
        return Quantity.undefined("no decoder of random channels has a score")
    return Quantity(value)
