"""Parts of maps: worked out alone, they are what they are in the whole."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812

import scorers
from evolver import generators
from evolver.windows import FilterShape, Window
from tests.soak import further


@st.composite
def windows(draw, size):
    top, left = draw(st.integers(0, size - 1)), draw(st.integers(0, size - 1))
    return Window(
        top, draw(st.integers(top + 1, size)), left, draw(st.integers(left + 1, size))
    )


@given(data=st.data())
def test_a_part_of_a_layers_output_comes_from_what_it_needs_alone(data):
    stride = data.draw(st.integers(1, 3))
    kernel = data.draw(st.integers(stride, 7))
    padding = data.draw(st.integers(0, kernel // 2))
    transposed, size = data.draw(st.booleans()), data.draw(st.integers(kernel, 11))
    draws = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    x = torch.randn((2, 3, size, size), generator=draws, dtype=torch.float64)
    shape = (3, 4) if transposed else (4, 3)
    weight = torch.randn((*shape, kernel, kernel), generator=draws, dtype=torch.float64)
    bias = torch.randn(4, generator=draws, dtype=torch.float64)
    layer = F.conv_transpose2d if transposed else F.conv2d
    whole = layer(x, weight, bias, stride=stride, padding=padding)
    geometry = FilterShape(kernel, stride, padding, transposed)
    wanted = data.draw(windows(whole.shape[-1]))
    has = geometry.needs(wanted, size)
    if min(has.shape) < 1:  # of the zeros around it alone
        return
    part = geometry.apply(has.of(x), has, wanted, weight, bias)
    torch.testing.assert_close(part, wanted.of(whole), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("layer", "place"),
    [
        (layer, place) if i == j else further(layer, place)
        for i, layer in enumerate(("conv1", "conv2", "conv3", "conv4"))
        for j, place in enumerate(((0, 0), (3, 4), (7, 7), (1, 6)))
    ],
)
def test_units_at_a_place_put_out_the_same_from_the_part_that_they_see(layer, place):
    row, column = place
    generator = generators.load("mini-texture")
    generator.convert(torch.float64)
    scorer = scorers.load([f"mini:{layer}:{c}:{row}:{column}" for c in (0, 5, 31)])
    network = scorer.networks["mini"]
    network.convert(torch.float64)
    z = 3 * torch.randn((3, 256), generator=torch.Generator().manual_seed(1)).double()
    images = generator.synthesize(z)
    seen = network.local.field(layer, row, column)
    part = generator.synthesize_part(z, seen)
    torch.testing.assert_close(part, seen.of(images), rtol=0, atol=1e-12)
    alone = network.local.at(part, layer, row, column)[:, [0, 5, 31]]
    torch.testing.assert_close(alone, scorer.responses(images), rtol=1e-10, atol=1e-10)
    # Nothing outside of it counts: another image around it changes no response.
    other = 1 - images
    other[..., seen.top : seen.bottom, seen.left : seen.right] = seen.of(images)
    torch.testing.assert_close(scorer.responses(other), alone, rtol=1e-10, atol=1e-10)
    assert min(seen.shape) < 64 or layer == "conv4"
