"""Fitted encoders: their file, their units as neurons, and ways in which they are wrong."""

import hashlib
import json
import struct

import msgspec
import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import given
from hypothesis import strategies as st

import scorers
from evolver.errors import ConfigError, DataError, WeightsError
from scorers import networks
from scorers.encoder_file import (
    EncodedLayer,
    EncoderFacts,
    UnitEncoder,
    read_encoder,
    write_encoder,
)
from scorers.feature_pyramid import FeaturePyramid
from scorers.units import UnitAddress, parse_units

RNG = np.random.default_rng(5)
IMAGES = RNG.integers(0, 256, (11, 48, 48, 3), dtype=np.uint8)
LAYERS = ("colour", "energy")
MOST = 300


def made(network=None, **changes):
    """Five units by hand, of the colours and of energies that are smoothed once."""
    network = networks.load("known") if network is None else network
    pyramid = FeaturePyramid(network, LAYERS, most=MOST)
    rng, layers = np.random.default_rng(1), {}
    for layer, units in zip(LAYERS, ([0, 2, 4], [1, 3]), strict=True):
        k = int(np.prod(pyramid.shapes[layer]))
        layers[layer] = EncodedLayer(
            rng.standard_normal(k, dtype=np.float32),
            rng.standard_normal((len(units), k), dtype=np.float32),
            np.array(units),
        )
    facts = EncoderFacts(
        version=1,
        network="known",
        network_sha256=network.sha256,
        most_features=MOST,
        layers=LAYERS,
        labels=("ch 1", "ch 2", "ch 3", "ch 4", "ch [5]"),
        areas=("V1", "V1", "IT", "IT", "IT"),
        quantity="spikes/s",
    )
    facts = msgspec.structs.replace(facts, **changes)
    constant = np.arange(5, dtype=np.float32)
    r = np.array([0.5, 0.25, np.nan, -0.125, 1], dtype=np.float32)
    return UnitEncoder(facts, layers, constant, r)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("encoders") / "it 1.safetensors"
    write_encoder(path, made())
    return path


@pytest.fixture(scope="module")
def scorer(file):
    return scorers.load(f"encoder:{file}:all")


def test_what_is_written_is_read(file):
    written, found = made(), read_encoder(file)
    assert found.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert found.facts.made_by.startswith("evolver ")
    assert msgspec.structs.replace(found.facts, made_by="") == written.facts
    np.testing.assert_array_equal(found.constant, written.constant)
    np.testing.assert_array_equal(found.r, written.r)
    for layer in LAYERS:
        for name in ("mean", "weights", "units"):
            values = getattr(found.layers[layer], name)
            np.testing.assert_array_equal(values, getattr(written.layers[layer], name))


def test_written_twice_a_file_is_the_same(tmp_path, file):
    assert (
        write_encoder(tmp_path / "a", made()) == hashlib.sha256(file.read_bytes()).hexdigest()
    )


def test_the_file_is_what_its_format_says(file):
    """FILE_FORMAT.md, by safetensors alone."""
    tensors, encoder = safetensors.numpy.load_file(file), made()
    (length,) = struct.unpack("<Q", file.read_bytes()[:8])
    header = json.loads(file.read_bytes()[8 : 8 + length])
    facts = json.loads(header["__metadata__"]["evolver_encoder"])
    assert facts["layers"] == list(LAYERS)
    pyramid = FeaturePyramid(networks.load("known"), LAYERS, most=facts["most_features"])
    features = pyramid.features(IMAGES)
    expected = np.tile(tensors["constant"].astype(np.float64), (len(IMAGES), 1))
    for i, layer in enumerate(facts["layers"]):
        centred = features[layer].astype(np.float64) - tensors[f"mean/{i}"]
        expected[:, tensors[f"units/{i}"]] += centred @ tensors[f"weights/{i}"].T
    found = scorers.load(f"encoder:{file}:all").score(IMAGES)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert encoder.facts.labels == tuple(facts["labels"])


