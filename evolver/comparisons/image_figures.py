"""Figures of images themselves: sets of them, and what evolutions ended with.

As `evolver.comparisons.figures`: knows results of this room and matplotlib's objects.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# matplotlib's annotations leave keyword arguments open.

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evolver.colours import GRID, INK, QUIET, THREADS
from evolver.comparisons.figures import KEY, draw_column, fitting_size
from evolver.comparisons.last_generations import MEASURES
from evolver.report.style import Canvas, inches, new_figure, styled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from evolver.comparisons.last_generations import LastGenerations, MeasureTest
    from evolver.comparisons.sets import MeasuredSet, SetDistance
    from evolver.types import Images, Matrix, Scores

_CELL, _PITCH = 0.86, 0.96
_DOTS = 200  # of a set's images
_DEGREES = 10  # of orientation that are drawn as one
_WITHIN = {"luminance": (0.0, 1.0), "contrast": (0.0, 0.5), "slope": (-np.inf, np.inf)}
"""The least and the largest that a measure can be."""
_LABELS = {
    "luminance": "luminance",
    "contrast": "RMS contrast",
    "slope": "slope of log power",
}


@styled
def draw_statistics(found: Sequence[LastGenerations], tests: Sequence[MeasureTest]) -> Figure:
    """Draw each measure, a point a session, the spectra over scales and angles, and images.

    Parameters
    ----------
    found : one a generator
    tests : of the first two, one a measure; none where there is one generator
    """
    rows = len(found)
    width, pictures = 12.6, rows * _PITCH
    figure = new_figure(width, 5.0 + pictures)
    sheet = Canvas(figure)
    sessions = ", ".join(f"{f.generator}: {len(f.sessions)}" for f in found)
    images = sum(len(f.session) for f in found)
    sheet.heading(
        "Images that evolutions ended with",
        f"n = {images} images of last generations; sessions: {sessions}",
    )
    bottom = pictures + 1.15
    for m, measure in enumerate(MEASURES):
        axes = inches(figure, 0.95 + m * 2.25, bottom, 1.45, 2.5)
        by_session = [f.means(measure) for f in found]
        for pair in _pairs(by_session):
            axes.plot(range(len(pair)), pair, color=GRID, lw=0.8, zorder=1)
        for g, means in enumerate(by_session):
            values = np.array([x for x in means.values() if np.isfinite(x)])
            colour, within = THREADS[g % len(THREADS)], _WITHIN[measure]
            draw_column(axes, g, values, colour, within=within)
        axes.set_xlim(-0.6, rows - 0.4)
        axes.set_xticks([])
        axes.tick_params(labelsize=9)
        axes.set_title(_LABELS[measure], fontsize=11)
        for test in tests:
            if test.measure == measure:
                kind = "pairs" if test.paired else "sessions"
                found_p = f"p = {test.test.p:.2g}, {test.test.n} {kind}"
                text = found_p if test.test.defined else f"no test: {test.test.reason}"
                x = 0.95 + m * 2.25 + 0.72
                sheet.write(x, bottom - 0.3, text, size=9, colour=QUIET)
    radial = inches(figure, 7.85, bottom, 1.9, 2.5)
    angles = inches(figure, 10.4, bottom, 1.9, 2.5)
    for g, one in enumerate(found):
        colour = THREADS[g % len(THREADS)]
        side = 2 * len(one.statistics.frequencies)
        _band(radial, one.statistics.frequencies, one.statistics.power / side**4, colour)
        around = np.roll(one.statistics.anisotropy, _DEGREES // 2, axis=1)
        by_angle = around.reshape(-1, 180 // _DEGREES, _DEGREES)
        _band(angles, np.arange(0.0, 180, _DEGREES), np.nanmean(by_angle, axis=2), colour)
    radial.set_xscale("log")
    radial.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    radial.set_yscale("log")
    radial.yaxis.set_major_formatter(lambda y, _: _power_of_ten(y))
    radial.minorticks_off()
    angles.axhline(1, color=GRID, lw=1, zorder=0)
    radial.set_title("variance a frequency", fontsize=11)
    radial.set_xlabel("cycles per image", fontsize=10)
    angles.set_title("by orientation", fontsize=11)
    angles.set_xlabel("degrees (0: vertical bars)", fontsize=10)
    angles.set_xticks([0, 45, 90, 135, 180])
    for axes in (radial, angles):
        axes.tick_params(labelsize=9)
    _rows_of_images(
        sheet, [(one.generator, one.examples) for one in found], coloured=len(found)
    )
    note = (
        f"dots: sessions, mean of their images; {KEY}; lines: pairs of one session; spectra: "
        f"mean and standard error over images; by orientation, {_DEGREES} degrees together: "
        "power over its ring's mean, 1 where all directions are alike; images: highest scores"
    )
    sheet.notes(note)
    return figure


@styled
def draw_sets(
    found: Sequence[SetDistance], sets: Mapping[str, MeasuredSet], *, what: str
) -> Figure:
    """Draw how far sets are from natural images, their pixels, and what is seen in them.

    Parameters
    ----------
    found : one a set
    sets : by name, the same, and natural images last
    what : the features and the natural images, in words
    """
    names = list(sets)
    detected = all(own.objects is not None for own in sets.values())
    panels = 5 + detected
    pitch = 2.25
    width, pictures = 1.35 + panels * pitch, len(names) * _PITCH
    figure = new_figure(width, 5.0 + pictures)
    sheet = Canvas(figure)
    sizes = ", ".join(dict.fromkeys(f"{s.distance.n}" for s in found))
    sheet.heading("Sets of images", f"n = {sizes} images a set; {what}")
    bottom = pictures + 1.15
    axes_of = [inches(figure, 0.95 + i * pitch, bottom, 1.45, 2.5) for i in range(panels)]
    titles = ["Fréchet distance", "inception score", *_LABELS.values()]
    titles += ["surest object"] * detected
    for axes, title in zip(axes_of, titles, strict=True):
        axes.set_title(title, fontsize=11)
        axes.set_xlim(-0.6, len(names) - 0.4)
        axes.set_xticks([])
        axes.tick_params(labelsize=9)
    far, score, *pixels = axes_of
    for g, one in enumerate(found):
        colour = THREADS[g % len(THREADS)]
        far.bar(g, one.distance.value, 0.6, color=colour)
        far.plot([g - 0.35, g + 0.35], [one.floor.value] * 2, color=INK, lw=1.6)
        if one.score is not None:
            score.bar(g, one.score.mean, 0.6, yerr=one.score.sd, color=colour, ecolor=INK)
    if not any(one.score is not None and one.score.mean > 0 for one in found):
        score.set_yticks([])
        score.text(0.5, 0.5, "none", transform=score.transAxes, ha="center", color=QUIET)
    for g, own in enumerate(sets.values()):
        colour = THREADS[g % len(THREADS)] if g < len(found) else QUIET
        for axes, measure in zip(pixels, MEASURES, strict=False):
            values: Scores = getattr(own.pixels, measure)
            there = values[np.isfinite(values)]
            draw_column(axes, g, there, colour, dots=_DOTS, within=_WITHIN[measure])
        if own.objects is not None and detected:
            sure = own.objects.confidence
            draw_column(pixels[-1], g, sure, colour, dots=_DOTS, within=(0, 1))
            pixels[-1].text(
                g,
                1.02,
                f"{100 * own.objects.detected:.0f}",
                ha="center",
                fontsize=8,
                color=QUIET,
            )
            pixels[-1].set_ylim(-0.02, 1.08)
    x = 0.95 + pitch / 2 - 0.4
    sheet.write(x, bottom - 0.3, "black: the floor, natural images", size=8, colour=QUIET)
    _rows_of_images(
        sheet, [(name, own.examples) for name, own in sets.items()], coloured=len(found)
    )
    note = (
        f"{KEY}; dots: {_DOTS} images of a set at most; inception score: mean and standard "
        "deviation of ten splits" + ("; above: % with an object" if detected else "")
    )
    sheet.notes(note)
    return figure


def _rows_of_images(
    sheet: Canvas, rows: Sequence[tuple[str, Images]], *, coloured: int
) -> None:
    """Lay rows of images at the foot of a sheet, each after its name."""
    for g, (name, images) in enumerate(rows):
        y = 0.5 + (len(rows) - 1 - g) * _PITCH
        colour = THREADS[g % len(THREADS)] if g < coloured else QUIET
        middle = y + _CELL / 2
        size = min(10.0, fitting_size(name, 1.6))
        sheet.write(1.75, middle, name, size=size, align="right", base="center", colour=colour)
        for j, image in enumerate(images):
            sheet.picture(image, 1.9 + j * (_CELL + 0.08), y, _CELL)


def _power_of_ten(value: float) -> str:
    """Return a tick of a logarithmic axis; figures do not read mathematics in texts."""
    digits = f"{np.log10(value):.0f}".translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{digits}"


def _pairs(by_session: Sequence[Mapping[str, float]]) -> list[list[float]]:
    """Return the values of sessions that have one of every generator."""
    shared = [k for k in by_session[0] if all(k in means for means in by_session)]
    return [[means[k] for means in by_session] for k in shared]


def _band(axes: Axes, x: Scores, values: Matrix, colour: str) -> None:
    """Draw the mean over rows, (n, k), with its standard error, where there is one."""
    there = np.isfinite(values).all(axis=0)
    mean = values[:, there].mean(axis=0)
    axes.plot(x[there], mean, color=colour, lw=1.3)
    if len(values) > 1:
        sem = values[:, there].std(axis=0, ddof=1) / np.sqrt(len(values))
        low = np.maximum(mean - sem, mean * 1e-3)
        axes.fill_between(x[there], low, mean + sem, color=colour, alpha=0.25, lw=0)
