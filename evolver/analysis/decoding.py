"""Decoders: from responses of many channels to the latents of the images that were shown.

Four linear maps behind one Protocol, `Decoder`: ``fit(responses, latents)`` returns a frozen
`LinearDecoder`, whose ``predict(responses)`` gives latents. They differ in how the map is made:

    InvertedGLM    responses fitted from latents, then inverted (VanRullen & Reddy 2019)
    LeastSquares   latents regressed on responses (Brain2GAN)
    Dense          the same map by Adam, with L2 in the gradient (HYPER)
    Ridge          the same with a penalty, chosen by leaving out each trial in turn

Rows are trials; average repeats of an image, or leave-one-out has seen what it leaves out.
Responses are taken as they are: z-scores, and from which trials, are `decoding_responses`.

VanRullen & Reddy, Communications Biology 2019, 2, 193. HYPER: Dado et al., Scientific Reports
2022, 12, 141. Brain2GAN: Dado et al., PLoS Computational Biology 2024.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from scipy import linalg

from evolver.analysis.linear_maps import LAMBDAS, fit_ridge
from evolver.analysis.quantities import finite_table
from evolver.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from evolver.types import Codes, Matrix, Vector

MOST_CONDITION = 1e6
"""Largest condition number of W W' that `InvertedGLM` inverts as it is."""
_GRAM_RCOND = 1e-8
_linalg = cast("Any", linalg)  # its functions leave their arguments open


