"""Networks of transformers, saved in the true format, against the library's own activations."""

import json

import numpy as np
import pytest
import torch

import scorers
from evolver.errors import ConfigError, WeightsError
from scorers import networks
from scorers.networks.extent import extents
from scorers.networks.huggingface import processor_of
from tests.soak import further

pytestmark = pytest.mark.xdist_group("transformers")  # which takes seconds to import


def library():
    """Return transformers."""
    return pytest.importorskip("transformers")


TINY_VIT = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 64, "image_size": 64, "patch_size": 16,
}  # fmt: skip


def _resnet():
    config = library().ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=5
    )
    # As the published ResNets are saved, with ConvNext's processor.
    return library().ResNetForImageClassification(config), "ConvNextImageProcessorPil", {
        "size": {"shortest_edge": 64}, "crop_pct": 0.875,
    }  # fmt: skip


def _vit():
    config = library().ViTConfig(**TINY_VIT, num_labels=5)
    return library().ViTForImageClassification(config), "ViTImageProcessorPil", {
        "size": {"height": 64, "width": 64},
    }  # fmt: skip


def _convnext():
    config = library().ConvNextConfig(hidden_sizes=[8, 16, 16, 32], depths=[1] * 4)
    return library().ConvNextForImageClassification(config), "ConvNextImageProcessorPil", {
        "size": {"shortest_edge": 384},
    }  # fmt: skip


def _dinov2():
    config = library().Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, image_size=56, patch_size=14
    )
    return library().Dinov2Model(config), "BitImageProcessorPil", {
        "size": {"shortest_edge": 64}, "crop_size": {"height": 56, "width": 56},
    }  # fmt: skip


def _clip():
    words = {
        "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4,
        "intermediate_size": 64, "vocab_size": 50, "projection_dim": 16,
    }  # fmt: skip
    config = library().CLIPConfig(
        vision_config={**TINY_VIT, "projection_dim": 16}, text_config=words, projection_dim=16
    )
    return library().CLIPModel(config), "CLIPImageProcessorPil", {
        "size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64},
    }  # fmt: skip


KINDS = {
    "resnet": (_resnet, "classifier"),
    "vit": (_vit, "classifier"),
    "convnext": (_convnext, "classifier"),
    "dinov2": (_dinov2, "layernorm"),
    "clip": (_clip, "visual_projection"),
}


@pytest.fixture(
    scope="module",
    params=["clip", "resnet", further("vit"), further("convnext"), further("dinov2")],
)
def saved(request, tmp_path_factory):
    """A model as its makers save one: the model, its folder, the name of its last layer."""
    make, last = KINDS[request.param]
    torch.manual_seed(1)
    model, processor, values = make()
    model.eval()
    with torch.no_grad():
        for parameter in model.parameters():  # many begin as zeros
            parameter.add_(0.05 * torch.randn_like(parameter))
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    getattr(library(), processor)(**values).save_pretrained(folder)
    return model, folder, last


def library_output(model, pixels):
    """Return what the library itself makes of pixels."""
    with torch.no_grad():
        if hasattr(model, "get_image_features"):
            output = model.get_image_features(pixel_values=pixels)
            return getattr(output, "pooler_output", output)
        output = model(pixel_values=pixels)
    return getattr(output, "logits", None) if hasattr(output, "logits") else output[0]


def smooth_images(side):
    rng = np.random.default_rng(2)
    coarse = torch.from_numpy(rng.random((3, 3, 5, 5))).float()
    x = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)
    return (x.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)


def test_activations_are_the_librarys_own_preprocessing_included(saved):
    model, folder, last = saved
    network = networks.load(f"hf:{folder}")
    processor = library().AutoImageProcessor.from_pretrained(folder)
    for side in (network.preprocessing.uncut_size[0], 100):
        images = smooth_images(side)
        theirs = processor(images=list(images), return_tensors="pt")["pixel_values"]
        x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        ours = network.preprocessing(x)
        # Resizing, theirs rounds to bytes after the rows and after the columns.
        rounding = 0.0 if side != 100 else 1.25 / 255 / min(network.preprocessing.sd)
        assert float((ours - theirs).abs().max()) <= rounding + 1e-5
        found = network.outputs(x, {last: None})[last]
        expected = library_output(model, ours)
        assert float((found - expected).abs().max()) <= 1e-5 * float(expected.abs().max() + 1)


