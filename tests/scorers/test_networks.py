"""Networks: any module's layers as they are, preprocessing, extents, what mistakes are told."""

import dataclasses
import hashlib

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import scorers
from evolver.errors import ConfigError, DataError, WeightsError
from scorers import networks, quantiles
from scorers.mini import reference_images
from scorers.networks.caffenet import MEAN_BGR, PREPROCESSING, caffenet
from scorers.networks.extent import extents, fields
from scorers.networks.layers import Layer, layer_of
from scorers.networks.preprocessing import Preprocessing
from tests.scorers import made_networks

PLAIN = f"{made_networks.__name__}:Plain"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(quantiles, "user_cache_path", lambda name: tmp_path / name)


@pytest.fixture
def plain(tmp_path):
    """A network, and a file of its weights."""
    torch.manual_seed(3)
    net = made_networks.Plain().eval()
    save_file(net.state_dict(), tmp_path / "plain.safetensors")
    return net, tmp_path / "plain.safetensors"


def load_plain(weights, **options):
    return networks.load("plain", module=PLAIN, weights=weights, size=32, **options)


def test_every_layer_is_what_its_module_handed_on(plain):
    """Also where a later one writes into it: in place, by a module or by the code between."""
    net, weights = plain
    network = load_plain(weights)
    assert network.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    x = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        one = net.one(x)
        norm = net.norm(one)
        first = norm.clamp(min=0)
        two = net.two(first)
        pool = net.pool((two + first).clamp(min=0))
        head = net.head(pool.flatten(1))
        found = network.outputs(x, dict.fromkeys(network.layers))
    # The rectification is called twice, and has no output of its own.
    assert list(network.layers) == ["one", "norm", "two", "pool", "head"]
    expected = {"one": one, "norm": norm, "two": two, "pool": pool, "head": head}
    for name, output in expected.items():
        torch.testing.assert_close(found[name], output, rtol=1e-5, atol=1e-6)


def test_units_are_places_of_layers_and_differentiable(plain):
    _, weights = plain
    network = load_plain(weights)
    x = torch.rand(2, 3, 32, 32, requires_grad=True)
    layer = network.layers["two"]
    places = torch.tensor([layer.place(3, (5, 7)), layer.place(0, layer.usual_position)])
    found = network.outputs(x, {"two": places})["two"]
    whole = network.outputs(x, {"two": None})["two"]
    torch.testing.assert_close(found, torch.stack([whole[:, 3, 5, 7], whole[:, 0, 8, 8]], 1))
    found.sum().backward()
    assert float(x.grad.abs().max()) > 0


def test_nothing_deeper_than_what_is_wanted_is_run(plain, monkeypatch):
    _, weights = plain
    network = load_plain(weights)
    monkeypatch.setattr(network._module.head, "forward", made_networks.broken)
    network.outputs(torch.rand(1, 3, 32, 32), {"two": None})
    with pytest.raises(
        DataError, match="network 'plain' must take all images; it fails: Arith"
    ):
        network.outputs(torch.rand(1, 3, 32, 32), {"head": None})
    assert not network._module.two._forward_hooks  # none is left


def leaves(_x):
    raise SystemExit


def one_for_all(x):
    return x[:1, :4]


def nothing(_x):
    return None


@pytest.mark.parametrize(
    ("late", "says"),
    [
        (leaves, "it fails: SystemExit$"),
        (
            one_for_all,
            r"must put out \(2, 4\) in layer head for 2 images; it puts out \(1, 4\)",
        ),
        (nothing, "must have its layer head put out a tensor for all images; for these"),
    ],
)
def test_what_was_a_network_and_is_none_any_more_is_said(plain, monkeypatch, late, says):
    network = load_plain(plain[1])
    monkeypatch.setattr(network._module.head, "forward", late)
    with pytest.raises(DataError, match=says):
        network.outputs(torch.rand(2, 3, 32, 32), {"head": None})


def test_checkpoints_as_they_are_found(plain, tmp_path):
    """A robust network's file: its tensors under two names, the attacker's beside them."""
    net, weights = plain
    state = net.state_dict()
    counters = {k for k in state if k.endswith("num_batches_tracked")}
    assert counters
    old = {k: v for k, v in state.items() if k not in counters}
    robust = {
        **{f"module.model.{k}": v for k, v in state.items()},
        **{f"module.attacker.model.{k}": v for k, v in state.items()},
        "module.normalizer.new_mean": torch.zeros(3, 1, 1),
        "module.attacker.normalize.new_mean": torch.zeros(3, 1, 1),
    }
    x = torch.rand(2, 3, 32, 32)
    expected = load_plain(weights).outputs(x, {"head": None})["head"]
    for k, content in enumerate((
        {"model": robust, "epoch": 5},
        {"state_dict": {f"module.{key}": value for key, value in state.items()}},
        old,
    )):
        path = tmp_path / f"{k}.pt"
        torch.save(content, path)
        found = load_plain(path).outputs(x, {"head": None})["head"]
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    torch.save({"one.weight": state["one.weight"]}, tmp_path / "part.pt")
    with pytest.raises(WeightsError, match=r"missing: one\.bias"):
        load_plain(tmp_path / "part.pt")


