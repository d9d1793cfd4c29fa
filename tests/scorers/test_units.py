"""Names of units: every spec survives being written and read; anything else is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolver.errors import ConfigError
from scorers.units import UnitSpec, parse_units

_words = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)
_numbers = st.integers(0, 999_999_999)


@given(
    network=_words,
    layer=_words,
    channels=st.tuples(_numbers, _numbers),
    position=st.none() | st.tuples(_numbers, _numbers),
)
def test_what_is_written_is_read(network, layer, channels, position):
    spec = UnitSpec(network, layer, min(channels), max(channels), position)
    assert parse_units(str(spec)) == spec


@given(st.text(max_size=30))
def test_any_text_is_read_back_or_refused_as_such(text):
    try:
        spec = parse_units(text)
    except ConfigError:
        return  # the other outcome, a ValueError say, fails the test
    assert 0 <= spec.first <= spec.last
    assert parse_units(str(spec)) == spec


@pytest.mark.parametrize(
    "text",
    ["", "mini", "mini:fc5", "mini:fc5:", "mini:fc5:-1", "mini:fc5:3:4", "mini:fc5:3:4:5:6",
     "mini:fc5:x", "mini:fc5:3-", "mini::3", ":fc5:3", "mini:fc5:3 ", "mini:fc5:٣",
     "mini:fc5:1e3"],
)  # fmt: skip
def test_other_forms_are_refused(text):
    with pytest.raises(ConfigError, match="NETWORK:LAYER:CHANNEL"):
        parse_units(text)


def test_a_backward_range_is_refused():
    with pytest.raises(ConfigError, match="upwards"):
        parse_units("mini:fc5:9-3")
