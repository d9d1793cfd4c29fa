"""Inversion: how well a generator can draw given images (Extended Data Fig. 1B).

From codes N(0, 1), Adam at 2e-3 on the mean squared difference of pixels, 401 steps (the
published script's own default is 2,500); the Pearson correlation over an image's pixels and
channels says how near it came. Steps of 2e-3 go 0.8 in any dimension of the code at most: the
published number is of how soon a generator comes near, not of the nearest that it can.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from evolver import seeds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from evolver.types import Codes, Generator, Images, Scores

RATE, STEPS = 2e-3, 401
ARRAYS = ("codes", "images", "pearson", "rmse", "at_start")
"""Of `Inversions`, one row an image."""
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

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what is an array, by name."""
        return {name: getattr(self, name) for name in ARRAYS}


def batches_of(generator: Generator, n: int) -> list[range]:
    """Return the numbers of images, 0 to n - 1, in batches that are drawn side by side."""
    at_once = cast("int", getattr(generator, "chunk", _AT_ONCE))
    return [range(first, min(first + at_once, n)) for first in range(0, n, at_once)]


def invert_batch(
    generator: Generator,
    images: Images,
    numbers: range,
    *,
    seed: int,
    steps: int = STEPS,
    rate: float = RATE,
    progress: Callable[[int], None] = lambda _: None,
) -> Inversions:
    """Find codes that draw a batch of images, each from a start of its own.

    Parameters
    ----------
    generator : whose codes they are
    images : (k, h, h, 3) uint8, of the generator's own size
    numbers : of these images among all; an image's start follows from its number
    seed : of the starts
    steps, rate : of Adam
    progress : told how many steps are taken
    """
    from evolver.generators.initial import invert

    starts = np.stack([
        seeds.stream(seed, "inversion", i).standard_normal(generator.d) for i in numbers
    ])
    codes = invert(
        generator,
        images,
        rng=seeds.stream(seed, "inversion"),  # starts are given: nothing is drawn
        steps=steps,
        rate=rate,
        start=starts,
        progress=lambda step, _: progress(step),
    ).codes
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


def join_inversions(generator: str, parts: Sequence[Mapping[str, NDArray[Any]]]) -> Inversions:
    """Put batches of one generator one after the other, each as arrays by their names."""
    joined = {name: np.concatenate([part[name] for part in parts]) for name in ARRAYS}
    return Inversions(generator=generator, **joined)


def take_inversions(inversions: Inversions, rows: Sequence[int]) -> Inversions:
    """Return those of some images, by their rows."""
    taken = {name: array[list(rows)] for name, array in inversions.arrays().items()}
    return Inversions(generator=inversions.generator, **taken)


def invert_images(
    generator: Generator, images: Images, *, seed: int, steps: int = STEPS, rate: float = RATE
) -> Inversions:
    """Find codes that draw given images; as `invert_batch`, all of them."""
    parts = [
        invert_batch(generator, images[list(k)], k, seed=seed, steps=steps, rate=rate).arrays()
        for k in batches_of(generator, len(images))
    ]
    return join_inversions(generator.name, parts)


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
