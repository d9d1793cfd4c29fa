"""Features of layers, against smoothing by scipy; what has too many, and what has no places."""

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d
from torch import nn

from evolver.errors import ConfigError, DataError
from scorers import networks
from scorers.feature_pyramid import FeaturePyramid
from scorers.networks.network import ModuleNetwork
from scorers.networks.preprocessing import Preprocessing

IMAGES = np.random.default_rng(5).integers(0, 256, (17, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def mini():
    return networks.load("mini")


def half(maps):
    """Smoothed along rows and columns, every other of each."""
    for axis in (2, 3):
        maps = correlate1d(maps, np.array([1, 4, 6, 4, 1]) / 16, axis=axis, mode="nearest")
    return maps[:, :, ::2, ::2]


def test_features_are_layers_smoothed_until_they_are_few_enough(mini):
    """Of 32,768, 16,384 and 256 numbers: twice, once and not at all."""
    pyramid = FeaturePyramid(mini, ["conv1", "conv2", "fc5"], most=8192)
    assert pyramid.levels == {"conv1": 1, "conv2": 1, "fc5": 0}
    assert pyramid.shapes == {"conv1": (32, 16, 16), "conv2": (64, 8, 8), "fc5": (256, 1, 1)}
    x = torch.as_tensor(IMAGES).permute(0, 3, 1, 2).float() / 255
    outputs = mini.outputs(x, dict.fromkeys(pyramid.layers))
    found = pyramid.features(IMAGES)  # in two passes
    np.testing.assert_allclose(found["fc5"], outputs["fc5"], rtol=1e-4, atol=1e-4)
    for layer in ("conv1", "conv2"):
        expected = half(outputs[layer].double().numpy())
        np.testing.assert_allclose(found[layer], expected.reshape(17, -1), atol=1e-4)
    fewer = FeaturePyramid(mini, ["conv1"], most=2048)
    twice = half(half(outputs["conv1"].double().numpy()))
    np.testing.assert_allclose(
        fewer.features(IMAGES)["conv1"], twice.reshape(17, -1), atol=1e-4
    )
    as_published = FeaturePyramid(mini, ["conv1"])
    assert as_published.levels == {"conv1": 0}


def test_sides_that_are_odd_are_smoothed_to_one():
    module = nn.Sequential(nn.AvgPool2d((5, 7)))
    network = ModuleNetwork(
        "odd", module, Preprocessing((25, 21)), sha256="0" * 64, device=torch.device("cpu")
    )
    pyramid = FeaturePyramid(network, ["0"], most=3)
    assert pyramid.shapes == {"0": (3, 1, 1)}
    assert pyramid.levels == {"0": 3}
    x = torch.rand(2, 3, 25, 21, requires_grad=True)
    out = pyramid.of(x)["0"]
    expected = nn.functional.avg_pool2d(x, (5, 7)).detach().double().numpy()
    for _ in range(3):
        expected = half(expected)
    np.testing.assert_allclose(out.detach(), expected.reshape(2, 3), atol=1e-5)
    (slope,) = torch.autograd.grad(out[0, 1], x)
    assert slope[0, 1].ne(0).any()
    assert not slope[1].any()
    assert not slope[0, 0].any()  # channel by channel


def test_what_cannot_be_features_is_refused(mini):
    with pytest.raises(ConfigError, match="conv9"):
        FeaturePyramid(mini, ["conv9"])
    with pytest.raises(ConfigError, match="each once"):
        FeaturePyramid(mini, ["conv1", "conv1"])
    with pytest.raises(ConfigError, match="at most 100 channels"):
        FeaturePyramid(mini, ["fc5"], most=100)
    with pytest.raises(DataError, match="uint8"):
        FeaturePyramid(mini, ["fc5"]).features(IMAGES / 255)
