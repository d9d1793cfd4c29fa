"""`read(path)`: a recording's arrays, by name.

Knows the HDF5 schema; knows nothing of journals. Small columns are read at the first use and
kept; pixels, codes, optimizer states, PSTHs and spikes are read when they are asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from evolver.errors import DataError, RecordingError
from evolver.journal.records import REPLAY_OF
from evolver.recording import schema as s
from evolver.recording.hdf5 import (
    array_at,
    attributes,
    check_attributes,
    damaged_datasets,
    dataset_at,
    group_at,
    has_checksums,
    names_in,
    part_of,
    read_table,
    text_at,
    texts_at,
)
from evolver.recording.strangers import check_file, said_as_recording
from evolver.recording.thread_data import ImageTable, RecordedThreads, read_thread
from evolver.regular_files import PARSER_ERRORS
from evolver.responses import TimeWindow, check_window, rates_in_window, spike_rates
from evolver.session_folder import RECORDING

if TYPE_CHECKING:
    from pandas import DataFrame

_MOST_RATES = 1 << 30  # 8 GiB of them


@dataclass(frozen=True, slots=True, eq=False)
class Activations:
    """What units of networks answer to the images of a session."""

    units: NDArray[np.str_]
    """(a,) address of each."""
    values: h5py.Dataset
    """(m, a) float32, a row for each of `images`; slice it to read it."""

    def of(self, unit: str) -> NDArray[np.float32]:
        """Return one unit's, (m,).

        Raises
        ------
        DataError
            It was not recorded.
        """
        at = np.flatnonzero(self.units == unit)
        if not len(at):
            raise DataError(
                f"a unit must be one of the {len(self.units)} whose activations were recorded; "
                f"got {unit!r}"
            )
        return part_of(self.values, slice(None))[:, int(at[0])]


def read(path: str | Path) -> Recording:
    """Open a recording for reading; use it in a ``with``, or close it.

    Raises
    ------
    RecordingError
        There is no such file, it is not a recording, or it has another schema version.
    """
    return Recording(Path(path))


class Recording:
    """A recording, open for reading.

    p is the number of presentations, u of units, t of time bins; see each property for what it
    hands out. A row of `presentations` is a presentation and its attempt, and the same row of
    `psth`, of `rates` and of `spikes` is its response, also where the trial was aborted: mask
    by ``presentations["status"] == "ok"``. Close it, or use it in a ``with``.

    Parameters
    ----------
    path : Path of the HDF5 file that `evolver fold` made

    Raises
    ------
    RecordingError
        There is no such file, it is not a recording, or it has another schema version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = _open(path)
        self.attrs: dict[str, Any] = attributes(self._file)

    # -- the session

    @property
    def session_id(self) -> str:
        """32 hexadecimal digits."""
        return self.attrs[s.A_SESSION_ID]

    @property
    def name(self) -> str:
        """The session's name."""
        return self.attrs[s.A_NAME]

    @property
    def created(self) -> str:
        """When it began, ISO 8601, UTC."""
        return self.attrs[s.A_CREATED]

    @property
    def seed(self) -> int:
        """Every random stream of the session is a named child of it."""
        return self.attrs[s.A_SEED]

    @property
    def mode(self) -> str:
        """Return "live", "simulate" or "replay"."""
        return self.attrs[s.A_MODE]

    @property
    def is_replay(self) -> bool:
        """Whether its responses are those of another recording, played back as if by a rig."""
        names = (str(rig[s.RIG_NAME]) for rig in self.rigs)
        return self.mode == "replay" or any(name.startswith(REPLAY_OF) for name in names)

    @property
    def answers(self) -> dict[str, int]:
        """Of a replay, how many showings were answered by what; of no replay empty."""
        if not self.is_replay:
            return {}
        table = self.presentations
        words, n = np.unique(table["answer"][table["attempt"] > 0], return_counts=True)
        return {str(word): int(k) for word, k in zip(words, n, strict=True)}

    @property
    def is_inexact(self) -> bool:
        """Whether it is a replay in which not every response is of the very image shown."""
        return any(word not in {"recorded", ""} for word in self.answers)

    @property
    def replay_line(self) -> str:
        """Say of a replay, in a line, what it is and how much of it is exact; else empty."""
        if not self.is_replay:
            return ""
        answers = self.answers
        exact, total = answers.get("recorded", 0), sum(answers.values())
        names = sorted({str(rig["name"]) for rig in self.rigs})
        of = f"{' and '.join(names) or 'a replay'}: no animal answered"
        if not total:
            return of
        if exact == total:
            return f"{of}; all answers recorded of these very images"
        others = ", ".join(word for word in answers if word not in {"", "recorded"})
        return (
            f"{of}; {100 * exact / total:.3g} % of the answers recorded of these very images"
            f"{f', the others: {others}' if others else ''}"
        )

    @property
    def complete(self) -> bool:
        """Whether the session came to its end; False if it was cut off."""
        return bool(self.attrs[s.A_COMPLETE])

    @property
    def end_reason(self) -> str:
        """Why it ended; empty if it was cut off."""
        return self.attrs[s.A_END_REASON]

    @property
    def resumed(self) -> int:
        """Times the session went on after an interruption."""
        return int(self.attrs.get(s.A_RESUMED, 0))

    @property
    def bit_identical(self) -> bool:
        """Whether it went on, whenever it did, as it would have without the interruption."""
        return bool(self.attrs.get(s.A_BIT_IDENTICAL, 1))

    @property
    def salvaged(self) -> bool:
        """Whether the journal had lost its first record, so that names here are stand-ins."""
        return bool(self.attrs.get(s.A_SALVAGED, 0))

    @property
    def window_ms(self) -> TimeWindow:
        """(start, end) ms relative to onset: where spikes were recorded."""
        start, end = self.attrs[s.A_WINDOW_MS]
        return float(start), float(end)

    @property
    def config(self) -> str:
        """The session file's text."""
        return text_at(self._file, s.CONFIG)

    @property
    def versions(self) -> dict[str, str]:
        """Package to version, of the engine that ran the session."""
        return json.loads(text_at(self._file, s.VERSIONS))

    @property
    def machine(self) -> dict[str, str]:
        """What the engine ran on."""
        return json.loads(text_at(self._file, s.MACHINE))

    @property
    def weights(self) -> list[dict[str, str]]:
        """Role, name and sha256 of every weight file."""
        return json.loads(text_at(self._file, s.WEIGHTS))

    @property
    def warnings(self) -> list[str]:
        """What could not be taken over from the journal, and why; empty as a rule."""
        return texts_at(self._file, s.WARNINGS)

    # -- tables

    @cached_property
    def units(self) -> NDArray[np.void]:
        """(u,) with fields channel, unit, area, label."""
        return read_table(self._file, s.UNITS, s.UNIT_COLUMNS)

    @cached_property
    def presentations(self) -> NDArray[np.void]:
        """(p,) with the fields of `schema.PRESENTATION_COLUMNS`, in the order planned.

        One row for every presentation and attempt that got a result, and one with the status
        "missing" for every plan that got none. Times end in their unit: _ms, _ns.
        """
        return read_table(self._file, s.PRESENTATIONS, s.PRESENTATION_COLUMNS)

    @cached_property
    def blocks(self) -> NDArray[np.void]:
        """(b,) with fields block, time_ns, committed_ns, attempts, and the time budget in s."""
        return read_table(self._file, s.BLOCKS, s.BLOCK_COLUMNS)

    @cached_property
    def events(self) -> NDArray[np.void]:
        """(e,) with fields time_ns, level, name, text."""
        return read_table(self._file, s.EVENTS, s.EVENT_COLUMNS)

    @cached_property
    def sent(self) -> NDArray[np.void]:
        """(requests,) with fields block, attempt, time_ns, presentations."""
        return read_table(self._file, s.SENT, s.SENT_COLUMNS)

    @cached_property
    def rigs(self) -> tuple[dict[str, Any], ...]:
        """Every rig that joined: name, software, time_ns, info, and the rows of its units."""
        group = group_at(self._file, s.RIGS)
        return tuple(
            {
                **attributes(group_at(group, key)),
                s.RIG_INFO: json.loads(text_at(group, key, s.RIG_INFO) or "{}"),
                s.RIG_UNITS: array_at(group, key, s.RIG_UNITS),
            }
            for key in names_in(group)
        )

    @cached_property
    def threads(self) -> RecordedThreads:
        """One `ThreadData` a thread, in the session's order, by number or by name."""
        group = group_at(self._file, s.THREADS)
        return RecordedThreads([read_thread(group_at(group, key)) for key in names_in(group)])

    def dataframe(self, table: str = s.PRESENTATIONS) -> DataFrame:
        """Return a table as pandas has it.

        Parameters
        ----------
        table : "presentations", "units", "blocks", "sent" or "events"

        Raises
        ------
        DataError
            There is no such table, or no pandas.
        """
        if table not in s.TABLES:
            raise DataError(f"a table must be one of {tuple(s.TABLES)}; got {table!r}")
        try:
            import pandas as pd
        except ImportError as exc:
            raise DataError(
                "a table as a DataFrame needs pandas, which is not installed here: "
                f"pip install 'evolver[pandas]'. Without it, `recording.{table}` is a "
                "structured array with the same columns"
            ) from exc
        columns = getattr(self, table)
        return pd.DataFrame({name: columns[name] for name in columns.dtype.names})

    @property
    def reference_scores(self) -> NDArray[np.float64]:
        """(blocks, threads, references): a reference's score as each thread counts it.

        NaN where it was not shown, not valid or never committed.
        """
        return array_at(self._file, s.REFERENCES, s.REF_SCORES)

    @property
    def reference_image_id(self) -> NDArray[np.int64]:
        """(blocks, references): rows of `images`; -1 where a block had fewer."""
        return array_at(self._file, s.REFERENCES, s.REF_IMAGE_ID)

    # -- images

    @cached_property
    def images(self) -> ImageTable:
        """Pixels by image id, decoded when asked for."""
        return ImageTable(group_at(self._file, s.IMAGES))

    @cached_property
    def image_sha256(self) -> NDArray[np.str_]:
        """(m,) digest of each image's pixels as they were sent."""
        return np.array(texts_at(self._file, s.IMAGES, s.I_SHA256), dtype=np.str_)

    @cached_property
    def image_labels(self) -> NDArray[np.str_]:
        """(m,) names of reference images; empty for the others."""
        return np.array(texts_at(self._file, s.IMAGES, s.I_LABEL), dtype=np.str_)

    @cached_property
    def image_is_reference(self) -> NDArray[np.bool_]:
        """(m,) whether it is a reference image."""
        return array_at(self._file, s.IMAGES, s.I_IS_REFERENCE).astype(bool)

    @cached_property
    def activations(self) -> Activations | None:
        """What units of networks answer to every image; None where no session file asked."""
        if s.ACTIVATIONS not in self._file:
            return None
        units = np.array(texts_at(self._file, s.ACTIVATIONS, s.ACT_UNITS), dtype=np.str_)
        return Activations(units, dataset_at(self._file, s.ACTIVATIONS, s.ACT_VALUES))

    # -- responses

    def spikes(self, row: int) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """Return the spikes of one row of `presentations`.

        Returns
        -------
        unit (k,) uint32, rows of `units`; time_ms (k,) float32 relative to onset
        """
        if not 0 <= row < len(self._offsets) - 1:
            raise IndexError(f"rows are from 0 to {len(self._offsets) - 2}; got {row}")
        span = slice(self._offsets[row], self._offsets[row + 1])
        unit, time_ms = self._spikes
        return part_of(unit, span), part_of(time_ms, span)

    @property
    def spike_offsets(self) -> NDArray[np.int64]:
        """(p + 1,): row i's are all spikes from ``[i]`` to ``[i + 1]``."""
        return self._offsets

    def spikes_between(
        self, start: int, stop: int
    ) -> tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.float32]]:
        """Return the spikes of rows `start` to `stop` of `presentations`, ragged.

        Returns
        -------
        offsets (rows + 1,) int64 from 0, unit (spikes,) uint32, time_ms (spikes,) float32
        """
        ends = self._offsets[start : stop + 1]
        span = slice(int(ends[0]), int(ends[-1]))
        unit, time_ms = self._spikes
        return ends - ends[0], part_of(unit, span), part_of(time_ms, span)

    def all_spikes(
        self,
    ) -> tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.float32]]:
        """Return every spike, ragged.

        Returns
        -------
        offsets (p + 1,) int64, so that ``offsets[i]:offsets[i + 1]`` are row i's; unit
        (spikes,) uint32; time_ms (spikes,) float32 relative to onset
        """
        group = group_at(self._file, s.SPIKES)
        return self._offsets, array_at(group, s.S_UNIT), array_at(group, s.S_TIME_MS)

    def response(self, row: int) -> tuple[str, dict[str, NDArray[Any]]]:
        """Return the response of one row of `presentations`, as `responses.py` takes it.

        Returns
        -------
        form, "spikes", "counts", "rates" or "" where there is none; arrays of that form, for
        the rows of `units`: zero counts or NaN rates for units the rig then did not have
        """
        form = str(self.presentations["form"][row])
        if form == "spikes":
            unit, time_ms = self.spikes(row)
            return form, {"units": unit, "times_ms": time_ms}
        if form == "counts":
            counts, edges, at = self._count_places[row]
            return form, {"counts": part_of(counts, at), "edges_ms": edges}
        if form == "rates":
            rows, rates = self.own_rates
            return form, {"rates": part_of(rates, int(np.searchsorted(rows, row)))}
        return form, {}

    @property
    def psth(self) -> h5py.Dataset:
        """(p, u, t) unsigned integers, spikes in each bin; slice it to read it.

        Rows without a binned response (missing, or rates only) are zero: see `psth_valid`.
        """
        return dataset_at(self._file, s.PSTH, s.P_COUNTS)

    @property
    def psth_edges_ms(self) -> NDArray[np.float64]:
        """(t + 1,) bin edges, ms relative to onset."""
        return array_at(self._file, s.PSTH, s.P_EDGES_MS)

    @property
    def psth_valid(self) -> NDArray[np.bool_]:
        """(p,) whether the row of `psth` was measured."""
        return array_at(self._file, s.PSTH, s.P_VALID).astype(bool)

    def rates(
        self, window_ms: TimeWindow | None = None, *, baseline_ms: TimeWindow | None = None
    ) -> NDArray[np.float64]:
        """Mean rates in any window, from the best form of response there is.

        Parameters
        ----------
        window_ms : (start, end) ms relative to onset, half open; None: all that was recorded.
            Of counts it begins and ends on bin edges, and rates have the rig's own window,
            whatever is asked for
        baseline_ms : the same; its rate is taken away

        Returns
        -------
        ndarray of float64, shape (p, u), spikes/s. Aborted presentations have what was
        measured; NaN where nothing was: missing presentations, units the rig then did not have

        Raises
        ------
        DataError
            A window is empty or reaches beyond what was recorded, is not on the bin edges of
            counts, or a baseline is asked of a rig that sent rates, which have no window.
        """
        rates = self._rates(self.window_ms if window_ms is None else window_ms)
        if baseline_ms is None:
            return rates
        if (self.presentations["form"] == "rates").any():
            raise DataError(
                "a baseline needs spikes or counts; this recording has rates, in a window of "
                "the rig's own choosing. Leave baseline_ms out"
            )
        return rates - self._rates(baseline_ms)

    def _rates(self, window_ms: TimeWindow) -> NDArray[np.float64]:
        form, rig = self.presentations["form"], self.presentations["rig"]
        u = len(self.units)
        if len(form) * u > _MOST_RATES:
            raise RecordingError(
                f"rates of {len(form)} presentations and {u} units do not fit; read the spikes"
            )
        rates = np.full((len(form), u), np.nan)
        has_spikes = form == "spikes"
        if has_spikes.any():
            check_window(window_ms, recorded_ms=self.window_ms)
            rates[has_spikes] = spike_rates(*self.all_spikes(), u, window_ms)[has_spikes]
        for group in self._count_groups():
            counts, edges = array_at(group, s.C_COUNTS), array_at(group, s.C_EDGES_MS)
            for at, row in enumerate(array_at(group, s.C_ROWS)):
                response = {"counts": counts[at], "edges_ms": edges}
                rates[row] = rates_in_window("counts", response, u, window_ms)
        own = group_at(self._file, s.RATES)
        rates[array_at(own, s.R_ROWS)] = array_at(own, s.R_RATES)
        for number, joined in enumerate(self.rigs):
            others = np.setdiff1d(np.arange(u), joined[s.RIG_UNITS])
            if others.size:
                rates[np.ix_(np.flatnonzero(rig == number), others)] = np.nan
        return rates

    @property
    def own_counts(
        self,
    ) -> list[tuple[NDArray[np.int64], h5py.Dataset, NDArray[np.float64]]]:
        """Counts as the rig sent them, by their bins.

        Of each set of bins the rows of `presentations`, (k,); the counts, (k, u, t), slice
        them to read them; and the edges of the bins, (t + 1,) ms relative to onset.
        """
        return [
            (
                array_at(group, s.C_ROWS),
                dataset_at(group, s.C_COUNTS),
                array_at(group, s.C_EDGES_MS),
            )
            for group in self._count_groups()
        ]

    def _count_groups(self) -> list[h5py.Group]:
        group = group_at(self._file, s.COUNTS)
        return [group_at(group, key) for key in names_in(group)]

    @cached_property
    def _count_places(self) -> dict[int, tuple[h5py.Dataset, NDArray[np.float64], int]]:
        """Row of `presentations` -> its counts' dataset, their bin edges, and the row there."""
        places: dict[int, tuple[h5py.Dataset, NDArray[np.float64], int]] = {}
        for group in self._count_groups():
            counts, edges = dataset_at(group, s.C_COUNTS), array_at(group, s.C_EDGES_MS)
            for at, row in enumerate(array_at(group, s.C_ROWS)):
                places[int(row)] = counts, edges, at
        return places

    @cached_property
    def own_rates(self) -> tuple[NDArray[np.int64], h5py.Dataset]:
        """Rows of `presentations` that have rates, and the rates as the rig sent them.

        (k,) int64, and (k, u) float64, spikes/s; slice it to read it.
        """
        group = group_at(self._file, s.RATES)
        return array_at(group, s.R_ROWS), dataset_at(group, s.R_RATES)

    @cached_property
    def _spikes(self) -> tuple[h5py.Dataset, h5py.Dataset]:
        # Kept open, because closing a dataset throws its unpacked chunks away.
        group = group_at(self._file, s.SPIKES)
        return dataset_at(group, s.S_UNIT), dataset_at(group, s.S_TIME_MS)

    @cached_property
    def _offsets(self) -> NDArray[np.int64]:
        return array_at(self._file, s.SPIKES, s.S_OFFSETS)

    # -- the file

    def check_datasets(self) -> Iterator[tuple[str, str]]:
        """Yield (path, "" or what is wrong with it) of every dataset that has a checksum.

        Nothing in a file of an older maker, which has none.
        """
        if has_checksums(self._file):
            yield from damaged_datasets(self._file)
        elif s.D_CRC32 in dataset_at(self._file, s.EVENTS, "time_ns").attrs:
            yield s.ATTRIBUTES, "the list of what was written is gone"

    def close(self) -> None:
        """Close the file; what was handed out lazily cannot be read any more."""
        self._file.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def __repr__(self) -> str:
        """Name it in a line."""
        return f"<Recording {self.name!r} of {self.created}, {self.path}>"


