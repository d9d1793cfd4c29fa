"""Responses added up for the page's figures: counts in bins, spikes of the last showings.

One accumulation for every form of response, window and bins, and for live sessions and finished
ones alike. Knows arrays only. What cannot be added up is counted, so that the page can say so.
"""

from __future__ import annotations

from collections import deque
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evolver.responses import Form, TimeWindow, psth_counts, psth_edges

BIN_MS = 10.0
UNITS_IN_FULL = 256
"""Units whose counts are kept; a table of thousands would be too much for a page."""
RASTER_SHOWINGS = 300

Counts: TypeAlias = NDArray[np.uint32]
"""(units, bins) over the showings of a generation."""


class ResponseSums:
    """Takes responses, and adds them to the counts of their generations.

    Bins are `BIN_MS` wide, with image onset on an edge, and fill the window that spikes are
    recorded in; where the first response has counts whose own bins cannot be joined to such,
    its own bins.

    Attributes
    ----------
    edges_ms : ndarray of float64, shape (t + 1,), ms after onset
    raster : (rows of the unit table, ms after onset) of each of the last showings with spikes
    """

    def __init__(self, window_ms: TimeWindow = (-100.0, 300.0)) -> None:
        self.edges_ms = psth_edges(window_ms, BIN_MS)
        self.raster: deque[tuple[NDArray[Any], NDArray[Any]]] = deque(maxlen=RASTER_SHOWINGS)
        self._window_ms = window_ms
        self._binned = self._unbinned = self._rates = self._counts = self._spikes = 0
        self._malformed = 0
        self._own_bins = False

    def empty(self) -> Counts:
        """Return the counts of a generation without showings."""
        return np.zeros((0, len(self.edges_ms) - 1), np.uint32)

    def add(
        self,
        counts: Counts,
        form: Form | None,
        arrays: dict[str, NDArray[Any]],
        rows: NDArray[np.intp],
    ) -> Counts | None:
        """Return a generation's counts with one more response; None if it does not fit.

        Parameters
        ----------
        counts : (u, t) so far; fewer units than the response has, or other bins, are no error
        form, arrays : the response; None where it is malformed
        rows : of the unit table, one a unit of the response
        """
        if form is None:
            self._malformed += 1
            return None
        if not self._binned:
            self.edges_ms = self._edges(form, arrays)
        response = psth_counts(form, arrays, len(rows), self.edges_ms)
        if response is None:
            self._unbinned += form != "rates"
            return None
        self._binned += 1
        kept = rows < UNITS_IN_FULL
        n_units = max(len(counts), int(rows[kept].max(initial=-1)) + 1)
        total = np.zeros((n_units, response.shape[1]), np.uint32)
        if counts.shape[1] == response.shape[1]:
            total[: len(counts)] = counts
        total[rows[kept]] += response[kept].astype(np.uint32)
        return total

    def show(
        self, form: Form | None, arrays: dict[str, NDArray[Any]], rows: NDArray[np.intp]
    ) -> None:
        """Take a response for the raster, and note its form."""
        self._spikes += form == "spikes"
        self._counts += form == "counts"
        self._rates += form == "rates"
        if form == "spikes":
            units = arrays["units"].astype(np.intp)
            self.raster.append((rows[units], arrays["times_ms"]))

    @property
    def has_psth(self) -> bool:
        """Whether there is a PSTH, or may be one."""
        return bool(self._binned) or not self._rates + self._unbinned

    @property
    def has_raster(self) -> bool:
        """Whether there is a raster, or may be one."""
        return bool(self._spikes) or not self._rates + self._counts

    def notes(self, n_units: int) -> list[str]:
        """Return what the figures do not show, and why, a sentence each; as a rule none."""
        lines: list[str] = []
        if self._rates:
            only = "The rig sends" if not self._spikes + self._counts else "Some responses are"
            lines.append(
                f"{only} mean rates ({self._rates} responses): these have no times, so "
                "they are in no PSTH and no raster."
            )
        if self._counts and not self._spikes:
            bins = _bins_text(self.edges_ms)
            own = f" PSTHs are in its {bins}." if self._own_bins else ""
            lines.append(
                f"The rig sends spike counts in bins, no spike times: there is no raster.{own}"
            )
        if self._unbinned:
            lines.append(
                f"{self._unbinned} responses came in other bins, which do not fit the PSTHs' "
                f"{_bins_text(self.edges_ms)}: they are not in the PSTHs."
            )
        if self._malformed:
            lines.append(f"{self._malformed} responses are malformed and not shown.")
        if n_units > UNITS_IN_FULL:
            lines.append(f"PSTHs are kept of the first {UNITS_IN_FULL} of {n_units} units.")
        return lines

    def _edges(self, form: Form, arrays: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
        """Return the bins that the session's first response asks for."""
        if form != "counts":
            return psth_edges(self._window_ms, BIN_MS)
        own = np.asarray(arrays["edges_ms"], dtype=np.float64)
        joined = psth_edges((float(own[0]), float(own[-1])), BIN_MS)
        self._own_bins = psth_counts(form, arrays, len(arrays["counts"]), joined) is None
        return own if self._own_bins else joined


def _bins_text(edges_ms: NDArray[np.float64]) -> str:
    widths = np.diff(edges_ms)
    where = f"from {edges_ms[0]:g} to {edges_ms[-1]:g} ms"
    inner = widths[1:-1] if len(widths) > 2 else widths
    if len(inner) and np.allclose(inner, inner[0]):
        return f"{inner[0]:g} ms bins {where}"
    return f"{len(widths)} bins {where}"