def test_units_are_named_and_their_digest_is_the_files(file, scorer):
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert scorer.unit_names == tuple(f"encoder:{file}:{i}" for i in range(5))
    assert scorer.sha256 == digest
    assert scorer.digests == {f"encoder:{file}:all": digest}
    some = scorers.load([f"encoder:{file}:1,3-4", "known:energy:2", f"encoder:{file}:0"])
    assert some.unit_names == (
        *(f"encoder:{file}:{i}" for i in (1, 3, 4)),
        "known:energy:2:2:2",
        f"encoder:{file}:0",
    )
    np.testing.assert_array_equal(
        some.score(IMAGES)[:, [0, 1, 2, 4]], scorer.score(IMAGES)[:, [1, 3, 4, 0]]
    )


def test_a_response_depends_on_no_other_unit_and_no_other_image(file, scorer):
    whole = scorer.score(IMAGES)
    for unit in range(5):
        alone = scorers.load(f"encoder:{file}:{unit}")
        np.testing.assert_array_equal(alone.score(IMAGES)[:, 0], whole[:, unit])
    np.testing.assert_array_equal(scorer.score(IMAGES[[7]])[0], whole[7])


def test_responses_have_the_slope_of_their_differences(scorer):
    x = torch.rand(1, 3, 48, 48, dtype=torch.float32, requires_grad=True)
    direction = torch.randn(1, 3, 48, 48)
    for unit in (0, 1):
        value = scorer.responses(x)[0, unit]
        (slope,) = torch.autograd.grad(value, x)
        step = 1e-2
        with torch.no_grad():
            ends = [scorer.responses(x + s * step * direction)[0, unit] for s in (1, -1)]
        difference = float(ends[0] - ends[1]) / (2 * step)
        assert float((slope * direction).sum()) == pytest.approx(difference, rel=2e-2, abs=0.02)


@pytest.mark.parametrize(
    ("text", "channels"),
    [("3", ((3, 3),)), ("0-2,4", ((0, 2), (4, 4))), ("all", "all"), ("random-2@7", None)],
)
def test_addresses(text, channels):
    address = parse_units(f"encoder:runs/it 1.safetensors:{text}")
    assert address.network == "encoder:runs/it 1.safetensors"
    assert address.layer == "units"
    assert channels is None or address.channels == channels
    assert parse_units(str(address)) == address
    assert isinstance(address, UnitAddress)


@pytest.mark.parametrize(
    "text", ["encoder:", "encoder:a", "encoder:a:", "encoder:a:units:3", "encoder::3",
             "encoder:C:\\it:3", "encoder:a:3:4:4", "encoder:a:-1"]
)  # fmt: skip
def test_addresses_that_are_none(text):
    with pytest.raises(ConfigError, match="encoder:FILE:UNIT"):
        parse_units(text)


def test_a_unit_that_is_not_there(file):
    with pytest.raises(ConfigError, match="0 to 4; got 5"):
        scorers.load(f"encoder:{file}:5")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(WeightsError, match="must be a file on this machine"):
        scorers.load(f"encoder:{tmp_path}/none.safetensors:0")
    with pytest.raises(WeightsError, match="folder"):
        scorers.load(f"encoder:{tmp_path}:0")


def test_another_networks_weights(tmp_path, file):
    """A network with an input of another size has other weights: of this one, by its digest."""
    with pytest.raises(WeightsError, match="with weights of sha256"):
        scorers.load(f"encoder:{file}:0", networks={f"encoder:{file}": {"size": 80}})
    wide = networks.load("known", size=80)
    write_encoder(tmp_path / "wide", made(wide))
    with pytest.raises(WeightsError, match=r"simulation\.networks"):
        scorers.load(f"encoder:{tmp_path / 'wide'}:0")
    options = {f"encoder:{tmp_path / 'wide'}": {"size": 80}}
    scorer = scorers.load(f"encoder:{tmp_path / 'wide'}:0", networks=options)
    assert np.isfinite(scorer.score(IMAGES)).all()


