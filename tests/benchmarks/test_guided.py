"""A guided arm beside a blind search: what its model says, and what it leaves alone."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from benchmarks.optimizers.guided import MODELS, GaussianProcess, Guided
from evolver.errors import ConfigError
from evolver.optimizers.within_axes import make_axes, within_axes

AXES = make_axes(np.linalg.qr(np.random.default_rng(3).standard_normal((20, 6)))[0].T)
TOP = np.random.default_rng(4).standard_normal(20) * 3


def score(codes):
    return -np.square((codes - TOP) @ AXES.back).sum(axis=1)


def process(n=40, k=3):
    rng = np.random.default_rng(0)
    codes = rng.standard_normal((n, k))
    scores = np.sin(codes[:, 0]) + codes[:, 1] ** 2 + 0.1 * rng.standard_normal(n)
    return codes, scores, GaussianProcess.fit(codes, scores)


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


def run(optimizer, generations=30):
    shown, blind = [], []
    for _ in range(generations):
        codes = optimizer.ask()
        shown.append(codes)
        blind.append(codes[:10])
        optimizer.tell(codes, score(codes))
    return shown, blind


@pytest.mark.parametrize("model", MODELS)
def test_the_blind_arm_goes_as_it_does_alone_and_wrong_models_get_few_images(model):
    guided = Guided(
        20, rng=np.random.default_rng(1), popsize=10, axes=AXES, sigma=0.5, model=model
    )
    shown, blind = run(guided)
    alone = within_axes(
        "snes", 20, rng=np.random.default_rng(1), axes=AXES, popsize=10, sigma=0.5
    )
    _, expected = run(alone)
    np.testing.assert_array_equal(np.stack(blind), np.stack(expected))
    further = [len(codes) - 10 for codes in shown]
    assert set(further[:6]) == {0}  # nothing to fit yet
    assert sum(further) > 0
    assert all(n % 2 == 0 for n in further)
    off = np.concatenate(shown) - expected[0][0]
    np.testing.assert_allclose(off @ AXES.vectors.T @ AXES.vectors, off, atol=1e-9)
    if model == "gp":  # of a smooth function it is right: its arm is ahead, and shows more
        assert max(score(c[10:]).max(initial=-np.inf) for c in shown) > max(
            score(c).max() for c in expected
        )
        assert max(further) >= 6


def test_one_win_by_less_than_its_error_moves_nothing():
    guided = Guided(20, rng=np.random.default_rng(1), popsize=10, axes=AXES, sigma=0.5)
    base, better = np.zeros(6), np.ones(6)
    guided._base, guided._trials = base, [(better, 0.5)]
    guided._judge(np.array([[0.0, 2.0], [0.5, 2.5]]))
    assert guided._base is base
    assert guided.level == 0
    guided._judge(np.array([[0.0, 0.1], [1.0, 1.1]]))
    assert guided._base is better
    assert guided.level == 1


def test_another_model_is_refused():
    with pytest.raises(ConfigError, match="model must be one of gp, shuffled"):
        Guided(20, rng=np.random.default_rng(1), popsize=10, axes=AXES, model="tea")
