"""Channels that a decoder is fitted on, chosen by an F test of the training trials alone.

VanRullen & Reddy 2019 choose voxels so. Whoever chooses them on all trials has seen the test:
of noise alone, what is then decoded is above chance. So the choice is a part of the fit
(`ChosenChannels` is a decoder of another), and is made anew in each fold (`decoded_in_folds`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import fdtrc  # pyright: ignore[reportUnknownVariableType]

from evolver.analysis.linear_decoders import LinearDecoder, same_trials
from evolver.analysis.linear_maps import fit_least_squares
from evolver.analysis.quantities import finite_table
from evolver.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from evolver.analysis.linear_decoders import Decoder
    from evolver.types import Codes, Matrix, Vector


@dataclass(frozen=True, slots=True, eq=False)
class ChannelTest:
    """Whether a channel's responses depend on latents: F of two nested linear models.

    Attributes
    ----------
    f : (c,) float64; NaN where a channel is constant, or the model leaves nothing
    p : (c,) float64, of an F as large without any dependence; NaN where F is
    latents : int, degrees of freedom of the latents
    left : int, degrees of freedom that the model leaves
    """

    f: Vector
    p: Vector
    latents: int
    left: int


@dataclass(frozen=True, slots=True, eq=False)
class ChosenDecoder(LinearDecoder):
    """A decoder of some channels, which takes all of them: the others' weights are 0.

    Attributes
    ----------
    channels : (k,) intp, those that were chosen, ascending
    test : what they were chosen by
    inner : the decoder of those alone
    """

    channels: NDArray[np.intp]
    test: ChannelTest
    inner: LinearDecoder


def channel_f_test(
    responses: ArrayLike, latents: ArrayLike, contrasts: ArrayLike | None = None
) -> ChannelTest:
    """Test each channel: a linear model with the latents against one without.

    F = ((S0 - S1) / d) / (S1 / (n - 1 - d - k)), of the sums of squares S0 about constant and
    contrasts, and S1 about these and the latents.

    Parameters
    ----------
    responses : (n, c) finite, n > 1 + d + k
    latents : (n, d) finite
    contrasts : (n, k) finite, other conditions of each trial; none if not given

    Raises
    ------
    DataError
        Arrays do not fit, are not finite, or have too few trials.
    """
    y, x = same_trials(responses, latents)
    n, d = x.shape
    extra = np.zeros((n, 0)) if contrasts is None else finite_table(contrasts, "contrasts")
    if len(extra) != n:
        raise DataError(f"contrasts must have the {n} trials; got {len(extra)}")
    left = n - 1 - d - extra.shape[1]
    if left < 1:
        raise DataError(
            f"{n} trials are too few for an F test of {d} latents and {extra.shape[1]} "
            f"contrasts, which needs {n - left + 1}. Give leading components of the latents"
        )
    without = _unexplained(extra, y)
    within = _unexplained(np.column_stack([x, extra]), y)
    varies = np.ptp(y, axis=0) > 0
    exact = (within > 1e-20 * without) & varies
    f = np.divide((without - within) / d, within / left, out=np.full(len(within), np.nan),
                  where=exact)  # fmt: skip
    f = np.where(varies & ~exact, np.inf, np.maximum(f, 0))
    return ChannelTest(f, np.asarray(fdtrc(d, left, f), dtype=np.float64), d, left)


@dataclass(frozen=True, slots=True)
class ChosenChannels:
    """A decoder of the channels that an F test of its training trials chooses.

    Attributes
    ----------
    decoder : what is fitted on those that are chosen
    most : so many, those of the largest F; all if not given
    level : only those whose p is below; all if not given
    """

    decoder: Decoder
    most: int | None = None
    level: float | None = None

    def __post_init__(self) -> None:
        if self.most is None and self.level is None:
            raise DataError("most or level must be given: by what channels are chosen")
        level = 1.0 if self.level is None else self.level
        if (self.most is not None and self.most < 1) or not 0 < level <= 1:
            raise DataError(
                f"most must be 1 or more and level above 0, at most 1; got {self.most} and "
                f"{self.level}"
            )

    def fit(self, responses: ArrayLike, latents: ArrayLike) -> ChosenDecoder:
        """Choose channels, and fit the decoder on them.

        Parameters
        ----------
        responses : (n, c) finite, of training trials alone
        latents : (n, d) finite

        Raises
        ------
        DataError
            No channel is chosen; or the test or the decoder cannot be fitted.
        """
        y, x = same_trials(responses, latents)
        test = channel_f_test(y, x)
        order = np.argsort(-test.f, kind="stable")  # NaN comes last
        offered = order[np.isfinite(test.p[order])]
        if self.level is not None:
            offered = offered[test.p[offered] < self.level]
        channels = np.sort(offered[: self.most])
        if not len(channels):
            raise DataError(
                f"no channel of {y.shape[1]} is chosen: the smallest p is "
                f"{np.nanmin(np.append(test.p, 1.0)):.3g}"
            )
        inner = self.decoder.fit(y[:, channels], x)
        weights = np.zeros((y.shape[1], x.shape[1]))
        weights[channels] = inner.weights
        return ChosenDecoder(weights, inner.intercept, channels, test, inner)


def decoded_in_folds(
    decoder: Decoder,
    responses: ArrayLike,
    latents: ArrayLike,
    *,
    rng: np.random.Generator,
    folds: int = 10,
    image: ArrayLike | None = None,
) -> Codes:
    """Decode each trial by a decoder that has not seen it, (n, d).

    What the decoder chooses, it chooses in each fold from that fold's training trials.

    Parameters
    ----------
    decoder : what is fitted in each fold
    responses : (n, c) finite
    latents : (n, d) finite
    rng : deals images to folds
    folds : parts, at most as many as there are images
    image : (n,) int, which image was shown: repeats of one stay together. Each trial its own if
        not given
    """
    y, x = same_trials(responses, latents)
    shown = np.arange(len(y)) if image is None else np.asarray(image)
    if shown.shape != (len(y),):
        raise DataError(f"image must be ({len(y)},), one a trial; got {shown.shape}")
    images, which = np.unique(shown, return_inverse=True)
    if not 2 <= folds <= len(images):
        raise DataError(f"folds must be 2 to {len(images)}, the images; got {folds}")
    part = np.empty(len(images), dtype=np.intp)
    for i, members in enumerate(np.array_split(rng.permutation(len(images)), folds)):
        part[members] = i
    decoded = np.empty_like(x)
    for i in range(folds):
        test = part[which] == i
        decoded[test] = decoder.fit(y[~test], x[~test]).predict(y[test])
    return decoded


def _unexplained(model: Matrix, y: Matrix) -> Vector:
    """Return each column's sum of squares about a model with a constant, (c,)."""
    if not model.shape[1]:
        return ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    weights, constant = fit_least_squares(model, y)
    return ((y - model @ weights - constant) ** 2).sum(axis=0)
