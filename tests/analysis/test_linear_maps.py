"""Ridge against normal equations and rows left out one by one; planted maps, and none."""

import numpy as np
import pytest
from scipy import stats

from evolver.analysis.linear_maps import (
    depth_trend,
    fit_ridge,
    held_out_r2,
    random_directions,
    split_rows,
)
from evolver.errors import DataError

RNG = np.random.default_rng(8)


def solved(x, y, penalty):
    """The normal equations, a constant beside x that is not penalised."""
    ones = np.column_stack([x, np.ones(len(x))])
    ridge = np.diag([penalty] * x.shape[1] + [0.0])
    return np.linalg.solve(ones.T @ ones + ridge, ones.T @ y)


@pytest.mark.parametrize("shape", [(20, 4), (9, 15), (20, 1)])
def test_ridge_is_its_normal_equations_and_leaves_rows_out(shape):
    n, k = shape
    x = RNG.standard_normal((n, k)) + 1
    y = x @ RNG.standard_normal((k, 3)) + 2 * RNG.standard_normal((n, 3)) - 4
    penalties = (0.1, 3.0, 50.0)
    errors = []
    for penalty in penalties:
        left = []
        for i in range(n):
            others = np.arange(n) != i
            map_ = solved(x[others], y[others], penalty)
            left.append((y[i] - np.append(x[i], 1) @ map_) ** 2)
        errors.append(np.mean(left))
    found = fit_ridge(x, y, penalties)
    assert found.error == pytest.approx(min(errors), rel=1e-9)
    assert found.penalty == penalties[int(np.argmin(errors))]
    expected = np.column_stack([x, np.ones(n)]) @ solved(x, y, found.penalty)
    np.testing.assert_allclose(found.predict(x), expected, atol=1e-9)


def test_a_planted_map_is_found_and_none_is_not():
    """Noise of a quarter of the variance leaves an R^2 of 0.8; noise alone leaves none."""
    x = RNG.standard_normal((3000, 10))
    signal = x @ RNG.standard_normal((10, 4))
    signal /= signal.std(axis=0)
    y = np.column_stack([
        signal + 0.5 * RNG.standard_normal((3000, 4)),
        RNG.standard_normal(3000),
        np.ones(3000),
    ])
    train, test = split_rows(3000, rng=np.random.default_rng(42))
    found = held_out_r2(x, y, train=train, test=test)
    np.testing.assert_allclose(found.r2[:4], 0.8, atol=0.04)
    assert abs(found.r2[4]) < 0.03
    assert np.isnan(found.r2[5])
    assert found.mean == pytest.approx(np.mean(found.r2[:5]))
    back = held_out_r2(y[:, :4], x @ np.eye(10)[:, :1], train=train, test=test)
    assert 0 < back.r2[0] < 1


def test_no_row_is_both_seen_and_held_out():
    train, test = split_rows(103, rng=np.random.default_rng(42))
    assert (len(train), len(test)) == (82, 21)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(103))


def test_random_directions_are_orthonormal():
    directions = random_directions(9, 4, rng=RNG)
    np.testing.assert_allclose(directions.T @ directions, np.eye(4), atol=1e-12)
    with pytest.raises(DataError, match="1 to 9"):
        random_directions(9, 10, rng=RNG)


def test_a_trend_is_spearmans_with_its_resamplings():
    layers = [RNG.normal(0.8 - 0.2 * i, 0.1, 12) for i in range(4)]
    layers[0][3] = np.nan
    found = depth_trend([1, 2, 3, 4], layers, rng=np.random.default_rng(0))
    kept = [v[np.isfinite(v)] for v in layers]
    depths = np.repeat([1, 2, 3, 4], [len(v) for v in kept])
    assert found.rho == pytest.approx(stats.spearmanr(depths, np.concatenate(kept)).statistic)
    assert found.low < found.rho < found.high < 0
    assert found.n == 47
    assert np.isnan(depth_trend([1], [[0.2, 0.4]], rng=RNG, resamplings=3).rho)


def test_rows_without_anything_to_tell_them_apart_have_their_mean():
    y = np.random.default_rng(3).standard_normal((4, 2))
    fit = fit_ridge(np.zeros((4, 2)), y)
    np.testing.assert_allclose(fit.predict(np.ones((1, 2))), [y.mean(axis=0)])
    assert fit.error == pytest.approx(((y - (y.sum(axis=0) - y) / 3) ** 2).mean())


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(DataError, match="same rows"):
        fit_ridge(np.ones((4, 2)), np.ones((5, 2)))
    with pytest.raises(DataError, match="> 0"):
        fit_ridge(np.ones((4, 2)), np.ones((4, 2)), (0.0,))
    with pytest.raises(DataError, match="finite"):
        fit_ridge(np.full((4, 2), np.nan), np.ones((4, 2)))
