"""Maps of layers of any kind, where their places lie in the image, and weighed sums of them."""

import numpy as np
import pytest
import torch
from torch import nn

from evolver.errors import ConfigError, DataError
from scorers import networks
from scorers.layer_maps import LayerMaps, WeighedMaps, load_layer_maps
from scorers.networks.network import ModuleNetwork
from scorers.networks.preprocessing import Preprocessing
from tests.scorers.made_networks import Window

RNG = np.random.default_rng(5)
IMAGES = RNG.integers(0, 256, (19, 64, 64, 3), dtype=np.uint8)


def made(module, **options):
    size = options.pop("size", (32, 32))
    return ModuleNetwork(
        "made",
        module,
        Preprocessing(size, **options),
        sha256="0" * 64,
        device=torch.device("cpu"),
    )


@pytest.fixture(scope="module")
def maps():
    return load_layer_maps("mini:conv3")


def test_maps_are_the_layers_output_however_images_come(maps):
    x = torch.as_tensor(IMAGES).permute(0, 3, 1, 2).float() / 255
    expected = maps.network.outputs(x, {"conv3": None})["conv3"].numpy()
    assert maps.shape == expected.shape[1:] == (128, 8, 8)
    parts = list(maps.parts(iter(IMAGES)))
    assert [len(part) for part in parts] == [16, 3]
    np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-5)
    np.testing.assert_allclose(maps.of_image(IMAGES[4]), expected[4], atol=1e-5)
    np.testing.assert_allclose(maps.of_image(IMAGES[4] / 255), expected[4], atol=1e-5)
    small = IMAGES[:2, ::2, ::2]
    mixed = list(maps.parts([*IMAGES[:2], *small, IMAGES[2]]))
    assert [len(part) for part in mixed] == [2, 2, 1]
    np.testing.assert_allclose(mixed[2][0], expected[2], atol=1e-5)


class Tokens(nn.Module):
    """A class token and a register before 4 x 4 patches of 3 channels; and channels last."""

    def __init__(self):
        super().__init__()
        self.last, self.tokens = nn.Identity(), nn.Identity()

    def forward(self, x):
        patches = nn.functional.avg_pool2d(x, 8)
        y = self.last(patches.permute(0, 2, 3, 1) * torch.ones(3))
        y = y.reshape(len(x), 16, 3)
        return self.tokens(torch.cat([torch.full((len(x), 2, 3), 9.0), y], dim=1))


@pytest.mark.parametrize("layer", ["last", "tokens"])
def test_places_of_any_kind_of_layer_are_rows_and_columns(layer):
    maps = LayerMaps(made(Tokens()), layer, name=f"made:{layer}")
    image = IMAGES[0, :32, :32]
    expected = image.reshape(4, 8, 4, 8, 3).mean(axis=(1, 3)).transpose(2, 0, 1) / 255
    assert maps.shape == (3, 4, 4)
    np.testing.assert_allclose(maps.of_image(image), expected, atol=1e-6)


def test_places_lie_in_the_middle_of_what_their_units_see(maps):
    network = maps.network
    for layer in ("conv1", "conv3", "conv4"):
        rows, columns = LayerMaps(network, layer, name=layer).centres
        for cell in (3, 4):  # those that see nothing beyond the edge
            field = network.local.field(layer, cell, cell)
            if field.top > 0 and field.bottom < 64:
                assert rows[cell] * 64 == (field.top + field.bottom) / 2
                assert columns[cell] * 64 == (field.left + field.right) / 2
    assert maps.centres[0][4] * 64 == 32.5  # and not 36, as an even division has it


def test_what_is_cut_off_an_image_moves_its_places():
    rows, _ = LayerMaps(made(Window(), size=(32, 32)), "b", name="b").centres
    np.testing.assert_allclose(rows * 32, np.arange(32) + 0.5)
    cut = made(Window(), size=(32, 32), resize_to=(40, 40))
    rows, columns = LayerMaps(cut, "b", name="b").centres
    np.testing.assert_allclose(rows * 40, np.arange(32) + 4.5)
    np.testing.assert_allclose(columns * 40, np.arange(32) + 4.5)


def test_places_of_units_that_see_everything_divide_the_image_evenly():
    rows, columns = LayerMaps(made(Tokens()), "tokens", name="t").centres
    np.testing.assert_allclose(rows, [0.125, 0.375, 0.625, 0.875])
    np.testing.assert_allclose(columns, rows)


def test_weighed_maps_are_one_unit_with_a_slope(maps):
    weights = RNG.normal(size=maps.shape)
    unit = WeighedMaps(maps, weights)
    x = (torch.as_tensor(IMAGES[:3]).permute(0, 3, 1, 2).float() / 255).requires_grad_()
    sums = unit.responses(x)
    expected = [(maps.of_image(image) * weights).sum() for image in IMAGES[:3]]
    np.testing.assert_allclose(sums[:, 0].detach(), expected, rtol=1e-4)
    (slope,) = torch.autograd.grad(sums.sum(), x)
    step = 1e-3 * slope / slope.abs().max()
    assert (unit.responses(x + step) > sums).all()
    with pytest.raises(DataError, match="weights must be"):
        WeighedMaps(maps, weights[1:])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mini:fc6", "must be a layer with places"),
        ("mini:conv9", "none called 'conv9'"),
        ("mini", "as mini:conv3"),
        ("nothing:a", "network must be one of"),
    ],
)
def test_a_layer_without_places_is_refused(name, text):
    with pytest.raises(ConfigError, match=text):
        load_layer_maps(name)
    assert "conv3" in networks.load("mini").layers
