"""Imagined blocks: pairs counted one by one, a planted image found, and none in noise."""

from itertools import combinations

import numpy as np
import pytest

from evolver.analysis.decoding import InvertedGLM
from evolver.analysis.imagery import imagery_scores
from evolver.analysis.latent_metrics import identification
from evolver.errors import DataError

IMAGES, BLOCKS = 8, 5


def recording(gain, *, seed=0):
    """A decoder of seen images, and blocks of imagined ones, a weaker copy of what was seen."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((6, 30))
    seen = rng.standard_normal((300, 6))
    decoder = InvertedGLM().fit(seen @ w + rng.standard_normal((300, 30)), seen)
    latents = rng.standard_normal((IMAGES + 3, 6))  # three more are on offer
    image = np.repeat(np.arange(IMAGES), BLOCKS)
    blocks = gain * latents[image] @ w + 4 * rng.standard_normal((len(image), 30))
    return decoder, blocks, image, latents


def test_pairs_of_blocks_are_counted_one_by_one():
    decoder, blocks, image, latents = recording(1.0)
    scores = imagery_scores(decoder, blocks, image, latents, rng=np.random.default_rng(0),
                            shuffles=3)  # fmt: skip
    decoded = decoder.predict(blocks)
    r = np.corrcoef(decoded, latents)[: len(blocks), len(blocks) :]
    apart = [
        r[a, image[a]] + r[b, image[b]] > r[a, image[b]] + r[b, image[a]]
        for a, b in combinations(range(len(blocks)), 2)
        if image[a] != image[b]
    ]
    assert scores.pairwise.value == pytest.approx(np.mean(apart))
    ranks = [1 + (row > row[i]).sum() for row, i in zip(r, image, strict=True)]
    np.testing.assert_array_equal(scores.ranks, ranks)
    means = decoded.reshape(IMAGES, BLOCKS, -1).mean(axis=1)
    expected = identification(latents[:IMAGES], means)
    assert scores.averaged.pairwise == expected.pairwise


def test_what_is_imagined_is_found_and_nothing_is_not():
    scores = imagery_scores(*recording(1.0), rng=np.random.default_rng(1), shuffles=199)
    assert scores.pairwise.value > 0.75
    assert scores.averaged.pairwise.value > scores.pairwise.value
    np.testing.assert_allclose(scores.chance.p, 1 / 200)
    np.testing.assert_allclose(scores.chance.mean, 0.5, atol=0.03)
    nothing = imagery_scores(
        *recording(0.0, seed=2), rng=np.random.default_rng(1), shuffles=199
    )
    assert abs(nothing.pairwise.value - 0.5) < 0.12
    assert (nothing.chance.p > 0.02).all()


def test_one_image_alone_is_told_from_none():
    decoder, blocks, image, latents = recording(1.0)
    first = image == 0
    scores = imagery_scores(decoder, blocks[first], image[first], latents,
                            rng=np.random.default_rng(0), shuffles=2)  # fmt: skip
    assert "two images" in scores.pairwise.reason
    assert "two of both are needed" in scores.averaged.pairwise.reason
    assert np.isfinite(scores.ranks).all()
    assert scores.chance.reason


def test_blocks_of_images_that_are_not_on_offer_are_refused():
    decoder, blocks, image, latents = recording(1.0)
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="0 to 10, a row"):
        imagery_scores(decoder, blocks, image + 4, latents, rng=rng)
    with pytest.raises(DataError, match="one for each of 40 blocks"):
        imagery_scores(decoder, blocks, image[1:], latents, rng=rng)
    with pytest.raises(DataError, match="30 channels that were fitted"):
        imagery_scores(decoder, blocks[:, 1:], image, latents, rng=rng)
    with pytest.raises(DataError, match="shuffles must be 1"):
        imagery_scores(decoder, blocks, image, latents, rng=rng, shuffles=0)
