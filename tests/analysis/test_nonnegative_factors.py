"""Factors against scikit-learn's numbers, the conditions of an optimum, and odd matrices."""

import numpy as np
import pytest

from evolver.analysis.nonnegative_factors import nonnegative_factors
from evolver.errors import DataError


def matrix(n=12, m=9):
    """A matrix of no small rank, the same wherever it is made: sums and products alone."""
    i, j = np.arange(n)[:, None], np.arange(m)[None, :]
    return ((i * 7 + j * 5) % 11 + (i * j) % 4).astype(float) * ((i + 2 * j) % 5 != 0)


def test_factors_are_those_of_scikit_learn():
    """Of 1.9.1: NMF(3, init="nndsvda", solver="cd") of the matrix over its largest number."""
    x = matrix()
    factors = nonnegative_factors(x, 3)
    left = [
        [0.014278, 0.268755, 0.691308],
        [0, 0.379437, 0.437476],
        [0.400923, 0.057223, 0.197778],
        [0, 0.748886, 0.270072],
        [0.057242, 0.658825, 0],
        [0.282594, 0, 0.523107],
        [0, 0.290006, 0.569321],
        [0.492472, 0.309807, 0],
        [0, 0.143370, 0.565781],
        [0.120077, 0.791339, 0],
        [0.418639, 0, 0],
        [0.056353, 0, 0.893127],
    ]
    right = [
        [0.124279, 1.880499, 0.448486, 1.566078, 0, 0.727857, 0.449881, 1.330287, 0.506441],
        [0.893010, 0, 0.787163, 0, 0.518123, 0.533577, 0.213716, 0.584318, 0.018365],
        [0.066548, 0.414722, 0.057566, 0.473454, 0.701931, 0.268841, 0.703784, 0, 0.800904],
    ]
    np.testing.assert_allclose(factors.left / x.max(), left, atol=2e-6)
    np.testing.assert_allclose(factors.right, right, atol=2e-6)
    assert factors.sweeps == 70


def test_descent_ends_where_no_number_can_move():
    """Karush, Kuhn and Tucker's conditions of least squares, each side by itself."""
    x = matrix()
    factors = nonnegative_factors(x, 3, tolerance=0, most_sweeps=4000)
    rest = factors.left @ factors.right - x
    for side, slope in ((factors.left, rest @ factors.right.T),
                        (factors.right, factors.left.T @ rest)):  # fmt: skip
        assert (side >= 0).all()
        assert np.abs(slope[side > 0]).max() < 1e-6
        assert slope.min() > -1e-6
    assert factors.explained == pytest.approx(1 - (rest**2).sum() / (x**2).sum())
    assert nonnegative_factors(x * 1e9, 3).explained == nonnegative_factors(x, 3).explained


def test_a_matrix_of_few_products_is_found_again():
    rng = np.random.default_rng(4)
    left, right = np.zeros((20, 3)), np.zeros((3, 15))
    for k in range(3):  # parts that do not overlap: nothing else is as near
        left[6 * k : 6 * k + 5, k] = rng.random(5) + 0.2
        right[k, 5 * k : 5 * k + 4] = rng.random(4) + 0.2
    factors = nonnegative_factors(left @ right, 3)
    np.testing.assert_allclose(factors.left @ factors.right, left @ right, atol=1e-3)
    assert factors.explained > 0.9999


@pytest.mark.parametrize("shape", [(1, 1), (5, 1), (1, 5), (2, 9)])
def test_factors_beyond_a_matrixs_size_are_zero(shape):
    x = np.arange(1.0, 1 + np.prod(shape)).reshape(shape)
    factors = nonnegative_factors(x, 3)
    assert (factors.left.shape, factors.right.shape) == ((shape[0], 3), (3, shape[1]))
    np.testing.assert_allclose(factors.left @ factors.right, x, rtol=0.02)
    assert not factors.left[:, min(shape) :].any()
    assert not factors.right[min(shape) :].any()


def test_rows_and_columns_of_zeros_have_no_part():
    """Singular vectors that lie on them alone would have no start: 0 / 0."""
    x = np.zeros((5, 7))
    x[1, 2:4], x[3, 5] = (1, 3), 2
    for k in (1, 2, 3):
        factors = nonnegative_factors(x, k)
        assert not factors.left[[0, 2, 4]].any()
        assert not factors.right[:, [0, 1, 4, 6]].any()
    np.testing.assert_allclose(factors.left @ factors.right, x, atol=0.05)


@pytest.mark.parametrize(
    "x", [np.zeros((3, 3)), -np.eye(3), np.full((2, 2), np.nan), np.ones(3), np.ones((0, 3))]
)
def test_what_is_no_nonnegative_matrix_is_refused(x):
    with pytest.raises(DataError, match="none negative, not all zero"):
        nonnegative_factors(x, 3)
    with pytest.raises(DataError, match="1 or more"):
        nonnegative_factors(np.ones((2, 2)), 0)
