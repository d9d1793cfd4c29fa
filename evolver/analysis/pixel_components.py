"""Principal components of pixels: the baseline that a generator's latents are held against.

VanRullen & Reddy 2019 decode as many components of the training images' pixels, by the same
decoder, and say by the same identification what a generator's latents are worth beyond them.
The components are scikit-learn's ``PCA``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from evolver.analysis.quantities import finite_table
from evolver.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from evolver.types import Codes, Matrix, Vector


@dataclass(frozen=True, slots=True, eq=False)
class PixelComponents:
    """Directions in which training images vary the most.

    Attributes
    ----------
    shape : (h, w, 3) of an image
    mean : (pixels,) float64, 0 to 255, of the training images
    components : (k, pixels) float64, orthonormal, the widest first
    variance : (k,) float64, of the training images along each, n - 1 in it
    explained : float, share of all variance
    """

    shape: tuple[int, int, int]
    mean: Vector
    components: Matrix
    variance: Vector
    explained: float

    def codes(self, images: ArrayLike) -> Codes:
        """Return the components of images, (n, k), each of unit variance in training.

        Parameters
        ----------
        images : (n, h, w, 3) uint8, of the training images' size
        """
        pixels, shape = _pixels(images)
        if shape != self.shape:
            raise DataError(f"images must be {self.shape}, as those fitted; got {shape}")
        return (pixels - self.mean) @ self.components.T / np.sqrt(self.variance)

    def images(self, codes: ArrayLike) -> NDArray[np.uint8]:
        """Return the images of codes, (n, h, w, 3) uint8, cut off at 0 and 255."""
        table = finite_table(codes, "codes")
        if table.shape[1] != len(self.components):
            raise DataError(f"codes must be (n, {len(self.components)}); got {table.shape}")
        pixels = (table * np.sqrt(self.variance)) @ self.components + self.mean
        return np.clip(np.rint(pixels), 0, 255).astype(np.uint8).reshape(-1, *self.shape)


def pixel_components(images: ArrayLike, k: int) -> PixelComponents:
    """Return the leading components of training images.

    Parameters
    ----------
    images : (n, h, w, 3) uint8, n > k
    k : as many as the latents they are held against; large problems are sketched at random, by
        the same seed always

    Raises
    ------
    DataError
        Images are none, are fewer than `k` + 1, or vary in fewer directions.
    """
    from sklearn import decomposition

    pixels, shape = _pixels(images)
    if not 1 <= k < min(len(pixels), pixels.shape[1] + 1):
        raise DataError(
            f"k must be 1 to {min(len(pixels) - 1, pixels.shape[1])}, of {len(pixels)} images; "
            f"got {k}"
        )
    fit = cast("Any", decomposition).PCA(k, random_state=0).fit(pixels)
    variance: Vector = fit.explained_variance_
    if not variance[-1] > 1e-12 * variance[0]:
        varied = int((variance > 1e-12 * variance[0]).sum())
        raise DataError(f"images vary in {varied} directions; {k} components are asked for")
    return PixelComponents(
        shape, fit.mean_, fit.components_, variance, float(fit.explained_variance_ratio_.sum())
    )


def _pixels(images: ArrayLike) -> tuple[Matrix, tuple[int, int, int]]:
    """Return pixels, (n, h w 3) float64, and an image's shape."""
    table = np.asarray(images)
    if table.ndim != 4 or table.shape[3] != 3 or table.dtype != np.uint8 or not table.size:
        raise DataError(f"images must be (n, h, w, 3) uint8; got {table.shape} {table.dtype}")
    _, h, w, colours = table.shape
    return table.reshape(len(table), -1).astype(np.float64), (h, w, colours)
