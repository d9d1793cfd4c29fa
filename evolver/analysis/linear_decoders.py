"""What all decoders are: a map from responses to latents, and who makes one.

The maps themselves are made in `decoding`, `inverted_glm` and `dense_decoder`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from evolver.analysis.quantities import finite_table
from evolver.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from evolver.types import Codes, Matrix, Vector


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
        return self.fitted_channels(responses) @ self.weights + self.intercept

    def fitted_channels(self, responses: ArrayLike) -> Matrix:
        """Return responses as a table, (n, c), of the channels that were fitted."""
        table = finite_table(responses, "responses")
        if table.shape[1] != len(self.weights):
            raise DataError(
                f"responses must have the {len(self.weights)} channels that were fitted; "
                f"got {table.shape[1]}"
            )
        return table


def same_trials(responses: ArrayLike, latents: ArrayLike) -> tuple[Matrix, Matrix]:
    """Return responses, (n, c), and latents, (n, d), as finite tables of the same trials."""
    y, x = finite_table(responses, "responses"), finite_table(latents, "latents")
    if len(y) != len(x) or not y.size or not x.size:
        raise DataError(
            f"responses (n, channels) and latents (n, d) must be of the same trials; got "
            f"{y.shape} and {x.shape}"
        )
    return y, x
