"""The generator of full rank: its first layer has the spectrum that was published."""

import numpy as np
import pytest
import torch

from benchmarks.optimizers import full_rank, upconv
from benchmarks.optimizers.full_rank import Mixing
from benchmarks.optimizers.worlds import Stage, at_norm, full_world, own_world
from evolver.errors import ConfigError


def mixed(layer, x):
    with torch.inference_mode():
        return layer(torch.as_tensor(x, dtype=torch.float32)).numpy().astype(np.float64)


@pytest.fixture(scope="module")
def generator():
    return full_rank.load_full_rank(16, device="cpu")


def test_singular_values_are_the_gains():
    gains = torch.linspace(3.0, 0.1, 64)
    matrix = mixed(Mixing(gains, torch.Generator().manual_seed(0)), np.eye(64)).T
    np.testing.assert_allclose(np.linalg.svd(matrix, compute_uv=False), gains, rtol=1e-5)
    assert np.abs(matrix).min() > 1e-6  # every coordinate goes into every other


def test_the_first_layer_has_the_published_spectrum(generator):
    first, rows = generator._net.layers[0], np.r_[:16, 16:4096:32, 4095]
    with torch.inference_mode():
        # Vectors at right angles, of which the layer makes vectors at right angles: their
        # lengths are its singular values.
        basis = _inverse(first, torch.eye(upconv.D)[rows])
        images = first(basis).double().numpy()
    energy = np.square(images).sum(1)
    for vectors in (basis.double().numpy(), images / energy[:, None] ** 0.5):
        np.testing.assert_allclose(vectors @ vectors.T, np.eye(len(rows)), atol=1e-4)
    of_all = full_rank.spectrum()
    np.testing.assert_allclose(energy / energy[0], of_all[rows] / of_all[0], rtol=1e-4)
    shares = of_all.cumsum()
    for k, share in ((297, 0.99), (502, 0.999), (758, 0.9999)):
        assert shares[k - 1] == pytest.approx(share, abs=1e-9)


@pytest.mark.soak
def test_the_weights_that_a_code_meets_first_are_the_layer(generator):
    (weights,) = generator._net.first_weights()
    assert weights.shape == (4096, 4096)
    code = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 4096))).float()
    with torch.inference_mode():
        expected = generator._net.layers[0](code)
    np.testing.assert_allclose(code @ weights.T, expected, atol=1e-3)


def _inverse(layer, x):
    """Return what the first rotation turns into x: its parts undone, last first."""
    (first, second), order = layer.signs_before, layer.order_before
    x = layer._all_with_all(x) * second
    undone = torch.empty_like(x)
    undone[:, order] = x
    return layer._all_with_all(undone) * first


def test_the_spectrum_falls():
    shares = full_rank.spectrum()
    assert shares.shape == (4096,)
    assert (np.diff(shares) <= 0).all()
    assert shares.sum() == pytest.approx(1.0, abs=1e-12)
    assert 0 < shares[-1] < 1e-8


def test_its_images_are_like_those_of_the_other(generator):
    codes = at_norm(np.random.default_rng(0).standard_normal((16, 4096)), 300.0)
    images = generator.render(codes).astype(float)
    assert images.shape == (16, 256, 256, 3)
    assert 30 < images.std() < 60
    assert ((images == 0) | (images == 255)).mean() < 0.15
    assert generator.sha256 == full_rank.load_full_rank(16, device="cpu").sha256


@pytest.mark.parametrize("layer", ["conv3", "fc6"])
def test_its_world_has_scores(layer):
    world = own_world("upconv-full/16")
    assert world == full_world(16)
    assert "full rank" in world.words
    stages = [Stage(world, f"mini:{layer}:3", device="cpu", whole=w) for w in (False, True)]
    codes = at_norm(np.random.default_rng(1).standard_normal((6, 4096)), world.norm)
    scores = stages[0].clean(codes)
    np.testing.assert_allclose(scores, stages[1].clean(codes), atol=1e-3)
    np.testing.assert_array_equal(stages[0].clean(codes[2:3]), scores[2:3])
    assert np.ptp(scores) > 0.01
    assert stages[0].usual({}) == ("snes", {"sigma": 3.0})  # what deepsim-fc6 gets


def test_another_width_is_refused():
    assert full_rank.width_of("upconv/8") is None
    with pytest.raises(ConfigError, match="width must be"):
        full_rank.width_of("upconv-full/3")
