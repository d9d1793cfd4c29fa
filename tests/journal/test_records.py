"""Records: their bytes and back, and that nothing else gets through."""

import contextlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from evolver.errors import RecordingError
from evolver.journal.records import (
    DTYPES,
    Event,
    PackedArray,
    PlannedPresentation,
    Proposed,
    ProposedThread,
    Result,
    decode_record,
    encode_record,
)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ns = st.integers(-(2**63), 2**63 - 1)


def _arrays(min_dims, max_dims):
    shapes = hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=0)
    return st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, shapes))


arrays = _arrays(0, 3)
wrapped = arrays.map(PackedArray.of)
plans = st.builds(PlannedPresentation, ns, ns, ns, ns, *[st.floats(allow_nan=False)] * 2)
parts = st.builds(
    ProposedThread,
    ns,
    ns,
    wrapped,
    st.tuples(text),
    st.dictionaries(text, st.one_of(wrapped, ns, st.floats(allow_nan=False)), max_size=3),
    text,
)
records = st.one_of(
    st.builds(Event, ns, st.sampled_from(["info", "warning", "error"]), text, text),
    st.builds(
        Proposed,
        ns,
        ns,
        st.lists(parts, max_size=2).map(tuple),
        st.tuples(text),
        st.tuples(text),
        st.lists(plans, max_size=3).map(tuple),
    ),
    st.builds(
        Result,
        *[ns] * 3,
        st.sampled_from(["ok", "aborted"]),
        text,
        *[ns] * 4,
        text,
        st.sampled_from(["spikes", "counts", "rates"]),
        st.dictionaries(text, wrapped, max_size=2),
    ),
)


@given(arrays)
def test_an_array_comes_back_as_it_was(array):
    got = PackedArray.of(array).numpy()
    assert got.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(got, array, strict=True)
    assert not got.flags.writeable


@given(_arrays(2, 2))
def test_an_array_is_kept_in_c_order_whatever_it_was_in(array):
    np.testing.assert_array_equal(PackedArray.of(array.T).numpy(), array.T)


@given(records)
def test_a_record_comes_back_as_it_was(record):
    assert decode_record(encode_record(record)) == record


@given(st.binary(max_size=200))
def test_noise_is_refused_with_one_kind_of_error(data):
    with pytest.raises(RecordingError, match="not a version 2"):
        decode_record(data)


@given(records, st.data())
def test_a_changed_byte_gives_a_record_or_that_error(record, data):
    encoded = bytearray(encode_record(record))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(RecordingError):
        assert decode_record(bytes(encoded)) != record  # two bytes never mean the same


@pytest.mark.parametrize(
    "bad",
    [
        PackedArray("<f4", (3,), bytes(11)),
        PackedArray("<f4", (-1, -3), bytes(12)),
        PackedArray("|O", (1,), bytes(8)),
        PackedArray("<f4", (2**40, 2**40), b""),
    ],
)
def test_an_array_whose_parts_contradict_is_refused(bad):
    with pytest.raises(RecordingError, match="must have"):
        bad.numpy()


def test_an_array_of_objects_cannot_be_recorded():
    with pytest.raises(RecordingError, match="dtype"):
        PackedArray.of(np.array([{}]))


def test_nan_survives():
    array = PackedArray.of(np.array([math.nan, 1.0]))
    np.testing.assert_array_equal(array.numpy(), [math.nan, 1.0])