def test_several_networks_in_one_population(plain):
    _, weights = plain
    units = ["plain:head:all", "mini:fc6:3", "plain:two:random-5@2", "mini:conv4:0-1:all"]
    table = {"plain": {"module": PLAIN, "weights": str(weights), "size": 32}}
    scorer = scorers.load(units, networks=table)
    assert len(scorer.unit_names) == 4 + 1 + 5 + 2 * 64
    assert set(scorer.digests) == set(units)
    images = reference_images(11, seed=4)
    together = scorer.score(images)
    alone = [
        scorers.load(name, networks=table).score(images) for name in scorer.unit_names[:10]
    ]
    np.testing.assert_array_equal(np.hstack(alone), together[:, :10])
    np.testing.assert_array_equal(scorer.score(images[4:5]), together[4:5])
    drawn = scorers.load("plain:two:random-5@2", networks=table).unit_names
    assert drawn == scorer.unit_names[5:10]
    assert len(set(drawn)) == 5
    every = scorers.load("plain:two:random-1280@2", networks=table).unit_names
    assert len(set(every)) == 5 * 16 * 16
    with pytest.raises(ConfigError, match="1280 units to draw from"):
        scorers.load("plain:two:random-1281@2", networks=table)


@pytest.mark.parametrize(
    ("unit", "said"),
    [
        ("plain:haed:0", "none called 'haed', but one, norm, two, pool, head"),
        ("plain:head:4", "channels 0 to 3; got 4"),
        ("plain:two:0:16:0", "rows 0 to 15 and columns 0 to 15; got 16:0"),
        ("plain:two:0:cls", "no class token"),
        ("plain:head:0:0:0", "no positions"),
        ("plane:head:0", "network must be one of caffenet, encoder, hf, known, mini"),
    ],
)
def test_a_wrong_address_is_told_what_there_is(plain, unit, said):
    table = {"plain": {"module": PLAIN, "weights": str(plain[1]), "size": 32}}
    with pytest.raises(ConfigError, match=said):
        scorers.load(unit, networks=table)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"module": "nowhere.at.all:Net"}, "must be importable"),
        ({"module": f"{made_networks.__name__}:Fails"}, "images of 32 x 32 .* lost"),
        ({"module": PLAIN, "arguments": {"wrong": 1}}, "made of arguments"),
        ({"module": PLAIN, "size": "large"}, "size must be pixels a side"),
        ({"module": PLAIN, "order": "grey"}, "1 channels; it says: RuntimeError"),
        ({"module": PLAIN, "mean": [0.5]}, "3 numbers, for rgb"),
        ({"module": PLAIN, "sd": 0}, "above 0"),
        ({"module": PLAIN, "colour": "blue"}, "got colour"),
        ({"module": PLAIN, "size": 100_000}, "1 to 4096 pixels"),
    ],
)
def test_a_network_that_cannot_be_made_says_why(options, said):
    with pytest.raises(ConfigError, match=said):
        networks.load("lab", **{"size": 32, **options})


def test_tokens_have_positions_and_a_class_token():
    layer = layer_of("x", (17, 6))
    assert (layer.channels, layer.grid, layer.tokens_before) == (6, (4, 4), 1)
    assert layer.usual_position == "cls"
    assert layer.place(2, "cls") == 2
    assert layer.place(2, (1, 3)) == (1 + 1 * 4 + 3) * 6 + 2
    with_registers = layer_of("x", (1 + 4 + 9, 6))
    assert (with_registers.grid, with_registers.tokens_before) == ((3, 3), 5)
    assert with_registers.place(0, (0, 0)) == 5 * 6
    assert layer_of("x", (8, 8, 3)).place(1, (2, 5)) == (2 * 8 + 5) * 3 + 1
    assert layer_of("x", (3, 8, 8)).place(1, (2, 5)) == 64 + 2 * 8 + 5
    assert layer_of("x", (2, 2, 2, 2)) is None


