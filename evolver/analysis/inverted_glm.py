"""A general linear model of responses, inverted: VanRullen & Reddy's decoder.

Communications Biology 2019, 2, 193.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from evolver.analysis.linear_decoders import LinearDecoder, same_trials
from evolver.analysis.linear_maps import fit_least_squares
from evolver.analysis.quantities import finite_table
from evolver.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from evolver.types import Codes, Matrix, Vector

MOST_CONDITION = 1e6
"""Largest condition number of W W' that `InvertedGLM` inverts as it is."""


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
        table = self.fitted_channels(responses)
        if contrasts is not None:
            given = finite_table(contrasts, "contrasts")
            if given.shape != (len(table), len(self.contrast_weights)):
                raise DataError(
                    f"contrasts must be {(len(table), len(self.contrast_weights))}, as fitted; "
                    f"got {given.shape}"
                )
            table = table - given @ self.contrast_weights
        return table @ self.weights + self.intercept


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
        y, x = same_trials(responses, latents)
        extra = (
            np.zeros((len(y), 0)) if contrasts is None else finite_table(contrasts, "contrasts")
        )
        if len(extra) != len(y):
            raise DataError(f"contrasts must have the {len(y)} trials; got {len(extra)}")
        model = np.column_stack([x, extra])
        n, columns = len(y), 1 + model.shape[1]
        if n <= columns:
            raise DataError(
                f"{n} trials are too few: the model has a constant, {x.shape[1]} latents and "
                f"{extra.shape[1]} contrasts, and needs {columns + 1}. Use Ridge"
            )
        glm, constant = fit_least_squares(model, y)
        w = glm[: x.shape[1]]
        back, condition, ridge = self._inverse(w)
        return GLMDecoder(
            weights=back,
            intercept=-(constant @ back),
            constant=constant,
            latent_weights=w,
            contrast_weights=glm[x.shape[1] :],
            residual_variance=((y - model @ glm - constant) ** 2).sum(axis=0) / (n - columns),
            latent_covariance=_covariance(model)[: x.shape[1], : x.shape[1]],
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


def _covariance(model: Matrix) -> Matrix:
    """Return (M' M)^+ of a model's columns less their means, (k, k)."""
    centred = model - model.mean(axis=0)
    lengths = np.linalg.norm(centred, axis=0)
    lengths = np.where(lengths > 0, lengths, 1)
    scaled = centred / lengths
    inverse: Matrix = cast("Any", np.linalg).pinv(scaled.T @ scaled, hermitian=True)
    return inverse / np.outer(lengths, lengths)
