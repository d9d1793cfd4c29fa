"""Responses to numbers: rates in a window, and counts in bins, from any form a rig sends.

Arrays in, arrays out: no records, no files, no clocks, and no idea what a score is. The loop
scores with these functions while a session runs and the reader recomputes with the same ones
afterwards, so that the two can never count a spike differently.

A window is half open, ``start <= time < end``, in ms relative to image onset. The three forms,
best first, each a dict of arrays:

spikes   ``units`` (k,) integer, ``times_ms`` (k,) float: one entry a spike, in any order
counts   ``counts`` (u, t) integer, ``edges_ms`` (t + 1,) float: spikes in each bin
rates    ``rates`` (u,) float, spikes/s, in a window of the rig's own choosing
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evolver.errors import DataError

Form: TypeAlias = Literal["spikes", "counts", "rates"]
Window: TypeAlias = tuple[float, float]
Arrays: TypeAlias = Mapping[str, NDArray[Any]]

_NAMES: dict[str, tuple[str, ...]] = {
    "spikes": ("units", "times_ms"),
    "counts": ("counts", "edges_ms"),
    "rates": ("rates",),
}
_EDGE_TOLERANCE_MS = 1e-6


def check_response(form: Form, arrays: Arrays, n_units: int) -> None:
    """Raise `DataError` unless `arrays` are a response of `n_units` units in this form.

    Parameters
    ----------
    form : "spikes", "counts" or "rates"
    arrays : the arrays of that form, as the module's docstring lists them
    n_units : int, units in the table of the rig that sent it
    """
    if form not in _NAMES:
        raise DataError(f"a response's form must be one of {tuple(_NAMES)}; got {form!r}")
    missing = [name for name in _NAMES[form] if name not in arrays]
    if missing:
        raise DataError(
            f"a response in the form {form!r} must have the arrays {_NAMES[form]}; "
            f"{missing} did not come, only {sorted(arrays)}"
        )
    if form == "spikes":
        _check_spikes(np.asarray(arrays["units"]), np.asarray(arrays["times_ms"]), n_units)
    elif form == "counts":
        _check_counts(np.asarray(arrays["counts"]), np.asarray(arrays["edges_ms"]), n_units)
    else:
        rates = np.asarray(arrays["rates"])
        if rates.shape != (n_units,):
            raise DataError(
                f"rates must have shape ({n_units},), one per unit; got {rates.shape}"
            )
        if not np.isfinite(rates).all():
            bad = np.flatnonzero(~np.isfinite(rates))
            raise DataError(f"rates must be finite; units {bad[:5].tolist()} are not")


def rates_in_window(
    form: Form,
    arrays: Arrays,
    n_units: int,
    window_ms: Window,
    *,
    recorded_ms: Window | None = None,
) -> NDArray[np.float64]:
    """Mean rate of every unit in a window, for one presentation.

    Parameters
    ----------
    form : "spikes", "counts" or "rates"
    arrays : the arrays of that form, as the module's docstring lists them
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
    window_ms: Window,
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


def psth_edges(window_ms: Window, bin_ms: float = 10.0) -> NDArray[np.float64]:
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


def check_window(window_ms: Window, *, recorded_ms: Window | None = None) -> None:
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


def _check_spikes(units: NDArray[Any], times: NDArray[Any], n_units: int) -> None:
    if units.ndim != 1 or units.shape != times.shape:
        raise DataError(
            "spikes must be two arrays of one length, units and times_ms; "
            f"got shapes {units.shape} and {times.shape}"
        )
    if units.dtype.kind not in "ui":
        raise DataError(f"units must be integers; got dtype {units.dtype}")
    if units.size and not (int(units.min()) >= 0 and int(units.max()) < n_units):
        raise DataError(
            f"a spike's unit must be from 0 to {n_units - 1}, a row of the rig's unit table; "
            f"got {int(units.min())} to {int(units.max())}"
        )
    if not np.isfinite(times).all():
        raise DataError("times_ms must be finite, ms relative to onset")


def _check_counts(counts: NDArray[Any], edges: NDArray[Any], n_units: int) -> None:
    if edges.ndim != 1 or len(edges) < 2 or counts.shape != (n_units, len(edges) - 1):
        raise DataError(
            f"counts must have shape ({n_units}, t) and edges_ms (t + 1,); "
            f"got {counts.shape} and {edges.shape}"
        )
    if counts.dtype.kind not in "ui" or (counts.size and int(counts.min()) < 0):
        raise DataError(f"counts must be integers >= 0; got dtype {counts.dtype}")
    if not (np.isfinite(edges).all() and (np.diff(edges) > 0).all()):
        raise DataError("edges_ms must be finite and increasing")


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
