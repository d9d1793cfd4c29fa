"""How alike two evolutions' images are: their prototypes, compared by measures handed in.

A prototype is the best image of the best block, or the image of that block's mean code, or one
made elsewhere. Measures of pixels and of features are here; a network is not: its features, or
a distance such as LPIPS, are handed in. Pixels run from 0 to 1, or 0 to 255 in uint8.

Wang & Ponce, Nature Neuroscience 2026, Fig. 3. SSIM: Wang et al. 2004 (IEEE Trans. Image
Process. 13, 600), with its Gaussian window of sd 1.5 and its constants.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
from scipy import ndimage

from evolver.analysis.quantities import Quantity, vector_of
from evolver.analysis.trajectories import best_rows, trajectory
from evolver.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

    from evolver.types import Matrix, Vector

Measure: TypeAlias = Callable[["Matrix", "Matrix"], "float | Quantity"]
"""Of two images, (h, w, 3) in 0 to 1, or of two prototypes' features: how alike, or how far."""

GREY = 0.5
_filters = cast("Any", ndimage)  # its functions leave their arguments open
_K1, _K2, _WINDOW_SD, _WINDOW_RADIUS = 0.01, 0.03, 1.5, 5


@dataclass(frozen=True, slots=True, eq=False)
class Prototypes:
    """Where an evolution's prototypes are.

    Attributes
    ----------
    block : int, with the highest mean response; -1 where none has one
    best_row : int, of the image with the largest response in that block; -1 where none
    mean_code : (d,) of that block's images, for a generator to render; NaN where none
    reason : str, why there are none; empty where there are
    """

    block: int
    best_row: int
    mean_code: Vector
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Similarity:
    """One prototype of two evolutions, by one measure."""

    prototype: str
    measure: str
    value: Quantity


def prototypes(responses: ArrayLike, block: ArrayLike, codes: ArrayLike) -> Prototypes:
    """Find the prototypes of an evolution.

    Parameters
    ----------
    responses : (n,) one an image; NaN is left out
    block : (n,) int, from 0; -1 leaves a row out
    codes : (n, d) of the images, latent units

    Raises
    ------
    DataError
        Arrays do not fit.
    """
    values = vector_of(responses, "responses")
    points: Matrix = np.asarray(codes, dtype=np.float64)
    blocks = np.asarray(block, dtype=np.int64)
    if points.ndim != 2 or not len(values) == len(points) == len(blocks):
        raise DataError(
            f"responses, block and codes must have one row an image; got {values.shape}, "
            f"{blocks.shape} and {points.shape}"
        )
    groups = int(blocks.max(initial=-1)) + 1
    course = trajectory(values, blocks, groups=groups)
    if not len(course.filled):
        reason = "no block has a response"
        return Prototypes(-1, -1, np.full_like(points, np.nan, shape=len(points.T)), reason)
    best = int(np.nanargmax(course.mean))
    row = int(best_rows(values, blocks, groups=groups)[best])
    members = np.flatnonzero((blocks == best) & np.isfinite(values))
    return Prototypes(best, row, points[members].mean(axis=0))


def evolution_similarity(
    first: Mapping[str, ArrayLike],
    second: Mapping[str, ArrayLike],
    measures: Mapping[str, Measure],
    *,
    mask: ArrayLike | None = None,
) -> list[Similarity]:
    """Compare two evolutions by every prototype that both have, and every measure.

    Parameters
    ----------
    first, second : prototypes by name, each an image (h, w, 3), uint8 or 0 to 1; or features
    measures : by name, as `pixel_correlation`, `structural_similarity`, or of a network
    mask : (h, w) in 0 to 1, how much of each pixel of images is seen; the rest is grey

    Returns
    -------
    one for each, prototypes in the order of `first`; a measure may say that it is undefined,
        and one that is not finite is
    """
    found: list[Similarity] = []
    for name in first:
        if name not in second:
            continue
        a, b = (_unit_range(of[name]) for of in (first, second))
        if mask is not None:
            a, b = masked_image(a, mask), masked_image(b, mask)
        for measure, compare in measures.items():
            value = compare(a, b)
            if not isinstance(value, Quantity):
                value = (
                    Quantity(float(value))
                    if np.isfinite(value)
                    else Quantity.undefined(f"{measure} is {value}")
                )
            found.append(Similarity(name, measure, value))
    return found


