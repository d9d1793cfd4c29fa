"""HYPER's decoder: a dense layer by Adam, with L2 in the gradient (Dado et al. 2022).

Our own, in numpy: scikit-learn's ``MLPRegressor`` leaves the bias out of L2, and divides L2 by
the trials of a batch, so that its minimum is another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evolver.analysis.linear_decoders import LinearDecoder, same_trials
from evolver.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from evolver.types import Matrix, Vector


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
        y, x = (table.astype(np.float32) for table in same_trials(responses, latents))
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
