"""The built-in world: the same from the same factors, balanced, never an empty canvas."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evolver.errors import ConfigError, DataError
from scorers.mini import reference_images, scenes
from tests.soak import examples, further

_D = len(scenes.FACTORS)


def _factors(n: int, seed: int = 0):
    return np.random.default_rng(seed).standard_normal((n, _D))


def some(names, every):
    """Return names: a soak has all, and every run each so many-th."""
    return [further(name) if i % every else name for i, name in enumerate(names)]


@pytest.mark.parametrize("name", some(scenes.CLASSES, 16))
def test_a_scene_depends_on_its_factors_alone(name):
    index = scenes.CLASSES.index(name)
    factors = _factors(20)  # more than one chunk
    together = scenes.render(index, factors)
    assert together.shape == (20, 64, 64, 3)
    assert together.dtype == np.uint8
    alone = np.concatenate([scenes.render(index, factors[k : k + 1]) for k in (0, 15, 16, 19)])
    np.testing.assert_array_equal(alone, together[[0, 15, 16, 19]])
    assert len(np.unique(together.reshape(20, -1), axis=0)) == 20
    # Something is drawn: a scene of one grey would have no spread.
    assert np.median(together.std(axis=(1, 2)).max(axis=1)) > 8


@pytest.mark.parametrize("name", some(scenes.OBJECTS, 4))
def test_objects_move_smoothly_with_their_factors(name):
    """What the object generator relies on: a small step in factors is one in pixels."""
    index = scenes.CLASSES.index(name)
    start, step = _factors(8), _factors(8, seed=1)
    near = scenes.render(index, start + 1e-3 * step).astype(float)
    far = scenes.render(index, start + step).astype(float)
    here = scenes.render(index, start).astype(float)
    assert np.abs(near - here).mean() < 0.05 * np.abs(far - here).mean()


@examples(0.25)
@given(
    index=st.integers(0, len(scenes.CLASSES) - 1),
    factors=arrays(np.float64, (2, _D), elements=st.floats(-1e3, 1e3)),
)
def test_any_finite_factors_give_an_image(index, factors):
    with np.errstate(invalid="raise", divide="raise"):
        images = scenes.render(index, factors)
    assert images.shape == (2, 64, 64, 3)


def test_wrong_arguments_are_refused():
    with pytest.raises(DataError, match="class_index"):
        scenes.render(len(scenes.CLASSES), _factors(1))
    with pytest.raises(DataError, match="shape"):
        scenes.render(0, np.zeros((2, _D - 1)))
    with pytest.raises(DataError, match="finite"):
        scenes.render(0, np.full((1, _D), np.nan))
    with pytest.raises(ConfigError, match="zebra"):
        scenes.sample_scenes(3, rng=np.random.default_rng(0), classes=["zebra"])
    with pytest.raises(DataError, match="at least 1"):
        scenes.sample_scenes(0, rng=np.random.default_rng(0))


@pytest.mark.parametrize("n", [1, len(scenes.CLASSES), 150])
def test_a_sample_is_balanced_and_is_what_render_draws(n):
    images, labels, factors = scenes.sample_scenes(n, rng=np.random.default_rng(3))
    counts = np.bincount(labels, minlength=len(scenes.CLASSES))
    assert counts.max() - counts.min() <= 1
    for k in range(0, n, 40):
        drawn = scenes.render(int(labels[k]), factors[k : k + 1])
        np.testing.assert_array_equal(drawn[0], images[k])


def test_reference_images_are_a_fixed_set():
    a, b, c = (reference_images(70, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


def test_importing_and_drawing_loads_no_torch():
    code = (
        "import sys, scorers, scorers.mini, evolver.generators\n"
        "scorers.mini.reference_images(2, seed=1)\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
