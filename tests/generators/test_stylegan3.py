"""StyleGAN3 against golden images, against its equations in float64, and at its borders.

The golden files were made by the original implementation, with its plain operations on one
processor thread in float32, from small networks with random, seeded weights (no trained model):
``stylegan3-{t,r}-tiny.pkl`` in the official format, with every embedded source replaced by a
line that raises, and ``.npz`` with what they draw; of activations, the first four channels.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

import evolver.generators
from benchmarks import stylegan3_reference as reference
from evolver.errors import ConfigError, DataError, WeightsError
from evolver.generators.stylegan3 import (
    StyleGAN3,
    StyleGAN3Settings,
    convert_stylegan3,
    load_network,
)
from evolver.generators.stylegan3.filters import lowpass
from evolver.generators.stylegan3.network import SynthesisNetwork
from evolver.generators.stylegan3.resampling import Activation, filtered_activation
from evolver.generators.stylegan3.settings import schedule, settings_from
from evolver.weights.safe_network import read_network
from tests.soak import examples, further

GOLDEN = Path(__file__).parent.parent / "golden" / "generators"
TOLERANCE = 1e-5  # what was asked is 1e-4
SMALL = {"z_dim": 24, "w_dim": 32, "img_resolution": 32, "channel_base": 1024}
CONFIGS = {
    "T": StyleGAN3Settings(**SMALL, channel_max=12),
    "R": StyleGAN3Settings(**SMALL, channel_max=12, conv_kernel=1, use_radial_filters=True),
    "classes": StyleGAN3Settings(
        **{**SMALL, "img_resolution": 64}, channel_max=8, c_dim=5, num_layers=6, num_critical=1
    ),
}


@pytest.fixture(scope="module", params=["t", "r"])
def golden(request, tmp_path_factory):
    """Return the converted file and the golden arrays of one configuration."""
    out = tmp_path_factory.mktemp("stylegan3") / f"{request.param}.safetensors"
    convert_stylegan3(GOLDEN / f"stylegan3-{request.param}-tiny.pkl", out)
    with np.load(GOLDEN / f"stylegan3-{request.param}-tiny.npz") as arrays:
        return out, dict(arrays)


@pytest.fixture(scope="module", params=["T", further("R"), "classes"])
def made(request):
    """Return settings, random weights, and the same in float64."""
    config = CONFIGS[request.param]
    tensors = reference.random_tensors(config, seed=3)
    return config, tensors, {k: v.double() for k, v in tensors.items()}


ONE_CONFIGURATION = pytest.mark.parametrize("golden", ["t", further("r")], indirect=True)


def _torch(array):
    return torch.from_numpy(np.ascontiguousarray(array))


def _close(found, expected, tolerance=TOLERANCE):
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=tolerance)


@torch.no_grad()
def test_styles_and_images_are_the_golden_ones(golden):
    path, arrays = golden
    z = _torch(arrays["z"])
    plain, _ = load_network(path, truncation=1)
    _close(plain.styles(z)[:, 0], arrays["w_psi1"])
    _close(plain.draw(plain.styles(z)), arrays["img_psi1"])
    near, _ = load_network(path)
    _close(near.styles(z), arrays["ws_psi0.7"])
    _close(near.draw(near.styles(z)), arrays["img_psi0.7"])
    _close(near.draw(near.styles(z)), arrays["img_psi0.7_single"])
    cut, _ = load_network(path, cutoff=4)
    _close(cut.styles(z), arrays["ws_psi0.7_cutoff4"])
    _close(near.draw(_torch(arrays["ws_mixed"])), arrays["img_mixed"])


@torch.no_grad()
@pytest.mark.parametrize("which", ["rot", "scale"])
def test_images_on_a_transformed_plane_are_the_golden_ones(golden, which):
    path, arrays = golden
    net, _ = load_network(path, transform=arrays[f"transform_{which}"].tolist())
    _close(net.draw(_torch(arrays["ws_psi0.7"][:1])), arrays[f"img_{which}"])


@torch.no_grad()
def test_every_activation_is_the_golden_one(golden):
    path, arrays = golden
    with safetensors.safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["evolver"])
        tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118  no dict
    config = settings_from(about["config"])
    trace = {}
    ws = _torch(arrays["ws_psi0.7"][:1])
    SynthesisNetwork(config, tensors)(ws, trace)
    names = [k[4:] for k in arrays if k.startswith("act_") and k != "act_input_scale"]
    assert len(names) == 4
    for name in names:
        _close(trace[name][:, :4], arrays[f"act_{name}"])
    SynthesisNetwork(config, tensors, _torch(arrays["transform_scale"]))(ws, trace)
    _close(trace["input"][:, :4], arrays["act_input_scale"])


def test_bytes_are_the_golden_ones(golden):
    path, arrays = golden
    generator = evolver.generators.load("stylegan3", weights=path)
    np.testing.assert_array_equal(
        generator.render(arrays["z"].astype(float)), arrays["uint8_psi0.7"]
    )


def test_schedule_and_filters_are_those_in_the_official_file(golden):
    path, _ = golden
    value, _ = read_network(GOLDEN / f"stylegan3-{path.stem}-tiny.pkl")
    kept = value["G_ema"].state["_modules"]["synthesis"].state["_modules"]
    tensors = safetensors.torch.load_file(path)
    plan = schedule(settings_from(value["G_ema"].state["_init_kwargs"]))
    assert [layer.name for layer in plan.layers] == [k for k in kept if k != "input"]
    for layer in plan.layers:
        state = kept[layer.name].state
        assert state["padding"][0] == layer.before
        assert (state["up_factor"], state["down_factor"]) == (layer.up, layer.down)
        assert state["out_half_width"] == pytest.approx(layer.out_half_width)
        if layer.rgb:
            continue
        up = lowpass(
            layer.up_taps, layer.in_cutoff, layer.in_half_width, layer.up * layer.in_rate,
            radial=False,
        )  # fmt: skip
        down = lowpass(
            layer.down_taps, layer.out_cutoff, layer.out_half_width,
            layer.down * layer.out_rate, radial=layer.radial,
        )  # fmt: skip
        _close(tensors[f"synthesis.{layer.name}.up_filter"], up, 2e-8)
        _close(tensors[f"synthesis.{layer.name}.down_filter"], down, 2e-8)


def test_it_is_its_equations_in_float64(made):
    config, tensors, exact = made
    label = 3 if config.c_dim else None
    net = StyleGAN3(config, tensors, truncation=1, label=label)
    z = torch.from_numpy(np.random.default_rng(0).standard_normal((2, config.z_dim)))
    c = torch.eye(max(config.c_dim, 1), dtype=torch.float64)[[label or 0] * 2]
    with torch.no_grad():
        w = reference.mapping(config, exact, z, c)
        ws = w[:, None].expand(-1, config.num_ws, -1)
        _close(net.styles(z.float()), ws.numpy())
        _close(net.draw(ws.float()), reference.synthesis(config, exact, ws).numpy())


def test_classes_draw_different_images():
    config = CONFIGS["classes"]
    tensors = reference.random_tensors(config, seed=3)
    z = torch.ones(1, config.z_dim)
    with torch.no_grad():
        a, b = (StyleGAN3(config, tensors, label=k)(z) for k in (0, 4))
    assert (a - b).abs().max() > 0.05


# What torch does when its forward mode is first used warns of torch's own decorator.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("made", ["T", *map(further, ("R", "classes"))], indirect=True)
@pytest.mark.soak
def test_slopes_in_both_directions_are_those_of_the_equations(made):
    config, tensors, exact = made
    net = SynthesisNetwork(config, tensors)
    rng = np.random.default_rng(1)
    ws = torch.from_numpy(rng.standard_normal((1, config.num_ws, config.w_dim)))
    change = torch.from_numpy(rng.standard_normal(ws.shape))
    weight = torch.from_numpy(rng.standard_normal((1, 3) + (config.img_resolution,) * 2))
    ws.requires_grad_()
    (reference.synthesis(config, exact, ws) * weight).sum().backward()
    _, back = torch.func.vjp(net, ws.detach().float())
    (slope,) = back(weight.float())
    # Where an activation is all but 0, float32 may see the other side of its kink.
    _close(slope, ws.grad.numpy(), 2e-3 * float(ws.grad.abs().max()))
    _, ahead = torch.func.jvp(net, (ws.detach().float(),), (change.float(),))
    along = float((ahead.double() * weight).sum())
    assert along == pytest.approx(float((slope.double() * change).sum()), rel=1e-4)


layouts = st.tuples(
    st.integers(1, 4),  # up
    st.integers(1, 3),  # down
    st.integers(1, 8),  # taps a sample
    st.integers(-9, 12),  # zeros before
    st.integers(1, 30),  # samples in
    st.integers(1, 40),  # samples out
    st.booleans(),  # radial
    st.integers(0, 2**32 - 1),
)


def _plainly(x, up_filter, down_filter, up, down, before, out, clamp):
    """Do what `filtered_activation` does, by the definition, in float64."""
    taps = down_filter.shape[0]
    between = (out - 1) * down + taps
    rows = torch.zeros(between, x.shape[-1], dtype=torch.float64)
    for j in range(between):
        for m in range(x.shape[-1]):
            k = j - before + len(up_filter) - 1 - up * m
            if 0 <= k < len(up_filter):
                rows[j, m] = up * up_filter[k]
    fine = rows @ x @ rows.T
    fine = (torch.nn.functional.leaky_relu(fine, 0.2) * 2**0.5).clamp(-clamp, clamp)
    if down_filter.ndim == 1:
        down_filter = np.outer(down_filter, down_filter)
    kernel = torch.from_numpy(down_filter[::-1, ::-1].copy())[None, None]
    n, c = x.shape[:2]
    fine = torch.nn.functional.conv2d(
        fine.view(n * c, 1, between, between), kernel, stride=down
    )
    return fine.view(n, c, out, out)


@examples(0.7)
@given(layouts)
def test_the_activation_is_its_definition_and_so_are_its_slopes(layout):
    up, down, taps, before, size, out, radial, seed = layout
    rng = np.random.default_rng(seed)
    up_filter = rng.standard_normal(taps * up)
    down_filter = rng.standard_normal((taps * down,) * (2 if radial else 1))
    clamp = 3.0
    plan = Activation.make(
        up_filter, down_filter, up=up, down=down, before=before, size=size, out=out,
        clamp=clamp, device=torch.device("cpu"),
    )  # fmt: skip
    x = torch.from_numpy(rng.standard_normal((2, 3, size, size))).requires_grad_()
    weight = torch.from_numpy(rng.standard_normal((2, 3, out, out)))
    expected = _plainly(x, up_filter, down_filter, up, down, before, out, clamp)
    (expected * weight).sum().backward()
    single = x.detach().float().requires_grad_()
    found = filtered_activation(single, plan)
    scale = 1e-5 * (1 + np.abs(down_filter).sum() ** (1 if radial else 2))
    _close(found.detach(), expected.detach().numpy(), scale)
    (found * weight.float()).sum().backward()
    # One sample on the other side of a kink changes a slope a little; more would be wrong.
    apart = (single.grad - x.grad).norm() / (x.grad.norm() + 1e-3)
    assert apart < 2e-2


def test_many_channels_are_drawn_as_few_are():
    """More than the work of one part: parts must not see one another."""
    layer = schedule(StyleGAN3Settings(img_resolution=256)).layers[12]
    rng = np.random.default_rng(0)
    plan = Activation.make(
        rng.standard_normal(12), rng.standard_normal(12), up=2, down=2, before=layer.before,
        size=278, out=276, clamp=5.0, device=torch.device("cpu"),
    )  # fmt: skip
    x = torch.from_numpy(rng.standard_normal((1, 8, 278, 278))).float()
    together = filtered_activation(x, plan)
    for k in (0, 3, 7):
        assert torch.equal(filtered_activation(x[:, k : k + 1], plan), together[:, k : k + 1])


@ONE_CONFIGURATION
@pytest.mark.parametrize("chunk", [further(1), 3])
def test_a_code_gives_the_same_bytes_alone_and_among_others(golden, chunk):
    path, arrays = golden
    generator = evolver.generators.load("stylegan3", weights=path, chunk=chunk)
    codes = np.concatenate([arrays["z"], -arrays["z"], 5 * arrays["z"]]).astype(float)[:5]
    together = generator.render(codes)
    np.testing.assert_array_equal(generator.render(codes[4:5]), together[4:5])
    np.testing.assert_array_equal(generator.render(codes[::-1]), together[::-1])


@ONE_CONFIGURATION
def test_it_says_what_it_is(golden):
    path, arrays = golden
    generator = evolver.generators.load("stylegan3", weights=path)
    assert (generator.name, generator.d, generator.image_size) == ("stylegan3", 32, 32)
    assert generator.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    z = _torch(arrays["z"]).requires_grad_()
    drawn = generator.synthesize(z)
    drawn.sum().backward()
    assert z.grad.abs().max() > 0
    expected = np.rint(255 * drawn.detach().permute(0, 2, 3, 1).numpy()).astype(np.uint8)
    np.testing.assert_array_equal(generator.render(arrays["z"].astype(float)), expected)


@ONE_CONFIGURATION
def test_every_latent_reaches_the_same_image(golden):
    """The code of z, its style, and its style sixteen times over."""
    path, arrays = golden
    z, w, each = (
        evolver.generators.load("stylegan3", weights=path, latent=latent)
        for latent in ("z", "w", "w+")
    )
    assert (w.d, each.d) == (32, 16 * 32)
    assert each.parts["w15"] == (15 * 32, 16 * 32)
    styles = arrays["ws_psi0.7"].astype(float)
    expected = z.render(arrays["z"].astype(float))
    np.testing.assert_array_equal(w.render(styles[:, 0]), expected)
    np.testing.assert_array_equal(each.render(styles.reshape(3, -1)), expected)
    # Starting codes of all three are the same images, too.
    starts = [g.initial_codes(2, rng=np.random.default_rng(4)) for g in (z, w, each)]
    a, b, c = (g.render(codes) for g, codes in zip((z, w, each), starts, strict=True))
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(a, c)


@ONE_CONFIGURATION
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"latent": "v"}, "latent must be one of z, w, w+"),
        ({"truncation": "half"}, "truncation must be a finite number"),
        ({"truncation": float("nan")}, "truncation must be a finite number"),
        ({"cutoff": 17}, "cutoff must be a whole number, 0 to 16"),
        ({"cutoff": True}, "cutoff must be a whole number"),
        ({"label": 0}, "label must be left out"),
        ({"chunk": 0}, "chunk must be"),
        ({"transform": [[1, 0], [0, 1]]}, "transform must be three rows"),
        ({"transform": [[1, 0, 0], [0, 1, 0], [0, 1, 1]]}, "the last 0 0 1"),
        ({"transform": "left"}, "transform must be three rows"),
        ({"psi": 1}, "takes the options latent, truncation, .*; got psi"),
        ({"device": "abacus"}, "device"),
    ],
)
def test_options_that_are_none_are_refused(golden, options, says):
    with pytest.raises(ConfigError, match=says):
        evolver.generators.load("stylegan3", weights=golden[0], **options)


@pytest.mark.parametrize("label", [None, 5, -1, "dog"])
def test_a_network_with_classes_wants_one(label):
    config = CONFIGS["classes"]
    with pytest.raises(ConfigError, match="label must be a whole number, 0 to 4"):
        StyleGAN3(config, reference.random_tensors(config, seed=3), label=label)


@ONE_CONFIGURATION
def test_styles_of_another_shape_are_refused(golden):
    net, _ = load_network(golden[0])
    with pytest.raises(DataError, match=r"\(n, 16, 32\)"):
        net.draw(torch.zeros(1, 15, 32))


@ONE_CONFIGURATION
def test_converting_again_gives_the_same_file(golden, tmp_path):
    path, _ = golden
    pickle = GOLDEN / f"stylegan3-{path.stem}-tiny.pkl"
    again = tmp_path / "deep" / "again.safetensors"
    sha256 = convert_stylegan3(str(pickle), str(again))
    assert again.read_bytes() == path.read_bytes()
    assert sha256 == hashlib.sha256(again.read_bytes()).hexdigest()
    with safetensors.safe_open(again, "pt") as file:
        about = json.loads(file.metadata()["evolver"])
    assert about["source_sha256"] == hashlib.sha256(pickle.read_bytes()).hexdigest()
    assert [p.name for p in again.parent.iterdir()] == ["again.safetensors"]


@ONE_CONFIGURATION
def test_weights_that_are_none_are_refused(golden, tmp_path):
    path, _ = golden
    load = lambda weights: evolver.generators.load("stylegan3", weights=weights)  # noqa: E731
    with pytest.raises(ConfigError, match="must be given weights"):
        load(None)
    with pytest.raises(WeightsError, match="is converted once"):
        load(GOLDEN / "stylegan3-t-tiny.pkl")
    with pytest.raises(WeightsError, match=r"must be a file on this machine, or.*is neither"):
        load(tmp_path / "none")
    other = tmp_path / "other.safetensors"
    for content, says in (
        (b"", "it is empty"),
        (b"\xff" * 100, "a safetensors file"),
        (path.read_bytes()[:-50], "safetensors"),
        (safetensors.torch.save({"a": torch.zeros(2)}), "converted StyleGAN3"),
    ):
        other.write_bytes(content)
        with pytest.raises(WeightsError, match=says):
            load(other)
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = safetensors.torch.load_file(path)
    key = "synthesis.input.weight"
    for value, says in (
        (tensors[key][:-1], "by name and shape"),
        (tensors[key].long(), "floating-point numbers"),
        (tensors[key] * np.nan, "finite numbers"),
    ):
        changed = tensors | {key: value.contiguous()}
        other.write_bytes(safetensors.torch.save(changed, metadata=metadata))
        with pytest.raises(WeightsError, match=says):
            load(other)
    about = json.loads(metadata["evolver"])
    about["config"]["img_resolution"] = 33
    changed = {"evolver": json.dumps(about)}
    other.write_bytes(safetensors.torch.save(tensors, metadata=changed))
    with pytest.raises(WeightsError, match="img_resolution"):
        load(other)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"num_critical": 14}, "num_critical"),
        ({"first_cutoff": 16.0, "first_stopband": 20.0}, "first_cutoff must be below 16"),
        ({"first_stopband": 1.0}, "first_stopband"),
        ({"filter_size": 5}, "even"),
        ({"img_channels": 4}, "img_channels"),
        ({"channel_max": 10**9}, "channel_max"),
        ({"conv_clamp": float("inf")}, "conv_clamp"),
        ({"square": 1}, "square"),
    ],
)
def test_settings_that_contradict_are_refused(changed, says):
    with pytest.raises(WeightsError, match=says):
        settings_from({"img_resolution": 32} | changed)


@ONE_CONFIGURATION
def test_a_network_of_one_channel_draws_grey(golden, tmp_path):
    path, _ = golden
    with safetensors.safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["evolver"])
    about["config"]["img_channels"] = 1
    tensors = reference.random_tensors(settings_from(about["config"]), seed=5)
    grey = tmp_path / "grey.safetensors"
    grey.write_bytes(safetensors.torch.save(tensors, metadata={"evolver": json.dumps(about)}))
    drawn = evolver.generators.load("stylegan3", weights=grey)
    images = drawn.render(drawn.initial_codes(2, rng=np.random.default_rng(0)))
    assert images.shape == (2, drawn.image_size, drawn.image_size, 3)
    assert (images == images[..., :1]).all()
    assert images.std() > 0
