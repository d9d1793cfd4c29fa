"""A campaign's page: one HTML file that holds all runs, their images and comparisons.

Knows what was gathered, and the template. The statistics are those of
`evolver.analysis.across_runs`, worked out here; the page's script sorts, filters and draws. It
loads nothing, and what it shows of a campaign is text, never markup.
"""

from __future__ import annotations

import base64
import io
from itertools import combinations
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from PIL import Image

from evolver import __version__
from evolver.analysis.across_runs import mean_course, mean_intervals, paired_rows
from evolver.campaign.gathered import SERIES, Gathered
from evolver.colours import PAGE_DARK, PAGE_LIGHT, css_variables, series_colour
from evolver.report.words import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from evolver.analysis.across_runs import Interval
    from evolver.analysis.trajectories import FloatArray, Ints

COMPARED = ("last", "change", "best")
"""Measures whose differences between levels are on the page."""
MOST_COMPARED = 24
"""Levels of a factor; up to `_ALL_PAIRS` each with each, up to these each with the first."""
_ALL_PAIRS = 6
_RESAMPLES = 2000
_ACROSS, _DOWN = 32, 32
"""Small images in a sheet."""
_QUALITY = 88
_DIGITS = 6

_TITLES = {
    "generations_run": "generations that were run",
    "first": "mean score of the first generation",
    "last": "mean score of the last three generations, the first left out",
    "last_sem": "standard error of last, over the images of its generations",
    "best": "the highest single score",
    "references": "mean score of the reference images",
    "change": "last less first; none of a single generation",
    "seconds": "time that the run took",
}


