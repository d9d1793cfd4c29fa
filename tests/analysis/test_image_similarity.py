"""Prototypes by hand, and measures of images against sums over every pixel and window."""

import numpy as np
import pytest
from scipy import stats

from evolver.analysis.image_similarity import (
    centre_mask,
    evolution_similarity,
    feature_cosine,
    feature_mse,
    masked_features,
    masked_image,
    pixel_correlation,
    prototypes,
    structural_similarity,
    zoomed_mask,
)
from evolver.analysis.quantities import Quantity
from evolver.errors import DataError

RNG = np.random.default_rng(1)
A, B = RNG.integers(0, 256, (2, 20, 17, 3), dtype=np.uint8)


def test_prototypes_are_of_the_block_with_the_highest_mean():
    responses = np.array([1.0, 2.0, 9.0, 1.0, 5.0, 6.0, np.nan, 50.0])
    block = np.array([0, 0, 1, 1, 2, 2, 2, -1])
    codes = np.arange(16.0).reshape(8, 2)
    found = prototypes(responses, block, codes)
    assert (found.block, found.best_row) == (2, 5)  # not row 2, whose block has a lower mean
    np.testing.assert_array_equal(found.mean_code, codes[4:6].mean(axis=0))
    none = prototypes(np.full(8, np.nan), block, codes)
    assert (none.block, none.best_row, none.reason) == (-1, -1, "no block has a response")
    assert np.isnan(none.mean_code).all()
    assert prototypes([], np.zeros(0, dtype=int), np.zeros((0, 3))).reason
    with pytest.raises(DataError, match="one row an image"):
        prototypes(responses, block, codes[:3])


def test_pixels_and_features_are_compared_number_by_number():
    a, b = A.astype(float).ravel() / 255, B.astype(float).ravel() / 255
    assert pixel_correlation(A, B).value == pytest.approx(stats.pearsonr(a, b).statistic)
    assert feature_mse(A, B).value == pytest.approx(sum((a - b) ** 2) / len(a))
    cosine = a @ b / np.sqrt((a @ a) * (b @ b))
    assert feature_cosine(A, B).value == pytest.approx(cosine)
    assert "one colour" in pixel_correlation(A, np.zeros_like(A)).reason
    assert "zero everywhere" in feature_cosine(np.zeros(4), np.ones(4)).reason


def test_ssim_is_the_mean_over_every_window():
    """Wang et al. 2004, eq. 13, with an 11 x 11 Gaussian window of sd 1.5, pixel by pixel."""
    at = np.arange(-5, 6)
    window = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for c in range(3):
        for i in range(5, 15):
            for j in range(5, 12):
                x, y = (m[i - 5 : i + 6, j - 5 : j + 6, c] / 255 for m in (A, B))
                mx, my = (window * x).sum(), (window * y).sum()
                vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
                cov = (window * (x - mx) * (y - my)).sum()
                values.append(
                    (2 * mx * my + 1e-4)
                    * (2 * cov + 9e-4)
                    / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
                )
    assert structural_similarity(A, B).value == pytest.approx(np.mean(values))
    assert structural_similarity(A, A).value == pytest.approx(1)
    grey = structural_similarity(A[..., 0], B[..., 0])
    assert grey.value == pytest.approx(np.mean(values[: len(values) // 3]))
    assert "smaller than the window" in structural_similarity(A[:10], B[:10]).reason


def test_masks_leave_out_the_border_and_zoom_to_finer_layers():
    mask = centre_mask(7, 7)
    assert mask.sum() == 25
    assert mask[0].sum() == mask[:, 6].sum() == 0
    np.testing.assert_array_equal(zoomed_mask(mask, 7, 7), mask)
    finer = zoomed_mask(mask, 14, 14)
    np.testing.assert_allclose(finer[7, :4], [0, 0.25, 0.75, 1])
    assert finer[0, 0] == 0
    np.testing.assert_allclose(finer, finer.T)
    np.testing.assert_allclose(zoomed_mask(np.full((3, 5), 0.3), 8, 9), 0.3)
    features = RNG.normal(size=(2, 4, 7, 7))
    pooled = masked_features(features, mask)
    np.testing.assert_allclose(pooled, features[..., 1:6, 1:6].mean(axis=(2, 3)))
    image = masked_image(A, np.zeros((20, 17)))
    assert (image == 0.5).all()
    for wrong in (lambda: centre_mask(2, 7), lambda: masked_features(features, mask * 0)):
        with pytest.raises(DataError):
            wrong()


def test_two_evolutions_are_compared_by_every_measure_handed_in():
    first = {"best": A, "mean": B, "re-evolved": A}
    second = {"mean": A, "best": A}
    calls = []

    def distance(x, y):
        calls.append((x.max(), y.shape))
        return float(np.abs(x - y).mean())

    measures = {
        "distance": distance,
        "r": pixel_correlation,
        "broken": lambda *_: float("inf"),
    }
    found = evolution_similarity(first, second, measures)
    assert [(s.prototype, s.measure) for s in found] == [
        (p, m) for p in ("best", "mean") for m in measures
    ]
    assert found[0].value == Quantity(0.0)
    assert found[1].value.value == pytest.approx(1)
    assert found[3].value.value == pytest.approx(np.abs(A / 255 - B / 255).mean())
    assert found[2].value.reason == "broken is inf"
    assert all(top <= 1 and shape == (20, 17, 3) for top, shape in calls)
    hidden = evolution_similarity(first, second, measures, mask=np.zeros((20, 17)))
    assert "one colour" in hidden[1].value.reason
    corner = np.zeros((20, 17))
    corner[:6, :6] = 1
    seen = evolution_similarity(first, second, {"distance": distance}, mask=corner)[1]
    assert seen.value.value == pytest.approx(
        np.abs(A[:6, :6] / 255 - B[:6, :6] / 255).sum() / A.size
    )
