# pyright: basic, reportAttributeAccessIssue=false, reportInvalidTypeForm=false
# pynwb and hdmf make their classes as they are imported; no checker sees what is in them.
"""What was answered, for an NWB file: units and their trains, and responses by trial.

Knows a recording, its clock and pynwb.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from hdmf.common import DynamicTable, DynamicTableRegion, VectorIndex
from numpy.typing import NDArray
from pynwb import ProcessingModule
from pynwb.epoch import TimeIntervals
from pynwb.misc import Units

from evolver.export.clock import SessionClock
from evolver.export.nwb_columns import (
    AT_ONCE_BYTES,
    Streams,
    bins,
    column,
    ragged,
    runs,
    table,
)
from evolver.export.nwb_shown import Trials
from evolver.export.trains import (
    count_taken,
    join_windows,
    taken_seconds,
    taken_windows,
    trains,
)
from evolver.recording import Recording
from evolver.recording import schema as s

_INSPECTED = 100_000_000
"""Intervals times spikes of a unit: the inspector holds so many truth values at once."""


def make_units(
    recording: Recording,
    clock: SessionClock,
    streams: Streams,
    *,
    electrodes: DynamicTable,
    of_unit: NDArray[np.int64],
    sampling_hz: float | None,
) -> tuple[Units | None, DynamicTable | TimeIntervals]:
    """Return the units, and when they were observed.

    Parameters
    ----------
    recording, clock, streams : of the file
    electrodes : the file's
    of_unit : (u,) the electrode of each
    sampling_hz : of the signal that spikes were found in; None: not known

    Returns
    -------
    units with trains, and the windows that these are of; or None, and the units without: of
    Units without spikes NWB's inspector says that they are misused
    """
    units = recording.units
    region = DynamicTableRegion(
        name="electrodes",
        description="the electrode of each unit",
        data=of_unit,
        table=electrodes,
    )
    ends = np.arange(1, len(units) + 1, dtype=np.uint64)
    columns: list[Any] = [
        column("channel", "channel of the recording system", units["channel"].copy()),
        column("unit", "number of the unit on its channel", units["unit"].copy()),
        column("area", "brain area or layer", units["area"].copy()),
        column("label", "name given by the rig", units["label"].copy()),
        VectorIndex(name="electrodes_index", data=ends, target=region),
        region,
    ]
    taken = taken_windows(recording, clock)
    counts = count_taken(recording, taken)
    if not counts.any():
        what = "units of the rigs; no train of spikes was recorded of them"
        return None, table("recorded_units", what, columns, rows=len(units))
    total = int(counts.sum())
    spikes = streams.new((total,), np.float64, trains(recording, taken, counts))
    columns += ragged("spike_times", "session's clock, s", spikes, np.cumsum(counts))
    windows = [taken_seconds(taken, rows) for rows in _rows_of_rigs(recording)]
    if sum(map(len, windows)) * int(counts.max()) <= _INSPECTED:
        columns += _observed_by_unit(recording, windows)
    resolution = "the recording system's" if sampling_hz else "that of 32-bit floats, in ms"
    furthest = np.abs(np.array(recording.window_ms, dtype=np.float32)).max()
    return (
        Units(
            name="units",
            description=(
                "every unit of the rigs. Where windows of showings overlap, a train has each "
                "instant of the showing that began last before it; showings that were broken "
                "off are not in it. processing/ecephys/spikes_by_trial has all spikes as "
                f"recorded. The resolution is {resolution}."
            ),
            id=np.arange(len(units)),
            columns=columns,
            electrode_table=electrodes,
            resolution=1 / sampling_hz if sampling_hz else float(np.spacing(furthest)) / 1e3,
        ),
        _observed(windows),
    )


def _rows_of_rigs(recording: Recording) -> list[NDArray[np.intp]]:
    """Return each rig's rows of presentations, and last those of a rig that is unknown."""
    rig = recording.presentations["rig"]
    return [np.flatnonzero(rig == k) for k in (*range(len(recording.rigs)), -1)]


