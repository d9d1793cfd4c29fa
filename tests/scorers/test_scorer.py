"""Units of the built-in network, against a forward pass written again in numpy."""

import hashlib
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from PIL import Image
from scipy.signal import correlate2d

import scorers
from evolver.errors import ConfigError, DataError, WeightsError
from evolver.weights import hub
from scorers.mini import reference_images, scenes
from scorers.mini.train import data

LAST = len(scenes.CLASSES) - 1


def _file(name):
    return Path(str(resources.files("evolver.weights") / "mini" / name))


@pytest.fixture(scope="module")
def images():
    return reference_images(20, seed=9)


@pytest.fixture(scope="module")
def weights():
    stored = safetensors.numpy.load(_file("cnn.safetensors").read_bytes())
    return {name: value.astype(np.float64) for name, value in stored.items()}


def _conv(x, weights, name, stride):
    """(c, h, w) to (o, h', w'): correlate at every place, then keep each stride-th."""
    kernel, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    full = [
        sum(correlate2d(plane, k, mode="same") for plane, k in zip(x, row, strict=True)) + b
        for row, b in zip(kernel, bias, strict=True)
    ]
    return np.stack(full)[:, ::stride, ::stride]


@pytest.fixture(scope="module")
def by_hand(images, weights):
    """Every layer's pre-activations for the first image."""
    x = (images[0].transpose(2, 0, 1) / 255 - 0.5) * 4
    found = {}
    for name, stride in (("conv1", 2), ("conv2", 2), ("conv3", 2), ("conv4", 1)):
        found[name] = _conv(x, weights, name, stride)
        x = np.maximum(found[name], 0)
    x = x.reshape(128, 4, 2, 4, 2).max(axis=(2, 4)).ravel()
    for name in ("fc5", "fc6", "logits"):
        found[name] = weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]
        x = np.maximum(found[name], 0)
    return found


@pytest.mark.parametrize(
    ("name", "layer", "place"),
    [
        ("mini:conv1:3", "conv1", (3, 16, 16)),
        ("mini:conv1:31:0:31", "conv1", (31, 0, 31)),
        ("mini:conv2:10", "conv2", (10, 8, 8)),
        ("mini:conv3:127", "conv3", (127, 4, 4)),
        ("mini:conv4:0:7:2", "conv4", (0, 7, 2)),
        ("mini:fc5:255", "fc5", (255,)),
        ("mini:fc6:17", "fc6", (17,)),
        (f"mini:logits:{LAST}", "logits", (LAST,)),
    ],
)
def test_a_unit_is_its_pre_activation(images, by_hand, name, layer, place):
    scorer = scorers.load(name)
    found = scorer.score(images[:1])
    assert found.dtype == np.float64
    scale = by_hand[layer].std()
    np.testing.assert_allclose(found, [[by_hand[layer][place]]], atol=1e-4 * scale)


def test_several_units_are_the_columns_in_the_order_named(images):
    names = ["mini:fc5:3", "mini:conv3:8-10", "mini:logits:0", "mini:fc5:2", "mini:conv3:8:0:1"]
    scorer = scorers.load(names)
    assert scorer.unit_names == (
        "mini:fc5:3",
        *(f"mini:conv3:{k}:4:4" for k in (8, 9, 10)),
        "mini:logits:0",
        "mini:fc5:2",
        "mini:conv3:8:0:1",
    )
    alone = np.hstack([scorers.load(name).score(images) for name in scorer.unit_names])
    np.testing.assert_array_equal(scorer.score(images), alone)


def test_an_image_gets_the_same_response_alone_and_among_others(images):
    scorer = scorers.load(["mini:conv1:0-31", "mini:fc6:0-255"])
    together = scorer.score(images)
    alone = np.vstack([scorer.score(images[k : k + 1]) for k in (0, 7, 8, 19)])
    np.testing.assert_array_equal(alone, together[[0, 7, 8, 19]])
    np.testing.assert_array_equal(scorer.score(images[::-1]), together[::-1])


def test_other_sizes_are_resized_with_an_antialiased_bilinear_filter(images):
    scorer = scorers.load("mini:fc6:0-255")
    large = np.stack([
        np.asarray(Image.fromarray(i).resize((200, 200), Image.Resampling.NEAREST))
        for i in images
    ])
    small = np.stack([
        np.asarray(Image.fromarray(i).resize((64, 64), Image.Resampling.BILINEAR))
        for i in large
    ])
    found, expected = scorer.score(large), scorer.score(small)
    # Pillow rounds to bytes in between; nearest resizing, the usual mistake, is ten times off.
    assert np.abs(found - expected).mean() < 0.03 * expected.std()
    assert scorer.score(images[:2, :40]).shape == (2, 256)


