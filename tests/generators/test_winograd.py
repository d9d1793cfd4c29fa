"""The convolution by way of points, against its definition in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812  the name every torch user knows it by

from evolver.generators.stylegan3.winograd import convolution, pays, transforms
from tests.soak import examples

WIDE = 128


def drawn(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def plainly(x, weight, padding):
    return F.conv2d(x.double(), weight.double(), padding=padding)


def test_transforms_make_a_correlation():
    rng = np.random.default_rng(1)
    out, taps, into = transforms()
    signal, filter_ = rng.standard_normal(6), rng.standard_normal(3)

    found = out @ ((taps @ filter_) * (into @ signal))

    assert found == pytest.approx(np.correlate(signal, filter_, "valid"), abs=1e-13)


@examples(0.3)
@given(
    n=st.integers(1, 3),
    channels=st.tuples(st.integers(96, 130), st.integers(96, 130)),
    size=st.tuples(st.integers(3, 90), st.integers(3, 40)),
    padding=st.integers(0, 3),
    seed=st.integers(0, 9),
)
def test_it_is_the_convolution(n, channels, size, padding, seed):
    weight = drawn(channels[0], channels[1], 3, 3, seed=seed)
    x = drawn(n, channels[1], *size, seed=seed + 10)
    assert pays(weight)

    found = convolution(weight, padding=padding)(x)

    expected = plainly(x, weight, padding)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 5e-5 * 3 * WIDE**0.5


def test_images_do_not_depend_on_their_company():
    convolve = convolution(drawn(WIDE, WIDE, 3, 3), padding=2)
    x = drawn(3, WIDE, 37, 29, seed=1)

    together = convolve(x)

    assert torch.equal(together[1:2], convolve(x[1:2]))


def test_memory_that_is_not_in_a_row_is_read_all_the_same():
    convolve = convolution(drawn(WIDE, WIDE, 3, 3), padding=1)
    x = drawn(1, WIDE, 20, 24, seed=1)

    turned = convolve(x.contiguous(memory_format=torch.channels_last))

    assert torch.equal(turned, convolve(x))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
def test_slopes_in_both_directions_are_those_of_the_convolution():
    weight, x = drawn(WIDE, WIDE + 2, 3, 3), drawn(1, WIDE + 2, 13, 10, seed=1)
    change, slope = drawn(*x.shape, seed=2), drawn(1, WIDE, 13, 10, seed=3)
    convolve = convolution(weight, padding=1)

    along = torch.func.jvp(convolve, (x,), (change,))[1]
    back = torch.func.vjp(convolve, x)[1](slope)[0]

    assert (along - plainly(change, weight, 1)).abs().max() < 1e-3
    transposed = F.conv_transpose2d(slope.double(), weight.double(), padding=1)
    assert (back - transposed).abs().max() < 1e-3


@pytest.mark.parametrize("channels", [(95, 128), (128, 3)])
def test_few_channels_are_left_to_the_library(channels):
    weight = drawn(*channels, 3, 3)
    x = drawn(2, channels[1], 9, 9, seed=1)

    assert not pays(weight)
    assert torch.equal(convolution(weight, padding=1)(x), F.conv2d(x, weight, padding=1))
