"""Re-evolution: the image that drives, weighed, the features that go with a unit's responses.

The largest of the sum of f * M, f the layer's maps of an image and M the positive part of an
attribution, up a gradient: in the codes of a generator, or in pixels by their spectrum (Wang &
Ponce, Nature Neuroscience 2026). Where an image that responses were never measured for drives
those features as high, so, if the attribution is right, it drives the unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evolver.comparisons.maximisation import Method, maximise
from scorers.layer_maps import WeighedMaps

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from evolver.types import Generator, Vector
    from scorers.layer_maps import LayerMaps

STEPS, BATCH = 150, 4
_RATE, _PIXEL_RATE = 0.05, 0.02  # Adam's, of codes and of spectra; as published
_SIZES = 8, 512  # pixels a side of `fourier`


@dataclass(frozen=True, slots=True, eq=False)
class ReEvolved:
    """What a re-evolution came by.

    Attributes
    ----------
    image : (h, w, 3) uint8
    code : (d,) latent units
    drive : float, the weighed sum, of the code's image before its pixels are rounded
    curve : (steps,) the largest drive so far
    """

    image: NDArray[np.uint8]
    code: Vector
    drive: float
    curve: Vector


def re_evolve(
    generator: Generator,
    maps: LayerMaps,
    weights: NDArray[np.float64],
    *,
    seed: int,
    steps: int = STEPS,
    batch: int = BATCH,
    progress: Callable[[int, int], None] | None = None,
) -> ReEvolved:
    """Drive the weighed features of a layer as far as Adam does.

    Parameters
    ----------
    generator : whose codes climb: 0.05 a step, or 0.02 where it is `fourier`
    maps : the layer
    weights : (c, h, w) of its features, the positive part of an attribution
    seed : of the starts
    steps, batch : of the climb, and how many codes climb side by side; the highest of all is
        taken
    progress : told the step, and how many there are
    """
    rate = _PIXEL_RATE if generator.name == "fourier" else _RATE
    # Steps of Adam do not depend on the sum's scale, but for its smallest slopes.
    scale = float(weights.max()) or 1.0
    runs = maximise(
        generator,
        WeighedMaps(maps, weights / scale),
        Method("adam", step=rate),
        layer=maps.name,
        seed=seed,
        steps=steps,
        repeats=1,
        batch=batch,
        progress=progress,
    )
    code = runs.codes[0, 0]
    return ReEvolved(
        image=generator.render(code[None])[0],
        code=code,
        drive=float(runs.best[0, 0]) * scale,
        curve=runs.curve[:, 0, 0] * scale,
    )


def pixel_generator(maps: LayerMaps) -> Generator:
    """Return the generator of pixels by their spectrum, at the size that a network takes."""
    from evolver import generators

    least, most = _SIZES
    size = min(max(*maps.network.preprocessing.size, least), most)
    return generators.load("fourier", size=size)
