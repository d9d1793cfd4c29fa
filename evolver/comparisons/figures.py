"""Figures of the comparisons: every run a point, the mean with its interval, n and the test.

Knows results of this room and matplotlib's objects; computes means, intervals and tests by
`evolver.analysis`, nothing else.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# matplotlib's annotations leave keyword arguments open.

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps

from evolver.analysis.rank_tests import mean_interval, signed_rank
from evolver.colours import GRID, INK, QUIET, THREADS
from evolver.report.style import LETTER, Canvas, inches, new_figure, styled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from evolver.analysis.rank_tests import MeanInterval, RankTest
    from evolver.comparisons.alignment import AlignmentRuns
    from evolver.comparisons.inversion import Inversions
    from evolver.comparisons.linearity import Linearity
    from evolver.types import Images, Scores

_SHOWN = 6  # images of the inversions
_CELL = 0.92
_SOLVED = 1e-6  # of the alignment toy's score: solved, for any practical purpose
PEARSON, SHARE = (-1.0, 1.0), (-np.inf, 1.0)
"""What a correlation can be, and a share of a largest drive, which may be below 0."""
_R2 = (-np.inf, 1.0)
KEY = "diamond and bar: mean and its 95 % interval"
"""What a figure says of `draw_column`."""


@styled
def draw_inversions(
    originals: Images, results: Sequence[Inversions], *, what: str, how: str
) -> Figure:
    """Draw the correlations of every image and the mean of each generator, beside examples.

    Parameters
    ----------
    originals : (n, h, h, 3) uint8, what was to be drawn
    results : one a generator, of the same images
    what : the images, in words
    how : steps and rate, in words
    """
    kept = np.all([np.isfinite(r.pearson) for r in results], axis=0)
    n = int(kept.sum())
    panel = 1.5 + 0.85 * len(results)
    shown = min(_SHOWN, len(originals))
    rows = 1 + len(results)
    left = 0.95 + panel + 1.65
    width = left + shown * (_CELL + 0.08) + 0.3
    height = max(4.4, rows * (_CELL + 0.1) + 1.6)
    figure = new_figure(width, height)
    sheet = Canvas(figure)
    flat = len(originals) - n
    beside = f", and {flat} of one colour" if flat else ""
    sheet.heading("Inversion", f"n = {n} images ({what}){beside}; {how}")
    axes = inches(figure, 0.95, 1.05, panel, height - 2.1)
    values = np.stack([r.pearson[kept] for r in results])
    axes.plot(np.arange(len(results)), values, color=GRID, lw=0.8, zorder=1)
    for i, row in enumerate(values):
        draw_column(axes, i, row, THREADS[i % len(THREADS)], within=PEARSON)
    axes.set_xticks(range(len(results)), [r.generator for r in results])
    axes.set_xlim(-0.6, len(results) - 0.4)
    axes.set_ylabel("Pearson r over pixels")
    note = KEY
    if len(results) == 2:
        test = signed_rank(values[0], values[1])
        note += f"; signed-rank, {results[0].generator} above: {test}"
    sheet.notes(note)
    # From the worst to the best of the first generator, evenly.
    # Images of one colour have no correlation: they are shown where there are no others.
    order = np.argsort(np.where(kept, results[0].pearson, -2), kind="stable")
    order = order[len(originals) - n :] if n else order
    picked = order[np.linspace(0, len(order) - 1, min(shown, len(order))).round().astype(int)]
    if not n:
        axes.set_yticks([])
        x = (len(results) - 1) / 2
        axes.text(x, 0.5, "none:\nimages of\none colour", ha="center", color=QUIET, fontsize=10)
        axes.set_ylim(0, 1)
    top = height - 1.15 - _CELL
    for k, (label, images) in enumerate([
        ("image", originals),
        *((r.generator, r.images) for r in results),
    ]):
        y = top - k * (_CELL + 0.1)
        sheet.write(left - 0.12, y + _CELL / 2, label, size=10, align="right", base="center")
        for j, i in enumerate(picked):
            sheet.picture(images[i], left + j * (_CELL + 0.08), y, _CELL)
    below = top - (rows - 1) * (_CELL + 0.1) - 0.22
    note = f"from the worst of {results[0].generator} to its best"
    sheet.write(
        left, below, note if n else "in their order", size=9, colour=QUIET, align="left"
    )
    return figure


@dataclass(frozen=True, slots=True, eq=False)
class LayerPanel:
    """What is drawn of one layer: the relative scores of every generator and method.

    Attributes
    ----------
    layer : str
    scores : (generator, method) -> (u, r) as a share of the unit's largest
    tests : method -> rank-sum over runs and signed-rank over units between the first two
        generators; empty where there is one
    examples : generator -> (k, h, h, 3) the images of some units' highest drives
    """

    layer: str
    scores: Mapping[tuple[str, str], Scores]
    tests: Mapping[str, tuple[RankTest, RankTest]]
    examples: Mapping[str, Images]


@styled
def draw_maximisation(panels: Sequence[LayerPanel], *, how: str) -> Figure:
    """Draw the highest drives of every layer: a row of panels a method, and examples below.

    Parameters
    ----------
    panels : one a layer, of the same generators and methods
    how : units, repeats, steps, in words
    """
    pairs = list(panels[0].scores)
    names = list(dict.fromkeys(name for name, _ in pairs))
    methods = list(dict.fromkeys(method for _, method in pairs))
    layers = len(panels)
    k = max(len(images) for panel in panels for images in panel.examples.values())
    pitch = max(1.75, k * 0.72 + 0.2)
    width = max(1.35 + layers * pitch + 0.4, 6.5)
    tall, gap = 1.9, 0.85
    pictures = len(names) * 0.78 + 0.5
    height = 1.35 + len(methods) * (tall + gap) + pictures
    figure = new_figure(width, height)
    sheet = Canvas(figure)
    sheet.heading("Activation maximisation", how)
    legend = max(len(name) for name in names) * LETTER * 10 / 72 + 0.35
    for g, name in enumerate(names):
        sheet.write(
            1.35 + g * legend,
            height - 1.0,
            f"\u25cf {name}",
            colour=THREADS[g],
            align="left",
            size=10,
        )
    lowest = min(_lowest(scores) for panel in panels for scores in panel.scores.values())
    for m, method in enumerate(methods):
        bottom = height - 1.25 - (m + 1) * tall - m * gap
        axes = inches(figure, 1.35, bottom, layers * pitch, tall)
        for i, panel in enumerate(panels):
            for g, name in enumerate(names):
                at = i + (g - (len(names) - 1) / 2) * 0.26
                _draw_units_column(axes, at, panel.scores.get((name, method)), THREADS[g])
            x = 1.35 + (i + 0.5) * pitch
            for line, test in enumerate(panel.tests.get(method, ())):
                over = ("runs", "units")[line]
                text = f"p = {test.p:.1g}, {test.n} {over}" if test.defined else "no test"
                y = bottom - 0.4 - 0.13 * line
                sheet.write(x, y, text, size=7.5, colour=QUIET)
        axes.set_xlim(-0.5, layers - 0.5)
        axes.set_ylim(lowest - 0.04 * (1 - lowest) * (lowest < 0), 1.06)
        axes.tick_params(axis="y", labelsize=10)
        axes.set_xticks(range(layers), [panel.layer for panel in panels])
        axes.tick_params(axis="x", length=0)
        axes.set_ylabel(f"{method}\nshare of largest", fontsize=10)
    top = height - 1.25 - len(methods) * (tall + gap)
    for i, panel in enumerate(panels):
        for g, name in enumerate(names):
            for j, image in enumerate(panel.examples.get(name, ())):
                x = 1.35 + i * pitch + (pitch - k * 0.72) / 2 + j * 0.72
                sheet.picture(image, x, top - (g + 1) * 0.76, 0.7)
    for g, name in enumerate(names):
        y = top - (g + 0.5) * 0.76
        sheet.write(1.28, y, name, size=8, align="right", base="center", colour=THREADS[g])
    note = (
        f"{KEY}, over units; dots: runs; p: rank-sum over runs, which are not independent, and "
        f"signed-rank over units, of {' and '.join(names[:2])}; images: highest drives by "
        f"{methods[0]}"
    )
    sheet.notes(note)
    return figure


def _of_units(scores: Scores) -> tuple[Scores, MeanInterval]:
    """Return the runs of units that have a share, (u, r), and the mean over those units."""
    kept = scores[np.isfinite(scores).all(axis=1)]
    return kept, mean_interval(kept.mean(axis=1), within=SHARE)


def _lowest(scores: Scores) -> float:
    """Return the lowest that is drawn of runs, (u, r); 0 at most."""
    kept, mean = _of_units(scores)
    low = mean.low if np.isfinite(mean.low) else 0.0
    return min(0.0, low, float(kept.min(initial=0.0)))


def _draw_units_column(axes: Axes, x: float, scores: Scores | None, colour: str) -> None:
    """Draw runs, (u, r), as points, and the mean over units with its interval."""
    if scores is None:
        return
    kept, mean = _of_units(scores)
    spread = np.random.default_rng(0).uniform(-0.05, 0.05, kept.size)
    axes.plot(x + spread, kept.ravel(), "o", color=colour, ms=3, alpha=0.4, mew=0, zorder=2)
    if np.isfinite(mean.low):
        axes.plot([x, x], [mean.low, mean.high], color=INK, lw=1.6, zorder=3)
    axes.plot([x], [mean.mean], "D", color=colour, mec=INK, ms=6, zorder=4)


def fitting_size(text: str, width: float) -> float:
    """Return the largest size, points, at which a text has room in a width, inches."""
    return width * 72 / (LETTER * max(len(text), 1))


def draw_column(
    axes: Axes,
    x: float,
    values: Scores,
    colour: str,
    *,
    dots: int | None = None,
    within: tuple[float, float] = (-np.inf, np.inf),
) -> None:
    """Draw points in a column, `dots` at most, and the mean with its 95 % interval.

    Parameters
    ----------
    axes, x, colour : where, and in what
    values : (n,)
    dots : all of them when None
    within : the least and the largest that a value can be
    """
    shown = values[:dots]
    spread = np.random.default_rng(0).uniform(-0.06, 0.06, len(shown))
    axes.plot(x + spread, shown, "o", color=colour, ms=3.5, alpha=0.45, mew=0, zorder=2)
    mean = mean_interval(values, within=within)
    if np.isfinite(mean.low):
        axes.plot([x, x], [mean.low, mean.high], color=INK, lw=1.8, zorder=3)
    axes.plot([x], [mean.mean], "D", color=colour, mec=INK, ms=7, zorder=4)


@styled
def draw_alignment(runs: AlignmentRuns) -> Figure:
    """Draw how far from the highest score each method ends, over depth, a line a dimension."""
    n = len(runs.seeds)
    figure = new_figure(10.2, 4.6)
    sheet = Canvas(figure)
    sheet.heading(
        "Alignment: searches through random flows",
        f"n = {n} flows a point; {runs.steps} steps; mean of log10 and its 95 % interval",
    )
    titles = {"cholesky": "Cholesky CMA-ES, 0.5", "adam": "Adam, 0.1"}
    panels = {m: inches(figure, 1.0 + 4.0 * i, 0.8, 3.5, 2.6) for i, m in enumerate(titles)}
    floor = _SOLVED
    for method, axes in panels.items():
        for j, d in enumerate(runs.dimensions):
            colour = colormaps["viridis"](0.9 * j / max(len(runs.dimensions) - 1, 1))
            logs = np.log10(np.maximum(-runs.final[method][:, j], floor))
            means = [
                mean_interval(row[np.isfinite(row)], within=(np.log10(floor), np.inf))
                for row in logs
            ]
            x = np.arange(len(runs.depths)) + (j - (len(runs.dimensions) - 1) / 2) * 0.06
            y = np.array([mean.mean for mean in means])
            low = np.array([mean.low for mean in means])
            high = np.array([mean.high for mean in means])
            axes.plot(x, y, "o-", color=colour, ms=3.5, lw=1.3, label=f"d = {d}")
            axes.vlines(x, low, high, color=colour, lw=1)
        axes.set_xticks(range(len(runs.depths)), [str(depth) for depth in runs.depths])
        axes.set_xlabel("layers of the flow")
        axes.set_title(titles[method], fontsize=11)
        axes.tick_params(labelsize=10)
    both = [axes.get_ylim() for axes in panels.values()]
    for axes in panels.values():
        axes.set_ylim(min(low for low, _ in both), max(high for _, high in both))
    panels["cholesky"].set_ylabel("log10 of what is missing\n(½ squared distance)", fontsize=10)
    panels["adam"].legend(loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=9)
    note = f"lower is better; what is nearer than {_SOLVED:g} counts as {_SOLVED:g}"
    sheet.notes(note)
    return figure


@styled
def draw_linearity(
    layers: Sequence[str], found: Mapping[str, Sequence[Sequence[Linearity]]], *, how: str
) -> Figure:
    """Draw R^2 over layers, a line for each generator and part of its code, in both directions.

    Parameters
    ----------
    layers : names, the first is nearest to the image
    found : generator -> for each layer, one a part
    how : images and units, in words
    """
    figure = new_figure(10.6, 4.5)
    sheet = Canvas(figure)
    sheet.heading("Latent linearity", how)
    titles = ("units from the code", "code from the units")
    both = [inches(figure, 0.95 + 4.0 * i, 0.8, 3.45, 2.5) for i in range(2)]
    for direction, axes in enumerate(both):
        for g, (name, by_layer) in enumerate(found.items()):
            for p in range(len(by_layer[0])):
                held = [
                    (layer[p].to_units if direction == 0 else layer[p].to_codes)
                    for layer in by_layer
                ]
                means = [mean_interval(h.r2[np.isfinite(h.r2)], within=_R2) for h in held]
                x = np.arange(len(layers)) + 0.05 * p + 0.1 * g - 0.1
                style = ("-", "--", ":", "-.")[p % 4]
                label = f"{name}, {by_layer[0][p].part} ({by_layer[0][p].k})"
                y = [m.mean for m in means]
                colour = THREADS[g]
                axes.plot(x, y, style, marker="o", ms=4, color=colour, lw=1.3, label=label)
                axes.vlines(x, [m.low for m in means], [m.high for m in means], color=colour)
        axes.axhline(0, color=GRID, lw=1, zorder=0)
        axes.set_xticks(range(len(layers)), layers)
        axes.set_title(titles[direction], fontsize=11)
        axes.tick_params(labelsize=10)
    both[0].set_ylabel("R² of images held out", fontsize=11)
    both[1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8)
    note = "means over units (left) and dimensions of the code (right), with 95 % intervals"
    sheet.notes(note)
    return figure
