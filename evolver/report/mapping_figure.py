"""Figure of mapped receptive fields: a map a unit over the screen's degrees, and its Gaussian.

Knows values and matplotlib's objects. Knows nothing of recordings.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# matplotlib's annotations leave keyword arguments open.

from __future__ import annotations

from dataclasses import dataclass
from math import degrees
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.patches import Ellipse

from evolver.analysis.receptive_fields import SD_ACROSS
from evolver.colours import GRID, INK, QUIET, SKY, UNMEASURED, series_colour
from evolver.report.style import RATES, Canvas, inches, new_figure, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from evolver.analysis.receptive_fields import PlaceShowings, ReceptiveField, SizeTuning
    from evolver.gaussian_fields import Gaussian

_CELL, _GAP, _TEXT, _WIDEST, _TUNING = 1.9, 0.62, 0.62, 10.5, 1.25
_OVERVIEW = 3.0
_LONGEST = 26  # letters of a unit's name
_MOST_NAMED = 16  # areas in a legend


@dataclass(frozen=True, slots=True, eq=False)
class MappedUnit:
    """One unit's field, and what it answers to sizes.

    Attributes
    ----------
    name, area : of the unit
    field : ReceptiveField
    tuning : None where there is one size
    """

    name: str
    area: str
    field: ReceptiveField
    tuning: SizeTuning | None = None


@styled
def draw_mapping(
    units: Sequence[MappedUnit],
    showings: PlaceShowings,
    *,
    title: str,
    subtitle: str,
    overview: Sequence[MappedUnit] = (),
) -> Figure:
    """Draw maps in rows, each on its own scale, with the ellipse of two standard deviations.

    Parameters
    ----------
    units : one a map
    showings : whose grid the maps are on
    title, subtitle : what they are of
    overview : units whose ellipses are drawn on one screen, above the maps; none: there is none
    """
    sizes = len(showings.sizes_deg) > 1
    pitch_x = _CELL + _GAP + (_TUNING + 0.35 if sizes else 0.0)
    columns = max(1, min(len(units), int(_WIDEST / pitch_x)))
    rows = -(-len(units) // columns)
    pitch_y = _CELL + _TEXT + 0.5
    width = max(columns * pitch_x + 0.5, 6.6)
    top = 1.05 + (_OVERVIEW + 0.75 if overview else 0.0)
    height = rows * pitch_y + top + 0.35
    drawing = new_figure(width, height)
    sheet = Canvas(drawing)
    sheet.heading(title, subtitle)
    sheet.notes(
        "Axes: degrees right of and above fixation (cross). Ellipse: the fitted Gaussian, two "
        "standard deviations to each side. "
        "p: how often places differ as much by chance, showings dealt anew within image and "
        "size. Bars: standard errors."
    )
    if overview:
        _draw_overview(drawing, overview, showings, height - 1.05 - _OVERVIEW)
    for k, unit in enumerate(units):
        row, column = divmod(k, columns)
        x = 0.6 + column * pitch_x
        y = height - top - (row + 1) * pitch_y + _TEXT + 0.5
        axes = inches(drawing, x, y, _CELL, _CELL)
        _draw_map(axes, unit.field, showings)
        name = unit.name if len(unit.name) <= _LONGEST else f"…{unit.name[1 - _LONGEST :]}"
        sheet.write(x, y + _CELL + 0.08, name, size=9, bold=True, align="left")
        for line, text in enumerate(_texts(unit.field)):
            sheet.write(x, y - 0.42 - 0.17 * line, text, size=8, colour=QUIET, align="left")
        if unit.tuning is not None:
            beside = inches(drawing, x + _CELL + 0.45, y, _TUNING, _CELL)
            _draw_tuning(beside, unit.tuning, showings)
    return drawing


def _extent(showings: PlaceShowings) -> tuple[float, float, float, float]:
    """Return where the map's edges are: left, right, bottom, top, degrees."""
    edges: list[float] = []
    for places in (showings.columns_deg, showings.rows_deg):
        half = (places[1] - places[0]) / 2 if len(places) > 1 else 0.5
        edges += [float(places[0] - half), float(places[-1] + half)]
    return edges[0], edges[1], edges[2], edges[3]


