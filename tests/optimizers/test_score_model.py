"""Models of scores: what the Gaussian process says, by longhand."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from evolver.optimizers.score_model import GaussianScores


def process(n=40, k=3):
    rng = np.random.default_rng(0)
    codes = rng.standard_normal((n, k))
    scores = np.sin(codes[:, 0]) + codes[:, 1] ** 2 + 0.1 * rng.standard_normal(n)
    return codes, scores, GaussianScores.fit(codes, scores)


def predicted(model, code):
    near = np.exp(-np.square(model.codes - code).sum(axis=1) / (2 * model.width**2))
    return float(near @ model.weights)


def test_the_width_and_noise_are_those_whose_left_out_scores_are_predicted_best():
    codes, scores, model = process()
    y = (scores - scores.mean()) / scores.std()
    squared = ((codes[:, None] - codes[None]) ** 2).sum(-1)
    usual = np.sqrt(np.median(squared[np.triu_indices(len(y), 1)]))
    errors = {}
    for factor in (0.5, 1.0, 2.0):
        for noise in (0.1, 1.0, 10.0):
            kernel = np.exp(-squared / (2 * (factor * usual) ** 2))
            off = []
            for i in range(len(y)):
                rest = np.arange(len(y)) != i
                weights = np.linalg.solve(
                    kernel[np.ix_(rest, rest)] + noise * np.eye(len(y) - 1), y[rest]
                )
                off.append(y[i] - kernel[i, rest] @ weights)
            errors[factor, noise] = np.mean(np.square(off))
    factor, noise = min(errors, key=errors.get)
    assert model.width == pytest.approx(factor * usual)
    kernel = np.exp(-squared / (2 * model.width**2))
    np.testing.assert_allclose((kernel + noise * np.eye(len(y))) @ model.weights, y, atol=1e-9)


def test_its_slope_is_that_of_what_it_predicts_and_a_path_goes_up_it():
    _, _, model = process()
    at = np.array([0.3, -0.2, 0.1])
    expected = approx_fprime(at, lambda x: predicted(model, x), 1e-6)
    np.testing.assert_allclose(model.slope(at), expected, atol=1e-5)
    end = model.uphill(at, 0.5)
    assert np.linalg.norm(end - at) <= 0.5 + 1e-9
    assert predicted(model, end) > predicted(model, at) + 0.1
