"""Windows, z-scores, repeats and ceilings: by loops, and where the truth is planted."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolver.analysis.decoding_responses import (
    area_responses,
    repeat_means,
    response_scale,
    split_half_reliability,
)
from evolver.errors import DataError
from tests.soak import examples

RNG = np.random.default_rng(3)


def test_each_area_has_its_window():
    psths = RNG.random((4, 3, 200))
    found = area_responses(psths, ["IT", "V1", "V4"])
    expected = [
        psths[:, 0, 75:175].mean(-1),
        psths[:, 1, 25:125].mean(-1),
        psths[:, 2, 50:150].mean(-1),
    ]
    np.testing.assert_allclose(found, np.transpose(expected))
    own = area_responses(
        psths[..., :30],
        ["A"] * 3,
        windows_ms={"A": (-100.0, 0.0)},
        edges_ms=np.arange(31) * 10 - 100,
    )
    np.testing.assert_allclose(own, psths[..., :10].mean(-1))
    with pytest.raises(DataError, match="'V2' has no window; windows are of V1, V4, IT"):
        area_responses(psths, ["V1", "V2", "IT"])
    with pytest.raises(DataError, match=r"3, 200.* and 2 areas"):
        area_responses(psths, ["V1", "V1"])


def test_scores_are_of_the_training_presentations_alone():
    training, test = RNG.normal(5, 3, (50, 4)), RNG.normal(8, 1, (20, 4))
    training[:, 2] = 7
    training[:, 3] = 0.1 + 1e-17 * np.arange(50)  # not constant, but for rounding
    scale = response_scale(training)
    moving = training[:, :2]
    expected = (test[:, :2] - moving.mean(axis=0)) / moving.std(axis=0)
    np.testing.assert_allclose(scale.scores(test)[:, :2], expected)
    np.testing.assert_array_equal(scale.sd[2:], 1)
    np.testing.assert_allclose(scale.scores(training)[:, 2], 0)
    assert scale.scores(test)[:, 0].mean() > 0.5
    own = scale.scores(test, statistics="paper")
    np.testing.assert_allclose(own, (test - test.mean(axis=0)) / test.std(axis=0))
    with pytest.raises(DataError, match="4 channels of the scale; got 3"):
        scale.scores(test[:, :3])
    with pytest.raises(DataError, match="some of both"):
        response_scale(np.zeros((0, 4)))


@examples(0.4)
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=30))
def test_repeats_are_averaged_image_by_image(image):
    responses = np.random.default_rng(len(image)).standard_normal((len(image), 2))
    found = repeat_means(responses, image)
    for row, k in enumerate(sorted(set(image))):
        members = np.array(image) == k
        assert (found.image[row], found.repeats[row]) == (k, members.sum())
        np.testing.assert_allclose(found.mean[row], responses[members].mean(axis=0))
    assert found.repeats.sum() == len(image)


def test_reliability_is_the_planted_one():
    """Signal of variance s and noise of 1: r repeats have a reliability of s / (s + 1 / r)."""
    rng = np.random.default_rng(0)
    signal = np.sqrt([4.0, 1.0, 0.25, 0.0])
    image = np.repeat(np.arange(2000), 10)
    truth = rng.standard_normal((2000, 4)) * signal
    responses = truth[image]
    responses += rng.standard_normal(responses.shape)
    found = split_half_reliability(responses, image, rng=rng, splits=3)
    planted = signal**2 / (signal**2 + 0.1)
    np.testing.assert_allclose(found.reliability, planted, atol=0.03)
    np.testing.assert_allclose(found.ceiling[:3], np.sqrt(planted[:3]), atol=0.03)
    mean = repeat_means(responses, image).mean
    highest = [np.corrcoef(truth[:, k], mean[:, k])[0, 1] for k in range(3)]
    np.testing.assert_allclose(found.ceiling[:3], highest, atol=0.03)
    assert found.images == 2000


def test_the_reliability_of_other_numbers_of_showings_is_the_planted_one():
    """A tenth of the images is shown ten times, all others once."""
    rng = np.random.default_rng(1)
    signal = np.sqrt([4.0, 1.0, 0.25])
    showings = np.where(np.arange(6000) < 1000, 10, 1)
    image = np.repeat(np.arange(6000), showings)
    truth = rng.standard_normal((6000, 3)) * signal
    responses = truth[image] + rng.standard_normal((len(image), 3))
    found = split_half_reliability(responses, image, rng=rng, splits=5)
    mean = repeat_means(responses, image).mean
    planted = [np.corrcoef(truth[:, k], mean[:, k])[0, 1] ** 2 for k in range(3)]
    np.testing.assert_allclose(found.of_means(showings), planted, atol=0.02)
    np.testing.assert_allclose(found.of_means(np.full(9, 10)), found.reliability)
    assert (found.of_means(showings) < found.reliability - 0.05).all()
    with pytest.raises(DataError, match="1 or more of each image"):
        found.of_means([0, 3])


def test_a_split_is_two_halves_of_each_images_repeats():
    image = np.array([3, 1, 1, 3, 2, 1, 2, 9, 3, 1])  # 9 once, 3 three times
    responses = RNG.standard_normal((10, 2))
    found = split_half_reliability(responses, image, rng=np.random.default_rng(4), splits=1)
    possible = set()
    for ones in permutations(np.flatnonzero(image == 1)):
        for twos in permutations(np.flatnonzero(image == 2)):
            for threes in permutations(np.flatnonzero(image == 3)):
                halves = [
                    [
                        responses[list(ones[i : i + 2])].mean(0),
                        responses[twos[i // 2]],
                        responses[threes[i // 2]],
                    ]
                    for i in (0, 2)
                ]
                a, b = np.array(halves)
                possible.add(round(np.corrcoef(a[:, 0], b[:, 0])[0, 1], 9))
    assert round(found.half[0], 9) in possible
    k = (3 / (1 / 4 + 1 / 2 + 1 / 3)) / (3 / (1 / 2 + 1 + 1))  # by noise: harmonic means
    half = found.half[1]
    expected = k * half / (1 + (k - 1) * half) if 1 + (k - 1) * half > 0 else np.nan
    np.testing.assert_allclose(found.reliability[1], expected)
    assert found.images == 3


def test_what_has_no_reliability_says_so():
    rng = np.random.default_rng(0)
    image = np.repeat(np.arange(10), 4)
    responses = rng.standard_normal((40, 2))
    responses[:, 1] = 3
    found = split_half_reliability(responses, image, rng=rng)
    assert np.isnan(found.reliability[1])
    assert np.isnan(found.ceiling[1])
    once = split_half_reliability(responses, np.arange(40), rng=rng)
    assert once.reason == "0 of 40 images were shown twice; 3 are needed"
    assert np.isnan(once.ceiling).all()
    with pytest.raises(DataError, match="image must be int"):
        split_half_reliability(responses, image / 2, rng=rng)
    with pytest.raises(DataError, match="splits"):
        split_half_reliability(responses, image, rng=rng, splits=0)
    with pytest.raises(DataError, match="image must be int, one for each of 40"):
        repeat_means(responses, image[1:])
