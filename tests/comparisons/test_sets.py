"""Distances of sets with their floor, and objects that a made-up detector sees."""

import sys

import numpy as np
import pytest
from scipy.special import softmax

import scorers
from evolver.analysis.image_quality import inception_score
from evolver.analysis.image_statistics import image_statistics
from evolver.comparisons.sets import (
    LayerFeatures,
    MeasuredSet,
    join_batches,
    measure_batch,
    objectness,
    set_distances,
)
from evolver.comparisons.sources import image_set
from evolver.errors import DataError

RNG = np.random.default_rng(5)
NO_IMAGES = np.empty((0, 8, 8, 3), np.uint8)
PIXELS = image_statistics(np.zeros((1, 8, 8, 3), np.uint8))


def test_a_farther_set_is_farther_and_one_of_the_kind_is_at_the_floor():
    natural = RNG.standard_normal((200, 6))
    sets = {"near": RNG.standard_normal((100, 6)), "far": RNG.standard_normal((100, 6)) + 1}
    logits = {name: RNG.standard_normal((100, 4)) for name in sets}

    def measured(features, logits=None):
        return MeasuredSet(features, logits, PIXELS, NO_IMAGES)

    reference = measured(natural)
    with_logits = {name: measured(own, logits[name]) for name, own in sets.items()}
    near, far = set_distances(with_logits, reference, seed=1)
    assert near.floor == far.floor
    assert near.distance.value == pytest.approx(near.floor.value, abs=0.5)
    assert far.distance.value == pytest.approx(6, abs=2)
    expected = inception_score(softmax(logits["far"], axis=1))
    assert far.score.mean == pytest.approx(expected.mean)
    without = {name: measured(own) for name, own in sets.items()}
    assert set_distances(without, reference, seed=1)[0].score is None


def bright(image):
    """See one object, the surer the brighter the image; none in dark ones."""
    light = image.mean() / 255
    return ([[0, 0, 1, 1]], [light]) if light > 0.45 else ([], [])


def test_a_set_is_measured_as_it_comes():
    features = LayerFeatures("mini:fc6", "mini:logits", networks={})
    assert features.side == 64
    images = image_set("scenes", 7, size=64, seed=3)
    parts = [
        measure_batch(part, features, detector=bright) for part in (images[:4], images[4:])
    ]
    found = join_batches(parts)
    whole = objectness(images, bright)
    np.testing.assert_array_equal(found.objects.confidence, whole.confidence)
    assert found.objects.detected == whole.detected
    np.testing.assert_array_equal(found.examples, images[:4])
    np.testing.assert_array_equal(found.features, scorers.load(["mini:fc6:all"]).score(images))
    np.testing.assert_array_equal(found.logits, scorers.load(["mini:logits:all"]).score(images))
    np.testing.assert_array_equal(found.pixels.power, image_statistics(images).power)
    plain = measure_batch(images, LayerFeatures("mini:fc6", "", networks={}), examples=0)
    assert join_batches([plain]).logits is None
    assert join_batches([plain]).objects is None
    assert plain["examples"].shape == (0, 64, 64, 3)


def test_objects_are_counted():
    images = np.zeros((4, 8, 8, 3), np.uint8)
    images[:, 0, 0, 0] = [0, 2, 1, 0]

    def detector(image):
        k = int(image[0, 0, 0])
        return np.zeros((k, 4)), np.linspace(0.3, 0.9, k)

    found = objectness(images, detector)
    np.testing.assert_array_equal(found.boxes, [0, 2, 1, 0])
    np.testing.assert_allclose(found.confidence, [0, 0.9, 0.3, 0])
    assert found.detected == 0.5
    with pytest.raises(DataError, match="confidence from 0 to 1"):
        objectness(images, lambda _: (np.zeros((1, 4)), [7.0]))
    broken_ones = (
        lambda _: None,
        lambda image: image / "x",
        lambda _: ([[0]], ["sure"]),
        lambda _: sys.exit("no licence"),
    )
    for broken in broken_ones:
        with pytest.raises(DataError, match=r"image 0 of shape \(8, 8, 3\)"):
            objectness(images, broken)
