"""Attribution against sums written out, planted patches, noise, and what is undefined."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolver.analysis import feature_attribution
from evolver.analysis.image_similarity import zoomed_mask
from evolver.analysis.nonnegative_factors import nonnegative_factors
from evolver.analysis.spatial_attribution import (
    alpha_image,
    mask_cosine,
    mass_inside,
    soft_iou,
)
from evolver.errors import DataError
from tests.soak import examples


def session(seed=0, *, n=120, shape=(6, 7, 8), patch=((2, 3), (2, 4)), gain=1.0):
    """Features of noise that neighbours share, and responses that read three in a patch."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(n, shape[0], shape[1] + 1, shape[2] + 1))
    features = noise[..., :-1, :-1] + 0.5 * noise[..., 1:, 1:] + 3
    rows, columns = patch
    read = features[:, :3, slice(*rows), slice(*columns)].sum(axis=(1, 2, 3))
    return features, gain * (read - read.mean()) + rng.normal(size=n) + 20


def by_hand(features, y, threshold=3.0):
    """The same, feature by feature, from the definitions."""
    n, c, h, w = features.shape
    r, positive = np.full((c, h, w), np.nan), np.zeros((c, h, w))
    negative = np.zeros((c, h, w))
    for at in np.ndindex(c, h, w):
        f = features[(slice(None), *at)]
        if np.ptp(f) == 0:
            continue
        r[at] = np.corrcoef(f, y)[0, 1]
        t = r[at] * np.sqrt((n - 2) / (1 - r[at] ** 2))
        edge = at[1] in {0, h - 1} or at[2] in {0, w - 1}
        if abs(t) > threshold and not edge:
            (positive if t > 0 else negative)[at] = abs(r[at]) * f.std()
    parts = nonnegative_factors(positive.reshape(c, -1).T, 3)
    lengths = np.linalg.norm(parts.right, axis=1)
    mask = (parts.left * lengths).sum(axis=1).reshape(h, w)
    return r, positive, negative, mask / mask.max()


def test_it_is_the_sums_written_out():
    features, y = session()
    features[:, 4, 3, 3] = 0.1  # does not vary
    features[:, 5] = -features[:, 0]  # goes the other way
    found = feature_attribution(features, y)
    r, positive, negative, mask = by_hand(features, y)
    np.testing.assert_allclose(found.r, r, atol=1e-12)
    np.testing.assert_allclose(found.positive, positive, atol=1e-12)
    np.testing.assert_allclose(found.negative, negative, atol=1e-12)
    np.testing.assert_allclose(found.mask, mask, atol=1e-9)
    assert negative.any()
    assert found.beyond == (positive > 0).sum()
    assert found.tested == 6 * 5 * 6 - 1
    assert found.chance == pytest.approx(found.tested * 0.00165, rel=0.02)  # t table, 118
    np.testing.assert_allclose(np.linalg.norm(found.channels, axis=0), 1)
    product = found.maps @ found.channels.T
    rest = ((product - positive.transpose(1, 2, 0)) ** 2).sum()
    assert found.explained == pytest.approx(1 - rest / (positive**2).sum())
    paper = feature_attribution(features, y, map_scale="paper", shuffles=0)
    np.testing.assert_allclose(paper.maps @ paper.channels.T, product, atol=1e-9)
    assert np.isnan(paper.p)


@examples(0.3)
@given(st.lists(st.integers(0, 120), max_size=6), st.booleans())
def test_parts_are_as_good_as_the_whole(cuts, single):
    features, y = session(n=60)
    whole = feature_attribution(features, y, shuffles=3)
    kind = np.float32 if single else np.float64
    parts = np.split(features.astype(kind), sorted(cut % 61 for cut in cuts))
    found = feature_attribution(iter(parts), y, shuffles=3)
    np.testing.assert_allclose(found.r, whole.r, atol=1e-5 if single else 1e-12)
    assert found.p == whole.p
    assert found.beyond == whole.beyond


def test_features_far_from_zero_keep_their_digits():
    features, y = session()
    near = feature_attribution(features, y, shuffles=0)
    far = feature_attribution(features + 2.0**30, y + 2.0**30, shuffles=0)
    np.testing.assert_allclose(far.r, near.r, atol=1e-5)  # 2^30 leaves 22 bits
    assert far.beyond == near.beyond


def test_a_planted_patch_has_the_mask():
    """Its share of the cells off the border, the level of chance, is a fifth."""
    region = np.zeros((7, 8))
    region[[2, 2, 1, 1, 3, 3], [2, 3, 1, 2, 3, 4]] = 1  # read, or with some of the same noise
    shares, chance = [], region.sum() / (5 * 6)
    for seed in range(10):
        found = feature_attribution(*session(seed))
        assert found.p == 0.01
        shares.append(mass_inside(found.mask, region).value)
        turned = feature_attribution(*session(seed, patch=((4, 5), (5, 6))), shuffles=0)
        assert np.unravel_index(turned.mask.argmax(), (7, 8)) == (4, 5)
    assert chance == 0.2
    assert np.mean(shares) > 0.9
    channels = feature_attribution(*session(), shuffles=0).positive.sum(axis=(1, 2))
    assert channels[:3].min() > 5 * channels[3:].max()


@pytest.mark.soak
def test_noise_is_called_a_patch_as_often_as_is_said():
    """400 sessions whose responses are dealt anew: p <= 0.05 in 3 to 8 % (99.9 % of 5 %)."""
    rng = np.random.default_rng(8)
    features, y = session(n=60, shape=(8, 6, 6))
    real = feature_attribution(features, y, shuffles=19)
    p, mass = [], []
    for _ in range(400):
        null = feature_attribution(features, rng.permutation(y), shuffles=19, rng=rng)
        p.append(null.p)
        mass.append(null.positive.sum() / real.positive.sum())
    assert 0.02 <= np.mean(np.array(p) <= 0.05) <= 0.09
    assert np.median(mass) < 0.03
    assert real.p == 0.05