class Decoder(Protocol):
    """Makes a map from responses to latents."""

    def fit(self, responses: ArrayLike, latents: ArrayLike) -> LinearDecoder:
        """Fit responses, (n, c), and latents, (n, d), of the same trials."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class LinearDecoder:
    """A fitted map: latents = responses weights + intercept.

    Attributes
    ----------
    weights : (c, d) float64, latent units for each unit of a channel's response
    intercept : (d,) float64, latent units
    """

    weights: Matrix
    intercept: Vector

    def predict(self, responses: ArrayLike) -> Codes:
        """Return latents, (n, d), of responses, (n, c).

        Raises
        ------
        DataError
            Responses are not finite, or of another number of channels than were fitted.
        """
        return self._channels(responses) @ self.weights + self.intercept

    def _channels(self, responses: ArrayLike) -> Matrix:
        table = finite_table(responses, "responses")
        if table.shape[1] != len(self.weights):
            raise DataError(
                f"responses must have the {len(self.weights)} channels that were fitted; "
                f"got {table.shape[1]}"
            )
        return table


@dataclass(frozen=True, slots=True, eq=False)
class GLMDecoder(LinearDecoder):
    """A general linear model of the responses, and its inverse.

    Attributes
    ----------
    constant : (c,) float64, response of each channel where latents and contrasts are 0
    latent_weights : (d, c) float64, W: what a unit of each latent adds to each channel
    contrast_weights : (k, c) float64, the same of each contrast
    residual_variance : (c,) float64, of responses about the model, n - 1 - d - k in it
    latent_covariance : (d, d) float64, of W's rows in units of the residual variance
    condition : float, of W W', before the ridge; infinite where it has no inverse
    ridge : float, added to the diagonal of W W'; 0 where it was inverted as it is
    """

    constant: Vector
    latent_weights: Matrix
    contrast_weights: Matrix
    residual_variance: Vector
    latent_covariance: Matrix
    condition: float
    ridge: float

    def predict(self, responses: ArrayLike, contrasts: ArrayLike | None = None) -> Codes:
        """Return latents, (n, d), of responses, (n, c).

        Parameters
        ----------
        responses : (n, c)
        contrasts : (n, k) of the same trials; 0 if not given
        """
        table = self._channels(responses)
        if contrasts is not None:
            given = finite_table(contrasts, "contrasts")
            if given.shape != (len(table), len(self.contrast_weights)):
                raise DataError(
                    f"contrasts must be {(len(table), len(self.contrast_weights))}, as fitted; "
                    f"got {given.shape}"
                )
            table = table - given @ self.contrast_weights
        return table @ self.weights + self.intercept


@dataclass(frozen=True, slots=True, eq=False)
class RidgeDecoder(LinearDecoder):
    """A map with a penalty.

    Attributes
    ----------
    penalty : float, lambda of the sum of squared weights
    errors : (l,) float64, mean squared error of trials left out, one for each lambda on offer
    """

    penalty: float
    errors: Vector


@dataclass(frozen=True, slots=True, eq=False)
class DenseDecoder(LinearDecoder):
    """A dense layer.

    Attributes
    ----------
    losses : (epochs,) float64, mean of half the squared error over the batches of each epoch,
        each before it was learnt from
    """

    losses: Vector


@dataclass(frozen=True, slots=True)
class InvertedGLM:
    """Responses fitted from latents and inverted: Y = [1, X, contrasts] W, X = (Y - w0) W+.

    W comes of least squares. W W' (d, d) has no inverse with fewer channels than latents, and a
    bad one where channels are alike, so that noise is decoded. A ridge is then added to its
    diagonal: the smallest that brings its condition number down to `most_condition`. Decoded
    latents are shrunk towards 0 by it; its size is in the fit.

    Attributes
    ----------
    ridge : added to the diagonal whatever the condition, in squared units of W; by the
        condition if not given
    most_condition : inverted as it is up to here
    """

    ridge: float | None = None
    most_condition: float = MOST_CONDITION

    def __post_init__(self) -> None:
        if (self.ridge is not None and not self.ridge >= 0) or not self.most_condition > 1:
            raise DataError(
                f"ridge must be 0 or more, and most_condition above 1; got {self.ridge} and "
                f"{self.most_condition}"
            )

    def fit(
        self, responses: ArrayLike, latents: ArrayLike, contrasts: ArrayLike | None = None
    ) -> GLMDecoder:
        """Fit the model, and invert it.

        Parameters
        ----------
        responses : (n, c) finite
        latents : (n, d) finite
        contrasts : (n, k) finite, other conditions of each trial; none if not given

        Raises
        ------
        DataError
            Arrays do not fit, are not finite, or have no more trials than the model has rows.
        """
        y, x = _trials(responses, latents)
        extra = (
            np.zeros((len(y), 0)) if contrasts is None else finite_table(contrasts, "contrasts")
        )
        if len(extra) != len(y):
            raise DataError(f"contrasts must have the {len(y)} trials; got {len(extra)}")
        design = np.column_stack([np.ones(len(y)), x, extra])
        n, columns = design.shape
        if n <= columns:
            raise DataError(
                f"{n} trials are too few: the model has a constant, {x.shape[1]} latents and "
                f"{extra.shape[1]} contrasts, and needs {columns + 1}. Use Ridge"
            )
        glm, inverse = _least_squares(design, y)
        latent = slice(1, 1 + x.shape[1])
        w = glm[latent]
        back, condition, ridge = self._inverse(w)
        return GLMDecoder(
            weights=back,
            intercept=-(glm[0] @ back),
            constant=glm[0],
            latent_weights=w,
            contrast_weights=glm[latent.stop :],
            residual_variance=((y - design @ glm) ** 2).sum(axis=0) / (n - columns),
            latent_covariance=inverse[latent, latent],
            condition=condition,
            ridge=ridge,
        )

    def _inverse(self, w: Matrix) -> tuple[Matrix, float, float]:
        """Return W' (W W' + ridge)^-1, (c, d), the condition of W W', and the ridge."""
        sizes, turned = np.linalg.eigh(w @ w.T)
        largest = float(sizes[-1])
        if largest <= 0:
            raise DataError("no latent has a part in any response: the model is 0 everywhere")
        exact = largest * len(w) * float(np.finfo(np.float64).eps)
        smallest = float(sizes[0]) if sizes[0] > exact else 0.0
        condition = largest / smallest if smallest else float("inf")
        if self.ridge is not None:
            ridge = self.ridge
        elif condition <= self.most_condition:
            ridge = 0.0
        else:
            most = self.most_condition
            ridge = (largest - most * smallest) / (most - 1)
        if ridge == 0 and not smallest:
            raise DataError("W W' has no inverse: give a ridge above 0, or leave it out")
        sizes = np.maximum(sizes, 0) + ridge
        return w.T @ ((turned / sizes) @ turned.T), condition, ridge


