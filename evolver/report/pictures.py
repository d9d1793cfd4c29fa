"""Figures with images in them: the film strip, the final images, and the summary slide.

Knows an `Evolution` and matplotlib's objects; computes nothing but positions. Everything is
laid out in inches on one sheet, so that images are square, aligned and few artists.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# matplotlib's annotations leave keyword arguments open.

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

from evolver.colours import QUIET, REFERENCE, thread_colour
from evolver.report import figures
from evolver.report.style import LETTER, SCORES, SLIDE, Canvas, inches, new_figure, styled
from evolver.report.words import count, in_unit, number, shorten, with_sem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from evolver.report.evolution import Evolution, ImageArray, ScoredImage
    from evolver.report.shown_sets import ShownSet

_NAME, _NOTE = 14, 21
"""Letters above and below a picture of the summary, at most."""
_SUBTITLES = ((12.0, 1), (11.0, 2), (9.0, 3))
"""Sizes of the letters below a slide's name, points, and how many lines of each have room."""

FRAME = 0.045
"""Width of a frame's coloured border, inches."""


_BAR_LETTERS = 14
"""So many fit beside an inch of a colour bar."""


def score_scale(evolution: Evolution, numbers: Sequence[int] | None = None) -> Normalize:
    """Return the colour scale of the film strip's frames, shared by threads; None: all."""
    numbers = range(len(evolution.threads)) if numbers is None else numbers
    values = np.array([p.score for k in numbers for p in evolution.threads[k].best])
    values = values[np.isfinite(values)]
    low, high = (values.min(), values.max()) if values.size else (0.0, 0.0)
    return Normalize(float(low), float(high) if high > low else float(low) + 1)


@styled
def film(evolution: Evolution) -> Figure:
    """Film strip: for some generations of each thread, the best image and the mean code's."""
    columns = max((len(t.film) for t in evolution.threads), default=1)
    left, right, top, bottom = 1.75, 1.15, 0.15, 0.1
    pitch = min((SLIDE[0] - left - right) / max(columns, 1), 1.6)
    cell = pitch - 0.12
    heights = [
        0.3 + pitch + 0.12 + (pitch if t.means else 0.0) + 0.15 for t in evolution.threads
    ]
    width = max(left + columns * pitch + right, 5.0)
    figure = new_figure(width, max(top + bottom + sum(heights), 1.6))
    sheet = Canvas(figure)
    units = evolution.score_units
    scales = {
        k: ScalarMappable(norm=score_scale(evolution, numbers), cmap=SCORES)
        for numbers in units.values()
        for k in numbers
    }
    frames: list[Rectangle] = []
    y = sheet.height - top
    for k, height in enumerate(heights):
        frames += _film_row(sheet, evolution, k, left, y - 0.27 - cell, pitch)
        y -= height
    edges = [
        scales[k].to_rgba(best.score)  # pyright: ignore[reportArgumentType]
        for k, thread in enumerate(evolution.threads)
        for best in thread.best
    ]
    sheet.axes.add_collection(
        PatchCollection(
            frames, facecolor="none", edgecolor=edges, linewidth=FRAME * 72, joinstyle="miter"
        )
    )
    if len(frames) > 1 and len(units) == 1:  # else no bar could be everybody's
        tall = min(2.4, sheet.height - 0.4)
        bar = inches(figure, width - 1.05, (sheet.height - tall) / 2, 0.15, tall)
        unit = next(iter(units))
        label = in_unit("score of best image" if tall > 2.2 else "score", unit)
        if len(label) > _BAR_LETTERS * tall:
            label = unit
        figure.colorbar(scales[0], cax=bar, label=label)
        figures.score_ticks(bar, 9.5)
        bar.spines["outline"].set_visible(False)
    if evolution.threads:
        sheet.write(
            left - 0.12,
            sheet.height - top - 0.17,
            "generation",
            size=10,
            colour=QUIET,
            align="right",
        )
    return figure