@pytest.mark.parametrize("shape", [(7,), (3, 4, 4), (4, 4, 3), (17, 3), (16, 3), (14, 2)])
def test_every_unit_has_a_place_of_its_own(shape):
    layer = layer_of("x", shape)
    places = {layer.place(c, p) for c in range(layer.channels) for p in layer.positions}
    assert len(places) == layer.units
    assert places <= set(range(int(np.prod(shape))))
    names = {layer.unit_name(c, p) for c in range(layer.channels) for p in layer.positions}
    assert len(names) == layer.units


def test_what_units_see_is_exact():
    network = networks.load("w", module=f"{made_networks.__name__}:Window", size=32)
    found = extents(network, ["a", "b", "pool", "c", "all"])
    assert {name: extent.size for name, extent in found.items()} == {
        "a": 3, "b": 7, "pool": 9, "c": 9, "all": 32
    }  # fmt: skip
    assert [found[name].stride for name in ("a", "b", "pool", "c")] == [1, 1, 2, 2]
    assert [name for name, extent in found.items() if extent.whole] == ["all"]
    mini = networks.load("mini")
    sizes = [e.size for e in extents(mini, ["conv1", "conv2", "conv3", "conv4"]).values()]
    assert sizes == [7, 11, 19, 35]


def test_what_units_see_is_where_the_equations_say():
    mini = networks.load("mini")
    layers = [name for name in mini.layers if name.startswith("conv")]
    found = fields(mini, layers)
    for name in layers:
        row, column = mini.layers[name].usual_position
        assert found[name] == mini.local.field(name, row, column)


@pytest.mark.parametrize(("odd_margin", "left"), [("down", 1), ("even", 2)])
def test_what_units_see_is_told_of_the_input_whatever_is_cut_off(odd_margin, left):
    network = networks.load("w", module=f"{made_networks.__name__}:Window", size=32)
    whole = fields(network, ["b"])["b"]
    assert whole.shape == (7, 7)
    network.preprocessing = dataclasses.replace(
        network.preprocessing, resize_to=35, odd_margin=odd_margin
    )
    assert network.preprocessing.cut_off == (left, left)
    assert fields(network, ["b"])["b"] == whole
    assert extents(network, ["b"])["b"].size == 7


def test_preprocessing_in_its_order():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (1, 6, 6, 3), dtype=np.uint8)
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    steps = Preprocessing(
        (4, 4), resize_to=6, order="bgr", scale=255.0, mean=(1.0, 2.0, 3.0), sd=(2.0, 4.0, 8.0)
    )
    expected = (pixels[0, 1:5, 1:5, ::-1].astype(float) - [1, 2, 3]) / [2, 4, 8]
    np.testing.assert_allclose(steps(x)[0].permute(1, 2, 0), expected, rtol=1e-5, atol=1e-4)
    grey = Preprocessing((6, 6), order="grey", mean=(0.0,), sd=(1.0,))(x)[0, 0] * 255
    by_pillow = np.asarray(Image.fromarray(pixels[0]).convert("L")).astype(float)
    assert np.abs(grey.numpy() - by_pillow).max() < 1
    wide = torch.rand(1, 3, 20, 40)
    assert Preprocessing((16, 16), resize_to=16)(wide).shape == (1, 3, 16, 16)
    assert Preprocessing((16, 16), resize_to=8)(wide).shape == (1, 3, 16, 16)
    for length, down, even in ((9, 1, 2), (11, 2, 2), (13, 3, 4)):  # 3, 5 and 7 cut off of both
        ramp = torch.arange(length, dtype=torch.float32).expand(1, 3, length, length) / 255
        margins = {"down": down, "even": even}
        for odd_margin, left in margins.items():
            cut = Preprocessing((6, 6), resize_to=length, odd_margin=odd_margin)(ramp)
            np.testing.assert_allclose(cut[0, 0, 0] * 255, left + np.arange(6.0), atol=1e-4)


