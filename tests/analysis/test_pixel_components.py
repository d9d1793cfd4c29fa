"""Components of pixels against a singular value decomposition, and as a decoder's baseline."""

import numpy as np
import pytest

from evolver.analysis.decoding import Ridge
from evolver.analysis.latent_metrics import identification
from evolver.analysis.pixel_components import pixel_components
from evolver.errors import DataError


def drawn(n, *, seed=0, h=5, w=4):
    """Images of three planted patterns about grey."""
    patterns = np.random.default_rng(50).standard_normal((3, h * w * 3)) * 10
    codes = np.random.default_rng(seed).standard_normal((n, 3)) * [3, 2, 1]
    return np.clip(np.rint(128 + codes @ patterns), 0, 255).astype(np.uint8).reshape(n, h, w, 3)


def test_components_are_those_of_the_singular_values():
    images = drawn(60)
    found = pixel_components(images, 3)
    pixels = images.reshape(60, -1).astype(float)
    _, s, vt = np.linalg.svd(pixels - pixels.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(found.variance, s[:3] ** 2 / 59)
    np.testing.assert_allclose(np.abs(found.components @ vt[:3].T), np.eye(3), atol=1e-9)
    assert found.explained == pytest.approx((s[:3] ** 2).sum() / (s**2).sum())
    codes = found.codes(images)
    np.testing.assert_allclose(codes.std(axis=0, ddof=1), 1)
    back = found.images(codes)
    assert back.shape == images.shape
    assert back.dtype == np.uint8
    assert (
        np.abs(back.astype(int) - images).max()
        <= np.abs(
            (pixels - pixels.mean(axis=0)) - (pixels - pixels.mean(axis=0)) @ vt[:3].T @ vt[:3]
        ).max()
        + 1
    )


def test_components_are_decoded_as_latents_are():
    train, test = drawn(200), drawn(40, seed=1)
    found = pixel_components(train, 3)
    weights = np.random.default_rng(2).standard_normal((3, 20))
    rng = np.random.default_rng(3)
    y, shown = (
        found.codes(images) @ weights + 0.3 * rng.standard_normal((len(images), 20))
        for images in (train, test)
    )
    decoded = Ridge().fit(y, found.codes(train)).predict(shown)
    assert identification(found.codes(test), decoded).pairwise.value > 0.9


def test_what_has_no_components_is_refused():
    images = drawn(6)
    with pytest.raises(DataError, match="1 to 5, of 6 images; got 6"):
        pixel_components(images, 6)
    with pytest.raises(DataError, match="vary in 1 directions; 2"):
        pixel_components(images[[0, 0, 1, 1]], 2)
    with pytest.raises(DataError, match=r"uint8; got .* float64"):
        pixel_components(images / 255, 2)
    found = pixel_components(images, 2)
    with pytest.raises(DataError, match=r"must be \(5, 4, 3\)"):
        found.codes(drawn(2, h=6))
    with pytest.raises(DataError, match=r"codes must be \(n, 2\)"):
        found.images(np.zeros((1, 3)))
