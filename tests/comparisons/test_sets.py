"""Distances of sets with their floor, and objects that a made-up detector sees."""

import numpy as np
import pytest
from scipy.special import softmax

from evolver.analysis.image_quality import inception_score
from evolver.comparisons.sets import objectness, set_distances
from evolver.errors import DataError

RNG = np.random.default_rng(5)


def test_a_farther_set_is_farther_and_one_of_the_kind_is_at_the_floor():
    natural = RNG.standard_normal((200, 6))
    sets = {"near": RNG.standard_normal((100, 6)), "far": RNG.standard_normal((100, 6)) + 1}
    logits = {name: RNG.standard_normal((100, 4)) for name in sets}
    near, far = set_distances(sets, natural, seed=1, logits=logits)
    assert near.floor == far.floor
    assert near.distance.value == pytest.approx(near.floor.value, abs=0.5)
    assert far.distance.value == pytest.approx(6, abs=2)
    expected = inception_score(softmax(logits["far"], axis=1))
    assert far.score.mean == pytest.approx(expected.mean)
    assert set_distances(sets, natural, seed=1)[0].score is None


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
