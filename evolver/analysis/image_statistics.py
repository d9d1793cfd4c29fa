"""Low-level statistics of images: luminance, colour, contrast, spectrum over scales and angles.

As the published comparison of generators measures the last generations of evolutions. A mean
over images has its standard error from `trajectory`; tests are paired over units.

The spectrum is |FFT|^2 of luma, of the largest centred square, the mean subtracted. A frequency
k is in cycles per image. Orientation is that of the wave's direction, counter-clockwise from
the right as one sees the image: a grating of vertical bars is at 0 degrees, and one of
horizontal bars at 90.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evolver.checks import check_images
from evolver.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evolver.types import Images, Matrix, Vector

LUMA = np.array([0.299, 0.587, 0.114])
"""ITU-R BT.601 weights of red, green and blue, as image libraries turn colour to grey."""
ORIENTATIONS = 180


@dataclass(frozen=True, slots=True, eq=False)
class ImageStatistics:
    """Low-level statistics of n images; pixels run from 0 to 1.

    Attributes
    ----------
    luminance : (n,) mean luma
    rgb : (n, 3) mean of each channel
    contrast : (n,) RMS contrast: standard deviation of each channel over pixels, averaged
    frequencies : (k,) rings of the spectrum, 1 to half the image's side, cycles per image
    power : (n, k) mean of |FFT|^2 over the ring k - 0.5 <= |f| < k + 0.5
    total : (n, k) `power` times the ring's area, pi ((k + 0.5)^2 - (k - 0.5)^2)
    slope : (n,) of log `power` over log frequency, least squares; that of `total` is one more.
        NaN where a ring has no power at all, as in an image of one colour
    orientation : (n, 180) mean of |FFT|^2 over the frequencies of `frequencies` whose angle is
        nearest to 0, 1, ... 179 degrees; NaN at angles at which the grid has none. As
        published; which frequencies the grid has at an angle is seen in it
    anisotropy : (n, 180) the same of |FFT|^2 over the mean of its ring: 1 where all directions
        are alike, whatever the grid; NaN also where an image is of one colour
    """

    luminance: Vector
    rgb: Matrix
    contrast: Vector
    frequencies: Vector
    power: Matrix
    total: Matrix
    slope: Vector
    orientation: Matrix
    anisotropy: Matrix


@dataclass(frozen=True, slots=True, eq=False)
class _Grid:
    """Which ring and which angle each frequency of a square image is in; -1: none."""

    ring: NDArray[np.intp]
    angle: NDArray[np.intp]


@lru_cache(maxsize=4)
def _grid(side: int) -> _Grid:
    f = np.fft.fftfreq(side, 1 / side)
    up, right = -f[:, None], f[None, :]  # rows run downwards
    distance = np.hypot(up, right)
    ring = np.floor(distance + 0.5).astype(np.intp)
    ring = np.where((ring >= 1) & (ring <= side // 2), ring - 1, -1)
    degrees = np.round(np.degrees(np.arctan2(up, right))).astype(np.intp) % ORIENTATIONS
    return _Grid(ring.ravel(), np.where(ring >= 0, degrees, -1).ravel())


def image_statistics(images: Images) -> ImageStatistics:
    """Measure images.

    Parameters
    ----------
    images : (n, h, w, 3) uint8, at least 4 pixels a side

    Raises
    ------
    DataError
        The images have another shape or dtype.
    """
    check_images(images)
    n, height, width = images.shape[:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    grid = _grid(side)
    rings = side // 2
    rgb, contrast = np.empty((n, 3)), np.empty(n)
    power, orientation = np.empty((n, rings)), np.empty((n, ORIENTATIONS))
    anisotropy = np.empty((n, ORIENTATIONS))
    luminance = np.empty(n)
    for i, image in enumerate(images):
        pixels = image / 255.0
        rgb[i] = pixels.mean(axis=(0, 1))
        contrast[i] = pixels.std(axis=(0, 1)).mean()
        luma = pixels @ LUMA
        luminance[i] = luma.mean()
        square = luma[top : top + side, left : left + side]
        spectrum = np.abs(np.fft.fft2(square - square.mean())) ** 2
        power[i] = _means(spectrum.ravel(), grid.ring, rings)
        orientation[i] = _means(spectrum.ravel(), grid.angle, ORIENTATIONS)
        of_ring: Vector = power[i][grid.ring]  # what is in none has no angle either
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.where(of_ring > 0, spectrum.ravel() / of_ring, np.nan)
        anisotropy[i] = _means(relative, grid.angle, ORIENTATIONS)
    k = np.arange(1, rings + 1, dtype=np.float64)
    area = np.pi * ((k + 0.5) ** 2 - (k - 0.5) ** 2)
    slope = np.array([_slope(k, row) for row in power])
    return ImageStatistics(
        luminance, rgb, contrast, k, power, power * area, slope, orientation, anisotropy
    )


def join_statistics(parts: Sequence[ImageStatistics]) -> ImageStatistics:
    """Put the statistics of images of one size together, in their order.

    Raises
    ------
    DataError
        There are none, or they are of images of several sizes.
    """
    if not parts or any(len(p.frequencies) != len(parts[0].frequencies) for p in parts):
        raise DataError(
            "statistics to join must be of images of one size; got rings of "
            f"{[len(p.frequencies) for p in parts]}"
        )
    each = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(ImageStatistics)
        if field.name != "frequencies"
    }
    return ImageStatistics(frequencies=parts[0].frequencies, **each)


def _means(values: Vector, group: NDArray[np.intp], groups: int) -> Vector:
    kept = group >= 0
    n = np.bincount(group[kept], minlength=groups)
    sums = np.bincount(group[kept], weights=values[kept], minlength=groups)
    return np.divide(sums, n, out=np.full(groups, np.nan), where=n > 0)


def _slope(k: Vector, power: Vector) -> float:
    # Less than rounding leaves of an image of one colour is nothing.
    if power.min() <= 1e-20 * len(k) ** 4:
        return float("nan")
    x, y = np.log(k), np.log(power)
    x = x - x.mean()
    return float((x @ (y - y.mean())) / (x @ x))
