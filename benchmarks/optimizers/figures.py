"""Figures of a comparison: ratios, learning curves, cost beside quality.

Knows outcomes, statistics and matplotlib's objects, in the house's look.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# matplotlib's annotations leave keyword arguments open.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from benchmarks.optimizers.contestants import BASELINE
from benchmarks.optimizers.noise import Noise
from evolver.colours import GRID, INK, QUIET, series_colour
from evolver.report.style import inches, new_figure, spread, styled, whole_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from benchmarks.optimizers.cost import Cost
    from benchmarks.optimizers.outcomes import RunOutcome
    from benchmarks.optimizers.statistics import ScoreTable

MOST_RATIO = 3.0
"""Where the axis of ratios ends."""
LineStyles: TypeAlias = dict[str, dict[str, Any]]
_DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))
_WIDE = 8  # times the left end: the right one of an axis on which 1, 2 and 5 are enough ticks
_ROWS = (
    ("best", "best image so far"),
    ("mean_image", "mean image"),
    ("mean_norm", "norm of the mean code"),
)


def looks(labels: Sequence[str]) -> LineStyles:
    """Return colour and dashes of each optimizer, the same in every figure; Cholesky in ink."""
    others = [label for label in labels if label != BASELINE]
    styles: LineStyles = {BASELINE: {"color": INK, "ls": "-"}}
    for k, label in enumerate(others):
        dashes = _DASHES[k // 6 % len(_DASHES)]
        styles[label] = {"color": series_colour(k), "ls": dashes}
    return styles


@styled
def ratios(scores: Mapping[str, ScoreTable], look: LineStyles) -> Figure:
    """Ratio of the best image's clean score to Cholesky's, with intervals, a panel a noise."""
    labels = [name for name in look if any(name in s.labels for s in scores.values())]
    left, width, row = 1.75, max(1.9, 9.5 / len(scores)), 0.3
    height = row * len(labels) + 0.3
    figure = new_figure(left + len(scores) * (width + 0.25), height + 1.25)
    for column, (noise, table) in enumerate(scores.items()):
        axes = inches(figure, left + column * (width + 0.25), 0.7, width, height)
        for kind, filled, shift in (("best", True, -0.14), ("mean_image", False, 0.16)):
            for label, comparison in table.comparisons(kind, to=BASELINE).items():
                y, colour = labels.index(label) + shift, look[label]["color"]
                ratio = comparison.estimate
                if comparison.kind != "ratio":
                    if filled and np.isfinite(ratio.value):
                        delta = f"\N{GREEK CAPITAL LETTER DELTA} {ratio.value:+.2f}"
                        _write_in_row(axes, delta, y, colour)
                    continue
                if ratio.value > MOST_RATIO:
                    beyond = f"{ratio.value:.1f} \N{RIGHTWARDS ARROW}"
                    _write_in_row(axes, beyond, y, colour)
                    continue
                size = 6 if filled else 4.5
                face = colour if filled else "white"
                axes.plot(
                    ratio.value, y, "o", ms=size, color=colour, mfc=face, zorder=3, mew=1.3
                )
                if np.isfinite([ratio.low, ratio.high]).all():
                    thick = 2 if filled else 1
                    axes.plot([ratio.low, ratio.high], [y, y], "-", color=colour, lw=thick)
        axes.axvline(1, color=QUIET, lw=1, zorder=1)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.margins(x=0.08)
        axes.set_yticks(range(len(labels)), labels if column == 0 else [""] * len(labels))
        axes.tick_params(axis="y", length=0)
        axes.tick_params(labelsize=10.5)
        axes.grid(axis="x", color=GRID, lw=0.8)
        low, high = axes.get_xlim()
        axes.set_xlim(max(low, -0.2), min(high, MOST_RATIO))
        axes.set_title(Noise.parse(noise).words, fontsize=11.5)
        axes.set_xlabel(f"ratio to {BASELINE}", fontsize=11)
    return figure


def _write_in_row(axes: Axes, text: str, y: float, colour: str) -> None:
    """Write a number in its row, at the right, where there is no circle to draw."""
    axes.text(
        0.98,
        y,
        text.replace("-", "\N{MINUS SIGN}"),
        transform=axes.get_yaxis_transform(),
        fontsize=9.5,
        color=colour,
        ha="right",
        va="center",
    )


@styled
def curves(outcomes: Sequence[RunOutcome], world: str, look: LineStyles) -> Figure:
    """Means over units and seeds against images scored: rows are measures, columns noises."""
    runs = [o for o in outcomes if o.spec.world == world and not o.failed]
    noises = list(dict.fromkeys(o.spec.noise for o in runs))
    labels = [name for name in look if any(o.spec.optimizer == name for o in runs)]
    scale = {
        unit: max(o.best for o in runs if o.spec.unit == unit)
        for unit in {o.spec.unit for o in runs}
    }
    width, height, left, gap = max(2.1, 10.5 / max(1, len(noises))), 2.0, 0.95, 0.3
    legend_rows = -(-len(labels) // 6)
    figure = new_figure(
        left + len(noises) * (width + gap), 3 * (height + gap) + 1.0 + 0.28 * legend_rows
    )
    for row, (measure, words) in enumerate(_ROWS):
        shared: Axes | None = None
        for column, noise in enumerate(noises):
            x, y = left + column * (width + gap), 0.65 + (2 - row) * (height + gap)
            axes = inches(figure, x, y, width, height)
            for label in labels:
                mine = [o for o in runs if (o.spec.noise, o.spec.optimizer) == (noise, label)]
                if mine:
                    grid, line = mean_curve(mine, measure, scale)
                    thick = 2.2 if label == BASELINE else 1.6
                    axes.plot(grid, line, lw=thick, **look[label])
            axes.grid(axis="y", color=GRID, lw=0.8)
            axes.xaxis.set_major_locator(whole_ticks(4))
            axes.tick_params(labelsize=10)
            axes.set_xlim(left=0)
            if row == 0:
                axes.set_title(Noise.parse(noise).words, fontsize=11.5)
            if row == 2:
                axes.set_xlabel("images scored", fontsize=11)
            if shared is None:
                shared = axes
                axes.set_ylabel(words, fontsize=11)
            else:
                axes.sharey(shared)
                axes.tick_params(labelleft=False)
        if shared is not None and measure != "mean_norm":
            shared.set_ylim(max(-0.25, shared.get_ylim()[0]), 1.02)
    handles = [Line2D([], [], lw=2, label=name, **look[name]) for name in labels]
    columns = -(-len(labels) // max(1, legend_rows))
    figure.legend(handles=handles, loc="upper left", ncols=max(1, columns), fontsize=10.5)
    return figure


def mean_curve(
    runs: Sequence[RunOutcome], measure: str, scale: Mapping[str, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return images scored and the mean over runs, scores in units of the unit's largest.

    Populations may be of any size: curves are read at whole generations of the plan's, between
    an optimizer's own by straight lines.
    """
    spec = runs[0].spec
    grid = spec.popsize * np.arange(1, spec.generations + 1)
    lines: list[np.ndarray] = [
        np.interp(grid, o.curve.evaluations, getattr(o.curve, measure))
        / (1.0 if measure == "mean_norm" else scale[o.spec.unit])
        for o in runs
        if measure == "mean_norm" or scale[o.spec.unit] > 0
    ]
    return grid, np.mean(lines, axis=0) if lines else np.full(len(grid), np.nan)


