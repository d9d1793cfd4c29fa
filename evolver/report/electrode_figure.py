"""Figures of electrode arrays: best layers and how well they predict, or any values of units.

Knows a layout, an assignment and matplotlib's objects; computes nothing but positions.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# matplotlib's annotations leave keyword arguments open.

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import matplotlib as mpl
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

from evolver.colours import GRID, QUIET, UNMEASURED
from evolver.report.style import SCORES, Canvas, inches, new_figure, styled, tint
from evolver.report.words import shorten

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from evolver.analysis.electrode_maps import ElectrodeLayout
    from evolver.analysis.layer_assignment import LayerAssignment
    from evolver.types import Matrix, Vector

_SIDE, _GAP, _LEFT, _RIGHT = 1.3, 0.18, 1.55, 1.75
_MOST = 8
"""Arrays in a line."""
_HEAD, _NAME, _BOTTOM, _BETWEEN = 1.0, 0.24, 0.85, 0.16
_PLACES = (
    "Each square is an electrode, seen as the file of the layout has its rows and columns."
)
_LAYERS = "plasma"
_PALEST = 0.82
"""Of the colours of layers, at most so far: yellow is too pale to be drawn half transparent."""

_Colour: TypeAlias = tuple[float, float, float]
_Legend: TypeAlias = "Sequence[tuple[str, _Colour]]"


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """One quantity on all arrays."""

    label: str
    images: dict[str, NDArray[Any]]  # (rows, columns, 3) by array
    scale: ScalarMappable | None  # None: the layers' colours


@styled
def draw_electrodes(
    layout: ElectrodeLayout,
    assignment: LayerAssignment,
    *,
    title: str,
    subtitle: str,
    over_ceiling: Vector | None = None,
) -> Figure:
    """Draw each array's electrodes: best layer, its correlation, that over its ceiling.

    Parameters
    ----------
    layout : of the units
    assignment : of the same units; an electrode is as opaque as 1 - p
    title, subtitle : at the top
    over_ceiling : (u,) each unit's correlation over the root of its reliability; NaN has none
    """
    opacity = assignment.opacity
    colours = [_layer_colour(k, len(assignment.layers)) for k in range(len(assignment.layers))]
    best = np.where(assignment.best >= 0, assignment.best, np.nan)
    opacities = layout.maps(opacity, first=opacity)
    layers = {
        name: _of_layers(values, opacities[name], colours)
        for name, values in layout.maps(best, first=opacity).items()
    }
    blocks = [
        _Block("best layer", layers, None),
        _of_quantity(layout, "r", assignment.r, opacity),
    ]
    ceilings = over_ceiling is not None and np.isfinite(over_ceiling).any()
    if over_ceiling is not None and ceilings:
        blocks.append(_of_quantity(layout, "r / ceiling", over_ceiling, opacity))
    notes = (
        f"{_PLACES} Best layer: whose features predict the unit best over images that no fit "
        "has seen, as opaque as 1 minus p of that correlation. r: of that layer. Grey: no unit "
        "or no value; of several units at an electrode, the most opaque."
        + (" Ceiling: root of the test responses' reliability." if ceilings else "")
    )
    legend = tuple(zip(assignment.layers, colours, strict=True))
    return _draw_blocks(layout, blocks, title, subtitle, notes, legend)


@styled
def draw_electrode_values(
    layout: ElectrodeLayout,
    values: Mapping[str, Vector],
    *,
    title: str,
    subtitle: str,
    notes: str = "",
) -> Figure:
    """Draw any values of units where they were recorded, each on a scale of its own.

    Parameters
    ----------
    layout : of the units
    values : what they are called, and (u,) of the units; NaN has none
    title, subtitle : at the top
    notes : at the bottom, after what a square is
    """
    blocks = [_of_quantity(layout, label, of_units, None) for label, of_units in values.items()]
    words = f"{_PLACES} Grey: no unit, or no value. {notes}".strip()
    return _draw_blocks(layout, blocks, title, subtitle, words, ())


def _of_quantity(
    layout: ElectrodeLayout, label: str, values: Vector, first: Vector | None
) -> _Block:
    scale = _scale(values)
    maps = layout.maps(values, first=first)
    return _Block(label, {name: _of_values(m, scale) for name, m in maps.items()}, scale)


def _draw_blocks(
    layout: ElectrodeLayout,
    blocks: Sequence[_Block],
    title: str,
    subtitle: str,
    notes: str,
    legend: _Legend,
) -> Figure:
    """Draw quantities below one another, the arrays of each in lines."""
    lines = -(-len(layout.arrays) // _MOST)
    block = lines * (_SIDE + _NAME) + _BETWEEN
    columns = min(len(layout.arrays), _MOST)
    width = max(_LEFT + columns * (_SIDE + _GAP) + _RIGHT, 7.5)
    figure = new_figure(width, _HEAD + len(blocks) * block + _BOTTOM)
    sheet = Canvas(figure)
    sheet.heading(title, subtitle)
    right = _LEFT + columns * (_SIDE + _GAP) + 0.05
    for k, shown in enumerate(blocks):
        at = sheet.height - _HEAD - k * block
        middle = at - (block - _BETWEEN + _NAME) / 2
        label = shorten(shown.label, 14)
        sheet.write(
            _LEFT - 0.2, middle, label, size=11, bold=True, align="right", base="center"
        )
        _draw_maps(figure, sheet, at, shown.images)
        if shown.scale is None:
            _draw_legend(sheet, right, at - _NAME, legend)
        else:
            bar = inches(figure, right, at - _NAME - _SIDE, 0.13, _SIDE)
            figure.colorbar(shown.scale, cax=bar)
            bar.tick_params(labelsize=8)
            bar.spines["outline"].set_visible(False)
    sheet.notes(notes)
    return figure


def _draw_maps(
    figure: Figure, sheet: Canvas, top: float, images: Mapping[str, NDArray[Any]]
) -> None:
    """Draw arrays side by side, `_MOST` in a line, each under its name."""
    for i, (name, pixels) in enumerate(images.items()):
        x = _LEFT + (i % _MOST) * (_SIDE + _GAP)
        y = top - (i // _MOST) * (_SIDE + _NAME)
        sheet.write(x + _SIDE / 2, y - _NAME + 0.06, shorten(name, 14), size=9, colour=QUIET)
        axes = inches(figure, x, y - _NAME - _SIDE, _SIDE, _SIDE)
        _draw_array(axes, pixels)


def _draw_array(axes: Axes, pixels: NDArray[Any]) -> None:
    rows, columns = pixels.shape[:2]
    axes.imshow(pixels, interpolation="nearest", aspect="equal")
    axes.set_xticks([k - 0.5 for k in range(columns + 1)], [])
    axes.set_yticks([k - 0.5 for k in range(rows + 1)], [])
    axes.grid(color="white", lw=0.8)
    axes.set_axisbelow(False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(GRID)


def _draw_legend(sheet: Canvas, x: float, top: float, legend: _Legend) -> None:
    """Write the layers' names beside their colours, first to last."""
    pitch = min(0.2, _SIDE / max(len(legend), 1))
    for k, (layer, colour) in enumerate(legend):
        y = top - (k + 1) * pitch
        patch = Rectangle((x, y + 0.02), 0.13, pitch - 0.04, facecolor=colour)
        sheet.axes.add_patch(patch)
        sheet.write(
            x + 0.2, y + pitch / 2, shorten(layer, 19), size=min(8, 50 * pitch), align="left",
            base="center_baseline",
        )  # fmt: skip


