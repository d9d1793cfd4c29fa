"""Decoders: from responses of many channels to the latents of the images that were shown.

Four linear maps behind one Protocol, `Decoder`: ``fit(responses, latents)`` returns a frozen
`LinearDecoder`, whose ``predict(responses)`` gives latents. They differ in how the map is made:

    InvertedGLM    responses fitted from latents, then inverted (VanRullen & Reddy 2019)
    LeastSquares   latents regressed on responses (Brain2GAN)
    Dense          the same map by Adam, with L2 in the gradient (HYPER)
    Ridge          the same with a penalty, chosen by leaving out each trial in turn

Least squares and ridge are scikit-learn's, which is loaded when the first map is fitted.
Rows are trials; average repeats of an image, or leave-one-out has seen what it leaves out.
Responses are taken as they are: z-scores, and from which trials, are `decoding_responses`.

VanRullen & Reddy, Communications Biology 2019, 2, 193. HYPER: Dado et al., Scientific Reports
2022, 12, 141. Brain2GAN: Dado et al., PLoS Computational Biology 2024.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evolver.analysis.dense_decoder import Dense, DenseDecoder
from evolver.analysis.inverted_glm import GLMDecoder, InvertedGLM
from evolver.analysis.linear_decoders import Decoder, LinearDecoder, same_trials
from evolver.analysis.linear_maps import LAMBDAS, fit_least_squares, fit_ridge
from evolver.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "Decoder",
    "Dense",
    "DenseDecoder",
    "GLMDecoder",
    "InvertedGLM",
    "LeastSquares",
    "LinearDecoder",
    "Ridge",
    "RidgeDecoder",
]


@dataclass(frozen=True, slots=True, eq=False)
class RidgeDecoder(LinearDecoder):
    """A map with a penalty.

    Attributes
    ----------
    penalty : float, lambda of the sum of squared weights
    error : float, mean squared error of the trials left out at that penalty, over all latents
    """

    penalty: float
    error: float


@dataclass(frozen=True, slots=True)
class LeastSquares:
    """Latents regressed on responses, with an intercept."""

    def fit(self, responses: ArrayLike, latents: ArrayLike) -> LinearDecoder:
        """Fit the map.

        A channel that is constant, or a sum of others, has the weights of smallest norm, of
        channels in units of their sd.

        Parameters
        ----------
        responses : (n, c) finite, n > c
        latents : (n, d) finite

        Raises
        ------
        DataError
            Arrays do not fit, are not finite, or have no more trials than channels.
        """
        y, x = same_trials(responses, latents)
        n, channels = y.shape
        if n <= channels:
            raise DataError(
                f"{n} trials are too few for {channels} channels and an intercept, which need "
                f"{channels + 1}. Use fewer channels, or Ridge"
            )
        return LinearDecoder(*fit_least_squares(y, x))


@dataclass(frozen=True, slots=True)
class Ridge:
    """Latents regressed on responses, with a penalty chosen by leaving out each trial in turn.

    All penalties come of one decomposition (`linear_maps.fit_ridge`); one is chosen for all
    latents.

    Attributes
    ----------
    penalties : on offer, each above 0, for responses that are z-scores
    """

    penalties: tuple[float, ...] = LAMBDAS

    def fit(self, responses: ArrayLike, latents: ArrayLike) -> RidgeDecoder:
        """Fit the map.

        Parameters
        ----------
        responses : (n, c) finite, n >= 3
        latents : (n, d) finite
        """
        y, x = same_trials(responses, latents)
        fit = fit_ridge(y, x, self.penalties)
        return RidgeDecoder(fit.weights, fit.intercept, fit.penalty, fit.error)
