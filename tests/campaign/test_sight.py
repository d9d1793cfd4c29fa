"""What units at one place see: the part alone gives what the whole image gives."""

import numpy as np
import pytest
import torch

import scorers
from evolver.campaign.sight import sight_of_place
from evolver.windows import Window
from scorers import networks
from scorers.networks.preprocessing import Preprocessing


def pixels(size):
    return torch.from_numpy(np.random.default_rng(0).random((3, 3, size, size))).float()


@pytest.mark.parametrize("size", [64, 192, 256])
@pytest.mark.parametrize("place", [("conv3", 0, 0), ("conv3", 4, 7), ("conv2", 15, 3)])
def test_the_part_that_is_seen_gives_what_the_whole_image_gives(size, place):
    layer, row, column = place
    unit = scorers.load(f"mini:{layer}:5:{row}:{column}")
    images = pixels(size)
    expected = unit.responses(images)[:, 0]
    sight = sight_of_place(networks.load("mini"), place, image_size=size)
    drawn = sight.drawn
    assert drawn.shape < (size, size)
    torch.testing.assert_close(sight.outputs(drawn.of(images))[:, 5], expected)
    whole = sight_of_place(networks.load("mini"), place, image_size=size, whole=True)
    assert whole.drawn == Window.whole(size)
    torch.testing.assert_close(whole.outputs(images)[:, 5], expected)
    # And no more than a pixel of the network's around what changes it.
    images[..., drawn.top : drawn.bottom, drawn.left : drawn.right] = 0.5
    assert not torch.allclose(unit.responses(images)[:, 0], expected)


def test_what_cannot_be_seen_in_part_is_not():
    network = networks.load("mini")
    place = ("conv3", 4, 4)
    assert sight_of_place(network, place, image_size=100) is None
    assert sight_of_place(network, place, image_size=32) is None

    class Cut:
        local = network.local
        preprocessing = Preprocessing((64, 64), resize_to=(80, 80))

    assert sight_of_place(Cut, place, image_size=128) is None