def test_caffenets_preprocessing_and_shapes():
    """White is 255 less the mean of ImageNet, blue first; maps as in Caffe's own log."""
    white = PREPROCESSING(torch.ones(1, 3, 227, 227))[0, :, 100, 100]
    np.testing.assert_allclose(
        white, 255 - np.array([104.00698793, 116.66876762, 122.67891434])
    )
    red = torch.zeros(1, 3, 300, 300)
    red[:, 0] = 1
    np.testing.assert_allclose(
        PREPROCESSING(red)[0, :, 9, 9], np.array([0, 0, 255]) - MEAN_BGR, rtol=1e-6
    )
    net = caffenet().eval()
    x, shapes = torch.rand(1, 3, 227, 227), {}
    with torch.no_grad():
        for name, part in net.named_children():
            if name == "norm1":
                before = x
            x = part(x)
            shapes[name] = tuple(x.shape[1:])
            if name == "norm1":
                after = x
    assert shapes["conv1"] == (96, 55, 55)
    assert shapes["pool1"] == (96, 27, 27)
    assert shapes["conv2"] == (256, 27, 27)
    assert shapes["pool2"] == (256, 13, 13)
    assert shapes["conv5"] == (256, 13, 13)
    assert shapes["pool5"] == (256, 6, 6)
    assert shapes["fc8"] == (1000,)
    # Across five channels, k = 1, alpha / 5 of the sum of squares (Caffe's LRN layer).
    column = before[0, :, 4, 6].double().numpy()
    padded = np.pad(column**2, 2)
    sums = np.array([padded[k : k + 5].sum() for k in range(96)])
    np.testing.assert_allclose(
        after[0, :, 4, 6], column / (1 + 1e-4 / 5 * sums) ** 0.75, rtol=1e-5
    )


@pytest.mark.soak
def test_caffenets_file_by_any_names(tmp_path):
    torch.manual_seed(0)
    state = caffenet().state_dict()
    save_file(state, tmp_path / "by-name.safetensors")
    torch.save(
        {f"features.{k}": v for k, v in enumerate(state.values())}, tmp_path / "in-order.pt"
    )
    x = torch.rand(1, 3, 227, 227)
    found = [
        networks.load("caffenet", weights=tmp_path / file).outputs(x, {"fc6": None})["fc6"]
        for file in ("by-name.safetensors", "in-order.pt")
    ]
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
    save_file(dict(list(state.items())[:4]), tmp_path / "short.safetensors")
    with pytest.raises(WeightsError, match="tensors of Sequential"):
        networks.load("caffenet", weights=tmp_path / "short.safetensors")


def test_quantiles_are_measured_once_for_what_they_are_of(plain, monkeypatch):
    _, weights = plain
    monkeypatch.setattr(quantiles, "IMAGES", 40)
    table = {"plain": {"module": PLAIN, "weights": str(weights), "size": 32}}
    scorer = scorers.load(["plain:head:all", "mini:fc5:3"], networks=table)
    found = scorer.reference_quantiles
    responses = scorer.score(reference_images(40, seed=quantiles._SEED))
    for key, level in (("p05", 5), ("p50", 50), ("p99", 99)):
        measured = np.percentile(responses[:, :4], level, axis=0)
        np.testing.assert_allclose(found[key][:4], measured, rtol=1e-4, atol=1e-5)
        assert found[key][4] == scorers.load("mini:fc5:3").reference_quantiles[key][0]
    (kept,) = quantiles.quantile_folder().iterdir()

    def never(*_):
        raise AssertionError("measured again")

    with monkeypatch.context() as patch:
        patch.setattr(quantiles, "_measured", never)
        again = scorers.load(["plain:head:all"], networks=table).reference_quantiles
        for key in found:
            np.testing.assert_array_equal(again[key], found[key][:4])
        other = {"plain": {**table["plain"], "mean": 0.5}}
        scorer = scorers.load(["plain:head:all"], networks=other)
        with pytest.raises(AssertionError):  # other preprocessing, other answers
            _ = scorer.reference_quantiles
    body = scorers.load(["plain:head:0", "plain:two:all"], networks=table)
    looked: list[int] = []
    outputs = body.networks["plain"].outputs

    def counted(x, at):
        looked.append(len(x))
        return outputs(x, at)

    monkeypatch.setattr(body.networks["plain"], "outputs", counted)
    _ = body.reference_quantiles
    assert sum(looked) == 40  # two layers, one pass
    (other,) = [path for path in quantiles.quantile_folder().iterdir() if path != kept][:1]
    kept.write_bytes(other.read_bytes())  # of other units: its name is not what it is of
    again = scorers.load(["plain:head:all"], networks=table).reference_quantiles
    np.testing.assert_array_equal(again["p50"], found["p50"][:4])
    kept.write_bytes(b"damaged")
    again = scorers.load(["plain:head:all"], networks=table).reference_quantiles
    np.testing.assert_array_equal(again["p50"], found["p50"][:4])


def test_layers_name_themselves_in_their_messages():
    with pytest.raises(ConfigError, match="deep has channels 0 to 2; got 3"):
        Layer("deep", (3, 4, 4), "map").place(3, (0, 0))