def _open(path: Path) -> h5py.File:
    if path.is_dir():
        if (path / RECORDING).is_file():
            raise RecordingError(
                f"a recording is one HDF5 file; {path} is a session's folder. Its recording is "
                f"{path / RECORDING}: give that file"
            )
        raise RecordingError(
            f"a recording is one HDF5 file; {path} is a folder. If it is a session's journal, "
            f"make the file first: evolver fold {path}"
        )
    if not path.exists():
        raise RecordingError(f"there is no file {path}; check the name")
    check_file(path)
    try:
        file = h5py.File(path, "r")
    except PARSER_ERRORS as exc:
        raise RecordingError(
            f"{path} must be an HDF5 file, as evolver fold makes it; it cannot be opened as "
            f"one ({exc}). If the session's journal is still there, fold it again"
        ) from exc
    try:
        with said_as_recording(path):
            root = attributes(file)
            form, version = str(root.get(s.A_FORMAT)), str(root.get(s.A_SCHEMA_VERSION))
            known = form == s.FORMAT and version == str(s.SCHEMA_VERSION)
            if known:
                check_attributes(file)
    except RecordingError:
        file.close()
        raise
    if known:
        return file
    file.close()
    if form != s.FORMAT:
        raise RecordingError(
            f"{path} is an HDF5 file but not an evolver recording: its attribute "
            f"{s.A_FORMAT!r} must be {s.FORMAT!r}; got {form!r}"
        )
    raise RecordingError(
        f"this version of evolver reads recordings of schema version {s.SCHEMA_VERSION}; "
        f"{path} has version {version}. Use a newer evolver, or fold the journal again with "
        "this one"
    )
