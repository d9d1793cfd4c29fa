"""Responses to numbers: rates in a window, and counts in bins, from any form a rig sends.

Arrays in, arrays out: no records, no files, no clocks, and no idea what a score is. The loop
scores with these functions while a session runs and the reader recomputes with the same ones
afterwards, so that the two can never count a spike differently.

A window is half open, ``start <= time < end``, in ms relative to image onset. The forms of a
response and the arrays of each are in one table, `rig_bridge.forms.FORMS`; spikes may be in any
order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evolver.errors import DataError
from rig_bridge.forms import FORMS, Form, array_names, misfit

TimeWindow: TypeAlias = tuple[float, float]
"""(start, end) ms relative to onset, half open."""
Arrays: TypeAlias = Mapping[str, NDArray[Any]]

_EDGE_TOLERANCE_MS = 1e-6


def check_response(form: Form, arrays: Arrays, n_units: int) -> None:
    """Raise `DataError` unless `arrays` are a response of `n_units` units in this form.

    Parameters
    ----------
    form : "spikes", "counts" or "rates"
    arrays : the arrays of that form, as `rig_bridge.forms.FORMS` lists them
    n_units : int, units in the table of the rig that sent it
    """
    if form not in FORMS:
        raise DataError(f"a response's form must be one of {tuple(FORMS)}; got {form!r}")
    names = array_names(form)
    missing = [name for name in names if name not in arrays]
    if missing:
        raise DataError(
            f"a response in the form {form!r} must have the arrays {names}; "
            f"{missing} did not come, only {sorted(arrays)}"
        )
    values = {name: np.asarray(arrays[name]) for name in names}
    if wrong := misfit(form, {n: a.shape for n, a in values.items()}, {"u": n_units}):
        raise DataError(wrong)
    for array in FORMS[form]:
        _check_numbers(array.name, values[array.name], whole=array.dtype[1] == "u")
    if form == "spikes":
        units = values["units"]
        if units.size and int(units.max()) >= n_units:
            raise DataError(
                f"a spike's unit must be from 0 to {n_units - 1}, a row of the rig's unit "
                f"table; got {int(units.min())} to {int(units.max())}"
            )
    elif form == "counts" and not (np.diff(values["edges_ms"]) > 0).all():
        raise DataError("edges_ms must increase")


def _check_numbers(name: str, values: NDArray[Any], *, whole: bool) -> None:
    """Raise `DataError` unless an array's numbers are finite; where `whole`, integers >= 0."""
    if whole and values.dtype.kind not in "ui":
        raise DataError(f"{name} must be integers; got dtype {values.dtype}")
    if whole and values.size and int(values.min()) < 0:
        raise DataError(f"{name} must be integers >= 0; got {int(values.min())}")
    if not whole and not np.isfinite(values).all():
        places = np.argwhere(~np.isfinite(values))[:5].ravel().tolist()
        raise DataError(f"{name} must be finite; it is not at {places}")


def rates_in_window(
    form: Form,
    arrays: Arrays,
    n_units: int,
    window_ms: TimeWindow,
    *,
    recorded_ms: TimeWindow | None = None,
) -> NDArray[np.float64]:
    """Mean rate of every unit in a window, for one presentation.

    Parameters
    ----------
    form : "spikes", "counts" or "rates"
    arrays : the arrays of that form, as `rig_bridge.forms.FORMS` lists them
    n_units : int, units in the table of the rig that sent it
    window_ms : (start, end) ms relative to onset, half open. With counts both must lie on bin
        edges: a bin cut in two would have to be guessed at. With rates it has no effect: the
        rig chose the window, and whoever reads the numbers must know which it was
    recorded_ms : (start, end) ms, optional; what the rig was asked to record. A window that
        reaches beyond it is refused, because the spikes there were never kept

    Returns
    -------
    ndarray of float64, shape (u,), spikes/s

    Raises
    ------
    DataError
        The window is empty, not on bin edges or beyond what was recorded; an array is missing
        or malformed; a spike names a unit that is not in the table.
    """
    check_window(window_ms, recorded_ms=recorded_ms)
    check_response(form, arrays, n_units)
    if form == "rates":
        return np.array(arrays["rates"], dtype=np.float64)
    seconds = (window_ms[1] - window_ms[0]) / 1000
    if form == "spikes":
        units = np.asarray(arrays["units"])
        times = np.asarray(arrays["times_ms"], dtype=np.float64)
        inside = (times >= window_ms[0]) & (times < window_ms[1])
        return np.bincount(units[inside].astype(np.intp), minlength=n_units) / seconds
    counts, edges = np.asarray(arrays["counts"]), np.asarray(arrays["edges_ms"])
    first, last = _edge(edges, window_ms[0]), _edge(edges, window_ms[1])
    return counts[:, first:last].sum(axis=1, dtype=np.float64) / seconds


