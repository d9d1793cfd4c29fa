"""A lab's file of electrodes: read as it is meant, or refused with its line."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolver.errors import ConfigError
from evolver.setup.electrode_layout import read_layout

HEAD = "label,array,row,column\n"


def test_channels_are_found_by_their_labels(tmp_path):
    file = tmp_path / "layout.csv"
    file.write_text(
        "\ufeffarray, label ,column,row,note\n"
        "V1 a,ch2,2,1,\nIT,ch9,1,1,unused\nV1 a, ch1 ,1,8,\nV4,ch3,1,1,x\n",
        encoding="utf-8",
    )
    found, first = read_layout(file, ["ch1", "ch2", "ch3", "gone"])
    assert first == 1
    assert found.arrays == ("V1 a", "V4")
    np.testing.assert_array_equal(found.array, [0, 0, 1, -1])
    np.testing.assert_array_equal(found.row[:3], [7, 0, 0])  # the file counts from 1
    np.testing.assert_array_equal(found.column[:3], [0, 1, 0])
    file.write_text(HEAD + "ch1,V1,1,0\n")
    found, first = read_layout(file, ["ch1"])
    assert (found.row, found.column, first) == (1, 0, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got nothing"),
        (HEAD, "a line for each channel; it has its header alone"),
        ("label,array,row,row,column\na,V1,1,1,1\n", "must have one column row"),
        ("label,row,column\na,1,1\n", "columns label, array, row and column"),
        (HEAD + "a,V1,1,1\na,V1,1,2\n", "line 3 .* 'a' for the second time"),
        (HEAD + ",V1,1,1\n", "line 2 .* a label and an array"),
        (HEAD + "a,V1,-1,1\n", "a row of 0 to 64; got '-1'"),
        (HEAD + "a,V1,1,99\n", "a column of 0 to 64; got '99'"),
        (HEAD + "a,V1\n", "a row of 0 to 64; got ''"),
        (HEAD + "b,V1,1,1\n", "such as 'a', in its column label; it has 'b'"),
        (b"\xff\xfe\x00", "must be a CSV file"),
    ],
)
def test_what_is_none_is_refused(tmp_path, text, message):
    file = tmp_path / "layout.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=message):
        read_layout(file, ["a"])
    with pytest.raises(ConfigError, match="must be a CSV file"):
        read_layout(tmp_path, ["a"])


@given(st.binary(max_size=200))
def test_no_file_raises_anything_else(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("any") / "layout.csv"
    file.write_bytes(HEAD.encode() + content)
    with suppress(ConfigError):
        read_layout(file, ["a"])
