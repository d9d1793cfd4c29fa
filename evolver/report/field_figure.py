"""Figure of receptive fields: maps, the box around each, the Gaussian that fits it.

Knows arrays and matplotlib's objects. Knows nothing of networks or files.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# matplotlib's annotations leave keyword arguments open.

from __future__ import annotations

from dataclasses import dataclass
from math import degrees
from typing import TYPE_CHECKING

from matplotlib.patches import Ellipse, Rectangle

from evolver.colours import QUIET
from evolver.report.style import Canvas, inches, new_figure, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from evolver.gaussian_fields import Gaussian
    from evolver.types import Matrix
    from scorers.receptive_field import Box

_CELL, _GAP, _TEXT, _COLUMNS = 1.9, 0.25, 0.62, 6
_LONGEST = 26  # letters of a unit's name


@dataclass(frozen=True, slots=True, eq=False)
class FieldMap:
    """One unit's map, and what was found in it."""

    name: str
    field: Matrix
    box: Box | None
    gaussian: Gaussian | None


@styled
def draw_fields(maps: Sequence[FieldMap], *, title: str, subtitle: str) -> Figure:
    """Draw maps in rows, each on its own scale from 0; the square, and two standard deviations.

    Parameters
    ----------
    maps : one a unit
    title, subtitle : what it is of
    """
    columns = min(len(maps), _COLUMNS)
    rows = -(-len(maps) // columns)
    pitch_y = _CELL + _TEXT + _GAP
    width = max(columns * (_CELL + _GAP) + 0.4, 5.2)
    height = rows * pitch_y + 1.0
    drawing = new_figure(width, height)
    sheet = Canvas(drawing)
    sheet.write(0.3, height - 0.42, title, size=15, bold=True, align="left")
    sheet.write(0.3, height - 0.7, subtitle, colour=QUIET, align="left")
    for k, unit in enumerate(maps):
        row, column = divmod(k, columns)
        x = 0.3 + column * (_CELL + _GAP)
        y = height - 1.0 - (row + 1) * pitch_y + _TEXT
        axes = inches(drawing, x, y, _CELL, _CELL)
        axes.imshow(unit.field, cmap="inferno", vmin=0)
        axes.set_axis_off()
        if unit.box is not None:
            corner = unit.box.left - 0.5, unit.box.top - 0.5
            axes.add_patch(Rectangle(corner, unit.box.side, unit.box.side, fill=False, ec="w"))
        fit = unit.gaussian
        if fit is not None:
            axes.add_patch(
                Ellipse(
                    (fit.column, fit.row),
                    4 * fit.sd_column,
                    4 * fit.sd_row,
                    angle=degrees(fit.angle),
                    fill=False,
                    ec="#56b4e9",
                    lw=1.5,
                )
            )
        name = unit.name if len(unit.name) <= _LONGEST else f"…{unit.name[1 - _LONGEST :]}"
        sheet.write(x, y - 0.2, name, size=9, bold=True, align="left")
        sheet.write(x, y - 0.4, _found(unit), size=9, colour=QUIET, align="left")
    return drawing


def _found(unit: FieldMap) -> str:
    if unit.box is None:
        return "sees nothing of these images"
    text = f"box {unit.box.side} px"
    fit = unit.gaussian
    return text if fit is None else f"{text}, sd {fit.sd_row:.1f} x {fit.sd_column:.1f} px"
