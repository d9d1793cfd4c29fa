"""Tables as the content of files, CSV or Parquet."""

from __future__ import annotations

import csv
import io
from importlib import import_module
from math import isfinite
from typing import TYPE_CHECKING, Any

from evolver.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def check_parquet() -> None:
    """Raise `ConfigError` unless Parquet files can be written."""
    _pyarrow()


def table_bytes(suffix: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Return a table as the content of a file.

    Parameters
    ----------
    suffix : .csv or .parquet
    columns : their names
    rows : a cell a column each; None is an empty one

    Raises
    ------
    ConfigError
        Another suffix, or Parquet is asked for and pyarrow is missing.
    """
    if suffix == ".csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
        return text.getvalue().encode("utf-8", "replace")  # names of files may be no text
    if suffix != ".parquet":
        raise ConfigError(f"a table must be called .csv or .parquet; got {suffix!r}")
    pyarrow, parquet = _pyarrow()
    listed = list(rows)
    named = {name: [row[i] for row in listed] for i, name in enumerate(columns)}
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(named), file)
    return file.getvalue()


def finite_cell(value: float) -> float | None:
    """Return a number as a cell: empty where it is not finite."""
    return float(value) if isfinite(value) else None


def _pyarrow() -> tuple[Any, Any]:
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise ConfigError(
            "a Parquet table needs the package pyarrow: pip install 'evolver[parquet]'; or "
            "leave it out, CSV needs nothing"
        ) from error
