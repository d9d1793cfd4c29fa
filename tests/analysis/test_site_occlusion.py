"""The informative site is first, one without information scores 0, and -1 as published."""

import numpy as np
import pytest

from evolver.analysis.decoding import LeastSquares, Ridge
from evolver.analysis.latent_metrics import mean_correlation
from evolver.analysis.site_occlusion import occluded, region_scores, site_occlusion
from evolver.errors import DataError

SITES = ["V1"] * 12 + ["V4"] * 8 + ["IT"] * 6


def recording(n, *, seed, own_noise=0.3, d=10):
    """V1 tells most of the latents, V4 less, and IT is noise."""
    fixed = np.random.default_rng(50)
    w = fixed.standard_normal((d, 26)) * np.repeat([1.0, 0.15, 0.0], [12, 8, 6])
    rng = np.random.default_rng(seed)
    latents = rng.standard_normal((n, d))
    noise = rng.standard_normal((n, 26)) * np.repeat([0.3, 0.3, own_noise], [12, 8, 6])
    return latents @ w + noise + 5, latents


@pytest.fixture(scope="module")
def fitted():
    y, x = recording(4000, seed=1)
    return LeastSquares().fit(y, x), y.mean(axis=0)


def test_sites_are_ranked_by_what_they_tell(fitted):
    decoder, mean = fitted
    y, x = recording(2000, seed=2)
    scores = site_occlusion(decoder, y, x, SITES, mean)
    assert [(s.site, s.channels) for s in scores] == [("V1", 12), ("V4", 8), ("IT", 6)]
    v1, v4, it = (s.score.value for s in scores)
    assert v1 > 0.85
    assert v1 > v4 > 0.1
    assert abs(it) <= 0.02
    alone = decoder.predict(np.where(np.array(SITES) == "V4", y, mean))
    assert v4 == mean_correlation(x, alone).value


def test_the_published_mean_makes_minus_one_of_nothing(fitted):
    """The image that is tested is in the mean, with its sign turned."""
    decoder, mean = fitted
    y, x = recording(20, seed=3)
    y[:, 20:] = 5 + 0.02 * (y[:, 20:] - 5)  # a site whose own noise is small
    paper = site_occlusion(decoder, y, x, SITES, mean, by="paper")[2].score.value
    assert -1 <= paper < -0.9
    larger, larger_x = recording(4000, seed=4)
    assert abs(site_occlusion(decoder, larger, larger_x, SITES, mean)[2].score.value) <= 0.02


def test_the_mean_of_other_images_is_what_it_says():
    y = np.arange(12.0).reshape(4, 3) ** 2
    kept = np.array([False, True, False])
    found = occluded(y, kept, np.zeros(3), by="paper")
    for i in range(4):
        others = np.delete(y, i, axis=0).mean(axis=0)
        np.testing.assert_allclose(found[i], [others[0], y[i, 1], others[2]])
    np.testing.assert_array_equal(occluded(y, kept, [7, 8, 9])[:, 0], 7)


def test_regions_stand_beside_as_many_random_channels():
    train, test = recording(300, seed=5), recording(100, seed=6)
    rng = np.random.default_rng(0)
    v1, _, it = region_scores(Ridge((1.0,)), train, test, SITES, rng=rng, draws=19)
    assert v1.inside.value > v1.random_inside.value > it.inside.value
    assert v1.p_inside == v1.p_outside == 1 / 20
    assert v1.outside.value < v1.random_outside.value
    assert it.p_inside == 1
    assert it.p_outside > 0.5
    fit = Ridge((1.0,)).fit(train[0][:, 12:], train[1])
    expected = mean_correlation(test[1], fit.predict(test[0][:, 12:]))
    assert v1.outside == expected
    alone = region_scores(Ridge((1.0,)), train, test, ["A"] * 26, rng=rng, draws=1)[0]
    assert alone.reason == "all channels are of one site"
    assert alone.inside.defined
    assert np.isnan(alone.p_inside)


def test_what_does_not_fit_is_refused(fitted):
    decoder, mean = fitted
    y, x = recording(5, seed=1)
    with pytest.raises(DataError, match="each of 26 channels; got 25"):
        site_occlusion(decoder, y, x, SITES[1:], mean)
    with pytest.raises(DataError, match="two or more; got 1"):
        occluded(y[:1], np.zeros(26, dtype=bool), mean, by="paper")
    with pytest.raises(DataError, match="kept"):
        occluded(y, np.zeros(26), mean)
    with pytest.raises(DataError, match="by must be one of"):
        occluded(y, np.zeros(26, dtype=bool), mean, by="median")
    with pytest.raises(DataError, match="draws"):
        region_scores(Ridge(), (y, x), (y, x), SITES, rng=None, draws=0)
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="26 channels of training; got 25"):
        region_scores(Ridge(), (y, x), (y[:, 1:], x), SITES, rng=rng)
