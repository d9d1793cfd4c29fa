"""Of what session tables are, what their columns mean, and how it was set.

Knows recordings and the schema's words; knows no format.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
import numpy as np

from evolver import __version__
from evolver.export.lab import config_of
from evolver.recording import Recording
from evolver.recording import schema as s

SESSION = "session.json"
MEANINGS = {
    s.PRESENTATIONS: "a row an attempt to show an image, in the order planned",
    s.UNITS: "a row a unit of the rigs",
    s.BLOCKS: "a row a block: what is presented between two updates, and where its time went",
    s.EVENTS: "what happened in the session, as its log has it",
    s.SENT: "a row a request that left for the rig",
    "images": "a row an image that was made; its pixels: evolver export images",
    "codes": "a row a code that was proposed, with what its image scored",
    "spikes": "a row a spike, of aborted showings too",
    "counts": "a row a presentation, unit and bin, as the rig sent it",
    "rates": "a row a presentation and unit, as the rig sent it",
}
"""Name of a table to what it is."""
_ROW = ("row of presentations, from 0", "")
_UNIT = ("row of units, from 0", "")
_COLUMNS: dict[str, dict[str, tuple[str, str]]] = {
    "images": {
        "image_id": ("number of the image, from 0", ""),
        "sha256": ("digest of the pixels' bytes, (height, width, 3) uint8, as sent", ""),
        "label": ("name of a reference image; else empty", ""),
        "is_reference": ("whether it is a reference image", ""),
        "is_lost": ("whether its pixels are lost", ""),
        "height": ("0 where the pixels are lost", "pixels"),
        "width": ("0 where the pixels are lost", "pixels"),
    },
    "codes": {
        "thread": ("number of the thread in session.json, from 0", ""),
        "thread_name": ("name of the thread", ""),
        "generation": ("from 0", ""),
        "row": ("row within the generation, from 0", ""),
        "image_id": ("image_id of images", ""),
        "code": ("what the generator was given, d numbers", "latent units"),
    },
    "spikes": {
        "presentation_row": _ROW,
        "unit": _UNIT,
        "time_ms": ("time relative to onset", "ms"),
    },
    "counts": {
        "presentation_row": _ROW,
        "unit": _UNIT,
        "start_ms": ("begin of the bin relative to onset, included", "ms"),
        "stop_ms": ("end of the bin relative to onset, not included", "ms"),
        "count": ("spikes in the bin", "spikes"),
    },
    "rates": {
        "presentation_row": _ROW,
        "unit": _UNIT,
        "rate": ("in a window of the rig's own choosing; NaN: not its unit", "spikes/s"),
    },
}


def score_unit(fitness: dict[str, Any]) -> str:
    """Return what a thread's scores are counted in; files of older makers have spikes/s."""
    return str(fitness.get("unit", "spikes/s"))


def describe_columns(table: str, recording: Recording) -> dict[str, dict[str, str]]:
    """Return meaning and unit of each of a table's columns.

    Parameters
    ----------
    table : one of `MEANINGS`
    recording : whose scores are meant
    """
    if table in s.TABLES:
        return {
            known.name: {"meaning": _of_tables(known.meaning), "unit": known.unit}
            for known in s.TABLES[table]
        }
    columns = dict(_COLUMNS[table])
    if table == "codes":
        units = {thread.name: score_unit(thread.fitness) for thread in recording.threads}
        one = len(set(units.values())) == 1
        unit = next(iter(units.values())) if one else "; ".join(map(": ".join, units.items()))
        columns["score"] = (
            "what the optimizer was told; NaN: dropped or never committed",
            unit,
        )
        columns["sem"] = ("standard error of the score over repeats; NaN: a single one", unit)
    return {name: {"meaning": what, "unit": unit} for name, (what, unit) in columns.items()}


def _of_tables(meaning: str) -> str:
    """Return a column's meaning where rows are of tables and lists beside it, not of HDF5's."""
    for group, place in (
        (s.IMAGES, "image_id of images"),
        (s.THREADS, f"number of the thread in {SESSION}, from 0"),
        (s.RIGS, f"number in {SESSION}, from 0, of the rig"),
    ):
        meaning = meaning.replace(f"row of /{group}", place)
    return meaning


def session_facts(recording: Recording) -> dict[str, Any]:
    """Return of what session tables are, for `json_text`; its key "tables" is an empty map."""
    attrs = recording.attrs
    return {
        "session_id": recording.session_id,
        "name": recording.name,
        "created": recording.created,
        "mode": recording.mode,
        "seed": recording.seed,
        "complete": recording.complete,
        "end_reason": recording.end_reason,
        "window_ms": list(recording.window_ms),
        "exported_by": f"evolver {__version__}",
        "warnings": recording.warnings,
        "journal_records_missing": int(attrs.get(s.A_JOURNAL_MISSING, 0)),
        "images_without_pixels": lost_images(recording),
        "threads": [
            {
                "name": thread.name,
                "optimizer": thread.optimizer,
                "generator": thread.generator,
                "d": thread.d,
                "popsize": thread.popsize,
                "image_size": thread.image_size,
                "weights_sha256": thread.weights_sha256,
                "score_unit": score_unit(thread.fitness),
                "options": thread.options,
                "fitness": thread.fitness,
            }
            for thread in recording.threads
        ],
        "rigs": list(recording.rigs),
        "session_file": recording.config,
        "settings": resolved_settings(recording),
        "tables": {},
    }


def resolved_settings(recording: Recording) -> dict[str, Any] | None:
    """Return every setting of a session, also those that its file left as they are.

    Recordings hold the file alone; what it leaves out is as this version of evolver has it.

    Returns
    -------
    table to key to value, as JSON has them; None where the session file cannot be read
    """
    config = config_of(recording.config)
    return None if config is None else msgspec.to_builtins(config, str_keys=True)


def json_text(value: object, *, indent: int | None = None) -> str:
    """Return a value as JSON; numbers that JSON has not are texts: "inf", "-inf", "nan"."""
    return json.dumps(_finite(value), indent=indent, ensure_ascii=False, allow_nan=False)


def _finite(value: object) -> object:
    if isinstance(value, (np.ndarray, np.generic)):
        return _finite(cast("object", value.tolist()))
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in cast("Mapping[object, object]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in cast("Sequence[object]", value)]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def lost_images(recording: Recording) -> int:
    """Return how many images have lost their pixels."""
    images = recording.images
    return sum(images.is_lost(image_id) for image_id in range(len(images)))
