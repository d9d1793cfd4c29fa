"""Which latent space a generator's codes are better decoded in: both, compared in one.

A style network has two: z, in which codes are drawn, and w, the styles that it maps z to and
draws from. A decoder is fitted to each; what is decoded of z is mapped on (truncated, psi = 0.7
as published), so that both are compared in w. Brain2GAN: Dado et al. 2024.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from evolver.analysis.latent_metrics import (
    Identification,
    LatentCorrelation,
    LatentCosine,
    identification,
    latent_correlation,
    latent_cosine,
)
from evolver.analysis.quantities import finite_table
from evolver.analysis.rank_tests import MeanInterval, mean_interval
from evolver.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from evolver.analysis.linear_decoders import Decoder
    from evolver.types import Codes, Vector

ToStyles: TypeAlias = Callable[["Codes"], "Codes"]
"""Of codes z, (n, d), styles w, (n, w)."""


@dataclass(frozen=True, slots=True, eq=False)
class SpaceScores:
    """What a decoder of one space is worth, in w.

    Attributes
    ----------
    decoded : (m, w) float64, the test images' styles
    cosine : LatentCosine, with the floor of the mean style of the training set
    correlation : LatentCorrelation
    identification : Identification
    centred : (m,) float64, cosine of each image about the mean style; NaN where it has none
    """

    decoded: Codes
    cosine: LatentCosine
    correlation: LatentCorrelation
    identification: Identification
    centred: Vector


@dataclass(frozen=True, slots=True, eq=False)
class SpaceComparison:
    """Styles decoded, and codes decoded and mapped to styles.

    Attributes
    ----------
    w : decoded as styles
    z : decoded as codes, mapped then
    gain : MeanInterval, over images, of the centred cosine of `w` less that of `z`
    """

    w: SpaceScores
    z: SpaceScores
    gain: MeanInterval


def compare_spaces(
    decoder: Decoder,
    training: tuple[ArrayLike, ArrayLike],
    test: tuple[ArrayLike, ArrayLike],
    to_w: ToStyles,
) -> SpaceComparison:
    """Decode z and w of the same responses, and compare both in w.

    Parameters
    ----------
    decoder : what is fitted, once for each space
    training, test : responses, (n, c) and (m, c), in the decoder's units, and codes z, (n, d)
        and (m, d), of each
    to_w : maps codes, (k, d), to styles, (k, w), truncated or not

    Raises
    ------
    DataError
        Arrays do not fit together, or `to_w` returns no table of as many finite styles.
    """
    y, z = finite_table(training[0], "training"), finite_table(training[1], "training codes")
    shown, true_z = finite_table(test[0], "test"), finite_table(test[1], "test codes")
    if true_z.shape[1:] != z.shape[1:] or len(shown) != len(true_z):
        raise DataError(
            f"test must have codes (m, {z.shape[1]}), one for each response; got "
            f"{true_z.shape} and {shown.shape}"
        )
    styles, true = _mapped(to_w, z), _mapped(to_w, true_z)
    mean = styles.mean(axis=0)
    w = _scores(true, decoder.fit(y, styles).predict(shown), mean)
    by_z = _scores(true, _mapped(to_w, decoder.fit(y, z).predict(shown)), mean)
    gain = w.centred - by_z.centred
    return SpaceComparison(w, by_z, mean_interval(gain[np.isfinite(gain)], within=(-2.0, 2.0)))


def _mapped(to_w: ToStyles, codes: Codes) -> Codes:
    styles = finite_table(to_w(codes), "styles")
    if len(styles) != len(codes):
        raise DataError(f"to_w must return a style for each code; got {styles.shape}")
    return styles


def _scores(true: Codes, decoded: Codes, mean: Vector) -> SpaceScores:
    centred = latent_cosine(true - mean, decoded - mean, mean).each
    return SpaceScores(
        decoded=decoded,
        cosine=latent_cosine(true, decoded, mean),
        correlation=latent_correlation(true, decoded),
        identification=identification(true, decoded),
        centred=centred,
    )
