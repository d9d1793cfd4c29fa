"""Inversion through a linear generator against Adam written out; correlations by scipy."""

import numpy as np
import pytest
from scipy import stats

from evolver import seeds
from evolver.comparisons.figures import draw_inversions
from evolver.comparisons.inversion import invert_images, pixel_correlations
from tests.comparisons.made import SIZE, WEIGHT, linear_generator

RNG = np.random.default_rng(3)


def test_codes_are_where_adam_takes_them():
    """Kingma & Ba's algorithm 1 in float64, with the slope of the mean square by hand."""
    images = RNG.integers(60, 200, (5, SIZE, SIZE, 3), dtype=np.uint8)
    found = invert_images(linear_generator(), images, seed=9, steps=40, rate=0.05)
    wanted = images.transpose(0, 3, 1, 2).reshape(5, -1) / 255
    for i, goal in enumerate(wanted):
        z = seeds.stream(9, "inversion", i).standard_normal(5)
        m, v = np.zeros(5), np.zeros(5)
        best, nearest = z, np.inf
        for t in range(1, 42):
            difference = WEIGHT @ z + 0.5 - goal
            if (difference**2).mean() < nearest:
                best, nearest = z, (difference**2).mean()
            slope = 2 * WEIGHT.T @ difference / len(goal)
            m, v = 0.9 * m + 0.1 * slope, 0.999 * v + 0.001 * slope**2
            z = z - 0.05 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        np.testing.assert_allclose(found.codes[i], best, atol=2e-4)


def test_an_image_of_the_generator_is_found_again():
    generator = linear_generator()
    codes = 0.4 * RNG.standard_normal((4, 5))  # no pixel beyond black or white
    found = invert_images(generator, generator.render(codes), seed=1, steps=400, rate=0.05)
    np.testing.assert_allclose(found.codes, codes, atol=0.1)
    assert (found.pearson > 0.999).all()
    assert (found.rmse < 0.005).all()
    assert (found.at_start < found.pearson).all()


def test_images_of_one_colour_are_drawn_and_their_axis_says_why_it_is_empty():
    flat = np.full((3, SIZE, SIZE, 3), [[[[90]]], [[[120]]], [[[200]]]], np.uint8)
    found = invert_images(linear_generator(), flat, seed=1, steps=2)
    figure = draw_inversions(flat, [found], what="flat", how="")
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert "none:\nimages of\none colour" in texts
    drawn = [image for axes in figure.axes for image in axes.images]
    assert len(drawn) == 2 * 3


def test_correlations_are_pearsons():
    a, b = RNG.integers(0, 256, (2, 3, 6, 6, 3), dtype=np.uint8)
    b[2] = 7
    found = pixel_correlations(a, b)
    for i in range(2):
        assert found[i] == pytest.approx(stats.pearsonr(a[i].ravel(), b[i].ravel()).statistic)
    assert np.isnan(found[2])
