"""Window counting: against counting one spike at a time, in every form."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolver.errors import DataError
from evolver.responses import (
    check_window,
    psth_counts,
    psth_edges,
    rates_in_window,
    spike_rates,
)

times = st.floats(-100, 300, width=32)
trials = st.lists(st.tuples(st.integers(0, 4), times), max_size=30)
windows = st.tuples(st.integers(-100, 299), st.integers(1, 400)).map(
    lambda pair: (float(pair[0]), float(pair[0] + pair[1]))
)


def spikes(pairs):
    return {
        "units": np.array([unit for unit, _ in pairs], dtype=np.uint32),
        "times_ms": np.array([time for _, time in pairs], dtype=np.float32),
    }


def one_at_a_time(pairs, n_units, start, end):
    return [
        sum(unit == u and start <= float(np.float32(time)) < end for unit, time in pairs)
        for u in range(n_units)
    ]


@given(trials, windows)
def test_spikes_are_counted_once_each_in_a_half_open_window(pairs, window):
    got = rates_in_window("spikes", spikes(pairs), 5, window)
    expected = np.array(one_at_a_time(pairs, 5, *window)) / ((window[1] - window[0]) / 1000)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


@given(trials)
def test_bins_partition_the_window_and_agree_with_window_rates(pairs):
    edges = psth_edges((-100.0, 300.0))
    counts = psth_counts("spikes", spikes(pairs), 5, edges)
    for i, (start, end) in enumerate(itertools.pairwise(edges)):
        assert counts[:, i].tolist() == one_at_a_time(pairs, 5, start, end)
    as_counts = {"counts": counts.astype(np.uint16), "edges_ms": edges}
    np.testing.assert_allclose(
        rates_in_window("counts", as_counts, 5, (50.0, 200.0)),
        rates_in_window("spikes", spikes(pairs), 5, (50.0, 200.0)),
    )


@given(st.lists(trials, max_size=6), windows)
def test_many_rows_equal_one_row_at_a_time(rows, window):
    each = [spikes(pairs) for pairs in rows]
    offsets = np.cumsum([0, *(len(row["units"]) for row in each)])
    units = np.concatenate([np.zeros(0, np.uint32), *(row["units"] for row in each)])
    times_ms = np.concatenate([np.zeros(0, np.float32), *(row["times_ms"] for row in each)])
    got = spike_rates(offsets, units, times_ms, 5, window)
    assert got.shape == (len(rows), 5)
    for row, expected in zip(got, each, strict=True):
        np.testing.assert_array_equal(row, rates_in_window("spikes", expected, 5, window))


def test_rates_are_what_the_rig_said_whatever_the_window():
    rates = {"rates": np.array([3.0, 0.5])}
    assert rates_in_window("rates", rates, 2, (0.0, 10.0)).tolist() == [3.0, 0.5]
    assert psth_counts("rates", rates, 2, [0, 10]) is None


def test_counts_are_rebinned_only_where_edges_agree():
    own = {"counts": np.array([[1, 2, 3, 4]]), "edges_ms": np.array([0, 10, 20, 30, 40])}
    assert psth_counts("counts", own, 1, [0, 20, 40]).tolist() == [[3, 7]]
    assert psth_counts("counts", own, 1, [0, 15, 40]) is None


def test_edges_fill_the_window_with_onset_on_an_edge():
    assert psth_edges((-20.0, 30.0)).tolist() == [-20, -10, 0, 10, 20, 30]
    assert psth_edges((-15.0, 12.0)).tolist() == [-15, -10, 0, 10, 12]
    assert psth_edges((2.0, 5.0)).tolist() == [2, 5]


@pytest.mark.parametrize(
    ("form", "arrays", "says"),
    [
        ("spikes", {"units": np.array([5]), "times_ms": np.array([1.0])}, "from 0 to 1"),
        ("spikes", {"units": np.array([0]), "times_ms": np.array([np.nan])}, "finite"),
        ("spikes", {"units": np.array([0.0]), "times_ms": np.array([1.0])}, "integers"),
        ("spikes", {"units": np.array([0, 1]), "times_ms": np.array([1.0])}, "shapes"),
        ("spikes", {"units": np.array([0])}, "times_ms"),
        ("counts", {"counts": np.ones((2, 2), int), "edges_ms": np.arange(4)}, "shape"),
        ("counts", {"counts": -np.ones((2, 1), int), "edges_ms": np.arange(2)}, ">= 0"),
        ("counts", {"counts": np.ones((2, 1), int), "edges_ms": np.array([1, 0])}, "increas"),
        ("counts", {"counts": np.ones((2, 1), int), "edges_ms": np.array([0, 7])}, "nearest"),
        ("rates", {"rates": np.zeros(3)}, "shapes"),
        ("rates", {"rates": np.array([0, np.inf])}, "finite"),
        ("lfp", {}, "form must be"),
    ],
)
def test_what_cannot_be_counted_is_refused(form, arrays, says):
    with pytest.raises(DataError, match=says):
        rates_in_window(form, arrays, 2, (0.0, 10.0))


@pytest.mark.parametrize("window", [(10.0, 10.0), (5.0, 1.0), (0.0, float("inf"))])
def test_a_window_must_have_a_start_before_its_end(window):
    with pytest.raises(DataError, match="start < end"):
        check_window(window)


def test_a_window_beyond_what_was_recorded_is_refused():
    with pytest.raises(DataError, match="inside what was recorded"):
        rates_in_window("spikes", spikes([]), 2, (0.0, 400.0), recorded_ms=(-100.0, 300.0))