def test_an_encoder_of_a_labs_own_network(tmp_path):
    """Its options are given under the encoder's name."""
    options = {"module": "tests.scorers.made_networks:Plain", "size": 32}
    torch.manual_seed(0)
    network = networks.load("plain", **options)
    pyramid = FeaturePyramid(network, ["one"])
    k = int(np.prod(pyramid.shapes["one"]))
    layer = EncodedLayer(np.zeros(k, "f4"), np.ones((1, k), "f4"), np.array([0]))
    facts = EncoderFacts(
        version=1, network="plain", network_sha256=network.sha256, most_features=50_000,
        layers=("one",), labels=("a",), areas=("IT",), quantity="spikes/s",
    )  # fmt: skip
    encoder = UnitEncoder(facts, {"one": layer}, np.zeros(1, "f4"), np.zeros(1, "f4"))
    path = tmp_path / "own"
    write_encoder(path, encoder)
    torch.manual_seed(0)  # what is drawn when there is no weight file
    scorer = scorers.load(f"encoder:{path}:0", networks={f"encoder:{path}": options})
    expected = pyramid.features(IMAGES)["one"].astype(np.float64).sum(axis=1)
    np.testing.assert_allclose(scorer.score(IMAGES)[:, 0], expected, rtol=1e-3, atol=1e-2)
    with pytest.raises(ConfigError, match="plain"):
        scorers.load(f"encoder:{path}:0")


def spoilt(tmp_path, spoil, *, facts=None, metadata=True):
    """Write what `spoil` makes of a good file's tensors, and other facts."""
    path = tmp_path / "spoilt"
    write_encoder(path, made())
    tensors = safetensors.numpy.load_file(path)
    content = msgspec.to_builtins(made().facts) | (facts or {})
    spoil(tensors)
    text = {"evolver_encoder": json.dumps(content)} if metadata else None
    safetensors.numpy.save_file(tensors, path, metadata=text)
    return path


def unspoilt(tensors):
    """Leave them as they are."""


SPOILT = {
    "gone": (lambda t: t.pop("mean/1"), {}, "mean/1' is missing"),
    "shape": (
        lambda t: t.update({"weights/0": np.ones((2, 8), "f4")}),
        {},
        "a weight for each",
    ),
    "dtype": (lambda t: t.update({"constant": np.zeros(5)}), {}, "float32"),
    "twice": (lambda t: t.update({"units/1": np.array([1, 2])}), {}, "in one layer"),
    "beyond": (lambda t: t.update({"units/1": np.array([1, 9])}), {}, "in one layer"),
    "no row": (lambda t: t.update({"units/1": np.array(1)}), {}, "a table of weights"),
    "nan": (lambda t: t["weights/1"].__setitem__(0, np.nan), {}, "finite"),
    "later": (unspoilt, {"version": 2}, "version 1; it has 2"),
    "areas": (unspoilt, {"areas": ["V1"]}, "each have an area"),
    "layers": (unspoilt, {"layers": ["colour", "colour"]}, "each once"),
    "text": (unspoilt, {"layers": 3}, "say what it is an encoder of"),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_file_that_is_no_whole_encoder(tmp_path, how):
    spoil, facts, message = SPOILT[how]
    with pytest.raises(WeightsError, match=message):
        read_encoder(spoilt(tmp_path, spoil, facts=facts))


def test_a_file_of_something_else(tmp_path):
    with pytest.raises(WeightsError, match="something else"):
        read_encoder(spoilt(tmp_path, unspoilt, metadata=False))
    (tmp_path / "text").write_text("r = 0.5")
    with pytest.raises(WeightsError, match="fitted and written"):
        read_encoder(tmp_path / "text")


def test_features_that_the_network_has_not(tmp_path):
    path = spoilt(tmp_path, unspoilt, facts={"most_features": 100})
    with pytest.raises(ConfigError, match="features of known:colour"):
        scorers.load(f"encoder:{path}:0")
    path = spoilt(tmp_path, unspoilt, facts={"network": f"encoder:{path}"})
    with pytest.raises(ConfigError, match="of a network's features"):
        scorers.load(f"encoder:{path}:0")


@given(st.data())
def test_any_damage_is_refused_or_leaves_an_encoder(tmp_path_factory, file, data):
    content = bytearray(file.read_bytes())
    at = data.draw(st.integers(0, min(len(content), 1500) - 1))
    content[at] = data.draw(st.integers(0, 255))
    end = data.draw(st.sampled_from([len(content), at]))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(bytes(content[:end]))
    try:
        encoder = read_encoder(path)
    except WeightsError:
        return
    assert sorted(unit for layer in encoder.layers.values() for unit in layer.units) == [
        *range(5)
    ]


def test_what_is_not_whole_is_not_written(tmp_path):
    broken = made(labels=("a",))
    with pytest.raises(DataError, match="must be whole"):
        write_encoder(tmp_path / "broken", broken)
    assert not (tmp_path / "broken").exists()
