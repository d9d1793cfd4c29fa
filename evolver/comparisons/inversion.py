"""Inversion: how well a generator can draw given images (Extended Data Fig. 1B).

From codes N(0, 1), Adam at 2e-3 on the mean squared difference of pixels, 401 steps (the
published script's own default is 2,500); the Pearson correlation over an image's pixels and
channels says how near it came. Steps of 2e-3 go 0.8 in any dimension of the code at most: the
published number is of how soon a generator comes near, not of the nearest that it can.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from evolver import seeds

if TYPE_CHECKING:
    from collections.abc import Callable

    from evolver.types import Codes, Generator, Images, Scores

RATE, STEPS = 2e-3, 401
_AT_ONCE = 8


@dataclass(frozen=True, slots=True, eq=False)
class Inversions:
    """What a generator drew of given images.

    Attributes
    ----------
    generator : str
    codes : (n, d) the best seen of each
    images : (n, h, h, 3) uint8, drawn of them
    pearson : (n,) over pixels and channels; NaN where an image is of one colour
    rmse : (n,) root mean squared difference of pixels, 0 to 1
    at_start : (n,) Pearson of the codes that it began with
    """

    generator: str
    codes: Codes
    images: Images
    pearson: Scores
    rmse: Scores
    at_start: Scores


def invert_images(
    generator: Generator,
    images: Images,
    *,
    seed: int,
    steps: int = STEPS,
    rate: float = RATE,
    progress: Callable[[int, int], None] | None = None,
) -> Inversions:
    """Find codes that draw given images, each from a start of its own.

    Parameters
    ----------
    generator : whose codes they are
    images : (n, h, h, 3) uint8, of the generator's own size
    seed : of the starts; an image's start follows from its number
    steps, rate : of Adam
    progress : told how many images are finished, of how many
    """
    from evolver.generators.initial import invert

    n = len(images)
    starts = np.stack([
        seeds.stream(seed, "inversion", i).standard_normal(generator.d) for i in range(n)
    ])
    at_once = cast("int", getattr(generator, "chunk", _AT_ONCE))
    codes = np.empty_like(starts)
    for first in range(0, n, at_once):
        part = slice(first, min(first + at_once, n))
        codes[part] = invert(
            generator,
            images[part],
            rng=seeds.stream(seed, "inversion"),  # starts are given: nothing is drawn
            steps=steps,
            rate=rate,
            start=starts[part],
        ).codes
        if progress is not None:
            progress(part.stop, n)
    drawn = generator.render(codes)
    difference = (drawn.astype(np.float64) - images) / 255
    return Inversions(
        generator=generator.name,
        codes=codes,
        images=drawn,
        pearson=pixel_correlations(drawn, images),
        rmse=np.sqrt((difference**2).mean(axis=(1, 2, 3))),
        at_start=pixel_correlations(generator.render(starts), images),
    )


def pixel_correlations(first: Images, second: Images) -> Scores:
    """Return the Pearson correlation of each pair over pixels and channels, (n,).

    NaN where an image is of one colour.
    """
    a, b = (x.reshape(len(x), -1).astype(np.float64) for x in (first, second))
    a -= a.mean(axis=1, keepdims=True)
    b -= b.mean(axis=1, keepdims=True)
    lengths = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.divide(
        (a * b).sum(axis=1), lengths, out=np.full(len(a), np.nan), where=lengths > 0
    )