def _draw_map(axes: Axes, field: ReceptiveField, showings: PlaceShowings) -> None:
    extent = _extent(showings)
    axes.set_facecolor(UNMEASURED)
    axes.imshow(
        np.ma.masked_invalid(field.map.mean),
        cmap=RATES,
        origin="lower",
        extent=extent,
        aspect="equal",
        interpolation="nearest",
    )
    _mark_fixation(axes, extent, "w")
    if field.gaussian is not None:
        axes.add_patch(_ellipse(field.gaussian, SKY, 1.6))
        axes.plot(field.gaussian.column, field.gaussian.row, ".", color=SKY, ms=4)
    axes.tick_params(labelsize=7, length=2)
    axes.locator_params(nbins=5)
    axes.set_xlim(extent[:2])
    axes.set_ylim(extent[2:])


def _mark_fixation(axes: Axes, extent: tuple[float, float, float, float], colour: str) -> None:
    if extent[0] <= 0 <= extent[1] and extent[2] <= 0 <= extent[3]:
        axes.plot(0, 0, "+", color=INK, ms=7, mew=2.2)  # seen on any colour
        axes.plot(0, 0, "+", color=colour, ms=6, mew=1)


def _ellipse(fit: Gaussian, colour: str, line: float) -> Ellipse:
    return Ellipse(
        (fit.column, fit.row),
        SD_ACROSS * fit.sd_column,
        SD_ACROSS * fit.sd_row,
        angle=degrees(fit.angle),
        fill=False,
        ec=colour,
        lw=line,
    )


def _texts(field: ReceptiveField) -> tuple[str, ...]:
    mean = field.map.mean
    low, high = (round(float(end)) for end in (np.nanmin(mean), np.nanmax(mean)))
    rates = f"{low} to {high} spikes/s"
    if field.gaussian is None:
        why = "no field" if field.reason.startswith("no field") else "no centre"
        return rates, f"{why}, p = {field.p:.2g}" if np.isfinite(field.p) else why
    return rates, (
        f"{_degrees(field.x_deg.value)}, {_degrees(field.y_deg.value)}; "
        f"{field.width_deg.value:.1f}° wide, p = {field.p:.2g}"
    )


def _degrees(value: float) -> str:
    """Return a number as axes have it: a minus sign, and no zero with one."""
    return f"{round(value, 1) + 0.0:+.1f}°".replace("-", "\N{MINUS SIGN}")


def _draw_tuning(axes: Axes, tuning: SizeTuning, showings: PlaceShowings) -> None:
    axes.errorbar(
        showings.sizes_deg, tuning.mean, tuning.sem, color=INK, marker="o", ms=3, lw=1.2
    )
    axes.tick_params(labelsize=7, length=2)
    axes.locator_params(nbins=5)
    axes.set_xlabel("size, °", fontsize=7, labelpad=1)
    axes.set_title("spikes/s", fontsize=7, loc="left", pad=2)
    axes.set_xlim(0, 1.1 * showings.sizes_deg[-1])
    low, high = axes.get_ylim()
    axes.set_ylim(min(0.0, low), high)
    axes.grid(axis="y", color=GRID, lw=0.6)


def _draw_overview(
    drawing: Figure, units: Sequence[MappedUnit], showings: PlaceShowings, y: float
) -> None:
    """Draw all fields on one screen, coloured by area."""
    axes = inches(drawing, 0.7, y, _OVERVIEW, _OVERVIEW)
    extent = _extent(showings)
    areas = list(dict.fromkeys(unit.area for unit in units))
    for unit in units:
        fit = unit.field.gaussian
        if fit is not None:
            colour = series_colour(areas.index(unit.area))
            axes.add_patch(_ellipse(fit, colour, 0.9))
            axes.plot(fit.column, fit.row, ".", color=colour, ms=4)
    _mark_fixation(axes, extent, INK)
    axes.set_xlim(extent[:2])
    axes.set_ylim(extent[2:])
    axes.set_aspect("equal")
    axes.tick_params(labelsize=8, length=2)
    axes.set_xlabel("right of fixation, °", fontsize=8)
    axes.set_ylabel("above, °", fontsize=8)
    for k, area in enumerate(areas[:_MOST_NAMED]):
        n = sum(unit.area == area for unit in units)
        axes.annotate(
            f"{area or 'no area'}: {n} with a field",
            (1.06, 0.96 - 0.07 * k),
            xycoords="axes fraction",
            fontsize=9,
            color=series_colour(k),
        )
