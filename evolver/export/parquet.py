# pyright: basic
# pyarrow has no types.
"""A recording's tables and responses as Parquet files, for data frames of any language.

Knows recordings and pyarrow. Large tables are written a piece at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from evolver.export.session_facts import (
    MEANINGS,
    SESSION,
    describe_columns,
    json_text,
    session_facts,
)
from evolver.export.trains import spike_batches
from evolver.recording import Recording
from evolver.recording.hdf5 import part_of
from evolver.whole_files import whole_folder

_AT_ONCE = 1 << 20  # numbers
_TABLES = ("presentations", "units", "blocks", "events", "sent")


def export_parquet(
    recording: Recording,
    folder: Path,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Write a recording's tables, each as a file; those that are empty are not written.

    The folder comes into its place when all are written, `session.json` last, which says what
    is in them.

    Parameters
    ----------
    recording : open
    folder : made where it is missing
    overwrite : whether something may be in it; tables of an earlier export are removed, all
        else stays
    progress : told how many tables are done, and of how many

    Returns
    -------
    rows of each that was written, by its name without the ending

    Raises
    ------
    RecordingError
        The recording is damaged.
    OSError
        A file cannot be written; ENOTEMPTY where the folder holds something and may not.
    """
    tables: dict[str, Callable[[], Iterator[pa.Table]]] = {
        **{name: lambda name=name: _columns(getattr(recording, name)) for name in _TABLES},
        "images": lambda: _images(recording),
        "codes": lambda: _codes(recording),
        "spikes": lambda: _spikes(recording),
        "counts": lambda: _counts(recording),
        "rates": lambda: _rates(recording),
    }
    about = session_facts(recording)
    earlier = None
    if overwrite:
        earlier = re.compile(f"({'|'.join(tables)})\\.parquet|{re.escape(SESSION)}")
    written: dict[str, int] = {}
    with whole_folder(folder, earlier=earlier, last=SESSION) as made:
        for done, (name, pieces) in enumerate(tables.items()):
            fields = describe_columns(name, recording)
            if rows := _write(made / f"{name}.parquet", pieces(), fields, recording.session_id):
                written[name] = rows
                meaning = MEANINGS[name]
                about["tables"][name] = {"meaning": meaning, "rows": rows, "columns": fields}
            if progress is not None:
                progress(done + 1, len(tables))
        (made / SESSION).write_bytes(json_text(about, indent=1).encode("utf-8", "replace"))
    return written


def _write(
    path: Path,
    pieces: Iterator[pa.Table],
    fields: dict[str, dict[str, str]],
    session_id: str,
) -> int:
    """Write a table that comes in pieces; return its rows."""
    first = next((piece for piece in pieces if len(piece)), None)
    if first is None:
        return 0
    schema = pa.schema(
        [field.with_metadata(fields[field.name]) for field in first.schema],
        {"meaning": MEANINGS[path.stem], "session_id": session_id},
    )
    rows = 0
    with parquet.ParquetWriter(path, schema) as file:
        for piece in chain([first], pieces):
            if len(piece):
                file.write_table(piece.cast(schema))
                rows += len(piece)
    return rows


def _columns(table: NDArray[np.void]) -> Iterator[pa.Table]:
    names = table.dtype.names or ()
    yield pa.table({name: _column(table[name]) for name in names})


def _column(values: NDArray[Any]) -> pa.Array:
    if values.dtype.kind == "U":  # few different ones, as a rule
        return pa.array(_texts(values), pa.string())
    return pa.array(np.ascontiguousarray(values))


def _texts(values: NDArray[np.str_]) -> list[str]:
    return [text.encode("utf-8", "replace").decode() for text in values.tolist()]


def _images(recording: Recording) -> Iterator[pa.Table]:
    count = len(recording.images)
    shapes = np.array([recording.images.shape_of(k) for k in range(count)]).reshape(-1, 3)
    yield pa.table({
        "image_id": np.arange(count),
        "sha256": _column(recording.image_sha256),
        "label": _column(recording.image_labels),
        "is_reference": recording.image_is_reference,
        "is_lost": [recording.images.is_lost(k) for k in range(count)],
        "height": shapes[:, 0],
        "width": shapes[:, 1],
    })


def _codes(recording: Recording) -> Iterator[pa.Table]:
    """Yield threads' codes; lists, because threads may differ in their dimensions."""
    for number, thread in enumerate(recording.threads):
        count, d = thread.codes.shape
        offsets = pa.array(np.arange(count + 1, dtype=np.int64) * d)
        values = pa.array(np.ascontiguousarray(thread.codes).reshape(-1))
        yield pa.table({
            "thread": np.full(count, number, dtype=np.int32),
            "thread_name": _column(np.full(count, thread.name)),
            "generation": thread.generation,
            "row": thread.row,
            "image_id": thread.image_id,
            "score": thread.score,
            "sem": thread.sem,
            "code": pa.LargeListArray.from_arrays(offsets, values),
        })


def _spikes(recording: Recording) -> Iterator[pa.Table]:
    for start, stop in spike_batches(recording):
        offsets, unit, time_ms = recording.spikes_between(start, stop)
        row = np.repeat(np.arange(start, stop), np.diff(offsets))
        yield pa.table({"presentation_row": row, "unit": unit, "time_ms": time_ms})


def _counts(recording: Recording) -> Iterator[pa.Table]:
    for rows, counts, edges in recording.own_counts:
        _, units, bins = counts.shape
        at_once = max(1, _AT_ONCE // max(1, units * bins))
        for first in range(0, len(rows), at_once):
            piece = part_of(counts, slice(first, first + at_once))
            row, unit, place = (one.ravel() for one in np.indices(piece.shape))
            yield pa.table({
                "presentation_row": rows[first + row],
                "unit": unit,
                "start_ms": edges[place],
                "stop_ms": edges[place + 1],
                "count": piece.ravel(),
            })


def _rates(recording: Recording) -> Iterator[pa.Table]:
    rows, rates = recording.own_rates
    at_once = max(1, _AT_ONCE // max(1, rates.shape[-1]))
    for first in range(0, len(rows), at_once):
        piece = part_of(rates, slice(first, first + at_once))
        row, unit = (one.ravel() for one in np.indices(piece.shape))
        yield pa.table({
            "presentation_row": rows[first + row],
            "unit": unit,
            "rate": piece.ravel(),
        })
