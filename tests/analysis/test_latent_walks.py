"""Great circles against rotations in a plane; rows of a walk against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import expm

from evolver.analysis.decoding import LeastSquares
from evolver.analysis.latent_walks import arithmetic_walk, interpolation_walk, slerp
from evolver.errors import DataError


def test_a_great_circle_is_a_rotation_in_the_plane_of_both():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(6), 3 * rng.standard_normal(6)
    u, v = a / np.linalg.norm(a), b / np.linalg.norm(b)
    across = v - (v @ u) * u
    across /= np.linalg.norm(across)
    turn = np.arccos(u @ v) * (np.outer(across, u) - np.outer(u, across))
    shares = np.linspace(0, 1, 5)
    for share, point in zip(shares, slerp(a, b, shares), strict=True):
        length = (1 - share) * np.linalg.norm(a) + share * np.linalg.norm(b)
        np.testing.assert_allclose(point, length * expm(share * turn) @ u, atol=1e-12)


@given(st.integers(2, 6), st.integers(0, 99), st.sampled_from([1e-13, 1e-9, 1e-3, 1.0]))
def test_ends_are_the_two_and_lengths_are_linear(d, seed, apart):
    rng = np.random.default_rng(seed)
    a = rng.standard_normal(d) + 2
    b = 5 * (a + apart * rng.standard_normal(d))
    points = slerp(a, b, np.linspace(0, 1, 4))
    np.testing.assert_allclose(points[[0, -1]], [a, b], rtol=1e-9, atol=1e-12)
    expected = np.linspace(np.linalg.norm(a), np.linalg.norm(b), 4)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), expected)


def test_paths_that_are_not_are_refused():
    with pytest.raises(DataError, match="no one great circle"):
        slerp([1.0, 0], [-2.0, 0], [0.5])
    with pytest.raises(DataError, match=r"not 0; .*\[0.0, 1.0\]"):
        slerp([0.0, 0], [1.0, 0], [0.5])
    with pytest.raises(DataError, match="one size"):
        slerp([1.0, 0], [1.0], [0.5])


@pytest.fixture(scope="module")
def world():
    """A decoder of noisy responses, what was shown, and an encoder that knows the truth."""
    rng = np.random.default_rng(1)
    w = rng.standard_normal((4, 15))
    x = rng.standard_normal((200, 4))
    y = 2 + x @ w + 0.3 * rng.standard_normal((200, 15))
    return LeastSquares().fit(y[:150], x[:150]), x[150:], y[150:], lambda codes: 2 + codes @ w


def test_four_rows_are_as_published(world):
    decoder, x, y, encode = world
    walk = interpolation_walk(decoder, x[:2], y[:2], steps=5, encode=encode)
    assert list(walk.rows) == ["true", "decoded", "responses", "encodings"]
    t = walk.shares
    np.testing.assert_array_equal(t, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(walk.rows["true"][[0, 4]], x[:2])
    decoded = decoder.predict(y[:2])
    for row in ("decoded", "responses"):
        np.testing.assert_allclose(walk.rows[row][[0, 4]], decoded)
    assert np.abs(walk.rows["decoded"][2] - walk.rows["responses"][2]).max() > 1e-3
    np.testing.assert_allclose(walk.rows["responses"], decoder.predict(slerp(y[0], y[1], t)))
    np.testing.assert_allclose(walk.rows["encodings"], walk.rows["true"], atol=0.1)
    assert "encodings" not in interpolation_walk(decoder, x[:2], y[:2]).rows


def test_arithmetic_adds_the_mean_of_all_members(world):
    decoder, x, y, encode = world
    group = x[10:40], y[10:40]
    walk = arithmetic_walk(decoder, x[:1], y[:1], group, encode=encode)
    for share, *points in zip(walk.shares, *walk.rows.values(), strict=True):
        true, decoded, responses, encodings = points
        np.testing.assert_allclose(true, x[0] + share * group[0].mean(axis=0))
        mean = decoder.predict(group[1]).mean(axis=0)
        np.testing.assert_allclose(decoded, decoder.predict(y[:1])[0] + share * mean)
        moved = y[0] + share * group[1].mean(axis=0)
        np.testing.assert_allclose(responses, decoder.predict(moved[None])[0])
        np.testing.assert_allclose(encodings, decoder.predict(encode(true[None]))[0])
    assert walk.shares.tolist() == [-1, -0.5, 0, 0.5, 1]


def test_what_does_not_fit_the_decoder_is_refused(world):
    decoder, x, y, _ = world
    with pytest.raises(DataError, match=r"\(2, 4\) and responses \(2, 15\)"):
        interpolation_walk(decoder, x[:3], y[:3])
    with pytest.raises(DataError, match="steps must be 2"):
        interpolation_walk(decoder, x[:2], y[:2], steps=1)
    with pytest.raises(
        DataError, match=r"encode must return responses \(8, 15\); got \(8, 4\)"
    ):
        interpolation_walk(decoder, x[:2], y[:2], encode=lambda codes: codes)
    with pytest.raises(DataError, match=r"latents \(g, 4\)"):
        arithmetic_walk(decoder, x[:1], y[:1], (x[:3, :2], y[:3]))
    with pytest.raises(DataError, match="got 3 and 4"):
        arithmetic_walk(decoder, x[:1], y[:1], (x[:3], y[:4]))
