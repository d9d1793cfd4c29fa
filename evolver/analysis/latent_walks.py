"""Paths between images, in latents, in responses and in what an encoder says of them.

Between two images on a great circle (`slerp`), or from one along a group's mean (arithmetic).
Four rows, as published (Brain2GAN, Dado et al. 2024): the true latents' path; that of decoded
latents; a path of recorded responses, decoded step by step; and the responses that an encoder
predicts for the true path's images, decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from evolver.analysis.quantities import finite_table, vector_of
from evolver.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

    from evolver.analysis.linear_decoders import LinearDecoder
    from evolver.types import Codes, Matrix, Responses, Vector

Encode: TypeAlias = Callable[["Codes"], "Responses"]
"""Of latents, (s, d), the responses that an encoder predicts for their images, (s, c), in the
decoder's units: rendered, through a network's features and the encoder, z-scored."""
STEPS = 8
_OPPOSITE = 1e-6  # radians short of half a circle


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """Latents along a path, to be rendered.

    Attributes
    ----------
    shares : (s,) float64: of the way between two images, 0 to 1; or of the group's mean that is
        added, 0 none
    rows : of "true", "decoded", "responses" and, with an encoder, "encodings": (s, d) float64
    """

    shares: Vector
    rows: Mapping[str, Codes]


def slerp(first: ArrayLike, second: ArrayLike, shares: ArrayLike) -> Codes:
    """Return points between two vectors, (s, d): on the great circle, lengths linear.

    Parameters
    ----------
    first, second : (d,) finite, not 0
    shares : (s,) of the way, 0 to 1; beyond, the circle goes on

    Raises
    ------
    DataError
        A vector is 0 or not finite; or the two point in opposite directions, between which
        every great circle leads.
    """
    a, b, t = (
        vector_of(first, "first"),
        vector_of(second, "second"),
        vector_of(shares, "shares"),
    )
    lengths = np.array([np.linalg.norm(a), np.linalg.norm(b)])
    if a.shape != b.shape or not (np.isfinite(lengths).all() and lengths.all()):
        raise DataError(
            f"first and second must be finite vectors of one size, not 0; got {a.shape} and "
            f"{b.shape}, of lengths {lengths.tolist()}"
        )
    u, v = a / lengths[0], b / lengths[1]
    # By half the chord: an arccos of nearly 1 has few digits.
    angle = 2 * np.arctan2(np.linalg.norm(u - v), np.linalg.norm(u + v))
    if angle > np.pi - _OPPOSITE:
        raise DataError("two opposite vectors have no one great circle between them")
    if angle < 1e-12:
        points = np.outer(1 - t, u) + np.outer(t, v)
    else:
        points = np.outer(np.sin((1 - t) * angle), u) + np.outer(np.sin(t * angle), v)
        points /= np.sin(angle)
    return points * ((1 - t) * lengths[0] + t * lengths[1])[:, None]


def interpolation_walk(
    decoder: LinearDecoder,
    latents: ArrayLike,
    responses: ArrayLike,
    *,
    steps: int = STEPS,
    encode: Encode | None = None,
) -> Walk:
    """Walk from one test image to another.

    Parameters
    ----------
    decoder : fitted on training trials
    latents : (2, d) true ones of the two images
    responses : (2, c) their mean responses, in the decoder's units
    steps : points on the way, both ends among them
    encode : an encoder of the same channels; without it there is no row "encodings"
    """
    x, y = _of_images(decoder, latents, responses, 2)
    if steps < 2:
        raise DataError(f"steps must be 2 or more; got {steps}")
    shares = np.linspace(0.0, 1.0, steps)
    true = slerp(x[0], x[1], shares)
    decoded = decoder.predict(y)
    rows = {
        "true": true,
        "decoded": slerp(decoded[0], decoded[1], shares),
        "responses": decoder.predict(slerp(y[0], y[1], shares)),
    }
    return Walk(shares, _with_encodings(rows, decoder, encode, y.shape[1]))


def arithmetic_walk(
    decoder: LinearDecoder,
    latents: ArrayLike,
    responses: ArrayLike,
    group: tuple[ArrayLike, ArrayLike],
    *,
    shares: ArrayLike = (-1.0, -0.5, 0.0, 0.5, 1.0),
    encode: Encode | None = None,
) -> Walk:
    """Take a group's mean from an image, and add it: a + share * mean.

    Parameters
    ----------
    decoder : fitted on training trials
    latents : (1, d) the true one of the image
    responses : (1, c) its mean responses, in the decoder's units
    group : latents, (g, d), and responses, (g, c), of all members
    shares : (s,) of the mean; -1 and 1 as published
    encode : as `interpolation_walk` takes it
    """
    x, y = _of_images(decoder, latents, responses, 1)
    members = finite_table(group[0], "the group's latents")
    told = finite_table(group[1], "the group's responses")
    if members.shape[1:] != x.shape[1:] or told.shape[1:] != y.shape[1:]:
        raise DataError(
            f"the group must have latents (g, {x.shape[1]}) and responses (g, {y.shape[1]}); "
            f"got {members.shape} and {told.shape}"
        )
    if not len(members) or len(members) != len(told):
        raise DataError(
            f"the group must have one member or more, latents and responses of each; got "
            f"{len(members)} and {len(told)}"
        )
    t = vector_of(shares, "shares")

    def along(start: Vector, means: Vector) -> Matrix:
        return start + np.outer(t, means)

    rows = {
        "true": along(x[0], members.mean(axis=0)),
        "decoded": along(decoder.predict(y)[0], decoder.predict(told).mean(axis=0)),
        "responses": decoder.predict(along(y[0], told.mean(axis=0))),
    }
    return Walk(t, _with_encodings(rows, decoder, encode, y.shape[1]))


def _of_images(
    decoder: LinearDecoder, latents: ArrayLike, responses: ArrayLike, n: int
) -> tuple[Codes, Responses]:
    x, y = finite_table(latents, "latents"), finite_table(responses, "responses")
    c, d = decoder.weights.shape
    if x.shape != (n, d) or y.shape != (n, c):
        raise DataError(
            f"latents must be ({n}, {d}) and responses ({n}, {c}), as the decoder was fitted; "
            f"got {x.shape} and {y.shape}"
        )
    return x, y


def _with_encodings(
    rows: dict[str, Codes], decoder: LinearDecoder, encode: Encode | None, channels: int
) -> Mapping[str, Codes]:
    """Add the row of an encoder's responses to the true path, decoded."""
    if encode is None:
        return rows
    predicted = finite_table(encode(rows["true"]), "encoded responses")
    if predicted.shape != (len(rows["true"]), channels):
        raise DataError(
            f"encode must return responses ({len(rows['true'])}, {channels}); got "
            f"{predicted.shape}"
        )
    return rows | {"encodings": decoder.predict(predicted)}
