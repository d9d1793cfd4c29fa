"""The units of a stream: numbered, or named in a CSV file.

Names and numbers; nothing of streams.
"""

from __future__ import annotations

from pathlib import Path

from rig_bridge.errors import EndpointError
from rig_bridge.messages import Unit
from rig_bridge.rigs.unit_files import MOST_UNITS, read_unit_rows

_COLUMNS = {"label", "channel", "unit", "area"}


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
    rows = read_unit_rows(path, key="label", columns=_COLUMNS)
    if not 1 <= len(rows) <= MOST_UNITS:
        raise EndpointError(f"{path} must have 1 to {MOST_UNITS} units; got {len(rows)}")
    return tuple(_unit(row, i, path) for i, row in enumerate(rows))


def _unit(row: dict[str, str], i: int, path: Path) -> Unit:
    try:
        channel, unit = int(row["channel"] or i), int(row["unit"] or 0)
    except ValueError as exc:
        raise EndpointError(f"{path}, line {i + 2}: numbers must be whole; {exc}") from exc
    if not row["label"] or channel < 0 or unit < 0:
        raise EndpointError(
            f"{path}, line {i + 2}: a unit must have a label, and numbers must not be below 0; "
            f"got {row}"
        )
    return Unit(channel, unit, row["area"][:200], row["label"][:200])