def test_tokens_are_units(saved):
    model, folder, _ = saved
    network = networks.load(f"hf:{folder}")
    tokens = [layer for layer in network.layers.values() if layer.tokens_before]
    if type(model).__name__ not in {"ViTForImageClassification", "Dinov2Model", "CLIPModel"}:
        assert not tokens
        return
    layer = tokens[-1]
    side = network.preprocessing.uncut_size[0]
    scorer = scorers.load([
        f"hf:{folder}:{layer.name}:{where}" for where in ("3:cls", "3:1:2", "5")
    ])
    assert scorer.unit_names[2].endswith(":5:cls")
    images = smooth_images(side)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    whole = network.outputs(x, {layer.name: None})[layer.name]
    columns = layer.grid[1]
    expected = torch.stack(
        [whole[:, 0, 3], whole[:, layer.tokens_before + columns + 2, 3], whole[:, 0, 5]], dim=1
    )
    np.testing.assert_allclose(scorer.score(images), expected, rtol=1e-4, atol=1e-5)
    alone = np.vstack([scorer.score(images[k : k + 1]) for k in range(len(images))])
    np.testing.assert_array_equal(alone, scorer.score(images))


def test_patches_have_their_stride_before_the_class_token_sees_any(saved):
    model, folder, _ = saved
    if type(model).__name__ != "ViTForImageClassification":
        return
    network = networks.load(f"hf:{folder}")
    before, after = "vit.embeddings.dropout", "vit.layers.1"
    found = extents(network, [before, after])
    assert (found[before].size, found[before].stride) == (0, 16)
    assert (found[after].whole, found[after].stride) == (True, 16)


def test_positions_and_other_constants_are_no_layers(saved):
    _, folder, _ = saved
    assert not [name for name in networks.load(f"hf:{folder}").layers if "position" in name]


@pytest.fixture
def folder(tmp_path):
    model, processor, values = _vit()
    model.save_pretrained(tmp_path)
    getattr(library(), processor)(**values).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.soak
def test_in_parts_it_is_the_same_network(folder, tmp_path_factory):
    parts = tmp_path_factory.mktemp("parts")
    model = library().ViTForImageClassification.from_pretrained(folder)
    model.save_pretrained(parts, max_shard_size="20KB")
    (parts / "preprocessor_config.json").write_bytes(
        (folder / "preprocessor_config.json").read_bytes()
    )
    assert len(list(parts.glob("*.safetensors"))) > 2
    x = torch.rand(2, 3, 64, 64)
    one, other = networks.load(f"hf:{folder}"), networks.load(f"hf:{parts}")
    assert one.sha256 != other.sha256
    torch.testing.assert_close(
        one.outputs(x, {"vit": None})["vit"], other.outputs(x, {"vit": None})["vit"]
    )


def test_what_is_wrong_with_a_folder_is_said(folder):
    config = json.loads((folder / "config.json").read_text())

    def change(**values):
        (folder / "config.json").write_text(json.dumps({**config, **values}))

    change(hidden_size=40)
    with pytest.raises(WeightsError, match="missing or of another shape"):
        networks.load(f"hf:{folder}")
    change(architectures=["NoSuchNetwork"])
    with pytest.raises(ConfigError, match="NoSuchNetwork"):
        networks.load(f"hf:{folder}")
    (folder / "config.json").write_text("[1]")
    with pytest.raises(WeightsError, match="must be a JSON object"):
        networks.load(f"hf:{folder}")
    change()
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(WeightsError, match=r"must hold preprocessor_config\.json"):
        networks.load(f"hf:{folder}")
    for name in ("hf:", "hf:no-such-folder", "hf:/no/such/folder"):
        with pytest.raises(ConfigError, match="must be followed by"):
            networks.load(name)


@pytest.mark.parametrize(
    ("values", "size", "resize_to", "scale"),
    [
        ({"size": 224, "feature_extractor_type": "ViTFeatureExtractor"}, 224, (224, 224), 1),
        ({"size": 224, "image_processor_type": "CLIPImageProcessor", "crop_size": 224,
          "do_center_crop": True}, 224, 224, 1),
        ({"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224},
          "do_center_crop": True}, 224, 256, 1),
        ({"size": {"height": 256, "width": 256}, "crop_size": 224, "do_center_crop": True},
         224, (256, 256), 1),
        ({"size": 224, "crop_pct": 0.875, "image_processor_type": "ConvNextImageProcessor"},
         224, 256, 1),
        ({"size": 384, "crop_pct": 0.875, "image_processor_type": "ConvNextImageProcessor"},
         384, (384, 384), 1),
        ({"size": 224, "do_rescale": False}, 224, (224, 224), 255),
        ({"size": 224, "do_resize": False}, 224, (224, 224), 1),
    ],
)  # fmt: skip
def test_processors_of_all_times(values, size, resize_to, scale):
    found = processor_of(values)
    assert found.size == (size, size)
    assert found.resize_to == resize_to
    assert found.scale == scale


@pytest.mark.parametrize("values", [{}, {"size": "large"}, {"size": 9, "resample": 1}])
def test_a_processor_that_leaves_it_open_is_refused(values):
    with pytest.raises(ConfigError, match="a processor must"):
        processor_of(values)
