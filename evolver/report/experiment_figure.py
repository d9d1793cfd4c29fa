"""The figure of one experiment: the threads' courses, and their PSTHs block by block.

Knows an `ExperimentSummary` and matplotlib's objects; computes nothing but positions.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# matplotlib's annotations leave keyword arguments open.

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.ticker import MaxNLocator

from evolver.analysis.time_bins import time_binned
from evolver.colours import GRID, QUIET, REFERENCE, UNMEASURED, thread_colour
from evolver.errors import DataError
from evolver.report.style import RATES, Canvas, inches, new_figure, spread, styled, whole_ticks
from evolver.report.words import in_unit, is_rate, p_value, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from evolver.analysis.trajectories import FloatArray
    from evolver.experiments.experiment import ExperimentThread, Psth
    from evolver.experiments.summary import ExperimentSummary, ThreadSummary

_PANEL, _TALL = 2.45, 2.5
_BIN_MS = 5.0


@styled
def draw_experiment(summary: ExperimentSummary) -> Figure:
    """Draw the courses of an experiment's threads, and a map of each one's PSTHs."""
    threads = summary.threads
    pictures = any(one.thread.pictures for one in threads)
    left, course = 0.85, 3.5
    begin = left + course + 1.35
    width = begin + len(threads) * (_PANEL + 0.35) + 0.75
    reasons = summary.valid.reasons
    height = 4.55 + (1.25 if pictures else 0) + 0.2 * bool(reasons)
    figure = new_figure(width, height)
    sheet = Canvas(figure)
    experiment = summary.experiment
    facts = [experiment.area, experiment.unit, experiment.animal, experiment.date]
    sheet.heading(
        shorten(experiment.id, 60), shorten(", ".join(f for f in facts if f), int(9 * width))
    )
    bottom = height - 1.2 - _TALL
    axes = inches(figure, left, bottom, course, _TALL)
    _draw_courses(axes, threads)
    scale = _rates(threads)
    mesh = None
    for k, one in enumerate(threads):
        x = begin + k * (_PANEL + 0.35)
        heat = inches(figure, x, bottom, _PANEL, _TALL)
        mesh = _draw_psth(heat, one.thread, scale) or mesh
        heat.set_title(shorten(one.thread.generator, 20), color=thread_colour(k), fontsize=12)
        if k == 0:
            heat.set_ylabel("block")
        sheet.write(x, bottom - 0.72, _verdict(one), size=8.5, colour=QUIET, align="left")
        for i, (name, image) in enumerate(one.thread.pictures.items()):
            sheet.picture(image, x + 1.2 * i, 0.15, 1.1)
            label = "best image" if name == "best" else "mean code"
            sheet.write(x + 1.2 * i + 0.55, 0.03, label, size=7, colour=QUIET)
    if mesh is not None:
        x = begin + len(threads) * (_PANEL + 0.35) - 0.2
        bar = inches(figure, x, bottom, 0.13, _TALL)
        figure.colorbar(mesh, cax=bar, label="spikes/s")
        bar.spines["outline"].set_visible(False)
    where = bottom - 0.72
    text = f"mean \N{PLUS-MINUS SIGN} sem; maps in bins of {_BIN_MS:g} ms"
    sheet.write(0.3, where, text, size=8.5, colour=QUIET, align="left")
    if reasons:
        text = shorten(f"not in populations: {'; '.join(reasons)}", 66)
        sheet.write(0.3, where - 0.17, text, size=8.5, colour=QUIET, align="left")
    return figure


def _verdict(one: ThreadSummary) -> str:
    found = one.success
    if found.reason:
        return shorten(f"no verdict: {found.reason}", 44)
    return f"{'success' if found.success else 'no success'}, {p_value(found.p)}"


def _draw_courses(axes: Axes, threads: tuple[ThreadSummary, ...]) -> None:
    ends: list[tuple[float, str, str]] = []
    for k, one in enumerate(threads):
        course, colour = one.thread.course, thread_colour(k)
        x = np.arange(len(course))
        axes.plot(x, course.mean, color=colour, lw=2.2, zorder=3)
        low, high = course.mean - course.sem, course.mean + course.sem
        axes.fill_between(x, low, high, color=colour, alpha=0.22, lw=0, zorder=2)
        references = one.thread.references
        if references is not None and len(references):
            # Of threads by turns, so that references that coincide are seen of each.
            dashes = (4.0 * k, (2.5, 4.0 * len(threads) - 2.5))
            axes.plot(x, references.mean, color=colour, lw=1.4, ls=dashes, zorder=4)
        filled = np.flatnonzero(np.isfinite(course.mean))
        if len(filled):
            ends.append((float(course.mean[filled[-1]]), one.thread.generator, colour))
    units = list(dict.fromkeys(one.thread.score_unit for one in threads))
    if axes.get_ylim()[0] > 0 and all(map(is_rate, units)):
        axes.set_ylim(bottom=0)
    axes.set_ylabel(in_unit("score", " and ".join(units)))
    axes.set_xlabel("block")
    axes.set_xlim(0, max((len(one.thread.course) - 1 for one in threads), default=1) or 1)
    axes.xaxis.set_major_locator(whole_ticks(6))
    axes.grid(axis="y", color=GRID, lw=0.8)
    if any(one.thread.references is not None for one in threads):
        axes.plot([], [], color=REFERENCE, lw=1.2, ls=":", label="references")
        axes.legend(loc="best", fontsize=8.5)
    low, high = axes.get_ylim()
    at = spread((y for y, _, _ in ends), gap=(high - low) * 0.085, within=(low, high))
    for y, (_, label, colour) in zip(at, ends, strict=True):
        axes.annotate(
            shorten(label, 14),
            (1, y),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            color=colour,
            va="center",
            fontsize=9.5,
            fontweight="bold",
            annotation_clip=False,
        )


def _rates(threads: tuple[ThreadSummary, ...]) -> Normalize:
    """Return the colour scale that all maps share."""
    values = [_shown(one.thread.psth)[0] for one in threads if one.thread.psth is not None]
    found = np.concatenate([v[np.isfinite(v)] for v in values]) if values else np.zeros(0)
    high = float(found.max()) if found.size else 1.0
    return Normalize(min(0.0, float(found.min())) if found.size else 0.0, high or 1.0)


def _shown(psth: Psth) -> tuple[FloatArray, FloatArray]:
    """Return rates in bins that hold some spikes, and their edges; as they are if not fine."""
    try:
        return time_binned(psth.mean, _BIN_MS, edges_ms=psth.edges_ms)
    except DataError:
        return psth.mean, psth.edges_ms


def _draw_psth(axes: Axes, thread: ExperimentThread, scale: Normalize):  # noqa: ANN202  a mesh
    psth = thread.psth
    if psth is None:
        text = f"no PSTH:\n{shorten(thread.why_not('psth'), 40)}"
        axes.text(0.5, 0.5, text, ha="center", va="center", color=QUIET, fontsize=9)
        axes.set_axis_off()
        return None
    axes.set_facecolor(UNMEASURED)
    rates, edges = _shown(psth)
    mesh = axes.pcolormesh(
        edges,
        np.arange(len(rates) + 1) - 0.5,
        np.ma.masked_invalid(rates),
        cmap=RATES,
        norm=scale,
    )
    axes.set_xlabel("time after onset (ms)")
    axes.yaxis.set_major_locator(whole_ticks(6))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    for spine in axes.spines.values():
        spine.set_visible(False)
    return mesh