def _observed(windows: list[NDArray[np.float64]]) -> TimeIntervals:
    rig = np.repeat([*range(len(windows) - 1), -1], [len(one) for one in windows])
    both = np.concatenate(windows)
    order = np.argsort(both[:, 0], kind="stable")
    return TimeIntervals(
        name="observed_windows",
        description="when spikes were recorded; between these the trains say nothing",
        id=np.arange(len(both)),
        columns=[
            column("start_time", "session's clock, s", both[order, 0]),
            column("stop_time", "session's clock, s", both[order, 1]),
            column("rig", "which of the rigs in scratch/rigs; -1 unknown", rig[order]),
        ],
    )


def _observed_by_unit(
    recording: Recording, windows: list[NDArray[np.float64]]
) -> tuple[Any, ...]:
    """Return the columns of what `_observed` has, a unit's own."""
    of_unit: list[NDArray[np.float64]] = []
    for unit in range(len(recording.units)):
        own = [
            window
            for rig, window in zip(recording.rigs, windows, strict=False)
            if unit in rig[s.RIG_UNITS]
        ]
        of_unit.append(join_windows(np.concatenate([*own, windows[-1]])))
    ends = np.cumsum([len(one) for one in of_unit])
    what = "when the unit was recorded, session's clock, s"
    return ragged("obs_intervals", what, np.concatenate(of_unit), ends)


def add_responses(
    ecephys: ProcessingModule, recording: Recording, trials: Trials, streams: Streams
) -> None:
    """Add what each trial was answered with: as it was recorded, and PSTHs."""
    p, u = len(recording.presentations), len(recording.units)
    if not p:
        return
    if recording.spike_offsets[-1]:  # an empty column is one that NWB's inspector falls over
        ecephys.add(_spikes_by_trial(recording, trials.order, streams))
    edges, psth = recording.psth_edges_ms, recording.psth
    if u and len(edges) > 1 and psth.shape == (p, u, len(edges) - 1):
        counts = streams.rows(psth, trials.order)
        valid = recording.psth_valid[trials.order]
        columns = [
            column("counts", "(units, bins) spikes in each bin", counts),
            column("is_valid", "false: nothing could be binned, all zero", valid),
        ]
        what = "row k is trial k's; psth_bins are its bins"
        ecephys.add(table("psth", what, columns, rows=p))
        ecephys.add(bins("psth_bins", edges))
    for number, (rows, counts, edges) in enumerate(recording.own_counts):
        what = "(units, bins) counts as the rig sent them"
        columns = [
            column("trial", "row of the trials", trials.of_row[rows]),
            column("counts", what, streams.rows(counts)),
        ]
        ecephys.add(table(f"counts_{number}", what, columns, rows=len(rows)))
        ecephys.add(bins(f"counts_{number}_bins", edges))
    rows, rates = recording.own_rates
    if len(rows):
        what = "(units,) spikes/s as the rig sent them, in a window of its own choosing"
        columns = [
            column("trial", "row of the trials", trials.of_row[rows]),
            column("rates", what, streams.rows(rates)),
        ]
        ecephys.add(table("rates", what, columns, rows=len(rows)))


def _spikes_by_trial(
    recording: Recording, order: NDArray[np.intp], streams: Streams
) -> DynamicTable:
    ends = np.cumsum(np.diff(recording.spike_offsets)[order])
    total = int(ends[-1])
    time_ms = streams.new((total,), np.float32, _spikes(recording, order, 2))
    unit = streams.new((total,), np.uint32, _spikes(recording, order, 1))
    return table(
        "spikes_by_trial",
        "every spike as it was recorded; row k is trial k's, aborted ones too",
        [
            *ragged("time_ms", "relative to the trial's onset, ms", time_ms, ends),
            *ragged("unit", "row of the units", unit, ends),
        ],
        rows=len(order),
    )


def _spikes(recording: Recording, order: NDArray[np.intp], part: int) -> Iterator[NDArray[Any]]:
    """Yield units (1) or times (2) of all spikes, trial by trial."""
    ends = np.cumsum(np.diff(recording.spike_offsets)[order])
    batch = ends * 4 // AT_ONCE_BYTES
    for rows in np.split(order, np.flatnonzero(np.diff(batch)) + 1):
        pieces = [
            recording.spikes_between(int(run[0]), int(run[-1]) + 1)[part] for run in runs(rows)
        ]
        yield np.concatenate(pieces)
