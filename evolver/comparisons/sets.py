"""Sets of images: how far from natural ones, of which classes, and what is seen in them.

Features are of any layer of any network: published, Inception's 2048 pooled ones, which
``torchvision:inception_v3:avgpool`` is near (other weights than FID's usual ones: numbers are
not comparable with those of papers); the embedded network's fc6 by default, which is no FID.
Objects are found by any detector that is handed in; none comes with the package.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evolver import seeds
from evolver.analysis.image_quality import (
    FrechetDistance,
    InceptionScore,
    frechet_with_floor,
    inception_score,
)
from evolver.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike, NDArray

    from evolver.types import Images, Matrix, Scores

SPLITS = 10
"""Of the inception score, as published."""


@dataclass(frozen=True, slots=True, eq=False)
class SetDistance:
    """A set of images beside natural ones.

    Attributes
    ----------
    name : str
    distance, floor : FrechetDistance, from natural images, and theirs from others of them, of
        sets of the same size
    score : InceptionScore, or None where there are no classes
    """

    name: str
    distance: FrechetDistance
    floor: FrechetDistance
    score: InceptionScore | None


@dataclass(frozen=True, slots=True, eq=False)
class Objectness:
    """What a detector sees in images.

    Attributes
    ----------
    boxes : (n,) how many it finds in each
    confidence : (n,) of the surest; 0 where it finds none
    detected : float, share of images with one at least; NaN without images
    """

    boxes: NDArray[np.int64]
    confidence: Scores
    detected: float


def set_distances(
    features: Mapping[str, Matrix],
    natural: Matrix,
    *,
    seed: int,
    logits: Mapping[str, Matrix] | None = None,
) -> list[SetDistance]:
    """Return each set's distance from natural images, with its floor, and inception score.

    Parameters
    ----------
    features : set -> (n, k)
    natural : (m, k), best twice as many as a set has
    seed : which natural images are in which half, the same for all sets of one size
    logits : set -> (n, classes), before the softmax; None: no inception score
    """
    found: list[SetDistance] = []
    for name, values in features.items():
        distance, floor = frechet_with_floor(
            values, natural, rng=seeds.stream(seed, "natural halves")
        )
        score = None
        if logits is not None:
            score = inception_score(_softmax(logits[name]), splits=SPLITS)
        found.append(SetDistance(name, distance, floor, score))
    return found


def objectness(
    images: Images, detector: Callable[[NDArray[np.uint8]], tuple[ArrayLike, ArrayLike]]
) -> Objectness:
    """Ask a detector what it sees in each image.

    Parameters
    ----------
    images : (n, h, w, 3) uint8
    detector : image (h, w, 3) -> boxes (k, ...), confidences (k,), from 0 to 1. Published:
        YOLOv8 in the caption, yolov5x at 256 pixels in the code

    Raises
    ------
    DataError
        The detector gives another number of confidences than of boxes, or none from 0 to 1.
    """
    boxes = np.zeros(len(images), np.int64)
    confidence = np.zeros(len(images))
    for i, image in enumerate(images):
        found, sure = detector(image)
        sure = np.asarray(sure, dtype=np.float64)
        boxes[i] = len(np.asarray(found))
        if sure.shape != (boxes[i],) or not ((sure >= 0) & (sure <= 1)).all():
            raise DataError(
                "a detector must give a confidence from 0 to 1 for each box; for image "
                f"{i} it gave {boxes[i]} boxes and confidences of shape {sure.shape}"
            )
        confidence[i] = sure.max(initial=0.0)
    detected = float((boxes > 0).mean()) if len(images) else float("nan")
    return Objectness(boxes, confidence, detected)


def _softmax(logits: Matrix) -> Matrix:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)
