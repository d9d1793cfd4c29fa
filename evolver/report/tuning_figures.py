"""Figures of tuning along latent axes: an experiment's curves; shapes and peaks of many.

Knows summaries, an `ExperimentPopulation` and matplotlib's objects; computes nothing but
positions.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# matplotlib's annotations leave keyword arguments open.

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evolver.analysis.axis_tuning import TUNED
from evolver.colours import GRID, INK, QUIET, THREADS, thread_colour
from evolver.experiments.experiment import DEGREES, LATENT_UNITS
from evolver.experiments.tuning_populations import (
    SHAPES,
    axis_groups,
    peak_shares,
    shape_shares,
)
from evolver.report.style import Canvas, inches, new_figure, styled, tint
from evolver.report.words import in_unit, is_rate, number, p_value, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from evolver.analysis.success_rates import CountedShare
    from evolver.experiments.axis_summaries import AxisSummary
    from evolver.experiments.populations import ExperimentPopulation
    from evolver.experiments.summary import ExperimentSummary, ThreadSummary
    from evolver.experiments.tuning_populations import AxisGroup

_LEFT, _NARROWEST = 0.85, 8.6
_PANEL, _TALL, _ACROSS, _DOWN = 1.9, 1.35, 2.2, 2.3
_A_ROW = 5
_LONGEST_NAME = 20  # letters that fit above a panel
_STEP_LABELS = {LATENT_UNITS: "step", DEGREES: "angle (\N{DEGREE SIGN})"}
INTERVALS = "lines: Wilson's 95 % interval of the true share"


@styled
def draw_experiment_tuning(summary: ExperimentSummary) -> Figure | None:
    """Draw the tuning of an experiment's threads, a panel an axis; None without any axis."""
    threads = [(k, one) for k, one in enumerate(summary.threads) if one.axes]
    if not threads:
        return None
    rows = [-(-len(one.axes) // _A_ROW) for _, one in threads]
    across = min(_A_ROW, max(len(one.axes) for _, one in threads))
    width = max(_LEFT + across * _ACROSS + 0.1, _NARROWEST)
    height = 1.05 + sum(rows) * _DOWN + 0.35 * len(threads) + 0.45
    figure = new_figure(width, height)
    sheet = Canvas(figure)
    experiment = summary.experiment
    facts = [experiment.area, experiment.unit, experiment.animal, experiment.date]
    sheet.heading(
        f"Tuning: {shorten(experiment.id, 52)}",
        shorten(", ".join(fact for fact in facts if fact), int(9 * width)) or "one unit",
    )
    top = height - 1.05
    for (k, one), lines in zip(threads, rows, strict=True):
        name = shorten(one.thread.generator, 30)
        sheet.write(0.3, top - 0.1, name, bold=True, colour=thread_colour(k), align="left")
        _draw_thread(figure, k, one, top - 0.35)
        top -= lines * _DOWN + 0.35
    sheet.notes(
        "dots: mean \N{PLUS-MINUS SIGN} sem of a step's trials; line and band: Gaussian "
        "process \N{PLUS-MINUS SIGN} sd; diamond: its peak; grey: not tuned",
        f"p: analysis of variance over steps, tuned below {TUNED:g}; R\N{SUPERSCRIPT TWO}: of "
        "the process over trials, in brackets over the share that steps can explain",
    )
    return figure


def _draw_thread(figure: Figure, k: int, one: ThreadSummary, top: float) -> None:
    panels: list[Axes] = []
    for i, axis in enumerate(one.axes):
        row, column = divmod(i, _A_ROW)
        x, y = _LEFT + column * _ACROSS, top - row * _DOWN - 0.42 - _TALL
        axes = inches(figure, x, y, _PANEL, _TALL)
        _draw_axis(axes, axis, thread_colour(k) if axis.tuning.anova.tuned else QUIET)
        if column == 0:
            axes.set_ylabel(in_unit("response", _unit(one)), fontsize=9)
        else:
            axes.tick_params(labelleft=False)
        panels.append(axes)
    low = min(axes.get_ylim()[0] for axes in panels)
    high = max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set_ylim(0 if is_rate(_unit(one)) and low > 0 else low, high)


def _unit(one: ThreadSummary) -> str:
    """Return what a thread's responses along axes are counted in."""
    return one.axes[0].axis.response_unit or one.thread.score_unit


def _draw_axis(axes: Axes, axis: AxisSummary, colour: str) -> None:
    tuning = axis.tuning
    if tuning.curve.defined:
        curve = tuning.curve
        axes.plot(curve.x, curve.mean, color=colour, lw=2, zorder=3)
        low, high = curve.mean - curve.sd, curve.mean + curve.sd
        axes.fill_between(curve.x, low, high, color=colour, alpha=0.18, lw=0)
        peak = float(curve.mean.max())
        axes.plot([tuning.peak.value], [peak], "D", color=colour, mec=INK, ms=5.5, zorder=5)
    errors = np.nan_to_num(tuning.sems)
    axes.errorbar(
        tuning.steps, tuning.means, errors, fmt="o", color=INK, ms=2.8, lw=0.9, zorder=4
    )
    axes.set_title(shorten(axis.label, _LONGEST_NAME), fontsize=10, pad=16)
    axes.text(0, 1.05, _said_of(axis), transform=axes.transAxes, fontsize=7.5, color=QUIET)
    axes.grid(axis="y", color=GRID, lw=0.8)
    axes.tick_params(labelsize=8)
    axes.set_xlabel(_STEP_LABELS[axis.axis.step_unit], fontsize=8.5, labelpad=1)
    if axis.axis.step_unit == DEGREES and len(tuning.steps):
        last = float(np.abs(tuning.steps).max())
        axes.set_xticks([-last, 0, last])


def _said_of(axis: AxisSummary) -> str:
    """Say how an axis' fits end, as short as its panel is wide."""
    tuning = axis.tuning
    if tuning.anova.reason:
        return shorten(tuning.anova.reason, 38)
    parts = [p_value(tuning.anova.p)]
    if not tuning.anova.tuned:
        return f"{parts[0]}, not tuned"
    parts.append(axis.shape or "flat")
    if tuning.process.r2.defined:
        share = tuning.process.explained
        explained = f" ({share.value:.2f})" if share.defined else ""
        parts.append(f"R\N{SUPERSCRIPT TWO} {tuning.process.r2.value:.2f}{explained}")
    return ", ".join(parts)


def _axes_counted(groups: list[AxisGroup]) -> str:
    tuned = sum(len(group.successes) + len(group.others) for group in groups)
    return f"{tuned} of {sum(group.shown for group in groups)} axes are tuned (p < {TUNED:g})"


def _group_colour(population: ExperimentPopulation, group: AxisGroup) -> str:
    return THREADS[population.generators.index(group.generator)]


@styled
def draw_tuning_shapes(population: ExperimentPopulation) -> Figure | None:
    """Draw how often tuned axes are bells or monotonic, successes against others.

    None where there are no trials along any axis.
    """
    groups = axis_groups(population)
    rows = shape_shares(population)
    if not groups:
        return None
    panel, gap = 2.6, 0.35
    width = max(_LEFT + len(groups) * (panel + gap) + 0.1, _NARROWEST)
    figure = new_figure(width, 4.4)
    sheet = Canvas(figure)
    sheet.heading("Shapes of tuning curves", f"{_axes_counted(groups)}; of valid experiments")
    for i, group in enumerate(groups):
        axes = inches(figure, _LEFT + i * (panel + gap), 1.0, panel, 2.25)
        colour = _group_colour(population, group)
        for j, shape in enumerate(SHAPES):
            test = next(
                r.test for r in rows if r.group.label == group.label and r.shape == shape
            )
            _bar(axes, 3 * j, test.first, colour, 0.6)
            _bar(axes, 3 * j + 1, test.second, colour, 0.2)
            text = "no test" if test.reason else f"z = {number(test.z)}, {p_value(test.p)}"
            axes.text(3 * j + 0.5, 1.2, text, ha="center", fontsize=8.5)
        axes.set_xticks([0.5, 3.5], list(SHAPES))
        axes.tick_params(axis="x", length=0)
        axes.set_xlim(-0.9, 4.9)
        axes.set_ylim(0, 1.3)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
        axes.set_title(shorten(group.label, 24), color=colour, fontsize=11)
        axes.grid(axis="y", color=GRID, lw=0.8)
        if i == 0:
            axes.set_ylabel("share of tuned axes")
        else:
            axes.tick_params(labelleft=False)
    sheet.notes(
        "dark: axes of threads that succeeded; pale: of the others; z: two proportions",
        f"{INTERVALS}; every axis counts as one, though those of a session are of one unit",
    )
    return figure


def _bar(axes: Axes, x: float, share: CountedShare, colour: str, depth: float) -> None:
    if not share.n:
        axes.text(x, 0.03, "none", ha="center", fontsize=8, color=QUIET)
        return
    axes.bar(x, share.value, 0.86, color=tint(colour, depth), lw=0)
    axes.plot([x, x], [share.low, share.high], color=colour, lw=1.8)
    label = f"{share.k}/{share.n}"
    axes.text(x, share.high + 0.03, label, ha="center", fontsize=8, color=colour)


@styled
def draw_tuning_peaks(population: ExperimentPopulation) -> Figure | None:
    """Draw where tuning curves peak, successes above and others below; None without any."""
    rows = peak_shares(population)
    if not rows:
        return None
    panel, gap, tall = 2.6, 0.45, 1.5
    width = max(_LEFT + len(rows) * (panel + gap) + 0.1, _NARROWEST)
    figure = new_figure(width, 6.0)
    sheet = Canvas(figure)
    groups = axis_groups(population)
    sheet.heading("Where tuning curves peak", f"{_axes_counted(groups)}; of valid experiments")
    highest = [1 / len(rows[0].successes)]
    panels: list[Axes] = []
    for i, row in enumerate(rows):
        colour = _group_colour(population, row.group)
        of = ((row.successes, 0.6, "succeeded"), (row.others, 0.2, "did not"))
        for j, (shares, depth, verdict) in enumerate(of):
            axes = inches(figure, _LEFT + i * (panel + gap), 3.1 - j * 2.15, panel, tall)
            centres = (row.edges[1:] + row.edges[:-1]) / 2
            wide = float(row.edges[1] - row.edges[0])
            for x, share in zip(centres, shares, strict=True):
                if share.n:
                    axes.bar(x, share.value, 0.9 * wide, color=tint(colour, depth), lw=0)
                    axes.plot([x, x], [share.low, share.high], color=colour, lw=1.5)
                    highest.append(share.high)
            axes.axvline(0, color=QUIET, lw=0.8, ls=":")
            axes.set_xlim(row.edges[0], row.edges[-1])
            axes.tick_params(labelsize=10)
            n = shares[0].n
            axes.text(
                0,
                1.05,
                f"{verdict}, n = {n}",
                transform=axes.transAxes,
                fontsize=9,
                color=QUIET,
            )
            if j == 0:
                axes.set_title(shorten(row.group.label, 24), color=colour, fontsize=11, pad=20)
            else:
                axes.set_xlabel(f"{_STEP_LABELS[row.group.step_unit]} of the peak")
            axes.grid(axis="y", color=GRID, lw=0.8)
            if i == 0:
                axes.set_ylabel("share of axes")
            else:
                axes.tick_params(labelleft=False)
            panels.append(axes)
    for axes in panels:
        axes.set_ylim(0, min(1.05 * max(highest), 1.02))
    sheet.notes(
        "share of tuned axes whose curve (Gaussian process) is highest in each bin; dotted: "
        f"the evolved code; {INTERVALS}"
    )
    return figure
