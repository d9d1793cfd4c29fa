"""What units said, from the journal's results into /spikes, /counts, /rates and /psth.

Knows the three forms of response and how a rig's units map to rows of the session's unit table;
knows nothing of plans, images or scores. One row of the presentation table at a time.
"""

from __future__ import annotations

import h5py
import numpy as np
from numpy.typing import NDArray

from evolver.journal.interpreter import response_units
from evolver.journal.records import Result
from evolver.journal.survey import Survey, SurveyedResult
from evolver.recording import schema as s
from evolver.recording.hdf5 import Growing, new_group, write_array
from evolver.responses import Arrays, psth_counts


class ResponseWriter:
    """Writes responses in the order of the rows of the presentation table.

    Parameters
    ----------
    file : open for writing
    content : the survey of the journal; its `rows` are the order
    """

    def __init__(self, file: h5py.File, content: Survey) -> None:
        self._content, self._n_units = content, len(content.units)
        self._row = 0
        spikes = self._spikes = new_group(file, s.SPIKES)
        self._unit = Growing(spikes, s.S_UNIT, (), "<u4")
        self._time = Growing(spikes, s.S_TIME_MS, (), "<f4")
        self._offsets = [0]
        self._counts = new_group(file, s.COUNTS)
        self._counts_of: dict[tuple[float, ...], tuple[h5py.Group, Growing, list[int]]] = {}
        self._rates = new_group(file, s.RATES)
        self._rate_rows: list[int] = []
        self._rate = Growing(self._rates, s.R_RATES, (self._n_units,), "<f8")
        self._edges = content.psth_edges_ms
        self._psth = new_group(file, s.PSTH)
        write_array(self._psth, s.P_EDGES_MS, self._edges)
        self._bins = len(self._edges) - 1
        dtype = np.min_scalar_type(content.psth_max)
        self._binned = Growing(self._psth, s.P_COUNTS, (self._n_units, self._bins), dtype)
        self._valid: list[int] = []

    @property
    def n_spikes(self) -> int:
        """Spikes written so far."""
        return self._unit.length

    def add(self, place: SurveyedResult | None, result: Result | None) -> None:
        """Write the response of the next row; None where no result came."""
        binned = None
        if place is not None and result is not None and place.form:
            binned = self._take(place, result)
        self._valid.append(int(binned is not None))
        row = np.zeros((1, self._n_units, self._bins), np.int64) if binned is None else binned
        self._binned.add(row)
        self._offsets.append(self._unit.length)
        self._row += 1

    def close(self) -> None:
        """Write what is left."""
        self._unit.close()
        self._time.close()
        write_array(self._spikes, s.S_OFFSETS, np.array(self._offsets, np.int64))
        for group, counts, rows in self._counts_of.values():
            counts.close()
            write_array(group, s.C_ROWS, np.array(rows, np.int64))
        self._rate.close()
        write_array(self._rates, s.R_ROWS, np.array(self._rate_rows, np.int64))
        self._binned.close()
        write_array(self._psth, s.P_VALID, np.array(self._valid, np.uint8))

    def _take(self, place: SurveyedResult, result: Result) -> NDArray[np.int64] | None:
        own = np.array(self._content.rigs[place.rig].rows, dtype=np.intp)
        arrays = {name: array.numpy() for name, array in result.arrays.items()}
        if result.form == "spikes":
            self._unit.add(own[arrays["units"].astype(np.intp)])
            self._time.add(arrays["times_ms"])
            n_units = len(own)
        else:
            n_units = response_units(result.form, arrays)
            own = own[:n_units]
            if result.form == "counts":
                self._take_counts(place, arrays, own)
            else:
                rates = np.full((1, self._n_units), np.nan)
                rates[0, own] = arrays["rates"]
                self._rate.add(rates)
                self._rate_rows.append(self._row)
        if not self._bins:
            return None
        binned = psth_counts(result.form, arrays, n_units, self._edges)
        if binned is None:
            return None
        row = np.zeros((1, self._n_units, self._bins), np.int64)
        row[0, own] = binned
        return row

    def _take_counts(
        self, place: SurveyedResult, arrays: Arrays, own: NDArray[np.intp]
    ) -> None:
        if place.edges_ms not in self._counts_of:
            group = new_group(self._counts, str(len(self._counts_of)))
            write_array(group, s.C_EDGES_MS, np.array(place.edges_ms))
            shape = self._n_units, len(place.edges_ms) - 1
            growing = Growing(group, s.C_COUNTS, shape, "<u4")
            self._counts_of[place.edges_ms] = group, growing, []
        _, growing, rows = self._counts_of[place.edges_ms]
        counts = np.zeros((1, self._n_units, len(place.edges_ms) - 1), np.int64)
        counts[0, own] = arrays["counts"]
        growing.add(counts)
        rows.append(self._row)