def pixel_correlation(first: ArrayLike, second: ArrayLike) -> Quantity:
    """Return Pearson's r over all pixels and channels."""
    a, b = _pair(first, second)
    if not (np.ptp(a) > 0 and np.ptp(b) > 0):
        return Quantity.undefined("an image is of one colour")
    return Quantity(float(np.corrcoef(a.ravel(), b.ravel())[0, 1]))


def structural_similarity(first: ArrayLike, second: ArrayLike) -> Quantity:
    """Return the mean SSIM over pixels and channels, of pixels whose window is in the image.

    Parameters
    ----------
    first, second : (h, w, channels) or (h, w), uint8 or 0 to 1, 11 pixels wide at least
    """
    a, b = _pair(first, second)
    if a.ndim == 2:
        a, b = a[..., None], b[..., None]
    if reason := _too_small(a):
        return Quantity.undefined(reason)
    return Quantity(_local_similarity(_LocalMoments(a), _LocalMoments(b)))


def structural_similarities(first: ArrayLike, second: ArrayLike) -> Matrix:
    """Return the mean SSIM of every image of one stack with every one of another, (n, m).

    What `structural_similarity` says of each pair, in a third of the time: what is of one image
    alone is worked out once.

    Parameters
    ----------
    first, second : (n, h, w, channels) and (m, h, w, channels), uint8 or 0 to 1

    Returns
    -------
    (n, m) float64; NaN where images are smaller than the window
    """
    stacks = [_unit_range(images) for images in (first, second)]
    if any(stack.ndim != 4 for stack in stacks) or stacks[0].shape[1:] != stacks[1].shape[1:]:
        raise DataError(
            f"images must be (n, h, w, channels), of one size; got {stacks[0].shape} and "
            f"{stacks[1].shape}"
        )
    values = np.full((len(stacks[0]), len(stacks[1])), np.nan)
    if not values.size or _too_small(stacks[0][0]):
        return values
    ones, others = ([_LocalMoments(image) for image in stack] for stack in stacks)
    for row, one in zip(values, ones, strict=True):
        row[:] = [_local_similarity(one, other) for other in others]
    return values


def feature_cosine(first: ArrayLike, second: ArrayLike) -> Quantity:
    """Return the cosine of two features' angle, of any shape."""
    a, b = _pair(first, second)
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    if norms == 0:
        return Quantity.undefined("a feature is zero everywhere")
    return Quantity(float((a * b).sum()) / norms)


def feature_mse(first: ArrayLike, second: ArrayLike) -> Quantity:
    """Return the mean squared difference of two features, of any shape."""
    a, b = _pair(first, second)
    return Quantity(float(((a - b) ** 2).mean()))


def centre_mask(h: int, w: int, *, border: int = 1) -> Matrix:
    """Return a mask, (h, w), of ones without a border; published: 7 x 7 and a border of 1."""
    if border < 0 or min(h, w) <= 2 * border:
        raise DataError(f"a border of {border} must leave something of {h} x {w}")
    mask = np.zeros((h, w))
    mask[border : h - border, border : w - border] = 1
    return mask


def zoomed_mask(
    mask: ArrayLike,
    h: int,
    w: int,
    *,
    rows: ArrayLike | None = None,
    columns: ArrayLike | None = None,
) -> Matrix:
    """Return a mask at another size, (h, w), linear between the centres of its cells.

    Beyond the outermost centres it goes on as it is there. A finer layer's mask of 14 x 14 and
    an image's alpha mask are made of one of 7 x 7.

    Parameters
    ----------
    mask : (k, l)
    h, w : pixels
    rows, columns : (k,) and (l,), ascending: where the cells' centres are, as a share of the
        image from its upper, left edge. If not given, cells divide the image evenly, as
        published; what units see begins half a cell before that in many a network

    Raises
    ------
    DataError
        They are of other shapes.
    """
    values: Matrix = np.asarray(mask, dtype=np.float64)
    if values.ndim != 2 or not values.size or h < 1 or w < 1:
        raise DataError(f"mask must be (h, w), and its new size 1 or more; got {values.shape}")
    down = _interpolation(values.shape[0], h, rows)
    across = _interpolation(values.shape[1], w, columns)
    return down @ values @ across.T


