"""Figures of a rescored session: how the two scores agree, and the images that change places.

Knows a `RescoredSession`, pixels that are handed in, and matplotlib's objects.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# matplotlib's annotations leave keyword arguments open.

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from evolver.analysis.quantities import values_of
from evolver.colours import GRID, INK, QUIET, thread_colour
from evolver.report.style import Canvas, inches, new_figure, styled, whole_ticks
from evolver.report.words import count, in_unit, number, shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from evolver.experiments.rescored import RescoredSession, RescoredThread
    from evolver.report.evolution import ImageArray

PICTURES = 8
"""Of a row of the strip, at most."""
_CELL, _PITCH, _LEFT, _TEXT = 1.2, 1.32, 1.7, 0.62


@styled
def draw_agreement(session: RescoredSession, *, title: str) -> Figure:
    """Draw a row a thread: one score against the other, their correlation, the angle."""
    rows = len(session.threads)
    high, top, bottom, gap = 2.2, 1.4, 0.75, 1.2
    height = top + rows * high + (rows - 1) * gap + bottom
    figure = new_figure(12.4, height)
    for k, thread in enumerate(session.threads):
        y = height - top - high - k * (high + gap)
        scatter = inches(figure, 0.95, y, 2.7, high)
        _draw_scores(scatter, thread, thread_colour(k))
        _draw_correlations(inches(figure, 4.75, y, 3.2, high), thread, thread_colour(k))
        _draw_turns(inches(figure, 8.95, y, 3.2, high), thread, thread_colour(k))
    sheet = Canvas(figure)
    texts = {thread.after_text for thread in session.threads}
    sheet.heading(title, "; ".join(sorted(texts)) + ", against the recorded scores")
    return figure


def _draw_scores(axes: Axes, thread: RescoredThread, colour: str) -> None:
    before = np.concatenate([row.before for row in thread.generations])
    after = np.concatenate([row.after for row in thread.generations])
    axes.plot(before, after, ".", ms=4, alpha=0.6, color=colour, mew=0)
    axes.set_xlabel(in_unit("recorded", thread.unit), fontsize=10)
    axes.set_ylabel(in_unit("other score", thread.after_unit), fontsize=10)
    axes.set_title(f"{shorten(thread.name, 18)}, {count(thread.agreement.n, 'image')}")


def _draw_correlations(axes: Axes, thread: RescoredThread, colour: str) -> None:
    x = [row.generation for row in thread.generations]
    spearman = values_of(row.agreement.spearman for row in thread.generations)
    kendall = values_of(row.agreement.kendall for row in thread.generations)
    axes.plot(x, spearman, "-o", ms=4, color=colour, label="Spearman")
    axes.plot(x, kendall, "--", lw=1.2, color=colour, label="Kendall's tau-b")
    lowest = np.nanmin([0.0, *spearman, *kendall])
    axes.set_ylim(float(lowest) - 0.05, 1.05)
    axes.grid(axis="y", color=GRID)
    _legend(axes)
    axes.set_title("rank correlation", pad=20)
    _generations(axes, x)


def _draw_turns(axes: Axes, thread: RescoredThread, colour: str) -> None:
    x = [row.generation for row in thread.generations]
    turned = values_of(row.turned for row in thread.generations)
    axes.plot(x, turned, "-o", ms=4, color=colour, label="a generation")
    if isfinite(thread.turned.value):
        axes.axhline(
            thread.turned.value,
            color=INK,
            lw=1.2,
            ls="--",
            label=f"all moves together, {thread.turned.value:.0f}°",
        )
    axes.set_ylim(0, float(np.nanmax([85.0, *turned, thread.turned.value])) + 5)
    axes.grid(axis="y", color=GRID)
    _legend(axes)
    axes.set_title("turn of the search, degrees", pad=20)
    _generations(axes, x)


def _legend(axes: Axes) -> None:
    """Put what lines are above them, below the title: nothing is drawn there."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=2,
        fontsize=9,
        borderaxespad=0.1,
        borderpad=0.2,
        handlelength=1.8,
        columnspacing=1.2,
    )


