"""The face generators share: memory bounded by `chunk`, one rounding, no NaN on screen."""

import numpy as np
import pytest
import torch
from torch import nn

from evolver import generators
from evolver.errors import ConfigError, DataError
from evolver.generators.frozen import FrozenGenerator


class Grey(nn.Module):
    """Draws its code's first number everywhere, and notes how many it was asked for."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def forward(self, z):
        self.asked.append(len(z))
        return z[:, :1, None, None].expand(-1, 3, 2, 2)


def made(**options):
    net = Grey()
    device = torch.device("cpu")
    face = FrozenGenerator(
        "grey", net, d=2, image_size=2, sha256="0" * 64, device=device, **options
    )
    return face, net


@pytest.mark.parametrize(("n", "passes"), [(0, 0), (1, 1), (3, 1), (4, 2), (10, 4)])
def test_never_more_than_a_chunk_at_once_and_always_as_many(n, passes):
    face, net = made(chunk=3)
    assert face.render(np.zeros((n, 2))).shape == (n, 2, 2, 3)
    assert net.asked == [3] * passes


def test_rounding_is_half_to_even():
    levels = np.arange(0, 255, dtype=np.float32) + np.float32(0.5)
    codes = np.zeros((255, 2))
    codes[:, 0] = levels / 255
    exact = (codes[:, 0].astype(np.float32) * np.float32(255)) == levels
    assert exact.sum() > 100
    drawn = made()[0].render(codes)[:, 0, 0, 0]
    np.testing.assert_array_equal(drawn[exact], np.rint(levels[exact]))


def test_the_codes_given_are_not_changed_and_order_is_kept():
    codes = np.random.default_rng(0).uniform(0, 1, (7, 2))
    before = codes.copy()
    drawn = made(chunk=2)[0].render(codes)
    np.testing.assert_array_equal(codes, before)
    np.testing.assert_array_equal(
        drawn[:, 1, 1, 2], np.rint(codes[:, 0].astype(np.float32) * 255)
    )


def test_a_network_that_draws_no_numbers_is_refused():
    face, net = made()
    with torch.no_grad():
        net.forward = lambda z: torch.full((len(z), 3, 2, 2), torch.nan)
    with pytest.raises(DataError, match="grey must draw finite pixels"):
        face.render(np.zeros((1, 2)))


def test_what_it_says_of_itself():
    face, _ = made(parts={"noise": (0, 1)}, embeddings=np.eye(2))
    assert (face.parts, face.embeddings.tolist()) == ({"noise": (0, 1)}, [[1, 0], [0, 1]])
    assert made()[0].embeddings is None
    assert not made()[0].parts
    assert face.device == torch.device("cpu")
    rng = np.random.default_rng
    np.testing.assert_array_equal(
        face.initial_codes(3, rng=rng(1)), rng(1).standard_normal((3, 2))
    )
    start = made(initial=lambda n, _: np.ones((n, 2)))[0]
    assert start.initial_codes(2, rng=rng(0)).tolist() == [[1, 1], [1, 1]]
    with pytest.raises(ConfigError, match="chunk"):
        made(chunk=0)


@pytest.mark.parametrize("name", ["mini-object", "mini-texture"])
def test_first_weights_are_those_that_a_code_meets(name):
    """Along the direction that they pass on most, images change more than along the least."""
    generator = generators.load(name)
    weights = np.concatenate(generator.first_weights(), axis=1)
    assert weights.shape[0] == generator.d
    codes = np.random.default_rng(0).standard_normal((2, generator.d))
    np.testing.assert_array_equal(generator.as_w(codes), codes)
    assert generator.code_space == ""
    u, s, _ = np.linalg.svd(weights)
    strongest, weakest = u[:, 0], u[:, -1]
    moved = [
        np.abs(generator.render(codes + 2 * step) - generator.render(codes).astype(int)).mean()
        for step in (strongest, weakest)
    ]
    assert s[0] > 2 * s[-1]
    assert moved[0] > moved[1]


def test_networks_that_do_not_say_have_no_first_weights():
    assert generators.load("fourier", size=16).first_weights() is None
