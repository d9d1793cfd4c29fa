"""`evolver rf SESSION.h5`: where on the screen recorded units answer."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.markup import escape

from evolver import seeds
from evolver.cli.compare.shared import print_rows, progress_bar
from evolver.cli.mapped_tables import fits_beside, write_mapped_tables
from evolver.cli.terminal import check_can_write, console, print_warning, wrapped
from evolver.errors import ConfigError
from evolver.plain_text import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from evolver.analysis.across_runs import Interval
    from evolver.experiments.mapping import FieldMapping
    from evolver.report.mapping_figure import MappedUnit

_MOST_DRAWN = 24
_MOST_NAMED = 12  # units that have one reason in common
_SIZES_A_TABLE = 4
_REMEDY = "Name another file"


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingOptions:
    """What the command's options say of a recording.

    Attributes
    ----------
    name : of the set; '': the only one
    units : of the table and the figure, rows or labels; '': all
    window_ms, baseline_ms : None: the fitness's
    alpha : a field's p is below it
    bootstraps : for the intervals
    seed : of what is drawn at random
    out, csv, write : files; None: not written. Beside `csv` another has a row a unit
    """

    name: str
    units: str
    window_ms: tuple[float, float] | None
    baseline_ms: tuple[float, float] | None
    alpha: float
    bootstraps: int
    seed: int
    out: Path
    csv: Path | None
    write: Path | None


def draw_mapped_fields(file: Path, options: MappingOptions) -> None:
    """Print, draw and write what a recording says of receptive fields."""
    from evolver import recording
    from evolver.analysis.receptive_fields import receptive_fields, size_tuning
    from evolver.experiments.mapping import read_mapping
    from evolver.recording.strangers import said_as_recording
    from evolver.report.mapping_figure import MappedUnit

    _check_files(options)
    with recording.read(file) as opened, said_as_recording(file):
        mapping = read_mapping(
            opened,
            options.name,
            window_ms=options.window_ms,
            baseline_ms=options.baseline_ms,
        )
        replay, session = opened.replay_line, opened.name
    chosen = _chosen(mapping, options.units)
    showings, rates = mapping.showings, mapping.rates[:, chosen]
    with progress_bar("units", len(chosen)) as update:
        fields = receptive_fields(
            rates,
            showings,
            rng=seeds.stream(options.seed, "receptive field"),
            alpha=options.alpha,
            bootstraps=options.bootstraps,
            update=lambda done: update(done, len(chosen)),
        )
    units = [
        MappedUnit(
            mapping.labels[unit],
            mapping.areas[unit],
            field,
            size_tuning(column, showings, field.gaussian)
            if len(showings.sizes_deg) > 1
            else None,
        )
        for unit, field, column in zip(chosen, fields, rates.T, strict=True)
    ]
    if replay:
        print_warning(replay)
    _print(mapping, units, options.alpha)
    _draw(session, mapping, units, chosen, options.out)
    if options.csv is not None:
        write_mapped_tables(options.csv, mapping, units, chosen)
        console.print(f"maps: {escape(str(options.csv))}")
        console.print(f"fits: {escape(str(fits_beside(options.csv)))}")
    if options.write is not None:
        _write_place(options.write, units)


def _check_files(options: MappingOptions) -> None:
    """Raise `ConfigError` for a file that cannot be what it is to be, before any work."""
    from evolver.config.tables import session_file_text
    from evolver.table_files import check_parquet

    for path in (options.out, options.csv):
        if path is not None:
            check_can_write(path.resolve().parent, _REMEDY)
    if options.out.suffix != ".png":
        raise ConfigError(f"--out must end in .png; got {str(options.out)!r}")
    if options.csv is not None and options.csv.suffix not in {".csv", ".parquet"}:
        raise ConfigError(f"--csv must end in .csv or .parquet; got {str(options.csv)!r}")
    if options.csv is not None and options.csv.suffix == ".parquet":
        check_parquet()
    if options.write is not None:
        session_file_text(options.write)  # says what is no session file


def _chosen(mapping: FieldMapping, text: str) -> list[int]:
    """Return the columns of the rates that are wanted."""
    if not text:
        return list(range(len(mapping.labels)))
    chosen: list[int] = []
    for word in (part.strip() for part in text.split(",")):
        rows = [i for i, label in enumerate(mapping.labels) if label == word]
        if not rows and word.isdecimal():
            rows = np.flatnonzero(mapping.units == int(word)).tolist()
        if len(rows) != 1:
            labels = ", ".join(map(repr, mapping.labels[:6]))
            raise ConfigError(
                "--units must name recorded units, by their rows in the unit table or by "
                f"labels that one of them has, as {labels}; got {word!r}, which "
                f"{len(rows)} have"
            )
        chosen += rows
    return list(dict.fromkeys(chosen))


def _print(mapping: FieldMapping, units: Sequence[MappedUnit], alpha: float) -> None:
    console.print(wrapped(f"{mapping.name}: {mapping.text}", console), highlight=False)
    if mapping.aborted:
        console.print(f"left out: {mapping.aborted:,} showings that were aborted")
    heads = ["unit", "p", "x, deg (95 %)", "y, deg (95 %)", "width (95 %)"]
    rows: list[list[str]] = []
    for unit in units:
        field = unit.field
        p = f"{field.p:.2g}" if np.isfinite(field.p) else "-"
        if field.gaussian is None:
            why = "no field" if field.reason.startswith("no field") else "none (below)"
            rows.append([plain(unit.name), p, why, "", ""])
        else:
            x, y = _interval(field.x_deg, "+.2f"), _interval(field.y_deg, "+.2f")
            rows.append([plain(unit.name), p, x, y, _interval(field.width_deg, ".1f")])
    print_rows(heads, rows, numbers=True)
    with_field = sum(unit.field.gaussian is not None for unit in units)
    text = f"{with_field} of {len(units)} with a field (p < {alpha:g}"
    if len(units) > 1:
        text += f"; of as many without one, {alpha * len(units):.2g} would be expected to pass"
    console.print(wrapped(f"{text})", console), highlight=False)
    for reason, names in _grouped((unit, unit.field.reason) for unit in units).items():
        if not reason.startswith("no field"):  # whose p is in the table
            console.print(
                wrapped(f"none: {names}: {reason}", console), highlight=False, markup=False
            )
    for warning, names in _grouped((unit, unit.field.warning) for unit in units).items():
        print_warning(f"{names}: {warning}")
    _print_sizes(mapping, units)


def _grouped(texts: Iterable[tuple[MappedUnit, str]]) -> dict[str, str]:
    """Return each text that some units have, and which these are."""
    units: dict[str, list[str]] = {}
    for unit, text in texts:
        if text:
            units.setdefault(text, []).append(plain(unit.name))
    return {
        text: ", ".join(names[:_MOST_NAMED])
        + (f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else "")
        for text, names in units.items()
    }


def _print_sizes(mapping: FieldMapping, units: Sequence[MappedUnit]) -> None:
    """Print mean rates by size, so many sizes beside one another as a terminal is wide."""
    sizes = mapping.showings.sizes_deg.tolist()
    if len(sizes) < 2:
        return
    tuned = units[:_MOST_DRAWN]
    for first in range(0, len(sizes), _SIZES_A_TABLE):
        part = slice(first, first + _SIZES_A_TABLE)
        print_rows(
            ["spikes/s at size", *(f"{size:g}°" for size in sizes[part])],
            [[plain(unit.name), *_tuning(unit)[part]] for unit in tuned],
            numbers=True,
        )
    if len(tuned) < len(units):
        text = f"sizes of {len(tuned)} of {len(units)} units; --csv writes those of all"
        console.print(wrapped(text, console), highlight=False)


def _interval(of: Interval, form: str) -> str:
    if not np.isfinite(of.low):
        return format(of.value, form)
    return f"{of.value:{form}} ({of.low:{form}} {of.high:{form}})"


def _tuning(unit: MappedUnit) -> list[str]:
    if unit.tuning is None:
        return []
    return [
        f"{mean:.1f} ± {sem:.1f}"
        for mean, sem in zip(unit.tuning.mean, unit.tuning.sem, strict=True)
    ]


def _draw(
    session: str,
    mapping: FieldMapping,
    units: Sequence[MappedUnit],
    chosen: Sequence[int],
    out: Path,
) -> None:
    """Draw the maps: of many units, those that are scored and those whose field is surest."""
    from evolver.report.mapping_figure import draw_mapping
    from evolver.report.style import save
    from evolver.whole_files import whole_file

    scored = [bool(mapping.scored[unit]) for unit in chosen]
    surest = sorted(
        range(len(units)), key=lambda i: (not scored[i], np.nan_to_num(units[i].field.p, nan=2))
    )[:_MOST_DRAWN]
    drawn = [units[i] for i in sorted(surest)]
    with_field = [unit for unit in units if unit.field.gaussian is not None]
    text = mapping.text
    if len(drawn) < len(units):
        text += f"; {len(drawn)} of {len(units)} units"
    figure = draw_mapping(
        drawn,
        mapping.showings,
        title=f"Receptive fields, {session}",
        subtitle=text,
        overview=with_field if len(with_field) > 1 else (),
    )
    try:
        with whole_file(out) as path:
            save(figure, path)
    except OSError as exc:
        raise ConfigError(
            f"the figure {out} cannot be written: {exc.strerror}. Name another with --out"
        ) from exc
    console.print(f"figure: {escape(str(out))}")


def _write_place(path: Path, units: Sequence[MappedUnit]) -> None:
    """Put a field's centre and width, and the day, into a session file."""
    from evolver.config.edited import with_values
    from evolver.whole_files import write_whole

    fields = [unit for unit in units if unit.field.gaussian is not None]
    if len(fields) != 1:
        names = ", ".join(repr(unit.name) for unit in fields[:8]) or "none"
        raise ConfigError(
            "--write needs one unit with a receptive field, whose place is written; "
            f"{len(fields)} of {len(units)} have one ({names}). "
            + ("Choose one with --units" if fields else f"{path} is as it was")
        )
    (unit,) = fields
    field = unit.field
    size = min(180.0, field.width_deg.value)
    values = {
        "position_deg": f"[{field.x_deg.value:.4g}, {field.y_deg.value:.4g}]",
        "size_deg": f"{size:.4g}",
        "mapped": f"{datetime.now().astimezone().date()}",
    }
    content = path.read_bytes()
    mark = codecs.BOM_UTF8 if content.startswith(codecs.BOM_UTF8) else b""
    text = content.removeprefix(mark).decode("utf-8")
    changed = with_values(text, "presentation", values, source=str(path))
    try:
        write_whole(path.resolve(), mark + changed.encode())
    except OSError as exc:
        raise ConfigError(f"{path} cannot be written, and is as it was: {exc}") from exc
    said = ", ".join(f"{key} = {value}" for key, value in values.items())
    console.print(
        wrapped(f"{path}: {said}, of {unit.name}", console), highlight=False, markup=False
    )