@dataclass(frozen=True, slots=True)
class LeastSquares:
    """Latents regressed on responses, with an intercept."""

    def fit(self, responses: ArrayLike, latents: ArrayLike) -> LinearDecoder:
        """Fit the map.

        A channel that is constant, or a sum of others, has the weights of smallest norm.

        Parameters
        ----------
        responses : (n, c) finite, n > c
        latents : (n, d) finite

        Raises
        ------
        DataError
            Arrays do not fit, are not finite, or have no more trials than channels.
        """
        y, x = _trials(responses, latents)
        n, channels = y.shape
        if n <= channels:
            raise DataError(
                f"{n} trials are too few for {channels} channels and an intercept, which need "
                f"{channels + 1}. Use fewer channels, or Ridge"
            )
        y_mean, x_mean = y.mean(axis=0), x.mean(axis=0)
        weights, _ = _least_squares(y - y_mean, x - x_mean)
        return LinearDecoder(weights, x_mean - y_mean @ weights)


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
        y, x = _trials(responses, latents)
        fit = fit_ridge(y, x, self.penalties)
        intercept = fit.y_mean - fit.x_mean @ fit.weights
        return RidgeDecoder(fit.weights, intercept, fit.penalty, fit.errors)


@dataclass(frozen=True, slots=True)
class Dense:
    """A dense layer with a bias, by Adam: HYPER's decoder, at its settings.

    The loss is half the squared error, its mean over latents and the trials of a batch. L2 is
    part of the gradient, of weights and bias, so that Adam scales it with the rest (it is not
    decoupled). Weights begin normal with sd 1 / sqrt(c) and the bias at 0, as in Chainer, in
    which the layer was published; float32, as networks are.

    Attributes
    ----------
    rate : Adam's, a step
    decay : times a weight, added to its gradient
    batch : trials of a step, drawn without replacement; the last of an epoch may be smaller
    epochs : int
    seed : of the start and the order of trials
    """

    rate: float = 1e-5
    decay: float = 0.01
    batch: int = 30
    epochs: int = 1500
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.rate > 0 and self.decay >= 0) or self.batch < 1 or self.epochs < 1:
            raise DataError(
                f"rate must be above 0, decay 0 or more, batch and epochs 1 or more; got {self}"
            )

    def fit(
        self,
        responses: ArrayLike,
        latents: ArrayLike,
        *,
        each_epoch: Callable[[int], None] | None = None,
    ) -> DenseDecoder:
        """Fit the layer.

        Parameters
        ----------
        responses : (n, c) finite, n >= 2; z-scores, for one rate suits all channels
        latents : (n, d) finite
        each_epoch : is told how many epochs are done, after each

        Raises
        ------
        DataError
            Arrays do not fit, are not finite, or have one trial; or the layer diverged.
        """
        y, x = (table.astype(np.float32) for table in _trials(responses, latents))
        if len(y) < 2:
            raise DataError(f"a dense layer needs 2 trials or more; got {len(y)}")
        rng = np.random.default_rng(self.seed)
        # The bias is the last row of the weights, and 1 the last response.
        y = np.column_stack([y, np.ones(len(y), dtype=np.float32)])
        layer = np.zeros((y.shape[1], x.shape[1]), dtype=np.float32)
        layer[:-1] = rng.standard_normal(layer[:-1].shape) / np.sqrt(len(layer) - 1)
        adam = _Adam(layer, self.rate)
        losses = np.zeros(self.epochs)
        for epoch in range(self.epochs):
            order = rng.permutation(len(y))
            begins = range(0, len(order), self.batch)
            for begin in begins:
                rows = order[begin : begin + self.batch]
                error = y[rows] @ layer - x[rows]
                losses[epoch] += 0.5 * float((error * error).mean()) / len(begins)
                slope = y[rows].T @ (error / error.size)
                slope += np.float32(self.decay) * layer
                adam.step(slope)
            if not np.isfinite(losses[epoch]):
                raise DataError(
                    f"the layer diverged in epoch {epoch + 1}: z-score the responses, or take "
                    f"a rate below {self.rate:g}"
                )
            if each_epoch is not None:
                each_epoch(epoch + 1)
        weights = layer.astype(np.float64)
        return DenseDecoder(weights[:-1], weights[-1], losses)


