"""Walks between two decoded items: rendered, and with what an encoder says of the way.

Knows a generator's face, and what predicts the channels' responses to images, handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from evolver.analysis.decoding_responses import response_scale
from evolver.errors import DataError
from evolver.reconstruction.results import DecodedWalk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evolver.analysis.latent_walks import Encode, Walk
    from evolver.types import Codes, Generator, Images, Responses

UnitResponses: TypeAlias = Callable[["Images"], "Responses"]
"""Of images, (n, h, w, 3) uint8, the channels' responses, (n, c) in spikes/s."""
_NAMED = 8


def row_of(item: str, items: Sequence[str]) -> int:
    """Return where an item stands among the decoded ones.

    Raises
    ------
    DataError
        There is none of this name.
    """
    if item not in items:
        named = ", ".join(items[:_NAMED]) + (", ..." if len(items) > _NAMED else "")
        raise DataError(f"a walk must be between two of the test items {named}; got {item!r}")
    return list(items).index(item)


def encoded(generator: Generator, encoder: UnitResponses, training: Responses) -> Encode:
    """Return what makes a decoder's responses of latents: drawn, and encoded.

    Parameters
    ----------
    generator : draws them
    encoder : of the channels, in the responses' unit
    training : (p, c) responses, whose z-scores the decoder was fitted on
    """
    scale = response_scale(training)

    def encode(latents: Codes) -> Responses:
        return scale.scores(encoder(generator.render(latents)))

    return encode


def drawn_walk(generator: Generator, pair: tuple[str, str], walk: Walk) -> DecodedWalk:
    """Return a walk between two items, each of its latents drawn."""
    images = {name: generator.render(codes) for name, codes in walk.rows.items()}
    return DecodedWalk(*pair, walk.shares, images)
