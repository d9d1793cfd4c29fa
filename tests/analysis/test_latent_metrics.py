"""Latents compared: by the formulas in loops, by truth that is planted, and by none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import mean_squared_error
from sklearn.metrics.pairwise import paired_cosine_distances

from evolver.analysis.decoding import LeastSquares
from evolver.analysis.latent_metrics import (
    against_random,
    identification,
    latent_correlation,
    latent_cosine,
    latent_permutation,
    luminance_correlation,
    mean_correlation,
    mean_cosine,
    mse_similarity,
    shuffled_identification,
)
from evolver.errors import DataError
from tests.soak import examples


@pytest.fixture(scope="module")
def latents():
    """True latents about a mean, and decoded ones that are them and noise."""
    rng = np.random.default_rng(2)
    true = rng.standard_normal((60, 8)) + np.linspace(-1, 2, 8)
    return true, 0.7 * true + rng.standard_normal((60, 8))


def test_cosines_are_those_of_scikit_learn_and_have_a_floor(latents):
    true, decoded = latents
    mean = np.linspace(-1, 2, 8)
    found = latent_cosine(true, decoded, mean)
    np.testing.assert_allclose(found.each, 1 - paired_cosine_distances(true, decoded))
    assert found.mean.value == pytest.approx(found.each.mean())
    assert mean_cosine(true, decoded) == found.mean
    floor = 1 - paired_cosine_distances(true, np.tile(mean, (60, 1)))
    assert found.floor.value == pytest.approx(floor.mean())
    centred = 1 - paired_cosine_distances(true - mean, decoded - mean)
    assert found.centred.value == pytest.approx(centred.mean())
    nothing = latent_cosine(true, np.tile(mean, (60, 1)), mean)
    assert nothing.mean.value == pytest.approx(nothing.floor.value)
    assert nothing.floor.value > 0.5
    assert nothing.centred.reason == "true or decoded latents are the mean latent"
    assert "mean latent is zero" in latent_cosine(true, decoded, np.zeros(8)).floor.reason


def test_correlation_is_pearsons_of_each_dimension(latents):
    true, decoded = latents
    decoded = decoded.copy()
    decoded[:, 3] = 0.1
    found = latent_correlation(true, decoded)
    for k in (0, 1, 2, 4, 5, 6, 7):
        expected = stats.pearsonr(true[:, k], decoded[:, k]).statistic
        assert found.each[k] == pytest.approx(expected)
    assert np.isnan(found.each[3])
    assert found.mean.value == pytest.approx(np.nanmean(found.each))
    assert mean_correlation(true, decoded) == found.mean
    assert "no dimension varies" in latent_correlation(true[:1], decoded[:1]).mean.reason


def test_hypers_similarity(latents):
    true, decoded = latents
    expected = [1 / (1 + mean_squared_error(a, b)) for a, b in zip(true, decoded, strict=True)]
    np.testing.assert_allclose(mse_similarity(true, decoded), expected)
    np.testing.assert_allclose(mse_similarity(true, true), 1)


def test_luminance_is_what_pillow_makes_grey():
    from PIL import Image

    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 9, 7, 3), dtype=np.uint8)
    grey = [np.asarray(Image.fromarray(image).convert("L")).ravel() for image in (a, b)]
    found = luminance_correlation(a, b).value
    assert found == pytest.approx(np.corrcoef(*grey)[0, 1], abs=0.01)
    assert luminance_correlation(a / 255, b / 255).value == pytest.approx(found)
    with pytest.raises(DataError, match="one size"):
        luminance_correlation(a, b[1:])


def test_identification_is_the_definition(latents):
    true, decoded = latents
    true, decoded = true[:12], decoded[:12]

    def r(i, j):
        return np.corrcoef(decoded[i], true[j])[0, 1]

    pairs = [r(i, i) + r(j, j) > r(i, j) + r(j, i) for i in range(12) for j in range(i + 1, 12)]
    found = identification(true, decoded)
    assert found.pairwise.value == pytest.approx(np.mean(pairs))
    ranks = [1 + sum(r(i, j) > r(i, i) for j in range(12)) for i in range(12)]
    np.testing.assert_array_equal(found.ranks, ranks)
    assert found.top.value == pytest.approx(np.mean(np.array(ranks) == 1))
    assert identification(true, true).pairwise.value == 1
    same = identification(true, np.tile(true[0], (12, 1)))
    assert same.pairwise.value == 0.5  # ties
    assert "same in all dimensions" in identification(true, np.ones((12, 8))).pairwise.reason
    assert "two of both" in identification(true[:1], true[:1]).pairwise.reason


@examples(0.3)
@given(st.integers(2, 15), st.integers(2, 9), st.integers(0, 99))
def test_identification_of_noise_is_a_share_and_ranks_are_ranks(n, d, seed):
    rng = np.random.default_rng(seed)
    found = identification(rng.standard_normal((n, d)), rng.standard_normal((n, d)))
    assert 0 <= found.pairwise.value <= 1
    assert ((found.ranks >= 1) & (found.ranks <= n)).all()


def draw(n, rng):
    return rng.standard_normal((n, 8)) + np.linspace(-1, 2, 8)


MEASURES = (mean_correlation, mean_cosine)


def test_a_decoder_of_truth_is_beyond_every_random_set():
    rng = np.random.default_rng(5)
    latents, w = draw(330, rng), rng.standard_normal((8, 30))
    responses = latents @ w + 3 * rng.standard_normal((330, 30))
    fit = LeastSquares().fit(responses[:300], latents[:300])
    found = latent_permutation(
        latents[300:], fit.predict(responses[300:]), MEASURES, draw, rng=rng
    )
    assert found.sets == 1000
    np.testing.assert_allclose(found.p, 1 / 1001)
    np.testing.assert_allclose(found.p_best, 1 / 1001)
    assert abs(found.mean[0]) < 0.02
    assert found.mean[1] > 0.4  # the floor
    shuffled = shuffled_identification(
        latents[300:], fit.predict(responses[300:]), rng=rng, shuffles=999
    )
    np.testing.assert_allclose(shuffled.p, 0.001)
    assert shuffled.mean[0] == pytest.approx(0.5, abs=0.05)


@pytest.mark.soak
def test_decoders_of_nothing_are_significant_at_their_level():
    """Also where they decode the mean latent, as decoders of nothing do."""
    rng = np.random.default_rng(6)
    p = []
    for _ in range(100):
        decoded = np.linspace(-1, 2, 8) + 0.2 * rng.standard_normal((10, 8))
        found = latent_permutation(draw(10, rng), decoded, MEASURES, draw, rng=rng, sets=39)
        p.append(found.p)
    share = (np.array(p) <= 0.05).mean(axis=0)
    low, high = stats.binom.ppf([0.001, 0.999], 100, 0.05) / 100
    assert ((share >= low) & (share <= high)).all()


def test_the_best_of_many_is_one_test():
    rng = np.random.default_rng(7)
    best, each = [], []
    for _ in range(400):
        found = against_random(rng.standard_normal(50), rng.standard_normal((99, 50)))
        best.append(np.nanmin(found.p_best) <= 0.05)
        each.append(np.nanmin(found.p) <= 0.05)
    low, high = stats.binom.ppf([0.001, 0.999], 400, 0.05) / 400
    assert low <= np.mean(best) <= high
    assert np.mean(each) > 0.8


def test_what_is_undefined_in_a_set_counts_against():
    found = against_random([1.0, np.nan, 3.0], [[0, 9, np.nan], [2, 9, 1]])
    np.testing.assert_allclose(found.p, [2 / 3, np.nan, 2 / 3])
    np.testing.assert_allclose(found.p_best, [1, np.nan, 2 / 3])
    np.testing.assert_allclose(found.mean, [1, 9, 1])
    assert not found.reason
    assert against_random([np.nan], [[1.0]]).reason == "no value is defined"


def test_what_cannot_be_compared_is_refused(latents):
    true, decoded = latents
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="one shape"):
        latent_correlation(true, decoded[1:])
    with pytest.raises(DataError, match="decoded latents must be finite"):
        identification(true, decoded * np.nan)
    with pytest.raises(DataError, match=r"\(8,\); got \(7,\)"):
        latent_cosine(true, decoded, np.zeros(7))
    with pytest.raises(DataError, match=r"drawn latents must be \(60, 8\)"):
        latent_permutation(true, decoded, MEASURES, lambda n, rng: draw(n - 1, rng), rng=rng)
    with pytest.raises(DataError, match="1 or more"):
        latent_permutation(true, decoded, (), draw, rng=rng)
    with pytest.raises(DataError, match="1 or more"):
        shuffled_identification(true, decoded, rng=rng, shuffles=0)
    with pytest.raises(DataError, match=r"\(sets, 2\)"):
        against_random([1.0, 2.0], [[1.0]])
