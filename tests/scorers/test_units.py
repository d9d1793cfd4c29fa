"""Addresses of units: every one survives being written and read; anything else is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolver.errors import ConfigError
from scorers.units import RandomUnits, UnitAddress, parse_layer, parse_units

_words = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)
_networks = _words.filter(
    lambda w: w not in {"encoder", "hf", "timm", "torchvision"}
) | st.builds("{}:{}".format, st.sampled_from(["hf", "timm", "torchvision"]), _words)
_numbers = st.integers(0, 999_999_999)
_ranges = st.lists(
    st.tuples(_numbers, _numbers).map(lambda ends: (min(ends), max(ends))),
    min_size=1,
    max_size=4,
).map(tuple)


@given(
    network=_networks,
    layer=_words,
    channels=_ranges | st.just("all") | st.builds(RandomUnits, st.integers(1, 99), _numbers),
    position=st.none() | st.sampled_from(["cls", "all"]) | st.tuples(_numbers, _numbers),
)
def test_what_is_written_is_read(network, layer, channels, position):
    address = UnitAddress(network, layer, channels, position)
    assert parse_units(str(address)) == address


@given(st.text(max_size=30) | st.text("mini:hf-,@allcs019", max_size=20))
def test_any_text_is_read_back_or_refused_as_such(text):
    try:
        address = parse_units(text)
    except ConfigError:
        return  # the other outcome, a ValueError say, fails the test
    assert parse_units(str(address)) == address


@pytest.mark.parametrize(
    ("text", "network", "layer"),
    [
        ("mini:conv4:52:4:4", "mini", "conv4"),
        ("hf:org/name:3:5", "hf:org/name", "3"),
        ("hf:org/name:3:5:2:2", "hf:org/name", "3"),
        ("hf:~/models/vit:encoder.layer.1:7:cls", "hf:~/models/vit", "encoder.layer.1"),
        ("timm:vgg16:features.0:0,4,8-9:all", "timm:vgg16", "features.0"),
        ("torchvision:resnet50:0:1", "torchvision:resnet50", "0"),
    ],
)
def test_where_a_network_ends_and_its_layer_begins(text, network, layer):
    address = parse_units(text)
    assert (address.network, address.layer) == (network, layer)


@pytest.mark.parametrize(
    "text",
    ["", "mini", "mini:fc5", "mini:fc5:", "mini:fc5:-1", "mini:fc5:3:4", "mini:fc5:3:4:5:6",
     "mini:fc5:x", "mini:fc5:3-", "mini::3", ":fc5:3", "mini:fc5:3 ", "mini:fc5:٣",
     "mini:fc5:1e3", "mini:fc5:1,", "mini:fc5:random-4", "mini:fc5:3:CLS", "hf:fc5:3"],
)  # fmt: skip
def test_other_forms_are_refused(text):
    with pytest.raises(ConfigError, match="NETWORK:LAYER:CHANNEL"):
        parse_units(text)


def test_ranges_and_draws_that_are_none():
    with pytest.raises(ConfigError, match="upwards"):
        parse_units("mini:fc5:9-3")
    with pytest.raises(ConfigError, match="at least one"):
        parse_units("mini:fc5:random-0@1")


def test_layers_by_name():
    assert parse_layer("mini:conv3") == ("mini", "conv3")
    assert parse_layer("hf:a/b:c.0") == ("hf:a/b", "c.0")
    for text in ("mini", "mini:conv3:1", "hf:conv3", "mini:", ":conv3"):
        with pytest.raises(ConfigError, match="NETWORK:LAYER"):
            parse_layer(text)