def _film_row(
    sheet: Canvas, evolution: Evolution, k: int, left: float, row: float, pitch: float
) -> list[Rectangle]:
    """Lay out one thread's images, best ones with their lower edge at `row`; return frames."""
    thread, cell = evolution.threads[k], pitch - 0.12
    below = row - 0.27 - cell
    name = shorten(thread.name, 15)
    middle = row + cell / 2
    sheet.write(
        0.2, middle + 0.06, name, size=14, colour=thread_colour(k), bold=True, align="left"
    )
    sheet.write(0.2, middle - 0.14, "best image", colour=QUIET, align="left")
    if thread.means:
        sheet.write(0.2, below + cell / 2, "mean code", colour=QUIET, align="left")
    frames: list[Rectangle] = []
    for i, (generation, best) in enumerate(zip(thread.film, thread.best, strict=True)):
        x = left + i * pitch
        sheet.write(x + cell / 2, row + cell + 0.1, str(generation), size=10, colour=QUIET)
        sheet.picture(best.pixels, x, row, cell)
        sheet.write(x + cell / 2, row - 0.2, number(best.score), size=11, bold=True)
        frames.append(_frame(x, row, cell))
        if thread.means:
            sheet.picture(thread.means[i], x, below, cell)
    return frames


def _frame(x: float, y: float, size: float) -> Rectangle:
    """Return the border just outside a picture's square."""
    d = FRAME / 2 - 0.01  # a hair inside, so that no gap shows
    return Rectangle((x - d, y - d), size + 2 * d, size + 2 * d)


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """One row of the final images: what stands left of it, and its pictures."""

    title: str
    note: str
    colour: str
    mean: ImageArray | None
    pictures: Sequence[ScoredImage]


@styled
def finals(evolution: Evolution) -> Figure:
    """Best images of each thread's last generation, and below them the best references."""
    return _draw_rows(_final_rows(evolution))


@styled
def set_images(sets: Sequence[ShownSet]) -> Figure:
    """Images of each set to which the units responded most, and least."""
    rows: list[_Row] = []
    for k, shown in enumerate(sets):
        name, colour = shorten(shown.name, 16), thread_colour(k)
        note = f"largest response\nall: {with_sem(shown.mean, shown.sem)}"
        rows.append(_Row(name, note, colour, None, shown.strongest))
        if shown.weakest:
            rows.append(_Row("", "smallest response", colour, None, shown.weakest))
    return _draw_rows(rows)


def _draw_rows(rows: Sequence[_Row]) -> Figure:
    left, pitch, words = 2.6, 1.75, 0.62
    cell = pitch - 0.15
    columns = max((len(r.pictures) + (r.mean is not None) for r in rows), default=1)
    figure = new_figure(
        left + pitch * max(columns, 3) + 0.1, max(0.25 + len(rows) * (cell + words), 2.2)
    )
    sheet = Canvas(figure)
    for r, row in enumerate(rows):
        y = sheet.height - 0.15 - cell - r * (cell + words)
        middle = y + cell / 2
        sheet.write(
            0.2, middle + 0.1, row.title, size=14, colour=row.colour, bold=True, align="left"
        )
        sheet.write(
            0.2, middle - 0.02, row.note, size=10, colour=QUIET, align="left", base="top"
        )
        x = left
        if row.mean is not None:
            sheet.picture(row.mean, x, y, cell)
            sheet.write(x + cell / 2, y - 0.2, "mean code", size=11, colour=QUIET)
            x += pitch
        for picture in row.pictures:
            centre = x + cell / 2
            sheet.picture(picture.pixels, x, y, cell)
            score = with_sem(picture.score, picture.sem)
            sheet.write(centre, y - 0.2, score, size=11.5, bold=True)
            label = shorten(picture.label, 20)
            sheet.write(centre, y - 0.37, label, size=9, colour=QUIET)
            x += pitch
    return figure


def _final_rows(evolution: Evolution) -> list[_Row]:
    rows: list[_Row] = []
    for k, thread in enumerate(evolution.threads):
        last = thread.last
        note = (
            "nothing was scored"
            if last is None
            else f"best of generation {last}\nall its images: "
            + with_sem(float(thread.scores.mean[last]), float(thread.scores.sem[last]))
        )
        mean = thread.means[-1] if thread.means else None
        rows.append(_Row(shorten(thread.name, 16), note, thread_colour(k), mean, thread.top))
    for k, thread in enumerate(
        evolution.threads[:1] if evolution.one_fitness else evolution.threads
    ):
        if not thread.best_references:
            continue
        note, colour = "best, mean over blocks", REFERENCE
        if not evolution.one_fitness:
            note += f"\nby {shorten(thread.name, 18)}'s score"
            colour = thread_colour(k)
        rows.append(_Row("references", note, colour, None, thread.best_references))
    return rows