def _layer_colour(k: int, of: int) -> _Colour:
    red, green, blue, _ = mpl.colormaps[_LAYERS](_PALEST * k / max(of - 1, 1))
    return float(red), float(green), float(blue)


def _of_layers(values: Matrix, opacity: Matrix, colours: list[_Colour]) -> NDArray[Any]:
    """Return a map of layers as pixels, each mixed with white by its opacity."""
    pixels = _empty(values)
    some = np.isfinite(values)
    share = np.nan_to_num(opacity)[some][:, None]
    pixels[some] = 1 - share * (1 - np.array(colours)[values[some].astype(int)])
    return pixels


def _of_values(values: Matrix, scale: ScalarMappable) -> NDArray[Any]:
    pixels = _empty(values)
    some = np.isfinite(values)
    if some.any():
        pixels[some] = np.asarray(scale.to_rgba(values[some]))[:, :3]
    return pixels


def _empty(values: Matrix) -> NDArray[Any]:
    """Return pixels of a map without values."""
    return np.full((*values.shape, 3), tint(UNMEASURED, 1.0))


def _scale(values: Vector) -> ScalarMappable:
    """Return the colours of correlations, from 0 or the least to the largest, within -1 to 1.

    Over a ceiling that is hardly known a value may be any; it is coloured as the end is.
    """
    known = np.clip(values[np.isfinite(values)], -1.0, 1.0)
    low = min(0.0, float(known.min(initial=0.0)))
    high = max(float(known.max(initial=0.0)), low + 1e-3)
    return ScalarMappable(norm=Normalize(low, high), cmap=SCORES)
