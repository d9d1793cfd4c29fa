"""Codes about an evolved one, against their formulas written out and another library's axes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.decomposition import PCA

from evolver.errors import DataError
from evolver.generators.around import (
    CENTRE,
    circles_around,
    even_steps,
    principal_axes,
    spheres_around,
    steps_around,
)

RNG = np.random.default_rng(5)
D = 12
CODE = RNG.normal(size=D) * 3
AXES = np.linalg.qr(RNG.normal(size=(D, 4)))[0].T
NORM = np.linalg.norm(CODE)


@given(st.integers(1, 50), st.floats(1e-3, 1e3))
def test_steps_are_even_and_the_middle_one_is_exactly_0(half, reach):
    steps = even_steps(2 * half + 1, reach)
    assert steps[half] == 0
    np.testing.assert_array_equal(steps, -steps[::-1])
    np.testing.assert_allclose(steps, np.linspace(-reach, reach, 2 * half + 1), atol=1e-9)
    for even in (2 * half, 1):
        with pytest.raises(DataError, match="odd"):
            even_steps(even, reach)


def test_steps_are_the_code_and_so_much_of_an_axis():
    steps = even_steps(5, 0.8)
    made = steps_around(CODE, AXES, steps)
    assert made.axis.tolist() == [CENTRE, *np.repeat([0, 1, 2, 3], 4)]
    assert made.step.tolist() == [0, *np.tile(steps[steps != 0], 4)]
    assert not made.second_step.any()
    np.testing.assert_array_equal(made.codes[0], CODE)
    for code, k, s in zip(made.codes, made.axis, made.step, strict=True):
        if k != CENTRE:
            np.testing.assert_allclose(code, CODE + s * AXES[k], atol=1e-12)


def test_circles_turn_the_code_towards_an_axis():
    made = circles_around(CODE, AXES[:2], even_steps(7, 90))
    e = CODE / NORM
    assert len(made.codes) == 1 + 2 * 6
    for code, k, s in zip(made.codes[1:], made.axis[1:], made.step[1:], strict=True):
        square = AXES[k] - (AXES[k] @ e) * e
        square /= np.linalg.norm(square)
        theta = np.deg2rad(s)
        expected = NORM * (np.cos(theta) * e + np.sin(theta) * square)
        np.testing.assert_allclose(code, expected, atol=1e-12)
        np.testing.assert_allclose(code @ CODE / NORM**2, np.cos(theta), atol=1e-12)
        assert np.sign(s) * (code @ square) > 0


def test_a_sphere_is_the_published_grid():
    """Rows of [cos t cos p, sin t cos p, sin p] times three axes, as the field makes it."""
    steps = even_steps(11, 90)
    made = spheres_around(CODE, AXES, steps)
    assert len(made.codes) == 1 + 2 * 120
    np.testing.assert_allclose(np.linalg.norm(made.codes, axis=1), NORM, rtol=1e-13)
    for pair in (0, 1):
        basis, _ = np.linalg.qr(np.stack([CODE, AXES[2 * pair], AXES[2 * pair + 1]]).T)
        basis *= np.sign([basis[:, j] @ x for j, x in enumerate((CODE, *AXES[2 * pair :][:2]))])
        mine = made.axis == pair
        theta, phi = np.deg2rad(made.step[mine]), np.deg2rad(made.second_step[mine])
        weights = [np.cos(theta) * np.cos(phi), np.sin(theta) * np.cos(phi), np.sin(phi)]
        expected = NORM * np.stack(weights).T @ basis.T
        np.testing.assert_allclose(made.codes[mine], expected, atol=1e-12)
    places = {(s, t) for s in steps for t in steps} - {(0, 0)}
    assert set(zip(made.step[1:121], made.second_step[1:121], strict=True)) == places


@given(arrays(np.float64, (3, 5), elements=st.floats(-1e3, 1e3, width=32)))
def test_a_sphere_has_one_norm_or_is_refused(rows):
    code, axes = rows[0], rows[1:]
    if not (np.linalg.norm(axes, axis=1) > 0).all():
        return
    try:
        made = spheres_around(code, axes, even_steps(3, 60))
    except DataError as error:
        assert "direction" in str(error) or "lead away" in str(error)  # noqa: PT017
        return
    norms = np.linalg.norm(made.codes, axis=1)
    np.testing.assert_allclose(norms, np.linalg.norm(code), rtol=1e-9)


@pytest.mark.parametrize("shape", [(40, 12), (7, 30)])
def test_components_are_the_librarys_but_for_their_sixth_digit(shape):
    codes = np.random.default_rng(1).normal(size=shape) * np.geomspace(3, 0.3, shape[1]) + 1
    evolved = codes[-5:].mean(axis=0)
    most = min(shape) - 1
    axes = principal_axes(codes, evolved, most=99)
    assert len(axes) == most if shape[0] < shape[1] else len(axes) == shape[1]
    theirs = PCA(n_components=most).fit(codes)
    np.testing.assert_allclose(
        np.abs(np.sum(axes[:most] * theirs.components_, axis=1)), 1, atol=1e-9
    )
    np.testing.assert_allclose(np.linalg.norm(axes, axis=1), 1, rtol=1e-14)
    assert ((axes @ (evolved - codes.mean(axis=0))) >= -1e-12).all()
    np.testing.assert_array_equal(principal_axes(codes, evolved, most=3), axes[:3])


def test_components_are_the_same_bits_whatever_a_library_rounded():
    codes = np.random.default_rng(2).normal(size=(40, 12))
    shaken = codes * (1 + 1e-14 * np.random.default_rng(3).normal(size=codes.shape))
    assert not np.array_equal(codes, shaken)
    np.testing.assert_array_equal(
        principal_axes(codes, codes[0], most=5), principal_axes(shaken, codes[0], most=5)
    )


def test_what_has_no_direction_is_refused():
    steps = even_steps(3, 90)
    with pytest.raises(DataError, match="it is zero"):
        circles_around(np.zeros(D), AXES, steps)
    with pytest.raises(DataError, match="lead away from the evolved code"):
        circles_around(CODE, CODE[None] / NORM, steps)
    with pytest.raises(DataError, match="lead away"):
        spheres_around(CODE, AXES[[0, 0]], steps)
    with pytest.raises(DataError, match="pairs"):
        spheres_around(CODE, AXES[:3], steps)
    with pytest.raises(DataError, match="all are the same"):
        principal_axes(np.ones((4, 3)), np.ones(3), most=2)