def _plain(value: float, _: int) -> str:
    return f"{value:g}"


@styled
def cost(
    scores: Mapping[str, ScoreTable], costs: Sequence[Cost], d: int, look: LineStyles
) -> Figure | None:
    """Quality against cost, both as ratios to Cholesky; None where nothing was measured."""
    ratio_of = {c.optimizer: c.mean_ratio for c in costs if c.d == d and not c.failed}
    by_noise = [s.comparisons("best", to=BASELINE) for s in scores.values()]
    points: dict[str, tuple[float, float]] = {}
    for label, taken in ratio_of.items():
        of_noises = [r[label] for r in by_noise if label in r]
        values = [c.estimate.value for c in of_noises if c.kind == "ratio"]
        if values and len(values) == len(of_noises):
            points[label] = (taken, float(np.exp(np.mean(np.log(values)))))
    if not points:
        return None
    figure = new_figure(9.5, 4.6)
    axes = inches(figure, 0.9, 0.75, 6.6, 3.6)
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(_plain))
    for label, (x, y) in points.items():
        axes.plot(x, y, "o", ms=8, color=look[label]["color"], zorder=3)
    axes.axhline(1, color=QUIET, lw=1, zorder=1)
    axes.axvline(1, color=QUIET, lw=1, zorder=1)
    cheap, dear = axes.get_xlim()
    wide = dear > _WIDE * cheap  # else 1, 2 and 5 are one tick or two
    axes.xaxis.set_major_locator(
        LogLocator(subs=(1, 2, 5)) if wide else MaxNLocator(6, steps=[1, 2, 5, 10])
    )
    axes.grid(color=GRID, lw=0.8, which="major")
    low, high = axes.get_ylim()
    names = sorted(points, key=lambda name: points[name][1])
    at = spread((points[name][1] for name in names), gap=(high - low) * 0.062)
    for name, y in zip(names, at, strict=True):
        axes.annotate(
            name,
            points[name],
            xycoords="data",
            xytext=(1.04, (y - low) / (high - low)),
            textcoords="axes fraction",
            fontsize=10.5,
            color=look[name]["color"],
            fontweight="bold",
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": GRID, "lw": 0.9, "shrinkB": 5},
        )
    axes.set_xlabel(f"CPU time of ask + tell, mean, ratio to {BASELINE}", fontsize=11.5)
    axes.set_ylabel(f"best image, ratio to {BASELINE},\nmean over noises", fontsize=11.5)
    return figure
