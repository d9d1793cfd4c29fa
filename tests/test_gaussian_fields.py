"""A Gaussian that was drawn is found again, in pixels and in degrees, with gaps and noise."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from evolver import gaussian_fields
from evolver.errors import DataError
from evolver.gaussian_fields import Gaussian, fit_gaussian, refit_gaussian


def blob(shape, row, column, sd_row, sd_column, angle=0.0):
    rows, columns = np.indices(shape, dtype=float)
    along = np.cos(angle) * (columns - column) + np.sin(angle) * (rows - row)
    across = -np.sin(angle) * (columns - column) + np.cos(angle) * (rows - row)
    return np.exp(-(along**2 / sd_column**2 + across**2 / sd_row**2) / 2)


@pytest.mark.parametrize(
    ("row", "column", "sd_row", "sd_column", "angle"),
    [(6.0, 21.0, 2.0, 4.0, 0.0), (13.5, 4.25, 1.5, 1.5, 0.0), (9.0, 15.0, 1.5, 4.0, 0.6)],
)
def test_a_gaussian_is_found_again_on_20_by_30_pixels(row, column, sd_row, sd_column, angle):
    field = 0.2 + 3.0 * blob((20, 30), row, column, sd_row, sd_column, angle)
    noise = np.random.default_rng(3).normal(0, 0.01, field.shape)
    found = fit_gaussian(field + noise)
    assert (found.row, found.column) == pytest.approx((row, column), abs=0.05)
    assert found.base == pytest.approx(0.2, abs=0.01)
    assert found.amplitude == pytest.approx(3.0, abs=0.1)
    assert found.r2 > 0.99
    np.testing.assert_allclose(found.at(*np.indices(field.shape)), field, atol=0.05)
    if angle == 0:
        assert sorted((found.sd_row, found.sd_column)) == pytest.approx(
            sorted((sd_row, sd_column)), rel=0.05
        )


def drawn(rows, columns, gaussian):
    return gaussian.at(*np.meshgrid(rows, columns, indexing="ij"))


DEGREES = Gaussian(12.0, -0.7, 1.3, 0.8, 1.6, 0.4, 5.0, 1.0)
ROWS, COLUMNS = np.linspace(-4, 4, 9), np.linspace(-3, 5, 17)


def test_degrees_and_gaps():
    field = drawn(ROWS, COLUMNS, DEGREES)
    weights = np.ones(field.shape)
    weights[2, 3:9] = weights[7, 0] = 0
    field[weights == 0] = 1e6  # what is not known does not count
    given = {"rows": ROWS, "columns": COLUMNS, "weights": weights}
    fitted = fit_gaussian(field, **given)
    assert fitted.r2 > 0.9999
    assert fitted.parameters == pytest.approx(DEGREES.parameters, abs=1e-3)
    near = dataclasses.replace(DEGREES, row=0.0, column=0.8, sd_row=1.2, amplitude=8.0)
    again = refit_gaussian(field, near, **given)
    assert again.parameters == pytest.approx(DEGREES.parameters, abs=1e-3)


def test_weights_say_what_counts():
    """Of two blobs the heavier one is found, and each weight is worth so many places."""
    one = drawn(ROWS, COLUMNS, DEGREES)
    other = drawn(ROWS, COLUMNS, dataclasses.replace(DEGREES, row=2.0, column=-1.0))
    fitted = fit_gaussian(
        (9 * one + other) / 10, rows=ROWS, columns=COLUMNS, weights=np.full(one.shape, 0.2)
    )
    same = fit_gaussian((9 * one + other) / 10, rows=ROWS, columns=COLUMNS)
    assert fitted.parameters == pytest.approx(same.parameters, abs=1e-3)


def test_one_place_that_stands_out_is_as_wide_as_the_narrowest():
    field = np.zeros((7, 9))
    field[2, 6] = 10.0
    for narrowest in (0.3, 0.5, 0.8):
        fitted = fit_gaussian(field, narrowest=narrowest)
        assert (fitted.row, fitted.column) == pytest.approx((2, 6), abs=0.05)
        assert min(fitted.sd_row, fitted.sd_column) == pytest.approx(narrowest, rel=1e-3)
        near = dataclasses.replace(fitted, sd_row=1.2, sd_column=1.0, row=2.4)
        again = refit_gaussian(field, near, narrowest=narrowest)
        assert (again.row, again.column) == pytest.approx((2, 6), abs=0.05)
        assert min(again.sd_row, again.sd_column) == pytest.approx(narrowest, rel=2e-2)


def test_slopes_are_the_values():
    at = np.array([0.3, -1.0, 2.0]), np.array([1.0, 0.4, -2.0])
    parameters = np.array([3.0, 0.2, 0.5, 1.0, 2.0, 0.4, 0.7])
    slopes = gaussian_fields._slopes(at, *parameters)
    expected = approx_fprime(parameters, lambda q: gaussian_fields._values(at, *q))
    np.testing.assert_allclose(slopes, expected, atol=1e-6)


def test_what_has_no_gaussian():
    assert fit_gaussian(np.zeros((5, 7))) is None
    assert fit_gaussian(np.full((5, 7), np.nan)) is None
    assert fit_gaussian(np.zeros((5, 7)), weights=np.zeros((5, 7))) is None
    assert refit_gaussian(np.ones((2, 3)), DEGREES) is None  # fewer places than parameters
    hole = -drawn(ROWS, COLUMNS, DEGREES)
    assert refit_gaussian(hole, DEGREES, rows=ROWS, columns=COLUMNS) is None


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"rows": [0.0, 1.0, 3.0]}, "rows must be 3 numbers that rise in equal steps"),
        ({"columns": [1.0, 0.0]}, "columns must be 2 numbers"),
        ({"rows": [0.0, 1.0]}, "rows must be 3"),
        ({"weights": np.ones((2, 3))}, "weights must be"),
        ({"weights": np.full((3, 2), -1.0)}, "not below 0"),
    ],
)
def test_what_does_not_fit_a_map_is_refused(wrong, match):
    with pytest.raises(DataError, match=match):
        fit_gaussian(np.arange(6.0).reshape(3, 2), **wrong)


@pytest.mark.parametrize("degrees", [-90, -50, -40, 0, 30, 46, 89, 90, 170])
def test_upright_it_is_the_same_gaussian(degrees):
    angle = np.radians(degrees)
    given = Gaussian(3.0, 5.0, 7.0, 1.0, 2.5, angle, 0.5, 1.0)
    up, right, turn = given.upright
    assert abs(turn) <= np.pi / 4 + 1e-12
    other = dataclasses.replace(given, sd_row=up, sd_column=right, angle=turn)
    places = np.indices((12, 14)).astype(float)
    np.testing.assert_allclose(other.at(*places), given.at(*places), rtol=1e-12)
