"""Where in an image a unit looks: by gradient, and by covering a patch.

The gradient's map is the mean over images of |da/dimage|, its three channels averaged, images
that leave the unit at exactly 0 left out; the box holds what is above a hundredth of its
largest value, squared and moved into the frame (Wang & Ponce 2022). Maps are (rows, columns),
as images are: the published code exchanges the two, which a square map hides.

Knows arrays, tensors and a scorer. Knows nothing of files or figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from evolver.checks import check_images
from evolver.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from evolver.types import Images, Matrix, Responses
    from scorers.scorer import UnitScorer

GREY = 128
"""Of a screen, and of what covers a patch."""
_FLOOR, _TINIEST = 0.01, 1e-8
_TOGETHER = 8


@dataclass(frozen=True, slots=True)
class Box:
    """A square of an image, pixels."""

    top: int
    left: int
    side: int


def uniform_noise(n: int, *, height: int, width: int, rng: np.random.Generator) -> Images:
    """Return images of independent pixels, uniform from black to white: (n, h, w, 3) uint8."""
    return rng.integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def gradient_maps(scorer: UnitScorer, images: Images) -> NDArray[np.float64]:
    """Return how strongly each unit depends on each pixel: (u, h, w) float64.

    Parameters
    ----------
    scorer : its units
    images : (n, h, w, 3) uint8, of any size: noise, or a generator's; 200 are usual

    Returns
    -------
    ndarray : response per unit of pixel value (1 is white), averaged over channels and over the
        images in which the unit is not exactly 0; NaN for a unit that is 0 in all of them

    Raises
    ------
    DataError
        The images have another shape or dtype.
    """
    check_images(images)
    n_units = len(scorer.unit_names)
    sums = np.zeros((n_units, *images.shape[1:3]))
    counts = np.zeros(n_units)
    for start in range(0, len(images), _TOGETHER):
        pixels = torch.as_tensor(np.ascontiguousarray(images[start : start + _TOGETHER]))
        x = (pixels.permute(0, 3, 1, 2).float() / 255).requires_grad_()
        responses = scorer.responses(x)
        live = (responses.detach() != 0).double()
        for unit in range(n_units):
            (slope,) = torch.autograd.grad(
                responses[:, unit].sum(), x, retain_graph=unit < n_units - 1
            )
            strength = slope.abs().mean(1).double() * live[:, unit, None, None]
            sums[unit] += strength.sum(0).numpy(force=True)
        counts += live.sum(0).numpy(force=True)
    with np.errstate(invalid="ignore"):
        return sums / counts[:, None, None]


def occlusion_maps(
    score: Callable[[Images], Responses],
    images: Images,
    *,
    patch: int,
    stride: int,
    grey: int = GREY,
) -> NDArray[np.float64]:
    """Return how much responses fall when a patch is covered: (u, rows, columns) float64.

    Parameters
    ----------
    score : images to responses, (n, u); a scorer's, or a fitted model's
    images : (n, h, w, 3) uint8; the fall is averaged over them
    patch, stride : side of the square that is covered, and its step, pixels; the first lies in
        the corner, and the last ends with the image
    grey : what covers it

    Returns
    -------
    ndarray : response to the whole image less that to the covered one; by `occlusion_places`

    Raises
    ------
    DataError
        The patch is larger than the image, or the stride is not at least 1.
    """
    check_images(images)
    rows = occlusion_places(images.shape[1], patch=patch, stride=stride)
    columns = occlusion_places(images.shape[2], patch=patch, stride=stride)
    whole = score(images)
    falls = np.empty((whole.shape[1], len(rows), len(columns)))
    for i, top in enumerate(rows):
        for j, left in enumerate(columns):
            covered = images.copy()
            covered[:, top : top + patch, left : left + patch] = grey
            falls[:, i, j] = (whole - score(covered)).mean(axis=0)
    return falls


def occlusion_places(length: int, *, patch: int, stride: int) -> NDArray[np.int64]:
    """Return where covered patches begin along one side of an image, pixels."""
    if not (1 <= patch <= length and stride >= 1):
        raise DataError(
            f"a patch must fit into {length} pixels and be moved by 1 or more; got patch "
            f"{patch}, stride {stride}"
        )
    return np.unique(np.append(np.arange(0, length - patch + 1, stride), length - patch))


def layer_map(maps: NDArray[np.float64], weights: NDArray[np.float64]) -> Matrix:
    """Return the mean of maps, (u, h, w), weighted by (u,) numbers that are not negative."""
    if maps.ndim != 3 or weights.shape != maps.shape[:1] or not weights.sum() > 0:
        raise DataError(
            "maps must be (u, h, w) and weights (u,), not all 0; got "
            f"{maps.shape} and {weights.shape}"
        )
    return np.tensordot(weights, maps, axes=1) / weights.sum()


def box_of(field: Matrix) -> Box | None:
    """Return the square that holds a map, or None where nothing in it is above the floor.

    Pixels above max(0.01 of the largest, 1e-8); made square by the longer side about its
    centre, and moved inside the frame. A square longer than the frame's shorter side is as long
    as that.
    """
    _check_map(field)
    lit = field > max(_FLOOR * float(np.nanmax(field)), _TINIEST)
    if not lit.any():
        return None
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    side = int(max(rows[-1] - rows[0], columns[-1] - columns[0])) + 1
    side = min(side, *field.shape)

    def start(first: int, last: int, length: int) -> int:
        centred = (first + last + 1 - side) // 2
        return min(max(centred, 0), length - side)

    top = start(int(rows[0]), int(rows[-1]), field.shape[0])
    left = start(int(columns[0]), int(columns[-1]), field.shape[1])
    return Box(top, left, side)


def box_around(boxes: Sequence[Box], *, height: int, width: int) -> Box:
    """Return the smallest square that holds squares, moved inside a frame of pixels."""
    if not boxes:
        raise DataError("there must be a box to put a square around; got none")
    top, left = min(box.top for box in boxes), min(box.left for box in boxes)
    bottom = max(box.top + box.side for box in boxes)
    right = max(box.left + box.side for box in boxes)
    side = min(max(bottom - top, right - left), height, width)
    return Box(
        min(max((top + bottom - side) // 2, 0), height - side),
        min(max((left + right - side) // 2, 0), width - side),
        side,
    )


def fitted_into(images: Images, box: Box, *, size: int, grey: int = GREY) -> Images:
    """Return images shrunk into a box on grey: (n, size, size, 3) uint8.

    Parameters
    ----------
    images : (n, h, w, 3) uint8, square
    box : in pixels of the new images
    size : of the new images
    grey : around them
    """
    check_images(images)
    if box.side < 1 or min(box.top, box.left) < 0 or max(box.top, box.left) + box.side > size:
        raise DataError(f"the box must lie within {size} pixels; got {box}")
    out = np.full((len(images), size, size, 3), grey, dtype=np.uint8)
    for k, image in enumerate(images):
        small = Image.fromarray(image).resize((box.side, box.side), Image.Resampling.BILINEAR)
        out[k, box.top : box.top + box.side, box.left : box.left + box.side] = np.asarray(small)
    return out


def _check_map(field: Matrix) -> None:
    if field.ndim != 2 or not field.size:
        raise DataError(f"a map must be (rows, columns); got {field.shape}")
