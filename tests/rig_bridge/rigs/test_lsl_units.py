"""The unit tables of LSL streams, and what is said of files that are none."""

import pytest

from rig_bridge.errors import EndpointError
from rig_bridge.messages import Unit
from rig_bridge.rigs.lsl.units import load_units, numbered_units


def test_a_table_is_read_with_what_it_leaves_out(tmp_path):
    path = tmp_path / "units.csv"
    path.write_text("label,channel,area\na,7,IT\nb,,\n", encoding="utf-8")
    assert load_units(path) == (Unit(7, 0, "IT", "a"), Unit(1, 0, "", "b"))
    assert numbered_units(2) == (Unit(0, 0, "", "unit 0"), Unit(1, 0, "", "unit 1"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name\na\n", "must have a column 'label'"),
        ("label,depth\na,1\n", "no others than"),
        ("label\n", "1 to 1000 units; got 0"),
        ("label,channel\na,x\n", "line 2: numbers must be whole"),
        ("label,channel\na,1\n,2\n", "line 3: a unit must have a label"),
        ("label,channel\na,-1\n", "must not be below 0"),
    ],
)
def test_what_is_no_table_is_named(tmp_path, text, message):
    path = tmp_path / "units.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(EndpointError, match=message):
        load_units(path)
