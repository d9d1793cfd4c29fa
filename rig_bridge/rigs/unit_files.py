"""Tables of units in CSV files, as far as every acquisition reads them alike.

Names and numbers; nothing of a wire or a stream.
"""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path

from rig_bridge.errors import EndpointError

MOST_UNITS = 1000
"""What fits into a hello."""


def read_unit_rows(path: Path, *, key: str, columns: Collection[str]) -> list[dict[str, str]]:
    """Return the rows of a CSV file with a header line, a unit a row; texts without blanks.

    Parameters
    ----------
    path : the file, UTF-8
    key : the column that must be there
    columns : all that may be, `key` among them; those that are not there are empty

    Raises
    ------
    EndpointError
        The file cannot be read, or has other columns.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = set(reader.fieldnames or ())
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise EndpointError(f"{path} must be a CSV file that can be read; {exc}") from exc
    if key not in names or not names <= set(columns):
        raise EndpointError(
            f"{path} must have a column {key!r}, and no others than {sorted(columns)}; "
            f"got {sorted(names)}"
        )
    return [{name: (row.get(name) or "").strip() for name in columns} for row in rows]
