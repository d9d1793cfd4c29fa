"""A lab's file of where its electrodes are, as a layout of the units of a recording.

A CSV file with a header line and the columns label, array, row, column: a channel a line. Knows
a file and labels; nothing of what is drawn.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import numpy as np

from evolver.analysis.electrode_maps import ElectrodeLayout
from evolver.errors import ConfigError
from evolver.regular_files import read_regular

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

COLUMNS = ("label", "array", "row", "column")
MOST_BYTES, MOST_SIDE, MOST_ARRAYS = 4 << 20, 64, 64
_FORM = "a CSV file with the columns label, array, row and column, a channel a line"


def read_layout(path: Path, labels: Sequence[str]) -> tuple[ElectrodeLayout, int]:
    """Return where the units of a recording are, and from what the file's places count.

    Rows and columns count from 0 if any of the file is 0, else from 1. Channels of the file
    that no unit is called are left out; units that the file has not have no place.

    Parameters
    ----------
    path : the file
    labels : (u,) what units are called

    Returns
    -------
    layout : ElectrodeLayout, of the units
    first : 0 or 1, the number of the file's first rows and columns

    Raises
    ------
    ConfigError
        The file cannot be read, is none of this kind, names a channel twice, or has none of the
        units.
    """
    rows = _rows(path)
    from_zero = any(0 in (row, column) for _, row, column in rows.values())
    placed = [rows.get(label) for label in labels]
    arrays = tuple(dict.fromkeys(array for array, _, _ in rows.values()))
    used = {place[0] for place in placed if place is not None}
    arrays = tuple(name for name in arrays if name in used)
    if not arrays:
        raise ConfigError(
            f"{path} must have the units of the recording, such as {labels[0]!r}, in its "
            f"column label; it has {', '.join(repr(name) for name in list(rows)[:3])} …"
        )
    if len(arrays) > MOST_ARRAYS:
        raise ConfigError(f"{path} must have at most {MOST_ARRAYS} arrays; got {len(arrays)}")
    first = 0 if from_zero else 1
    table = np.full((len(labels), 3), -1, dtype=np.intp)
    for unit, place in enumerate(placed):
        if place is not None:
            array, row, column = place
            table[unit] = arrays.index(array), row - first, column - first
    return ElectrodeLayout(arrays, table[:, 0], table[:, 1], table[:, 2]), first


def _rows(path: Path) -> dict[str, tuple[str, int, int]]:
    """Return array, row and column of each label of a file."""
    try:
        text = read_regular(path, at_most=MOST_BYTES).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""))
        names = [name.strip() for name in reader.fieldnames or ()]
        lines = [
            {str(k).strip(): str(v or "").strip() for k, v in line.items()} for line in reader
        ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} must be {_FORM}; {error}") from error
    if not set(COLUMNS) <= set(names):
        text = ", ".join(sorted(names)) or "nothing"
        raise ConfigError(f"{path} must be {_FORM}, with commas between; got {text}")
    twice = [name for name in COLUMNS if names.count(name) > 1]
    if twice:
        raise ConfigError(f"{path} must have one column {twice[0]}; it has several")
    if not lines:
        raise ConfigError(f"{path} must have a line for each channel; it has its header alone")
    rows: dict[str, tuple[str, int, int]] = {}
    for number, line in enumerate(lines, start=2):
        label, array = line["label"], line["array"]
        if not label or not array:
            raise ConfigError(f"line {number} of {path} must have a label and an array")
        if label in rows:
            raise ConfigError(f"line {number} of {path} names {label!r} for the second time")
        place = (
            array,
            _place(path, number, line, "row"),
            _place(path, number, line, "column"),
        )
        if place in rows.values():
            raise ConfigError(
                f"line {number} of {path} puts {label!r} where another channel is: array "
                f"{array}, row {place[1]}, column {place[2]}"
            )
        rows[label] = place
    return rows


def _place(path: Path, number: int, line: dict[str, str], key: str) -> int:
    text = line[key]
    if not (text.isascii() and text.isdigit() and len(text) < 4 and int(text) <= MOST_SIDE):
        raise ConfigError(
            f"line {number} of {path} must have a {key} of 0 to {MOST_SIDE}; got {text!r}"
        )
    return int(text)
