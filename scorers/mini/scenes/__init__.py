"""The built-in world: colour scenes drawn from (class, factors), without torch.

``sample_scenes`` draws scenes at random, ``render`` given ones, ``CLASSES`` names the kinds.
Knows arrays and one random stream handed to it. Knows nothing of networks, files or clocks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evolver.errors import ConfigError, DataError
from evolver.types import Images
from scorers.mini.scenes import faces, outlines, solids, textures
from scorers.mini.scenes.canvas import FACTORS, SIZE, Factors, to_bytes

OBJECTS: tuple[str, ...] = (*solids.SOLIDS, *outlines.OUTLINES, *faces.FACES)
"""Classes that depend on their factors smoothly, so that a network can learn to draw them."""
CLASSES: tuple[str, ...] = (*OBJECTS, *textures.TEXTURES)
"""Every class; a label is an index into this."""
_DRAW = {
    **dict.fromkeys(solids.SOLIDS, solids.draw),
    **dict.fromkeys(outlines.OUTLINES, outlines.draw),
    **dict.fromkeys(faces.FACES, faces.draw),
    **dict.fromkeys(textures.TEXTURES, textures.draw),
}
_CHUNK = 16  # scenes drawn together: their planes stay in the processor's cache

__all__ = ["CLASSES", "FACTORS", "OBJECTS", "SIZE", "render", "sample_scenes"]


def render(class_index: int, factors: NDArray[np.float64]) -> Images:
    """Draw scenes of one class.

    Parameters
    ----------
    class_index : int, into `CLASSES`
    factors : ndarray of float64, (n, len(FACTORS)), standard normal units, finite

    Returns
    -------
    ndarray of uint8, (n, 64, 64, 3), sRGB; equal for equal arguments, one at a time or
    together, on every processor (see `portable`)

    Raises
    ------
    DataError
        The class or the shape does not exist, or a factor is not finite.
    """
    if not 0 <= class_index < len(CLASSES):
        raise DataError(f"class_index must be 0 to {len(CLASSES) - 1}; got {class_index}")
    if factors.ndim != 2 or factors.shape[1] != len(FACTORS):
        raise DataError(f"factors must have shape (n, {len(FACTORS)}); got {factors.shape}")
    if not np.isfinite(factors).all():
        raise DataError("factors must be finite")
    name = CLASSES[class_index]
    images = np.empty((len(factors), SIZE, SIZE, 3), np.uint8)
    for start in range(0, len(factors), _CHUNK):
        part = slice(start, start + _CHUNK)
        images[part] = to_bytes(_DRAW[name](name, Factors(factors[part])))
    return images


def sample_scenes(
    n: int, *, rng: np.random.Generator, classes: Sequence[str] | None = None
) -> tuple[Images, NDArray[np.int64], NDArray[np.float64]]:
    """Draw n random scenes, the classes as balanced as n allows, in random order.

    Parameters
    ----------
    n : int >= 1, scenes
    rng : numpy.random.Generator; decides the order, the surplus classes and the factors
    classes : names out of `CLASSES`; all of them when None

    Returns
    -------
    images : ndarray of uint8, (n, 64, 64, 3)
    labels : ndarray of int64, (n,), indices into `CLASSES`
    factors : ndarray of float64, (n, len(FACTORS))

    Raises
    ------
    ConfigError
        A class does not exist.
    """
    names = CLASSES if classes is None else tuple(classes)
    unknown = sorted(set(names) - set(CLASSES))
    if unknown or not names:
        raise ConfigError(
            f"classes must be some of {', '.join(CLASSES)}; got {unknown or 'none'}"
        )
    if n < 1:
        raise DataError(f"n must be at least 1; got {n}")
    own = np.array([CLASSES.index(name) for name in names])
    rounds = -(-n // len(own))
    # Whole rounds hold every class once; the last, cut short, holds a random part of them.
    labels = np.concatenate([rng.permutation(own) for _ in range(rounds)])[:n]
    labels = rng.permutation(labels)
    factors = rng.standard_normal((n, len(FACTORS)))
    images = np.empty((n, SIZE, SIZE, 3), np.uint8)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        images[rows] = render(int(label), factors[rows])
    return images, labels.astype(np.int64), factors
