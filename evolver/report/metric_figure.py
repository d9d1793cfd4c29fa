"""Figures of a generator's metric: its spectrum, and images along its axes.

Knows arrays and matplotlib's objects. Knows nothing of generators or files.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# matplotlib's annotations leave keyword arguments open.

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from evolver.colours import GRID, QUIET, thread_colour
from evolver.report.style import Canvas, inches, new_figure, styled, whole_ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from evolver.types import Images, Vector

_CELL, _GAP = 0.92, 0.08
_LEFT, _SPECTRUM = 1.05, 5.6


@styled
def draw_metric(
    eigenvalues: Vector,
    images: Sequence[Images],
    *,
    axes_ranks: Sequence[int],
    steps: Sequence[float],
    title: str,
    subtitle: str,
) -> Figure:
    """Spectrum on the left; on the right one row of images an axis, the same steps along each.

    Parameters
    ----------
    eigenvalues : (m,) descending
    images : one array for each axis shown, (steps, h, w, 3)
    axes_ranks : ranks of these axes, from 1
    steps : along each axis, latent units
    title, subtitle : what it is of
    """
    pitch = _CELL + _GAP
    rows, columns = max(len(axes_ranks), 1), max(len(steps), 1)
    height = max(rows * pitch + 1.55, 4.6)
    drawing = new_figure(_LEFT + _SPECTRUM + 1.5 + columns * pitch + 0.3, height)
    sheet = Canvas(drawing)
    sheet.write(0.3, height - 0.42, title, size=15, bold=True, align="left")
    sheet.write(0.3, height - 0.7, subtitle, colour=QUIET, align="left")
    top = height - 1.3
    _spectrum(drawing, eigenvalues, axes_ranks, top)
    left = _LEFT + _SPECTRUM + 1.5
    for j, step in enumerate(steps):
        text = "0" if step == 0 else f"{step:+.3g}"
        sheet.write(left + j * pitch + _CELL / 2, top + 0.1, text, size=10, colour=QUIET)
    sheet.write(left - 0.15, top + 0.1, "latent step", size=10, colour=QUIET, align="right")
    for i, (rank, row) in enumerate(zip(axes_ranks, images, strict=True)):
        y = top - (i + 1) * pitch + _GAP
        middle = y + _CELL / 2
        sheet.write(
            left - 0.15,
            middle + 0.02,
            f"axis {rank}",
            bold=True,
            colour=thread_colour(1),
            align="right",
        )
        sheet.write(
            left - 0.15,
            middle - 0.19,
            f"{eigenvalues[rank - 1]:.2g}",
            size=10,
            colour=QUIET,
            align="right",
        )
        for j, image in enumerate(row):
            sheet.picture(image, left + j * pitch, y, _CELL)
    return drawing


def _spectrum(
    drawing: Figure, eigenvalues: NDArray[np.float64], axes_ranks: Sequence[int], top: float
) -> None:
    axes = inches(drawing, _LEFT, 0.7, _SPECTRUM, top - 0.7)
    at = np.arange(1, len(eigenvalues) + 1)
    lit = eigenvalues > 0  # the others are lost in rounding, and have no place on this scale
    axes.plot(at[lit], eigenvalues[lit], color=thread_colour(0), lw=2.2, zorder=2)
    picked = [rank for rank in axes_ranks if lit[rank - 1]]
    axes.plot(
        picked,
        [eigenvalues[rank - 1] for rank in picked],
        "o",
        color=thread_colour(1),
        ms=6.5,
        zorder=3,
    )
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(numticks=8))
    axes.yaxis.set_major_formatter(FuncFormatter(_plain))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(whole_ticks(7))
    pad = 0.02 * len(eigenvalues) + 0.5
    axes.set_xlim(1 - pad, len(eigenvalues) + pad)
    axes.grid(axis="y", color=GRID, lw=0.8)
    axes.set_xlabel("rank of the axis")
    axes.set_ylabel("eigenvalue")


def _plain(value: float, _place: float | None) -> str:
    return f"{value:g}"