def write_page(gathered: Gathered) -> str:
    """Return the page's text."""
    environment = Environment(
        loader=ChoiceLoader([
            PackageLoader("evolver.campaign"),
            PackageLoader("evolver.report"),
        ]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    sheets, places = _sheets(gathered)
    return environment.get_template("page.html.j2").render(
        title=gathered.plan.name,
        lead=_lead(gathered),
        data=_as_script(_data(gathered, places)),
        sheets=sheets,
        columns=_TITLES.items(),
        version=__version__,
        light=css_variables(PAGE_LIGHT),
        dark=css_variables(PAGE_DARK),
    )


def _lead(gathered: Gathered) -> str:
    plan = gathered.plan
    planned = len(plan.tasks)
    levels = [(name, len({task.levels[name] for task in plan.tasks})) for name in plan.factors]
    varied = ", ".join(f"{name} ({n:,})" for name, n in levels) or "nothing"
    text = f"{gathered.done:,} of {count(planned, 'planned run')} are done"
    if gathered.failed:
        text += f", {gathered.failed:,} failed"
    if gathered.damaged:
        text += f", {gathered.damaged:,} damaged"
    return f"{text}. Varied, with how many levels: {varied}."


def _as_script(data: dict[str, Any]) -> str:
    """Return JSON that no HTML parser takes for markup."""
    return msgspec.json.encode(data).decode().replace("<", "\\u003c")


def _data(gathered: Gathered, places: list[int]) -> dict[str, Any]:
    rows = gathered.rows
    columns = [_column(gathered, name) for name in gathered.columns]
    threads = list(dict.fromkeys(str(row["thread"]) for row in rows))
    factors = [*gathered.plan.factors, *(["thread"] if len(threads) > 1 else [])]
    units = list(dict.fromkeys(str(row["unit"]) for row in rows))
    names = {name: _levels(gathered, name) for name in factors}
    index = {name: {text: i for i, text in enumerate(names[name])} for name in factors}
    numbers = np.array(
        [[index[name][str(row[name])] for name in factors] for row in rows], dtype=np.int64
    ).reshape(len(rows), len(factors))
    most = max((len(levels) for levels in names.values()), default=0)
    return {
        "columns": columns,
        "factors": [gathered.columns.index(name) for name in factors],
        "measures": [gathered.columns.index(name) for name in COMPARED],
        "generations": gathered.generations,
        "courses": {name: _numbers(gathered.courses[name]) for name in SERIES},
        "colours": [series_colour(i) for i in range(max(most, 2))],
        "tiles": {"side": gathered.side, "across": _ACROSS, "down": _DOWN, "at": places},
        "by_unit": [
            {"unit": unit, "factors": _summaries(gathered, unit, factors, names, numbers)}
            for unit in units
        ],
    }


def _column(gathered: Gathered, name: str) -> dict[str, Any]:
    """Return a column's values: numbers, levels of a few texts, or texts."""
    values = [row[name] for row in gathered.rows]
    column: dict[str, Any] = {"name": name, "title": _TITLES.get(name, "")}
    is_text = name in gathered.plan.factors or name in {"thread", "unit", "digest"}
    if not is_text:
        return {**column, "kind": "number", "values": [_rounded(float(v)) for v in values]}
    texts = [str(value) for value in values]
    if name == "digest":
        return {**column, "kind": "text", "values": texts}
    levels = _levels(gathered, name)
    number = {level: i for i, level in enumerate(levels)}
    return {
        **column,
        "kind": "level",
        "levels": levels,
        "values": [number[text] for text in texts],
    }


def _levels(gathered: Gathered, name: str) -> list[str]:
    """Return a column's different texts: a factor's in the plan's order."""
    if name in gathered.plan.factors:
        return list(dict.fromkeys(task.levels[name] for task in gathered.plan.tasks))
    return list(dict.fromkeys(str(row[name]) for row in gathered.rows))


def _rounded(value: float) -> float | None:
    return float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None


def _numbers(values: NDArray[np.float64]) -> str:
    """Return numbers as the script reads them: little-endian float32, in base64."""
    return base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")


def _summaries(
    gathered: Gathered,
    unit: str,
    factors: Sequence[str],
    names: dict[str, list[str]],
    numbers: Ints,
) -> list[dict[str, Any]]:
    """Return what runs with one unit of score say of each factor."""
    kept = np.flatnonzero([row["unit"] == unit for row in gathered.rows])
    means = gathered.courses["mean"][kept]
    measured = np.array(
        [[float(gathered.rows[row][name]) for name in COMPARED] for row in kept],
        dtype=np.float64,
    ).reshape(len(kept), len(COMPARED))
    return [
        {
            "courses": _courses(means, numbers[kept, k], len(names[name])),
            "pairs": _pairs(measured, numbers[kept], k, len(names[name])),
        }
        for k, name in enumerate(factors)
    ]


def _courses(means: FloatArray, levels: Ints, n: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for level in range(n):
        mine = means[levels == level]
        if len(mine):
            course = mean_course(mine)
            lines = {"mean": course.mean, "low": course.low, "high": course.high}
            drawn = {key: _numbers(line) for key, line in lines.items()}
            found.append({"level": level, "n": len(mine), **drawn})
    return found


def _pairs(measured: FloatArray, numbers: Ints, factor: int, n: int) -> list[dict[str, Any]]:
    """Return every comparison of two levels: the differences, later level less earlier."""
    if not 1 < n <= MOST_COMPARED:
        return []
    chosen = combinations(range(n), 2) if n <= _ALL_PAIRS else [(0, k) for k in range(1, n)]
    found: list[dict[str, Any]] = []
    for first, second in chosen:
        pairs = paired_rows(numbers, factor, first, second)
        differences = measured[pairs[:, 1]] - measured[pairs[:, 0]]
        whole = differences[np.isfinite(differences).all(axis=1)]
        if len(whole):
            intervals = mean_intervals(whole.T, resamples=_RESAMPLES)
            found.append({
                "first": first,
                "second": second,
                "n": len(whole),
                "differences": [_interval(one) for one in intervals],
            })
    return found


def _interval(found: Interval) -> list[float | None]:
    return [_rounded(value) for value in (found.value, found.low, found.high)]


def _sheets(gathered: Gathered) -> tuple[list[str], list[int]]:
    """Lay small images in sheets; return those as JPEG in base64, and each row's place."""
    side, per_sheet = gathered.side, _ACROSS * _DOWN
    places, sheets = [-1] * len(gathered.tiles), list[str]()
    shown = [(row, tile) for row, tile in enumerate(gathered.tiles) if tile is not None]
    for begin in range(0, len(shown), per_sheet):
        inside = shown[begin : begin + per_sheet]
        down = -(-len(inside) // _ACROSS)
        sheet = np.zeros((down * side, _ACROSS * side, 3), dtype=np.uint8)
        for i, (row, tile) in enumerate(inside):
            y, x = (i // _ACROSS) * side, (i % _ACROSS) * side
            sheet[y : y + side, x : x + side] = tile
            places[row] = begin + i
        file = io.BytesIO()
        Image.fromarray(sheet).save(file, "JPEG", quality=_QUALITY)
        sheets.append(base64.b64encode(file.getvalue()).decode("ascii"))
    return sheets, places