class _Adam:
    """Kingma & Ba 2015, algorithm 1, on one array, in place."""

    def __init__(self, values: Matrix | Any, rate: float) -> None:  # noqa: ANN401  of float32
        self._values, self._rate, self._steps = values, rate, 0
        self._first, self._second = np.zeros_like(values), np.zeros_like(values)
        self._spare = np.empty_like(values)

    def step(self, slope: Any) -> None:  # noqa: ANN401  an array like the values
        """Go down the slope, which is overwritten."""
        self._steps += 1
        beta1, beta2 = 0.9, 0.999
        first, second, spare = self._first, self._second, self._spare
        first *= np.float32(beta1)
        np.multiply(slope, np.float32(1 - beta1), out=spare)
        first += spare
        second *= np.float32(beta2)
        slope *= slope
        slope *= np.float32(1 - beta2)
        second += slope
        np.sqrt(second, out=spare)
        spare *= np.float32(1 / np.sqrt(1 - beta2**self._steps))
        spare += np.float32(1e-8)
        np.divide(first, spare, out=spare)
        spare *= np.float32(self._rate / (1 - beta1**self._steps))
        self._values -= spare


def _trials(responses: ArrayLike, latents: ArrayLike) -> tuple[Matrix, Matrix]:
    y, x = finite_table(responses, "responses"), finite_table(latents, "latents")
    if len(y) != len(x) or not y.size or not x.size:
        raise DataError(
            f"responses (n, channels) and latents (n, d) must be of the same trials; got "
            f"{y.shape} and {x.shape}"
        )
    return y, x


def _least_squares(a: Matrix, b: Matrix) -> tuple[Matrix, Matrix]:
    """Return the solution of a s = b of smallest norm, and (a'a)^+.

    By Cholesky of a'a, its columns of one length, which takes a fifth of the time; by singular
    values where that is not exact.
    """
    lengths = np.linalg.norm(a, axis=0)
    if (lengths > 0).all():
        scaled = a / lengths
        gram = scaled.T @ scaled
        factor, fault = _linalg.lapack.dpotrf(gram, lower=0)
        if not fault:
            rcond, _ = _linalg.lapack.dpocon(factor, float(np.abs(gram).sum(axis=0).max()))
            if rcond > _GRAM_RCOND:
                upper = (factor, False)
                inverse = _linalg.cho_solve(upper, np.eye(len(gram)))
                solution = _linalg.cho_solve(upper, scaled.T @ b) / lengths[:, None]
                return solution, inverse / np.outer(lengths, lengths)
    u, s, vt = np.linalg.svd(a, full_matrices=False)
    kept = s > s[0] * max(a.shape) * np.finfo(np.float64).eps if len(s) else s > 0
    u, s, vt = u[:, kept], s[kept], vt[kept]
    return vt.T @ ((u.T @ b) / s[:, None]), (vt.T / s**2) @ vt