def spike_rates(
    offsets: NDArray[np.integer[Any]],
    units: NDArray[np.integer[Any]],
    times_ms: NDArray[np.floating[Any]],
    n_units: int,
    window_ms: TimeWindow,
) -> NDArray[np.float64]:
    """Mean rate of every unit in a window, for many presentations kept as one ragged array.

    Parameters
    ----------
    offsets : ndarray of int, shape (p + 1,), spikes ``offsets[i]:offsets[i + 1]`` are row i's
    units : ndarray of int, shape (spikes,)
    times_ms : ndarray of float, shape (spikes,), relative to onset
    n_units : int
    window_ms : (start, end) ms relative to onset, half open

    Returns
    -------
    ndarray of float64, shape (p, u), spikes/s; equal to `rates_in_window` of every row
    """
    check_window(window_ms)
    p = len(offsets) - 1
    times = np.asarray(times_ms, dtype=np.float64)
    inside = np.flatnonzero((times >= window_ms[0]) & (times < window_ms[1]))
    row = np.searchsorted(offsets, inside, side="right") - 1
    flat = np.bincount(row * n_units + units[inside].astype(np.intp), minlength=p * n_units)
    return flat.reshape(p, n_units) / ((window_ms[1] - window_ms[0]) / 1000)


def psth_counts(
    form: Form, arrays: Arrays, n_units: int, edges_ms: ArrayLike
) -> NDArray[np.int64] | None:
    """Spike counts of every unit in every bin, for one presentation.

    Parameters
    ----------
    form, arrays, n_units : as for `rates_in_window`
    edges_ms : (t + 1,) increasing, ms relative to onset; bins are half open

    Returns
    -------
    ndarray of int64, shape (u, t); None where the form cannot say: rates, and counts whose own
    bins do not have every one of these edges
    """
    check_response(form, arrays, n_units)
    edges = np.asarray(edges_ms, dtype=np.float64)
    t = len(edges) - 1
    if form == "spikes":
        times = np.asarray(arrays["times_ms"], dtype=np.float64)
        units = np.asarray(arrays["units"]).astype(np.intp)
        at = np.searchsorted(edges, times, side="right") - 1
        inside = (at >= 0) & (at < t)
        flat = np.bincount(units[inside] * t + at[inside], minlength=n_units * t)
        return flat.reshape(n_units, t)
    if form == "rates":
        return None
    own = np.asarray(arrays["edges_ms"], dtype=np.float64)
    places = [_find_edge(own, float(edge)) for edge in edges]
    if any(place is None for place in places):
        return None
    total = np.zeros((n_units, len(own)), dtype=np.int64)
    np.cumsum(arrays["counts"], axis=1, dtype=np.int64, out=total[:, 1:])
    return np.diff(total[:, [place for place in places if place is not None]], axis=1)


def psth_edges(window_ms: TimeWindow, bin_ms: float = 10.0) -> NDArray[np.float64]:
    """Bin edges that fill a window and have image onset on an edge.

    Parameters
    ----------
    window_ms : (start, end) ms relative to onset
    bin_ms : float > 0, width of a bin; the first and the last may be narrower

    Returns
    -------
    ndarray of float64, shape (t + 1,), ms
    """
    check_window(window_ms)
    start, end = window_ms
    first, last = int(np.floor(start / bin_ms)) + 1, int(np.ceil(end / bin_ms))
    inner = np.arange(first, last, dtype=np.float64) * bin_ms
    return np.concatenate(([start], inner[(inner > start) & (inner < end)], [end]))


def check_window(window_ms: TimeWindow, *, recorded_ms: TimeWindow | None = None) -> None:
    """Raise `DataError` unless a window is finite, not empty, and inside what was recorded."""
    start, end = window_ms
    if not (np.isfinite(start) and np.isfinite(end) and start < end):
        raise DataError(
            f"a window must be (start, end) ms with start < end; got ({start}, {end})"
        )
    if recorded_ms is not None and (start < recorded_ms[0] or end > recorded_ms[1]):
        raise DataError(
            f"the window ({start}, {end}) ms must lie inside what was recorded, "
            f"({recorded_ms[0]}, {recorded_ms[1]}) ms; choose a narrower one"
        )


def _find_edge(edges: NDArray[Any], at_ms: float) -> int | None:
    nearest = int(np.abs(edges - at_ms).argmin())
    return nearest if abs(float(edges[nearest]) - at_ms) <= _EDGE_TOLERANCE_MS else None


def _edge(edges: NDArray[Any], at_ms: float) -> int:
    place = _find_edge(edges, at_ms)
    if place is None:
        around = edges[np.argsort(np.abs(edges - at_ms))[:2]]
        raise DataError(
            f"a window on counts must begin and end on bin edges; {at_ms} ms is not one. "
            f"The nearest are {sorted(around.tolist())}"
        )
    return place
