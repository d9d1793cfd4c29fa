"""The tables that `evolver rf SESSION.h5 --csv` writes: rates by place, and a row a unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evolver.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from evolver.analysis.across_runs import Interval
    from evolver.experiments.mapping import FieldMapping
    from evolver.report.mapping_figure import MappedUnit

_UNIT = ("unit", "label", "area")


def fits_beside(path: Path) -> Path:
    """Return which file has a row a unit, where one of rates by place is so called."""
    return path.with_suffix(f".fits{path.suffix}")


def write_mapped_tables(
    path: Path, mapping: FieldMapping, units: Sequence[MappedUnit], chosen: Sequence[int]
) -> None:
    """Write rates by place, and beside them a row a unit: its field, or why there is none.

    Parameters
    ----------
    path : .csv or .parquet, of the first
    mapping : what was recorded
    units : what came out, of each that was chosen
    chosen : columns of the mapping's rates

    Raises
    ------
    ConfigError
        Another suffix, or a file cannot be written.
    """
    from evolver.table_files import table_bytes
    from evolver.whole_files import write_whole

    tables = {
        path: _by_place(mapping, units, chosen),
        fits_beside(path): _by_unit(mapping, units, chosen),
    }
    for file, (heads, rows) in tables.items():
        try:
            write_whole(file, table_bytes(file.suffix, heads, rows))
        except OSError as exc:
            raise ConfigError(f"{file} cannot be written: {exc.strerror}") from exc


def _by_place(
    mapping: FieldMapping, units: Sequence[MappedUnit], chosen: Sequence[int]
) -> tuple[list[str], list[list[object]]]:
    """Return a row a unit, place and size, and a row a unit and place of all sizes together."""
    from evolver.analysis.receptive_fields import PlaceShowings, place_map
    from evolver.table_files import finite_cell

    showings = mapping.showings
    heads = [*_UNIT, "x_deg", "y_deg", "size_deg", "rate", "sem", "showings"]
    rows: list[list[object]] = []
    for column, unit in zip(chosen, units, strict=True):
        maps = [(None, unit.field.map)]
        if len(showings.sizes_deg) > 1:
            for s, size in enumerate(showings.sizes_deg.tolist()):
                own = showings.size == s
                of_size = PlaceShowings(
                    showings.row[own],
                    showings.column[own],
                    showings.rows_deg,
                    showings.columns_deg,
                    showings.image[own],
                    showings.size[own],
                    showings.sizes_deg,
                )
                maps.append((size, place_map(mapping.rates[own, column], of_size)))
        only = None if len(showings.sizes_deg) > 1 else float(showings.sizes_deg[0])
        for size, mapped in maps:
            for i, y in enumerate(showings.rows_deg.tolist()):
                for j, x in enumerate(showings.columns_deg.tolist()):
                    rows.append([
                        int(mapping.units[column]), unit.name, unit.area, x, y,
                        only if size is None else size,
                        *(finite_cell(table[i, j]) for table in (mapped.mean, mapped.sem)),
                        int(mapped.showings[i, j]),
                    ])  # fmt: skip
    return heads, rows


def _by_unit(
    mapping: FieldMapping, units: Sequence[MappedUnit], chosen: Sequence[int]
) -> tuple[list[str], list[list[object]]]:
    """Return a row a unit; what there is none of, without a field or sizes, is empty."""
    from evolver.table_files import finite_cell

    several = len(mapping.showings.sizes_deg) > 1
    sizes: list[float] = mapping.showings.sizes_deg.tolist() if several else []
    heads = [*_UNIT, "p", "field"]
    heads += [f"{of}_deg{end}" for of in ("x", "y", "width") for end in ("", "_low", "_high")]
    heads += ["sd_up_deg", "sd_right_deg", "turned_deg", "amplitude", "base", "r2"]
    by_sizes = [f"{what}_at_{s:g}" for s in sizes for what in ("rate", "sem")]
    heads += ["size_preferred_deg", *by_sizes] if sizes else []
    heads += ["reason", "warning"]
    rows: list[list[object]] = []
    for column, unit in zip(chosen, units, strict=True):
        field, fit = unit.field, unit.field.gaussian
        shape: list[float | None] = [None] * 6
        if fit is not None:
            up, right, angle = fit.upright
            shape = [up, right, float(np.degrees(angle)), fit.amplitude, fit.base, fit.r2]
        tuned: list[float | None] = [None] * (1 + 2 * len(sizes) if sizes else 0)
        if sizes and unit.tuning is not None:
            mean, sem = unit.tuning.mean, unit.tuning.sem
            told = fit is not None and np.isfinite(mean).any()
            best = sizes[int(np.nanargmax(mean))] if told else None
            by_size = np.stack([mean, sem], axis=1).ravel()
            tuned = [best, *(finite_cell(value) for value in by_size.tolist())]
        rows.append([
            int(mapping.units[column]), unit.name, unit.area,
            finite_cell(field.p), "yes" if fit is not None else "no",
            *_cells(field.x_deg), *_cells(field.y_deg), *_cells(field.width_deg),
            *shape, *tuned, field.reason, field.warning,
        ])  # fmt: skip
    return heads, rows


def _cells(of: Interval) -> list[float | None]:
    from evolver.table_files import finite_cell

    return [finite_cell(value) for value in (of.value, of.low, of.high)]
