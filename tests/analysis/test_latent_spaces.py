"""z and w of a small StyleGAN3, decoded: where responses are linear, decoding is nearer."""

from pathlib import Path

import numpy as np
import pytest
import torch

from evolver.analysis.decoding import Ridge
from evolver.analysis.latent_spaces import compare_spaces
from evolver.errors import DataError
from evolver.generators.stylegan3 import convert_stylegan3, load_network

TINY = Path(__file__).parents[1] / "golden" / "generators" / "stylegan3-t-tiny.pkl"
TRAIN, TEST = slice(0, 400), slice(400, None)


@pytest.fixture(scope="module")
def spaces(tmp_path_factory):
    """Codes and styles of a network in the official format, and its mapping, psi = 0.7."""
    out = tmp_path_factory.mktemp("tiny") / "t.safetensors"
    convert_stylegan3(TINY, out)
    net, _ = load_network(out, device="cpu", latent="z", truncation=0.7)

    @torch.no_grad()
    def to_w(codes):
        return net.styles(torch.from_numpy(codes.astype(np.float32)))[:, 0].double().numpy()

    z = np.random.default_rng(0).standard_normal((500, net.settings.z_dim))
    return z, to_w(z), to_w


def planted(latents, noise=0.5, seed=1):
    rng = np.random.default_rng(seed)
    scaled = (latents - latents.mean(axis=0)) / latents.std(axis=0)
    told = scaled @ rng.standard_normal((latents.shape[1], 80)) / np.sqrt(latents.shape[1])
    return told + noise * rng.standard_normal(told.shape)


@pytest.mark.parametrize("linear_in", ["w", "z"])
def test_both_are_compared_in_w_and_the_planted_one_is_nearer(spaces, linear_in):
    z, w, to_w = spaces
    y = planted(w if linear_in == "w" else z)
    compared = compare_spaces(Ridge(), (y[TRAIN], z[TRAIN]), (y[TEST], z[TEST]), to_w)
    np.testing.assert_allclose(
        compared.w.decoded, Ridge().fit(y[TRAIN], w[TRAIN]).predict(y[TEST])
    )
    decoded = to_w(Ridge().fit(y[TRAIN], z[TRAIN]).predict(y[TEST]))
    np.testing.assert_allclose(compared.z.decoded, decoded)
    mean = w[TRAIN].mean(axis=0)
    a, b = w[TEST] - mean, decoded - mean
    cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(compared.z.centred, cosines)
    assert compared.z.cosine.centred.value == pytest.approx(cosines.mean())
    difference = compared.w.centred - compared.z.centred
    assert compared.gain.mean == pytest.approx(difference.mean())
    if linear_in == "w":
        assert compared.gain.low > 0.02
    else:
        assert compared.gain.high < -0.02
    for scores in (compared.w, compared.z):
        assert scores.cosine.centred.value > 0.7
        assert scores.identification.pairwise.value > 0.99


def test_what_does_not_fit_is_refused(spaces):
    z, w, to_w = spaces
    y = planted(w)
    with pytest.raises(DataError, match=r"codes \(m, 32\), one for each response"):
        compare_spaces(Ridge(), (y[TRAIN], z[TRAIN]), (y[TEST], z[TEST][1:]), to_w)
    with pytest.raises(DataError, match="a style for each code"):
        compare_spaces(Ridge(), (y[TRAIN], z[TRAIN]), (y[TEST], z[TEST]), lambda _: w[:3])