def test_images_without_a_response_are_left_out():
    features, y = session()
    holes = y.copy()
    holes[::5] = np.nan
    kept = np.isfinite(holes)
    found = feature_attribution(features, holes)
    apart = feature_attribution(features[kept], holes[kept])
    np.testing.assert_array_equal(found.mask, apart.mask)
    assert (found.n, found.p) == (96, apart.p)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f, y: (f, np.full_like(y, 7.1)), "all responses are the same"),
        (lambda f, y: (f, np.full_like(y, np.nan)), "0 images have a response; 10 are needed"),
        (lambda f, y: (f[:9], y[:9]), "9 images have a response"),
        (lambda f, y: (np.full_like(f, 0.1), y), "no feature varies"),
        (
            lambda f, y: (0 * f[:, :2] - y[:, None, None, None], y),
            "none rises with responses",
        ),
        (lambda f, y: (f[..., :2, :2], y), "2 x 2 places, none off its border"),
        (lambda f, y: (f[:, :, :1, :1], y), "1 x 1 places"),
    ],
)
def test_what_is_undefined_says_why(change, reason):
    features, y = change(*session(gain=5))
    found = feature_attribution(features, y)
    assert reason in found.reason
    assert np.isnan(found.mask).all()
    assert np.isnan(found.maps).all()
    assert found.mask.shape == features.shape[2:]
    assert reason in found.area.reason
    assert found.beyond == 0
    assert not found.positive.any()


def test_a_feature_that_is_the_response_is_one():
    features, y = session()
    features[:, 1, 3, 3] = y
    found = feature_attribution(features, y, shuffles=0)
    assert found.r[1, 3, 3] == pytest.approx(1)
    assert found.positive[1, 3, 3] == pytest.approx(y.std())


@pytest.mark.parametrize(
    ("features", "options", "text"),
    [
        (np.ones((11, 2, 5, 5)), {}, "each of 12 responses' images; there are 11"),
        (np.ones((13, 2, 5, 5)), {}, "there are more"),
        (np.ones((12, 2, 5)), {}, "must be .n, channels, rows, columns."),
        (np.ones(()), {}, "must be .n, channels, rows, columns."),
        (iter([np.ones((6, 2, 5, 5)), np.ones((6, 2, 5, 4))]), {}, "all of shape"),
        (np.full((12, 2, 5, 5), np.inf), {}, "must be finite"),
        (iter([]), {}, "there are 0"),
        (np.ones((12, 2, 5, 5)), {"threshold": 0}, "threshold must be above 0"),
        (np.ones((12, 2, 5, 5)), {"shuffles": -1}, "shuffles 0 to"),
        (np.ones((12, 2, 5, 5)), {"map_scale": "own"}, "map_scale must be one of"),
    ],
)
def test_what_does_not_fit_is_refused(features, options, text):
    with pytest.raises(DataError, match=text):
        feature_attribution(features, np.arange(12.0), **options)
    with pytest.raises(DataError, match="there are none"):
        feature_attribution(iter([]), [])


def test_masks_are_compared_place_by_place():
    a, b = np.array([[0.0, 1.0], [0.5, 0.0]]), np.array([[0.0, 2.0], [0.0, 4.0]])
    assert mask_cosine(a, b).value == pytest.approx(2 / np.sqrt(1.25 * 20))
    assert soft_iou(a, b).value == pytest.approx(0.5 / 2.5)  # b counts as 0, .5, 0, 1
    assert (soft_iou(a, 3 * a).value, mask_cosine(a, 3 * a).value) == (1, pytest.approx(1))
    assert soft_iou([[1, 0]], [[0, 1]]).value == 0
    assert "zero everywhere" in soft_iou(a, 0 * a).reason
    assert "zero everywhere" in mask_cosine(a, 0 * a).reason
    assert mass_inside(a, a > 0.7).value == pytest.approx(2 / 3)
    with pytest.raises(DataError, match="both of one shape"):
        soft_iou(a, a[:1])
    with pytest.raises(DataError, match="negative"):
        mask_cosine(a, -a)


def test_an_alpha_image_is_opaque_where_the_mask_is():
    image = np.random.default_rng(2).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    mask = np.zeros((3, 3))
    mask[1, 2] = 1
    made = alpha_image(image, mask)
    assert (made.shape, made.dtype) == ((12, 12, 4), np.uint8)
    np.testing.assert_array_equal(made[..., :3], image)
    assert made[..., 3].argmax() // 12 in {5, 6}
    assert made[5, 11, 3] > 200  # goes on beyond the last centre
    assert not made[:, :6, 3].any()
    with pytest.raises(DataError, match="uint8"):
        alpha_image(image / 255, mask)


def test_cells_lie_where_their_centres_are_said_to():
    mask = np.array([[0.0, 1.0, 0.0]])
    plain = zoomed_mask(mask, 1, 300)[0]
    assert plain.argmax() in {149, 150}
    moved = zoomed_mask(mask, 1, 300, columns=[0.0, 0.25, 0.75])[0]
    assert moved.argmax() in {74, 75}
    assert moved[149] == pytest.approx(0.5, abs=0.01)  # half way to the next centre
    for columns in ([0.5, 0.25, 0.75], [0.1, 0.2]):
        with pytest.raises(DataError, match="3 ascending shares"):
            zoomed_mask(mask, 1, 300, columns=columns)