@styled
def summary(evolution: Evolution, *, subtitle: str = "") -> Figure:
    """One slide: the scores, the final images beside the best reference, the PSTHs."""
    figure = new_figure(*SLIDE)
    sheet = Canvas(figure)
    _heading(sheet, shorten(evolution.name, 60), subtitle)
    with_psth = figures.has_psth(evolution)
    bottom = 3.45 if with_psth else 0.8
    figures.draw_all_scores(figure, evolution, (0.95, bottom, 5.1, 6.3 - bottom), size=12)
    _summary_pictures(sheet, evolution, x=8.15, width=4.95, top=6.3)
    if not with_psth:
        return figure
    n = len(evolution.threads)
    scale = figures.rate_scale(evolution)
    left, right, gap = 0.95, 1.2, 0.55
    width = (SLIDE[0] - left - right - gap * (n - 1)) / n
    for k, thread in enumerate(evolution.threads):
        x = left + k * (width + gap)
        heat = inches(figure, x, 0.7, width, 1.6)
        mesh = figures.draw_heat(heat, evolution, thread, scale)
        heat.set_title(shorten(thread.name, 24), color=thread_colour(k), pad=16)
        heat.set_xlabel("time after image onset (ms)")
        if k == 0:
            heat.set_ylabel("generation")
        if k == n - 1:
            bar = inches(figure, x + width + 0.15, 0.7, 0.13, 1.6)
            figure.colorbar(mesh, cax=bar, label="spikes/s")
            bar.spines["outline"].set_visible(False)
    return figure


def _heading(sheet: Canvas, title: str, subtitle: str) -> None:
    """Write a slide's name, and below it what it shows: the longer, the smaller."""
    size, lines = 0.0, list[str]()
    for size, most in _SUBTITLES:
        letters = int((SLIDE[0] - 0.9) * 72 / (LETTER * size))
        lines = textwrap.wrap(
            subtitle, letters, max_lines=most, placeholder="\N{HORIZONTAL ELLIPSIS}"
        )
        if len(textwrap.wrap(subtitle, letters)) <= most:
            break
    y = 6.6 + 0.085 * max(len(lines) - 1, 0)
    sheet.write(0.45, y + 0.33, title, size=20, bold=True, align="left")
    for i, line in enumerate(lines):
        at = y - i * 1.25 * size / 72
        sheet.write(0.45, at, line, size=size, colour=QUIET, align="left")


def _summary_pictures(
    sheet: Canvas, evolution: Evolution, *, x: float, width: float, top: float
) -> None:
    """Lay the best final image of each thread and the best reference side by side."""
    cells = [
        (
            shorten(thread.name, _NAME),
            thread_colour(k),
            thread.top[0],
            f"generation {thread.last}",
            thread.means[-1] if thread.means else None,
        )
        for k, thread in enumerate(evolution.threads)
        if thread.top
    ]
    if evolution.threads and evolution.threads[0].best_references:
        best = evolution.threads[0].best_references[0]
        note = f"over {count(best.n, 'block')}"
        if not evolution.one_fitness:
            note = f"by {shorten(evolution.threads[0].name, 10)}'s score"
        cells.append(("best reference", REFERENCE, best, note, None))
    if not cells:
        sheet.write(x + width / 2, top - 1.5, "nothing was scored", colour=QUIET)
        return
    pitch = min(width / len(cells), 1.65)
    cell = pitch - 0.25
    x += (width - pitch * len(cells)) / 2
    small = 9.0 if pitch > 1.3 else 7.0
    large = min(small + 2.5, pitch * 72 / (_NAME * 0.65))  # bold letters are wider
    note_size = min(small - 0.5, pitch * 72 / (_NOTE * LETTER))
    for i, (name, colour, picture, note, mean) in enumerate(cells):
        at = x + i * pitch
        centre = at + cell / 2
        y = top - 0.1 - cell
        sheet.write(centre, top, name, size=large, colour=colour, bold=True)
        sheet.picture(picture.pixels, at, y, cell)
        score = with_sem(picture.score, picture.sem)
        sheet.write(centre, y - 0.2, score, size=large, bold=True)
        sheet.write(centre, y - 0.36, note, size=note_size, colour=QUIET)
        if mean is not None:
            sheet.picture(mean, at, y - 0.5 - cell, cell)
            sheet.write(centre, y - 0.66 - cell, "mean code", size=small - 0.5, colour=QUIET)
