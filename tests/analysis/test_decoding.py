"""Decoders against normal equations, torch's Adam and the optimum of a linear world."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evolver.analysis.decoding import Dense, InvertedGLM, LeastSquares, Ridge
from evolver.errors import DataError
from tests.soak import examples

DECODERS = [InvertedGLM(), LeastSquares(), Ridge(), Dense(epochs=2)]


def world(n, *, c=12, d=4, noise=0.5, seed=0):
    """Latents of a Gaussian about a mean, and responses linear in them: the truth is known."""
    fixed = np.random.default_rng(100)
    w, constant = fixed.standard_normal((d, c)), fixed.standard_normal(c)
    rng = np.random.default_rng(seed)
    latents = rng.standard_normal((n, d)) + 0.5
    return latents @ w + constant + noise * rng.standard_normal((n, c)), latents, w, constant


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda d: type(d).__name__)
class TestEvery:
    def test_a_prediction_is_affine_in_responses(self, decoder):
        y, x, _, _ = world(60)
        fit = decoder.fit(y, x)
        assert fit.weights.shape == (12, 4)
        np.testing.assert_allclose(fit.predict(y), y @ fit.weights + fit.intercept)
        np.testing.assert_array_equal(decoder.fit(y, x).weights, fit.weights)

    def test_what_does_not_fit_is_refused(self, decoder):
        y, x, _, _ = world(60)
        with pytest.raises(DataError, match=r"same trials; got \(60, 12\) and \(59, 4\)"):
            decoder.fit(y, x[:-1])
        with pytest.raises(DataError, match="responses must be finite"):
            decoder.fit(np.where(y > 1, np.nan, y), x)
        with pytest.raises(DataError, match="latents must be finite, with two"):
            decoder.fit(y, x[:, 0])
        with pytest.raises(DataError, match="12 channels that were fitted; got 11"):
            decoder.fit(y, x).predict(y[:, 1:])
        with pytest.raises(DataError):  # each says how many it needs
            decoder.fit(y[:1], x[:1])


@examples(0.3)
@given(
    st.integers(4, 30),
    st.integers(1, 40),
    st.integers(1, 6),
    st.integers(0, 9),
    st.sampled_from([1.0, 1e-6, 1e6]),
)
def test_any_shape_is_fitted_or_refused_with_what_it_needs(n, c, d, seed, scale):
    rng = np.random.default_rng(seed)
    y, x = scale * rng.standard_normal((n, c)), rng.standard_normal((n, d))
    for decoder, needed in ((LeastSquares(), c + 1), (InvertedGLM(), d + 2), (Ridge(), 3)):
        if n < needed:
            with pytest.raises(DataError, match=f"{needed}"):
                decoder.fit(y, x)
        else:
            assert np.isfinite(decoder.fit(y, x).predict(y)).all()


@pytest.mark.parametrize("degenerate", ["full", "dead", "twin", "unlike"])
def test_least_squares_are_the_pseudoinverse(degenerate):
    """Of channels without an inverse, the weights of smallest norm; units change nothing."""
    y, x, _, _ = world(80)
    scale = np.ones(12)
    if degenerate == "dead":
        y[:, 3] = 7.0
    elif degenerate == "twin":
        y[:, 3] = y[:, 4]
    elif degenerate == "unlike":
        scale = np.geomspace(1e-4, 1e4, 12)  # scikit-learn alone would leave the smallest out
    fit = LeastSquares().fit(scale * y, x)
    expected = np.linalg.pinv(y - y.mean(axis=0), rcond=1e-12) @ x
    np.testing.assert_allclose(scale[:, None] * fit.weights, expected, atol=1e-8)
    guess = (y - y.mean(axis=0)) @ expected + x.mean(axis=0)
    np.testing.assert_allclose(fit.predict(scale * y), guess, atol=1e-8)


def test_ridge_is_its_normal_equations():
    """Which penalty, and the error left out, `test_linear_maps` works out row by row."""
    y, x, _, _ = world(40, c=30, noise=3)
    penalties = (0.1, 1.0, 10.0, 100.0, 1000.0)
    fit = Ridge(penalties).fit(y, x)
    assert 0.1 < fit.penalty < 1000
    centred = y - y.mean(axis=0)
    gram = centred.T @ centred + fit.penalty * np.eye(30)
    weights = np.linalg.solve(gram, centred.T @ x)
    np.testing.assert_allclose(fit.weights, weights, atol=1e-8)
    intercept = x.mean(axis=0) - y.mean(axis=0) @ weights
    np.testing.assert_allclose(fit.intercept, intercept, atol=1e-8)
    assert fit.error == min(Ridge((p,)).fit(y, x).error for p in penalties)


def test_regression_reaches_the_optimum_of_the_gaussian_world():
    """E[x | y] is S_xy S_yy^-1 (y - mean); its error is the trace of what is left of x."""
    noise = 1.5
    y, x, w, _ = world(20_000, noise=noise)
    test_y, test_x, _, _ = world(20_000, noise=noise, seed=1)
    s_yy = w.T @ w + noise**2 * np.eye(12)
    optimum = np.linalg.solve(s_yy, w.T)
    least = np.trace(np.eye(4) - w @ optimum) / 4
    for decoder in (LeastSquares(), Ridge()):
        fit = decoder.fit(y, x)
        np.testing.assert_allclose(fit.weights, optimum, atol=0.01)
        error = ((fit.predict(test_y) - test_x) ** 2).mean()
        assert error == pytest.approx(least, rel=0.02)
    inverted = InvertedGLM().fit(y, x)
    error = ((inverted.predict(test_y) - test_x) ** 2).mean()
    unbiased = noise**2 * np.trace(np.linalg.inv(w @ w.T)) / 4
    assert error == pytest.approx(unbiased, rel=0.02)
    assert least < unbiased


class TestInvertedGLM:
    def test_it_is_the_published_formula(self):
        y, x, _, _ = world(90)
        rng = np.random.default_rng(3)
        contrasts = rng.integers(0, 2, (90, 2)).astype(float)
        y += contrasts @ rng.standard_normal((2, 12))
        fit = InvertedGLM().fit(y, x, contrasts)
        design = np.column_stack([np.ones(90), x, contrasts])
        w = np.linalg.pinv(design) @ y
        np.testing.assert_allclose(fit.constant, w[0], atol=1e-10)
        np.testing.assert_allclose(fit.latent_weights, w[1:5], atol=1e-10)
        np.testing.assert_allclose(fit.contrast_weights, w[5:], atol=1e-10)
        inverse = w[1:5].T @ np.linalg.inv(w[1:5] @ w[1:5].T)
        np.testing.assert_allclose(fit.predict(y), (y - w[0]) @ inverse, atol=1e-9)
        less = y - contrasts @ w[5:]
        np.testing.assert_allclose(
            fit.predict(y, contrasts), (less - w[0]) @ inverse, atol=1e-9
        )
        residual = ((y - design @ w) ** 2).sum(axis=0) / (90 - 7)
        np.testing.assert_allclose(fit.residual_variance, residual)
        covariance = np.linalg.inv(design.T @ design)[1:5, 1:5]
        np.testing.assert_allclose(fit.latent_covariance, covariance, atol=1e-12)
        assert fit.ridge == 0
        assert fit.condition == pytest.approx(np.linalg.cond(w[1:5] @ w[1:5].T))
        with pytest.raises(DataError, match=r"\(90, 2\), as fitted; got \(90, 1\)"):
            fit.predict(y, contrasts[:, :1])
        with pytest.raises(DataError, match="the 90 trials; got 89"):
            InvertedGLM().fit(y, x, contrasts[1:])

    def test_without_noise_latents_come_back(self):
        y, x, _, _ = world(30, noise=0)
        np.testing.assert_allclose(InvertedGLM().fit(y, x).predict(y), x, atol=1e-9)

    def test_fewer_channels_than_latents_take_a_ridge_whose_size_is_said(self):
        y, x, _, _ = world(60, c=3, d=6)
        fit = InvertedGLM().fit(y, x)
        assert fit.condition == np.inf
        product = fit.latent_weights @ fit.latent_weights.T
        assert fit.ridge == pytest.approx(np.linalg.eigvalsh(product)[-1] / 1e6, rel=1e-5)
        ridged = product + fit.ridge * np.eye(6)
        np.testing.assert_allclose(
            fit.weights, fit.latent_weights.T @ np.linalg.inv(ridged), rtol=1e-5, atol=1e-8
        )
        with pytest.raises(DataError, match="give a ridge above 0"):
            InvertedGLM(ridge=0.0).fit(y, x)

    def test_a_bad_condition_is_brought_to_the_largest_that_is_allowed(self):
        y, x, _, _ = world(60)
        x[:, 1] *= 1e5  # so W's row of it is tiny
        fit = InvertedGLM(most_condition=1000.0).fit(y, x)
        assert fit.condition > 1e8
        product = fit.latent_weights @ fit.latent_weights.T
        assert np.linalg.cond(product + fit.ridge * np.eye(4)) == pytest.approx(1000)
        given_ = InvertedGLM(ridge=2.5).fit(y, x)
        assert given_.ridge == 2.5

    def test_settings_out_of_range_are_refused(self):
        with pytest.raises(DataError, match="most_condition above 1"):
            InvertedGLM(most_condition=1.0)
        with pytest.raises(DataError, match="no latent has a part"):
            InvertedGLM().fit(np.zeros((9, 3)), np.eye(9)[:, :2])


class TestDense:
    def test_it_is_torchs_adam_with_l2_in_the_gradient(self):
        y, x, _, _ = world(70)
        settings_ = Dense(rate=1e-2, decay=0.1, epochs=6, seed=5)
        fit = settings_.fit(y, x)
        rng = np.random.default_rng(5)
        layer = torch.nn.Linear(12, 4)
        start = rng.standard_normal((12, 4)) / np.sqrt(12)
        layer.weight.data = torch.tensor(start.T, dtype=torch.float32)
        layer.bias.data.zero_()
        adam = torch.optim.Adam(layer.parameters(), lr=1e-2, weight_decay=0.1)
        shown, wanted = (torch.tensor(a, dtype=torch.float32) for a in (y, x))
        losses = []
        for _ in range(6):
            order = rng.permutation(70)
            batches = []
            for rows in (order[:30], order[30:60], order[60:]):
                loss = 0.5 * ((layer(shown[rows]) - wanted[rows]) ** 2).mean()
                adam.zero_grad()
                loss.backward()
                adam.step()
                batches.append(float(loss.detach()))
            losses.append(np.mean(batches))
        np.testing.assert_allclose(fit.weights, layer.weight.detach().numpy().T, atol=2e-6)
        np.testing.assert_allclose(fit.intercept, layer.bias.detach().numpy(), atol=2e-6)
        np.testing.assert_allclose(fit.losses, losses, rtol=1e-5)

    def test_it_ends_where_ridge_does(self):
        """The minimum of mean(error^2) / 2 + decay |w|^2 / 2 has a closed form."""
        y, x, _, _ = world(90)
        decay, epochs = 0.01, []
        dense = Dense(rate=1e-2, decay=decay, epochs=2500, batch=90)
        fit = dense.fit(y, x, each_epoch=epochs.append)
        a = np.column_stack([y, np.ones(90)])
        best = np.linalg.solve(a.T @ a / (90 * 4) + decay * np.eye(13), a.T @ x / (90 * 4))
        np.testing.assert_allclose(fit.weights, best[:-1], atol=1e-3)
        np.testing.assert_allclose(fit.intercept, best[-1], atol=1e-3)
        assert fit.losses[-1] < fit.losses[0] / 5
        assert epochs == list(range(1, 2501))

    def test_what_cannot_be_descended_is_refused(self):
        y, x, _, _ = world(30)
        with pytest.raises(DataError, match="rate must be above 0"):
            Dense(rate=0.0)
        with np.errstate(all="ignore"), pytest.raises(DataError, match="diverged in epoch 1"):
            Dense(epochs=3).fit(1e30 * y, x)
