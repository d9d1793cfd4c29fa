"""Channels chosen by F of two models by QR; noise that is chosen outside a fold leaks."""

import numpy as np
import pytest
from scipy import stats

from evolver.analysis.channel_choice import ChosenChannels, channel_f_test, decoded_in_folds
from evolver.analysis.decoding import InvertedGLM, LeastSquares, Ridge
from evolver.analysis.latent_metrics import identification
from evolver.errors import DataError


def world(n, *, channels=40, told=6, d=3, seed=0):
    """Responses whose first few channels depend on the latents, the others on nothing."""
    rng = np.random.default_rng(seed)
    weights = np.random.default_rng(7).standard_normal((d, channels))
    weights[:, told:] = 0
    latents = rng.standard_normal((n, d))
    return 5 + latents @ weights + rng.standard_normal((n, channels)), latents


def residual(y, *parts):
    """Sums of squares about a model, by another route than ours: a QR of its design."""
    q = np.linalg.qr(np.column_stack([np.ones(len(y)), *parts]))[0]
    return ((y - q @ (q.T @ y)) ** 2).sum(axis=0)


def test_f_is_that_of_two_nested_models():
    y, x = world(60)
    contrasts = np.random.default_rng(1).standard_normal((60, 2))
    y[:, 4] = 3.0
    test = channel_f_test(y, x, contrasts)
    s0, s1 = residual(y, contrasts), residual(y, contrasts, x)
    left = 60 - 1 - 3 - 2
    varied = np.arange(40) != 4
    f = ((s0 - s1) / 3 / (s1 / left))[varied]
    np.testing.assert_allclose(test.f[varied], f)
    np.testing.assert_allclose(test.p[varied], stats.f.sf(f, 3, left))
    assert np.isnan(test.f[4])
    assert np.isnan(test.p[4])
    assert (test.latents, test.left) == (3, left)
    exact = channel_f_test(x @ np.ones((3, 1)), x)
    assert (exact.f[0], exact.p[0]) == (np.inf, 0)


def test_a_null_is_significant_at_its_level():
    rng = np.random.default_rng(2)
    p = channel_f_test(rng.standard_normal((50, 4000)), rng.standard_normal((50, 4))).p
    assert 0.04 < (p < 0.05).mean() < 0.06


def test_the_channels_that_are_told_are_chosen():
    y, x = world(200)
    fit = ChosenChannels(LeastSquares(), most=6).fit(y, x)
    np.testing.assert_array_equal(fit.channels, np.arange(6))
    alone = LeastSquares().fit(y[:, :6], x)
    np.testing.assert_allclose(fit.predict(y), alone.predict(y[:, :6]))
    assert not fit.weights[6:].any()
    level = ChosenChannels(InvertedGLM(), level=1e-6).fit(y, x)
    np.testing.assert_array_equal(level.channels, np.flatnonzero(level.test.p < 1e-6))
    assert set(range(6)) <= set(level.channels.tolist())


def test_noise_that_is_chosen_inside_the_folds_tells_nothing():
    """Chosen on all trials first, as it must not be, the same noise identifies images."""
    rng = np.random.default_rng(5)
    y, x = rng.standard_normal((60, 2000)), rng.standard_normal((60, 5))
    chosen = ChosenChannels(Ridge((10.0,)), most=30)
    inside = decoded_in_folds(chosen, y, x, rng=np.random.default_rng(0), folds=6)
    seen = chosen.fit(y, x).channels
    leaked = decoded_in_folds(
        Ridge((10.0,)), y[:, seen], x, rng=np.random.default_rng(0), folds=6
    )
    assert abs(identification(x, inside).pairwise.value - 0.5) < 0.1
    assert identification(x, leaked).pairwise.value > 0.75


def test_repeats_of_an_image_stay_in_one_fold():
    class Spy:
        def fit(self, responses, latents):
            trained.append(set(responses[:, 0].tolist()))
            return Ridge((1.0,)).fit(responses, latents)

    image = np.repeat(np.arange(10), 3)
    y = np.column_stack([image, np.random.default_rng(0).standard_normal((30, 2))]).astype(
        float
    )
    x = np.random.default_rng(1).standard_normal((30, 2))
    trained = []
    decoded = decoded_in_folds(Spy(), y, x, rng=np.random.default_rng(0), folds=5, image=image)
    assert decoded.shape == (30, 2)
    assert [len(images) for images in trained] == [8] * 5
    left = [set(range(10)) - images for images in trained]
    assert sorted(i for images in left for i in images) == list(range(10))


def test_what_cannot_be_chosen_is_refused():
    y, x = world(30)
    with pytest.raises(DataError, match="most or level must be given"):
        ChosenChannels(Ridge())
    with pytest.raises(DataError, match="level above 0"):
        ChosenChannels(Ridge(), level=0.0)
    with pytest.raises(DataError, match="no channel of 40 is chosen: the smallest p"):
        ChosenChannels(Ridge(), level=1e-300).fit(y, x)
    with pytest.raises(DataError, match=r"too few .* needs 5\. Give leading components"):
        channel_f_test(y[:4], x[:4])
    with pytest.raises(DataError, match="the 30 trials; got 29"):
        channel_f_test(y, x, y[1:])
    with pytest.raises(DataError, match="folds must be 2 to 30"):
        decoded_in_folds(Ridge(), y, x, rng=np.random.default_rng(0), folds=31)
    with pytest.raises(DataError, match="one a trial"):
        decoded_in_folds(Ridge(), y, x, rng=np.random.default_rng(0), image=[1])
