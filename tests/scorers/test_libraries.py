"""Networks of torchvision and timm against the libraries themselves, where they load."""

import importlib

import numpy as np
import pytest
import torch

import scorers
from evolver.errors import ConfigError, WeightsError
from scorers import networks
from tests.skips import NO_TORCHVISION


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 260, 300, 3), dtype=np.uint8)


@pytest.fixture
def library():
    """Torchvision, whose compiled operators must fit the torch that is installed."""
    try:
        return importlib.import_module("torchvision")
    except (ImportError, RuntimeError):
        pytest.skip(NO_TORCHVISION)


def outputs_of(net, layer, x):
    """Return what a layer of the library's own module puts out."""
    taken = []
    handle = dict(net.named_modules())[layer].register_forward_hook(
        lambda _module, _inputs, out: taken.append(
            out.clone()
        )  # what follows may write into it
    )
    with torch.inference_mode():
        net.eval()(x)
    handle.remove()
    return taken[0]


def found(network, layer, images):
    x = torch.as_tensor(images).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        return network.outputs(x, {layer: None})[layer]


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("resnet18", ["layer1", "layer4.1.conv2", "fc"]),
        ("alexnet", ["features.3", "classifier.6"]),
    ],
)
def test_torchvisions_activations(library, images, tmp_path, name, layers):
    torch.manual_seed(0)
    net = library.models.get_model(name, weights=None)
    torch.save(net.state_dict(), tmp_path / "own.pt")
    network = networks.load(f"torchvision:{name}", weights=tmp_path / "own.pt")
    prepare = library.models.get_model_weights(name).DEFAULT.transforms()
    x = prepare(torch.as_tensor(images).permute(0, 3, 1, 2))
    for layer in layers:
        own = outputs_of(net, layer, x)
        scale = own.abs().max().item()
        # The library rounds resized pixels to bytes, half a grey level either way.
        torch.testing.assert_close(
            found(network, layer, images), own, rtol=0, atol=0.02 * scale
        )
    float_x = prepare(torch.as_tensor(images).permute(0, 3, 1, 2).float() / 255)
    own = outputs_of(net, layers[-1], float_x)
    torch.testing.assert_close(
        found(network, layers[-1], images), own, rtol=1e-5, atol=1e-5 * own.abs().max().item()
    )


def test_a_robust_twin_of_torchvisions(library, images, tmp_path):
    """As the robustness library saves them: prefixed, with the attacker's copy beside it."""
    torch.manual_seed(1)
    net = library.models.get_model("resnet18", weights=None)
    state = net.state_dict()
    kept = {f"module.model.{key}": value for key, value in state.items()} | {
        f"module.attacker.model.{key}": value for key, value in state.items()
    }
    torch.save({"model": kept, "epoch": 3}, tmp_path / "robust.pt")
    scorer = scorers.load(
        "torchvision:resnet18:fc:0-4",
        networks={"torchvision:resnet18": {"weights": str(tmp_path / "robust.pt")}},
    )
    prepare = library.models.get_model_weights("resnet18").DEFAULT.transforms()
    x = prepare(torch.as_tensor(images).permute(0, 3, 1, 2).float() / 255)
    own = outputs_of(net, "fc", x)[:, :5].numpy()
    np.testing.assert_allclose(scorer.score(images), own, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("library")
def test_torchvision_says_what_it_has_and_where_weights_must_lie(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="The nearest are resnet50"):
        networks.load("torchvision:resnet500")
    with pytest.raises(
        WeightsError, match=r"must lie at .*resnet50-.*fetch them from https://"
    ):
        networks.load("torchvision:resnet50")


@pytest.mark.parametrize(
    ("name", "layer"), [("resnet18.tv_in1k", "layer4"), ("vit_tiny_patch16_224", "blocks.3")]
)
@pytest.mark.usefixtures("library")
def test_timms_activations(images, tmp_path, name, layer):
    timm = importlib.import_module("timm")
    from PIL import Image

    torch.manual_seed(0)
    net = timm.create_model(name, pretrained=False)
    torch.save(net.state_dict(), tmp_path / "own.pt")
    network = networks.load(f"timm:{name}", weights=tmp_path / "own.pt")
    config = timm.data.resolve_data_config(net.pretrained_cfg)
    prepare = timm.data.create_transform(**config)
    x = torch.stack([prepare(Image.fromarray(image)) for image in images])
    own = outputs_of(net, layer, x)
    mine = found(network, layer, images)
    # Pillow resizes in bytes, by another way of counting borders.
    error = (mine - own).abs().mean() / own.abs().mean()
    assert error < 0.03
    with pytest.raises(ConfigError, match="timm must have the network"):
        networks.load("timm:resnet1888")