def masked_features(features: ArrayLike, mask: ArrayLike) -> Matrix:
    """Return features pooled over space: sum of mask * f over the sum of the mask.

    Parameters
    ----------
    features : (..., h, w) of a layer
    mask : (h, w), none negative, not all zero

    Returns
    -------
    (...) float64
    """
    f, weights = np.asarray(features, dtype=np.float64), np.asarray(mask, dtype=np.float64)
    if f.shape[-2:] != weights.shape or weights.min() < 0 or not weights.any():
        raise DataError(
            f"mask must be {f.shape[-2:]}, none negative, not all zero; got {weights.shape}"
        )
    return np.asarray((f * weights).sum(axis=(-2, -1)) / weights.sum(), dtype=np.float64)


def masked_image(image: ArrayLike, mask: ArrayLike, *, grey: float = GREY) -> Matrix:
    """Return an image, 0 to 1, grey where the mask is 0: mask * image + (1 - mask) * grey.

    Parameters
    ----------
    image : (h, w, channels), uint8 or 0 to 1
    mask : (h, w) in 0 to 1
    """
    pixels, alpha = _unit_range(image), np.asarray(mask, dtype=np.float64)
    if pixels.ndim != 3 or pixels.shape[:2] != alpha.shape:
        raise DataError(f"mask must have the image's rows and columns; got {alpha.shape}")
    return alpha[..., None] * pixels + (1 - alpha[..., None]) * grey


def _interpolation(old: int, new: int, centres: ArrayLike | None) -> Matrix:
    """Return weights, (new, old), of `old` cells in each of `new` cells of the same stretch."""
    places: Vector = np.asarray(
        (np.arange(old) + 0.5) / old if centres is None else centres, dtype=np.float64
    )
    if places.shape != (old,) or not (np.diff(places) > 0).all():
        raise DataError(f"centres must be {old} ascending shares; got {places}")
    at = (np.arange(new) + 0.5) / new
    weights = np.empty((new, old))
    for cell, column in enumerate(np.eye(old)):
        weights[:, cell] = np.interp(at, places, column)
    return weights


def _unit_range(image: ArrayLike) -> Matrix:
    values = np.asarray(image)
    scale = 255.0 if values.dtype == np.uint8 else 1.0
    return values.astype(np.float64) / scale


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[Matrix, Matrix]:
    a, b = _unit_range(first), _unit_range(second)
    if a.shape != b.shape or not a.size:
        raise DataError(f"both must have one shape; got {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise DataError("both must be finite")
    return a, b


class _LocalMoments:
    """An image, (h, w, channels), and what its pixels are about each place of SSIM's window."""

    def __init__(self, values: Matrix) -> None:
        self.values = values
        self.mean = _local_mean(values)
        self.variance = _local_mean(values * values) - self.mean**2


def _local_mean(values: Matrix) -> Matrix:
    margin = _WINDOW_RADIUS
    smoothed: Matrix = _filters.gaussian_filter(
        values, (_WINDOW_SD, _WINDOW_SD, 0), radius=(margin, margin, 0)
    )
    return smoothed[margin:-margin, margin:-margin]


def _local_similarity(a: _LocalMoments, b: _LocalMoments) -> float:
    """Return the mean SSIM of two images."""
    covariance = _local_mean(a.values * b.values) - a.mean * b.mean
    c1, c2 = _K1**2, _K2**2
    ratio = (2 * a.mean * b.mean + c1) * (2 * covariance + c2)
    ratio /= (a.mean**2 + b.mean**2 + c1) * (a.variance + b.variance + c2)
    return float(ratio.mean())


def _too_small(image: Matrix) -> str:
    """Return why an image has no SSIM; empty where it has."""
    if image.ndim == 3 and min(image.shape[:2]) > 2 * _WINDOW_RADIUS:
        return ""
    return f"images of {image.shape} are smaller than the window, 11 x 11"
