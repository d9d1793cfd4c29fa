"""PGGAN: what HYPER's generator draws, from its file and from the Hub's layout of the same."""

import math

import numpy as np
import pytest
import safetensors.torch
import torch
from torch.nn import functional as F  # noqa: N812

import evolver.generators
from evolver.errors import WeightsError
from evolver.generators import pggan
from evolver.weights.read import read_weights
from tests.generators.recipe import GOLDEN

PARAMS = GOLDEN / "pggan_hyper_tiny.params"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "pggan_hyper_tiny.npz", allow_pickle=False) as opened:
        return dict(opened)


def test_the_golden_image_and_its_bytes(golden):
    generator = pggan.load_pggan(weights=PARAMS)
    assert (generator.d, generator.image_size) == (24, 32)
    with torch.inference_mode():
        image = generator.synthesize(torch.from_numpy(golden["z"])).numpy()
    np.testing.assert_allclose(image, np.clip((golden["raw"] + 1) / 2, 0, 1), atol=1e-4)
    for chunk in (1, 2, 8):
        drawn = pggan.load_pggan(weights=PARAMS, chunk=chunk).render(golden["z"].astype(float))
        np.testing.assert_array_equal(drawn, golden["uint8"])


def test_the_raw_output_before_it_is_cut_to_the_screen(golden):
    tensors, _ = read_weights(PARAMS)
    plain = pggan.pggan_names(tensors, path=PARAMS)
    net = pggan.outline(plain, path=PARAMS)
    net.load_state_dict(plain, assign=True)
    with torch.inference_mode():
        raw = net.raw(torch.from_numpy(golden["z"])).numpy()
    np.testing.assert_allclose(raw, golden["raw"], atol=1e-4)


def as_on_the_hub(tensors):
    """Undo what makes HYPER's layout of the Hub's: the constants, the turned first layer."""
    hub, channels, d = {"lod": torch.tensor(0.0)}, 24, 24
    first = tensors["1.weight"].view(channels, 4, 4, d).permute(0, 3, 1, 2).flip(2, 3)
    hub["layer0.weight"] = first * (math.sqrt(d * 16) / math.sqrt(2))
    hub["layer0.bias"] = tensors["2.b"]
    order = ["5", "8.0", "8.3", "9.0", "9.3", "10.0", "10.3"]
    for k, name in enumerate(order, start=1):
        weight = tensors[f"{name}.weight"]
        hub[f"layer{k}.weight"] = weight * math.sqrt(weight[0].numel() / 2)
        hub[f"layer{k}.bias"] = tensors[f"{name}.bias"]
    weight = tensors["11.weight"]
    hub["output3.weight"] = weight * math.sqrt(weight[0].numel())
    hub["output3.bias"] = tensors["11.bias"]
    for k, width in enumerate((24, 24, 16)):  # outputs of smaller sizes, not used
        hub[f"output{k}.weight"] = torch.full((3, width, 1, 1), torch.nan)
        hub[f"output{k}.bias"] = torch.zeros(3)
    return hub


def test_the_hubs_layout_draws_the_same(golden, tmp_path):
    hub = as_on_the_hub(read_weights(PARAMS)[0])
    path = tmp_path / "pytorch_model.bin"
    torch.save(hub, path, _use_new_zipfile_serialization=False)
    generator = evolver.generators.load("pggan", weights=path)
    drawn = generator.render(golden["z"].astype(float)).astype(int)
    assert np.abs(drawn - golden["uint8"]).max() <= 1
    assert (drawn != golden["uint8"]).mean() < 1e-3

    # The first layer, as the Hub's network has it: a convolution of one padded pixel.
    z = torch.from_numpy(golden["z"])
    z = z * torch.rsqrt((z * z).mean(dim=1, keepdim=True) + 1e-8)
    scaled = hub["layer0.weight"] * (math.sqrt(2) / math.sqrt(24 * 16))
    expected = F.conv2d(z[:, :, None, None], scaled, padding=3)
    plain = pggan.pggan_names(hub, path=path)
    found = (z @ plain["layer0.weight"].T).view(-1, 24, 4, 4)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_layout_of_the_published_network():
    """Names, shapes and the number of parameters, without numbers."""
    channels = [512, 512, 512, 512, 256, 128, 64, 32, 16]
    with torch.device("meta"):
        tensors = {"layer0.weight": torch.empty(512, 512, 4, 4)}
        tensors["layer0.bias"] = torch.empty(512)
        tensors["layer1.weight"] = torch.empty(512, 512, 3, 3)
        for k in range(1, 9):
            cin, cout = channels[k - 1], channels[k]
            tensors[f"layer{2 * k}.weight"] = torch.empty(cout, cin, 3, 3)
            tensors[f"layer{2 * k + 1}.weight"] = torch.empty(cout, cout, 3, 3)
        for k in range(1, 18):
            tensors[f"layer{k}.bias"] = torch.empty(len(tensors[f"layer{k}.weight"]))
        for k in range(9):
            tensors[f"output{k}.weight"] = torch.empty(3, channels[k], 1, 1)
            tensors[f"output{k}.bias"] = torch.empty(3)
        plain = pggan.pggan_names(tensors, path=PARAMS)
    net = pggan.outline(plain, path=PARAMS)
    assert {k: v.shape for k, v in net.state_dict().items()} == {
        k: v.shape for k, v in plain.items()
    }
    assert sum(p.numel() for p in net.parameters()) == 23_071_507
    assert (net.d, net.image_size) == (512, 1024)


def test_initial_codes_and_the_slope(golden):
    generator = pggan.load_pggan(weights=PARAMS)
    codes = generator.initial_codes(200, rng=np.random.default_rng(0))
    assert codes.std() == pytest.approx(1, abs=0.03)
    z = torch.from_numpy(golden["z"]).requires_grad_()
    weight = torch.from_numpy(np.random.default_rng(1).standard_normal((3, 3, 32, 32))).float()
    (generator.synthesize(z) * weight).sum().backward()
    step = 0.003 * z.grad / z.grad.norm()
    with torch.no_grad():
        ahead, behind = (
            generator.synthesize(z + s).double() * weight.double() for s in (step, -step)
        )
    assert float((ahead - behind).sum()) / 2 == pytest.approx(
        float((z.grad * step).sum()), rel=0.03
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t | {"12.5": torch.zeros(3)}, "name its tensors"),
        (lambda t: {"layer0.weight": t["5.weight"]}, "no output"),
        (lambda t: {k: v for k, v in t.items() if k != "9.3.bias"}, "differs in"),
        (
            lambda t: {k: v for k, v in t.items() if k[0] not in "891"},
            "must hold layer0.weight",
        ),
        (lambda t: t | {"8.0.weight": torch.zeros(5, 24, 3, 3)}, "differs in"),
        (lambda t: {"rgb.weight": t["2.b"]}, "must hold layer0.weight"),
    ],
)
def test_what_is_no_pggan_is_refused(change, reason, tmp_path):
    path = tmp_path / "own.safetensors"
    safetensors.torch.save_file(change(read_weights(PARAMS)[0]), path)
    with pytest.raises(WeightsError, match=reason):
        pggan.load_pggan(weights=path)
