"""The units of a stream: numbered, or named in a CSV file.

Names and numbers; nothing of streams.
"""

from __future__ import annotations

import csv
from pathlib import Path

from rig_bridge.errors import EndpointError
from rig_bridge.messages import Unit

_COLUMNS = {"label", "channel", "unit", "area"}
_MOST = 1000  # what fits into a hello


def numbered_units(count: int) -> tuple[Unit, ...]:
    """Return a table of `count` units, called ``unit 0`` and so on."""
    return tuple(Unit(i, 0, "", f"unit {i}") for i in range(count))


def load_units(path: Path) -> tuple[Unit, ...]:
    """Return the table in a CSV file with a header line, a unit a row.

    Columns: label; and, as they are needed, channel (else the row's number), unit and area.

    Raises
    ------
    EndpointError
        The file cannot be read, or is no such table.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = set(reader.fieldnames or ())
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise EndpointError(f"{path} must be a CSV file that can be read; {exc}") from exc
    if "label" not in columns or not columns <= _COLUMNS:
        raise EndpointError(
            f"{path} must have a column 'label', and no others than {sorted(_COLUMNS)}; "
            f"got {sorted(columns)}"
        )
    if not 1 <= len(rows) <= _MOST:
        raise EndpointError(f"{path} must have 1 to {_MOST} units; got {len(rows)}")
    return tuple(_unit(row, i, path) for i, row in enumerate(rows))


def _unit(row: dict[str, str], i: int, path: Path) -> Unit:
    texts = {name: (row.get(name) or "").strip() for name in _COLUMNS}
    try:
        channel, unit = int(texts["channel"] or i), int(texts["unit"] or 0)
    except ValueError as exc:
        raise EndpointError(f"{path}, line {i + 2}: numbers must be whole; {exc}") from exc
    if not texts["label"] or channel < 0 or unit < 0:
        raise EndpointError(
            f"{path}, line {i + 2}: a unit must have a label, and numbers must not be below 0; "
            f"got {row}"
        )
    return Unit(channel, unit, texts["area"][:200], texts["label"][:200])
