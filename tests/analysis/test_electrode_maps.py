"""Units on their arrays: one a place, the most opaque, and nothing where nobody is."""

import numpy as np
import pytest

from evolver.analysis.electrode_maps import ElectrodeLayout
from evolver.errors import DataError

NAN = np.nan


def layout(array, row, column, **kwargs):
    places = (np.array(index, dtype=np.intp) for index in (array, row, column))
    return ElectrodeLayout(("V1", "IT"), *places, **kwargs)


def test_a_value_is_drawn_where_its_electrode_is():
    places = layout([0, 0, 0, 1, -1], [0, 0, 1, 0, 9], [0, 1, 0, 0, 9], least=(2, 2))
    assert places.shape == (2, 2)
    maps = places.maps([1.0, NAN, 3, 4, 5])
    np.testing.assert_array_equal(maps["V1"], [[1, NAN], [3, NAN]])
    np.testing.assert_array_equal(maps["IT"], [[4, NAN], [NAN, NAN]])
    assert layout([0], [0], [0]).shape == (8, 8)
    assert layout([0, 1], [11, 0], [0, 3]).shape == (12, 8)


def test_of_several_units_at_an_electrode_the_largest_is_drawn():
    places = layout([0, 0, 0], [0, 0, 0], [0, 0, 0], least=(1, 1))
    assert places.maps([1.0, 2, 3], first=[0.1, 0.9, 0.5])["V1"] == 2
    assert places.maps([1.0, 2, 3], first=[NAN, 0.0, 0.0])["V1"] == 2
    assert places.maps([1.0, 2, 3])["V1"] == 1
    assert places.maps([NAN, 2, 3], first=[0.9, 0.1, 0.2])["V1"] == 3


def test_what_is_no_layout_is_refused():
    with pytest.raises(DataError, match="one a unit"):
        layout([0, 1], [0], [0])
    with pytest.raises(DataError, match="below 2"):
        layout([2], [0], [0])
    with pytest.raises(DataError, match="0 or more"):
        layout([0], [0], [-1])
    with pytest.raises(DataError, match=r"\(1,\), one a unit"):
        layout([0], [0], [0]).maps([1.0, 2])