def test_responses_is_what_score_uses_and_is_differentiable(images):
    scorer = scorers.load(["mini:conv4:5", "mini:fc6:9"])
    x = torch.from_numpy(images[:8]).permute(0, 3, 1, 2).float().div(255).requires_grad_()
    out = scorer.responses(x)
    # But for rounding: `score` multiplies image by image.
    np.testing.assert_allclose(
        out.detach().double().numpy(), scorer.score(images[:8]), rtol=1e-5, atol=1e-5
    )
    out.sum().backward()
    assert x.grad is not None
    assert float(x.grad.abs().amax()) > 0
    maps = scorer.networks["mini"].outputs(x, {"conv4": None})["conv4"]
    assert maps.shape == (8, 128, 8, 8)
    np.testing.assert_allclose(
        maps[:, 5, 4, 4].detach(), out[:, 0].detach(), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    ("units", "said"),
    [
        ("mini:fc7:0", "none called 'fc7', but conv1, conv2, conv3, conv4, fc5, fc6, logits"),
        ("mini:fc5:256", "channels 0 to 255; got 256"),
        ("mini:conv1:0-32", "channels 0 to 31; got 32"),
        ("mini:conv3:0:8:0", "rows 0 to 7 and columns 0 to 7; got 8:0"),
        ("mini:fc5:0:1:1", "no positions"),
        ("alexnet:fc6:0", "one of caffenet, encoder, hf, known, mini, .*; found 'alexnet'"),
        ([], "at least one unit"),
    ],
)
def test_errors_say_what_exists(units, said):
    with pytest.raises(ConfigError, match=said):
        scorers.load(units)


def test_wrong_images_are_refused(images):
    scorer = scorers.load("mini:fc5:0")
    for wrong in (
        images[0],
        images.astype(np.float32),
        images[..., :1],
        images.transpose(0, 3, 1, 2),
    ):
        with pytest.raises(DataError, match="uint8"):
            scorer.score(wrong)
    assert scorer.score(images[:0]).shape == (0, 1)


def test_a_changed_file_is_refused(monkeypatch, tmp_path):
    changed = tmp_path / "changed"
    changed.write_bytes(_file("cnn.safetensors").read_bytes() + b" ")
    monkeypatch.setattr(
        hub, "find_file", lambda entry, **_: hub.WeightsLocation(changed, entry.sha256, "test")
    )
    with pytest.raises(WeightsError, match="must have sha256"):
        scorers.load("mini:fc5:0")


def test_the_same_weights_in_a_file_of_ones_own_are_the_same_network(tmp_path):
    own = tmp_path / "own.safetensors"
    own.write_bytes(_file("cnn.safetensors").read_bytes())
    scorer, shipped = scorers.load("mini:fc5:0", weights=own), scorers.load("mini:fc5:0")
    sha256 = hashlib.sha256(own.read_bytes()).hexdigest()
    assert scorer.digests == shipped.digests == {"mini:fc5:0": sha256}
    assert scorer.reference_quantiles == shipped.reference_quantiles


@pytest.mark.soak
def test_reference_quantiles_are_those_of_fresh_references():
    scorer = scorers.load(["mini:conv1:0-31", "mini:conv4:0-31:2:5", "mini:fc6:0-255"])
    found = scorer.reference_quantiles
    responses = scorer.score(reference_images(400, seed=77))
    for key, share in (("p05", 0.05), ("p50", 0.5), ("p99", 0.99)):
        measured = (responses <= found[key]).mean(axis=0)
        spread = np.sqrt(share * (1 - share) / 400)
        assert np.abs(measured - share).mean() < 2 * spread
        assert np.abs(measured - share).max() < 8 * spread


@pytest.mark.soak
def test_it_tells_classes_apart_that_it_never_saw():
    images, labels, _ = data.make(310, seed=987, name="test", processes=1)
    logits = scorers.load(f"mini:logits:0-{LAST}").score(images)
    assert (logits.argmax(axis=1) == labels).mean() > 0.88  # chance is 0.016


def test_all_that_is_shipped_is_under_ten_megabytes():
    folder = resources.files("evolver.weights") / "mini"
    sizes = [Path(str(f)).stat().st_size for f in folder.iterdir()]
    assert len(sizes) == 4
    assert sum(sizes) < 10_000_000
