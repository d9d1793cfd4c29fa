"""Of which area units are, by what their labels begin with."""

import pytest

from evolver.errors import ConfigError
from evolver.recording.areas import named_areas

LABELS = ("net:conv1:0", "net:conv1:1", "net:fc5:0", "A7")
RECORDED = ("", "V1", "V1", "V4")


def test_the_first_pattern_that_fits_names_the_area():
    named = {"early": "net:conv?:0", "IT": "net:"}
    assert named_areas(LABELS, RECORDED, named) == ("early", "IT", "IT", "V4")
    assert named_areas(LABELS, RECORDED, {}) == RECORDED


def test_a_pattern_that_no_label_begins_with_is_refused():
    with pytest.raises(
        ConfigError, match=r"--area IT=fc must be how .* labels are net:conv1:0"
    ):
        named_areas(LABELS, RECORDED, {"IT": "fc"})
