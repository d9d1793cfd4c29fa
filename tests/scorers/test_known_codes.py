"""Functions of codes: none of many codes scores higher than the optimum that is handed out."""

import numpy as np
import pytest

from evolver.errors import ConfigError, DataError
from scorers.known import CurvedRidge, Direction, Ellipsoid, Peaks, StraightRidge

D = 6


def made():
    rng = np.random.default_rng(3)
    axes, _ = np.linalg.qr(rng.normal(size=(D, D)))
    top = rng.normal(size=D)
    return {
        "sphere": Ellipsoid(top),
        "ellipsoid": Ellipsoid(top, np.geomspace(1, 1e6, D), axes),
        "ridge": StraightRidge(top, rng.normal(size=D)),
        "curved ridge": CurvedRidge(D),
        "direction": Direction(rng.normal(size=D), radius=3.0),
        "peaks": Peaks(rng.normal(size=(5, D)), np.array([1.0, 2, 9, 3, 8]), np.full(5, 0.7)),
    }


@pytest.mark.parametrize("name", made())
def test_nothing_scores_higher_than_the_optimum(name):
    function = made()[name]
    best = function.optimum
    assert function(best.code[None])[0] == pytest.approx(best.value, abs=1e-12)
    rng = np.random.default_rng(0)
    sizes = np.geomspace(1e-4, 10, 40_000)[:, None]
    for middle in (best.code, np.zeros(D)):  # near, and everywhere
        codes = middle + sizes * rng.normal(size=(40_000, D))
        if name == "direction":
            lengths = np.linalg.norm(codes, axis=1, keepdims=True)
            codes *= np.minimum(1, function.radius / lengths)
        scores = function(codes)
        assert scores.shape == (40_000,)
        assert scores.max() < best.value
    best.code[:] = 0  # the caller's, to do with what it likes
    assert function.optimum.code.any()


def test_the_formulas():
    codes = np.array([[1.0, 2.0], [0.0, 0.0]])
    assert Ellipsoid(np.ones(2), np.array([2.0, 3.0]))(codes).tolist() == [-3, -5]
    turned = Ellipsoid(np.zeros(2), np.array([2.0, 3.0]), np.array([[0.0, 1], [1, 0]]))
    assert turned(codes).tolist() == [-11, 0]
    np.testing.assert_allclose(
        StraightRidge(np.zeros(2), np.array([0.0, 5.0]), 10)(codes), [-14, 0]
    )
    assert CurvedRidge(2)(codes).tolist() == [-100, -1]
    np.testing.assert_allclose(Direction(np.array([3.0, 4.0]), 1)(codes), [11 / 5, 0])
    peaks = Peaks(np.array([[1.0, 0], [0, 3]]), np.array([2.0, 1.0]), np.array([1.0, 2.0]))
    np.testing.assert_allclose(
        peaks(codes),
        [max(2 * np.exp(-2), np.exp(-2 / 8)), max(2 * np.exp(-0.5), np.exp(-9 / 8))],
    )


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Ellipsoid(np.zeros(2), np.array([1.0, 0.0])), "slopes"),
        (lambda: Ellipsoid(np.zeros(2), axes=np.eye(3)), "axes"),
        (lambda: StraightRidge(np.zeros(2), np.zeros(2)), "along"),
        (lambda: StraightRidge(np.zeros(2), np.ones(2), 1.0), "steepness"),
        (lambda: CurvedRidge(1), "2 dimensions"),
        (lambda: Direction(np.ones(2), 0.0), "radius"),
        (lambda: Peaks(np.zeros((2, 3)), np.ones(2), np.zeros(2)), "widths"),
    ],
)
def test_what_is_no_function_is_refused(make, said):
    with pytest.raises(ConfigError, match=said):
        make()


def test_codes_of_another_length_are_refused():
    for function in made().values():
        with pytest.raises(DataError, match=r"\(n, 6\)"):
            function(np.zeros((3, D + 1)))
