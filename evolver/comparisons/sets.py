"""Sets of images: how far from natural ones, of which classes, and what is seen in them.

Features are of any layer of any network, the embedded network's fc6 by default, which is no
FID; or Inception's 2048 pooled ones with FID's usual weights (`evolver.comparisons.inception`).
Objects are found by any detector that is handed in; none comes with the package.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

import scorers
from evolver import seeds
from evolver.analysis.image_quality import (
    FrechetDistance,
    InceptionScore,
    frechet_with_floor,
    inception_score,
)
from evolver.analysis.image_statistics import (
    ImageStatistics,
    image_statistics,
    join_statistics,
)
from evolver.comparisons.tasks import text_digest
from evolver.errors import DataError
from evolver.lab_code import OWN_FAILURES, error_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from evolver.types import Images, Matrix, Scores

Detector: TypeAlias = "Callable[[NDArray[np.uint8]], tuple[ArrayLike, ArrayLike]]"
"""Image, (h, w, 3) -> boxes, (k, ...), and their confidences, (k,)."""
EXAMPLES = 10
"""Images of a set that are kept to be shown."""
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
    """

    boxes: NDArray[np.int64]
    confidence: Scores

    @property
    def detected(self) -> float:
        """Share of images with a box at least; NaN without images."""
        return float((self.boxes > 0).mean()) if len(self.boxes) else float("nan")


class Features(Protocol):
    """What sets of images are compared by.

    Attributes
    ----------
    name : str
    side : of the images it is given, pixels
    sha256 : of the weights that they come from
    """

    name: str
    side: int
    sha256: str

    def measure(self, images: Images) -> tuple[Matrix, Matrix | None]:
        """Return features, (n, k), and logits, (n, classes), of images, (n, h, w, 3) uint8.

        None where there are no classes.
        """
        ...


class LayerFeatures:
    """All units of a layer as `Features`, beside them those of one that are logits.

    Parameters
    ----------
    layer, classes : NETWORK:LAYER; no logits where `classes` is empty
    networks : options of networks by name, as a session file has them

    Raises
    ------
    ConfigError
        There is no such network or layer.
    """

    def __init__(
        self, layer: str, classes: str, *, networks: Mapping[str, Mapping[str, Any]]
    ) -> None:
        self.name = layer
        self._features = scorers.load([f"{layer}:all"], networks=networks)
        self._logits = scorers.load([f"{classes}:all"], networks=networks) if classes else None
        (network,) = self._features.networks.values()
        self.side = max(network.preprocessing.uncut_size)
        loaded = [self._features, *([self._logits] if self._logits else [])]
        digests = [scorer.sha256 for scorer in loaded]
        self.sha256 = text_digest(layer, classes, digests, dict(networks))

    def measure(self, images: Images) -> tuple[Matrix, Matrix | None]:
        """Return features and logits, as `Features`."""
        return (
            self._features.score(images),
            None if self._logits is None else self._logits.score(images),
        )


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredSet:
    """A set of n images.

    Attributes
    ----------
    features : (n, k)
    logits : (n, classes), or None
    pixels : ImageStatistics of all
    examples : (k, h, h, 3) uint8, some of them
    objects : what a detector sees in them, or None
    """

    features: Matrix
    logits: Matrix | None
    pixels: ImageStatistics
    examples: Images
    objects: Objectness | None = None


def measure_batch(
    images: Images,
    features: Features,
    *,
    detector: Detector | None = None,
    examples: int = EXAMPLES,
) -> dict[str, NDArray[Any]]:
    """Measure some images of a set, so that they need not all be in memory.

    Parameters
    ----------
    images : (k, h, w, 3) uint8
    features : what they are compared by
    detector : sees objects, as `objectness` takes it; None: nobody looks for any
    examples : images that are kept

    Returns
    -------
    arrays by name, as `join_batches` takes them

    Raises
    ------
    DataError
        The detector gives what is no boxes with confidences.
    """
    part, of_classes = features.measure(images)
    pixels = image_statistics(images)
    arrays: dict[str, NDArray[Any]] = {"features": part, "examples": images[:examples]}
    arrays |= {field.name: getattr(pixels, field.name) for field in fields(ImageStatistics)}
    if of_classes is not None:
        arrays["logits"] = of_classes
    if detector is not None:
        objects = objectness(images, detector)
        arrays |= {"boxes": objects.boxes, "confidence": objects.confidence}
    return arrays


def join_batches(batches: Sequence[Mapping[str, NDArray[Any]]]) -> MeasuredSet:
    """Put the batches of a set together, one at least, in their order."""
    whole: dict[str, NDArray[Any]] = {
        name: np.concatenate([batch[name] for batch in batches])
        for name in ("features", "logits", "boxes", "confidence")
        if name in batches[0]
    }
    pixels = [
        ImageStatistics(**{field.name: batch[field.name] for field in fields(ImageStatistics)})
        for batch in batches
    ]
    objects = None
    if "boxes" in whole:
        objects = Objectness(whole["boxes"], whole["confidence"])
    return MeasuredSet(
        whole["features"],
        whole.get("logits"),
        join_statistics(pixels),
        batches[0]["examples"],
        objects,
    )


def set_distances(
    sets: Mapping[str, MeasuredSet], natural: MeasuredSet, *, seed: int
) -> list[SetDistance]:
    """Return each set's distance from natural images, with its floor, and inception score.

    Parameters
    ----------
    sets : by name
    natural : best twice as many images as a set has
    seed : which natural images are in which half, the same for all sets of one size
    """
    found: list[SetDistance] = []
    for name, own in sets.items():
        distance, floor = frechet_with_floor(
            own.features, natural.features, rng=seeds.stream(seed, "natural halves")
        )
        score = None
        if own.logits is not None:
            score = inception_score(_softmax(own.logits), splits=SPLITS)
        found.append(SetDistance(name, distance, floor, score))
    return found


def objectness(images: Images, detector: Detector) -> Objectness:
    """Ask a detector what it sees in each image.

    Parameters
    ----------
    images : (n, h, w, 3) uint8
    detector : image (h, w, 3) -> boxes (k, ...), confidences (k,), from 0 to 1. Published:
        YOLOv8 in the caption, yolov5x at 256 pixels in the code

    Raises
    ------
    DataError
        The detector fails, gives another number of confidences than of boxes, or one that is
        not from 0 to 1.
    """
    boxes = np.zeros(len(images), np.int64)
    confidence = np.zeros(len(images))
    for i, image in enumerate(images):
        try:
            found, sure = detector(image)
            boxes[i] = len(np.asarray(found))
            sure = np.asarray(sure, dtype=np.float64)
        except OWN_FAILURES as error:
            raise DataError(
                "a detector must return boxes and their confidences of an image (h, w, 3) "
                f"uint8; for image {i} of shape {image.shape} it did not: {error_text(error)}"
            ) from error
        if sure.shape != (boxes[i],) or not ((sure >= 0) & (sure <= 1)).all():
            raise DataError(
                "a detector must give a confidence from 0 to 1 for each box; for image "
                f"{i} it gave {boxes[i]} boxes and confidences of shape {sure.shape}"
            )
        confidence[i] = sure.max(initial=0.0)
    return Objectness(boxes, confidence)


def _softmax(logits: Matrix) -> Matrix:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)