def _generations(axes: Axes, numbers: Sequence[int]) -> None:
    """Show all generations, also where there is nothing to draw of the last ones."""
    if numbers:
        pad = 0.03 * max(numbers[-1] - numbers[0], 1)
        axes.set_xlim(numbers[0] - pad, numbers[-1] + pad)
    axes.set_xlabel("generation", fontsize=10)
    axes.xaxis.set_major_locator(whole_ticks(6))


@dataclass(frozen=True, slots=True)
class Mover:
    """An image that changed its place in its generation.

    Attributes
    ----------
    image : row of the recording's images
    generation, row : of its thread
    before, after : its ranks, 1 is the highest
    """

    image: int
    generation: int
    row: int
    before: float
    after: float


def movers_of(thread: RescoredThread) -> tuple[list[Mover], list[Mover]]:
    """Return the images that rise most in their generations, and those that fall most."""
    movers = [
        Mover(
            int(row.image_id[i]),
            row.generation,
            int(i),
            float(row.agreement.before[i]),
            float(row.agreement.after[i]),
        )
        for row in thread.generations
        for i in row.agreement.movers
    ]
    movers.sort(key=lambda mover: -abs(mover.after - mover.before))
    rise = [mover for mover in movers if mover.after < mover.before]
    fall = [mover for mover in movers if mover.after > mover.before]
    return rise[:PICTURES], fall[:PICTURES]


@styled
def draw_movers(
    session: RescoredSession,
    pixels: Callable[[RescoredThread, Mover], ImageArray | None],
    *,
    title: str,
) -> Figure:
    """Draw, of every thread, the images that rise most by the other score, and fall most.

    Parameters
    ----------
    session : RescoredSession
    pixels : (thread, mover) -> (h, w, 3) uint8, or None where there are none
    title : what it is of
    """
    strips: list[tuple[RescoredThread, str, int, Sequence[Mover]]] = []
    for k, thread in enumerate(session.threads):
        rise, fall = movers_of(thread)
        strips += [(thread, "rise", k, rise), (thread, "fall", k, fall)]
    columns = max((len(movers) for *_, movers in strips), default=0)
    width = _LEFT + max(columns, 4) * _PITCH + 0.2
    height = 1.0 + len(strips) * (_CELL + _TEXT) + 0.1
    figure = new_figure(width, height)
    sheet = Canvas(figure)
    sheet.heading(title, "the images that change their rank most, within their generation")
    for s, (thread, word, k, movers) in enumerate(strips):
        y = height - 1.0 - _CELL - s * (_CELL + _TEXT)
        name = shorten(thread.name, 12)
        middle = y + _CELL / 2
        sheet.write(
            0.3, middle + 0.06, name, size=13, colour=thread_colour(k), bold=True, align="left"
        )
        sheet.write(0.3, middle - 0.16, f"would {word}", size=10, colour=QUIET, align="left")
        for i, mover in enumerate(movers):
            x = _LEFT + i * _PITCH
            image = pixels(thread, mover)
            centre = x + _CELL / 2
            if image is None:
                sheet.write(centre, middle, "no pixels", size=9, colour=QUIET)
            else:
                sheet.picture(image, x, y, _CELL)
            ranks = f"{_rank(mover.before)} → {_rank(mover.after)}"
            sheet.write(centre, y - 0.19, ranks, size=11, bold=True)
            where = f"image {mover.image}, gen. {mover.generation}"
            sheet.write(centre, y - 0.36, where, size=8, colour=QUIET)
        if not movers:
            sheet.write(
                _LEFT, middle, f"none would {word}", size=10, colour=QUIET, align="left"
            )
    return figure


def _rank(rank: float) -> str:
    return f"{rank:g}" if rank == int(rank) else number(rank)
