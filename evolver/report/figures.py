"""Figures of curves and maps: scores over generations, PSTHs over generations, time budget.

Knows an `Evolution` and matplotlib's objects; computes nothing but positions and averages over
neighbouring generations. `draw_…` fills axes that somebody placed, for one figure or for the
summary; the others return whole figures.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# matplotlib's annotations leave keyword arguments open.

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from matplotlib.transforms import ScaledTranslation

from evolver.analysis.trajectories import pooled, smooth
from evolver.colours import (
    BASELINE_WINDOW,
    BUDGET,
    GRID,
    INK,
    QUIET,
    REFERENCE,
    RESPONSE_WINDOW,
    UNMEASURED,
    thread_colour,
)
from evolver.report.style import (
    LETTER,
    RATES,
    SLIDE,
    inches,
    new_figure,
    spread,
    styled,
    tint,
    whole_ticks,
)
from evolver.report.words import in_unit, is_rate, shorten, span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

    from evolver.analysis.trajectories import FloatArray, Trajectory
    from evolver.report.evolution import Evolution, ThreadEvolution

SMOOTH_MS = 10.0
"""Standard deviation of the Gaussian over PSTH lines; heat maps are as binned."""
LINES = 6
"""PSTH lines in one panel: averages over so many runs of neighbouring generations."""

_DASHED = (0, (4, 3))
_TITLE = 0.28
"""Room above each of several axes for what it shows, inches."""
_NUMBERS = 11.0
"""Size of the numbers beside scores, points: six have room beside the label."""
_THOUSANDS = 10_000
"""From here on numbers beside an axis are thousands: longer ones would be cut."""

_RARE_PARTS = ("paused", "no_rig", "frozen")  # most sessions have none, and need no names
_RIGS_PARTS = ("wait", "idle", *_RARE_PARTS)
_BUDGET_WORDS = {
    "wait": "on screen",
    "idle": "rig idle",
    "no_rig": "no rig",
    "frozen": "engine frozen",
    "blocked": "wait for the disk",
}


def draw_scores(
    axes: Axes,
    evolution: Evolution,
    *,
    size: float = 12,
    numbers: Sequence[int] | None = None,
) -> None:
    """Draw mean ± sem of each thread and of the references against the generation.

    `numbers` are those of the threads, whose scores are counted in the same; None: all.
    Where they are not all, the axes are low: what they show is said above them.
    """
    ends: list[tuple[float, str, str]] = []
    threads = list(enumerate(evolution.threads))
    if numbers is not None:
        threads = [threads[k] for k in numbers]
    for k, thread in threads:
        colour = thread_colour(k)
        best = thread.best_references[:1]
        if evolution.one_fitness and k == 0:
            label = "references, mean"
            x, line = evolution.generation, thread.references
            _line(axes, x, line, REFERENCE, "-", ends, label, bridge=True)
            ends += [(b.score, "best reference", REFERENCE) for b in best]
        elif not evolution.one_fitness:
            _line(axes, evolution.generation, thread.references, colour, ":", bridge=True)
        if k == 0 or not evolution.one_fitness:
            shade = REFERENCE if evolution.one_fitness else colour
            for b in best:
                axes.axhline(b.score, color=shade, lw=1.2, ls=_DASHED, zorder=1)
        _line(
            axes,
            np.arange(len(thread.block)),
            thread.scores,
            colour,
            "-",
            ends,
            shorten(thread.name, 18),
        )
    unit = threads[0][1].score_unit if threads else "spikes/s"
    if axes.get_ylim()[0] > 0 and is_rate(unit):
        axes.set_ylim(bottom=0)
    score_ticks(axes, size)
    _label_ends(axes, ends, size)
    last = max((len(t.block) - 1 for t in evolution.threads), default=0)
    pad = 0.5 if last == 0 else 0.1 if last < 3 else 0
    axes.set_xlim(-pad, last + pad)
    axes.xaxis.set_major_locator(whole_ticks(7))
    axes.grid(axis="y", color=GRID, lw=0.8)
    axes.set_xlabel("generation", fontsize=size)
    text = in_unit("score", unit)
    if len(threads) == len(evolution.threads):
        long = text if evolution.inexact else f"{text}, mean ± sem"
        room = axes.get_window_extent().height / axes.figure.dpi * 72 / (LETTER * size)
        axes.set_ylabel(long if len(long) <= room else text, fontsize=size)
    else:  # the caption says that it is mean ± sem
        axes.set_title(text, fontsize=size, fontweight="normal", pad=4)


def score_ticks(axes: Axes, size: float) -> None:
    """Give the axis of scores so many ticks as have room, and numbers that are short."""
    height = axes.get_window_extent().height / axes.figure.dpi  # inches
    most = int(np.clip(height * 72 / (2.2 * size), 1, 8))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10]))
    axes.tick_params(labelsize=min(size, _NUMBERS, height * 72 / 3.75))  # three have room
    numbers = ScalarFormatter(useOffset=False)
    numbers.set_scientific(False)
    if max(map(abs, axes.get_ylim())) >= _THOUSANDS:
        axes.yaxis.set_major_formatter(lambda y, _: numbers.fix_minus(f"{y / 1000:g}k"))
    else:
        axes.yaxis.set_major_formatter(numbers)


def _reference_key(axes: Axes, size: float) -> None:
    """Say right below the axes what dotted and dashed lines are: beside them stand names."""
    handles = [
        Line2D([], [], color=QUIET, ls=":", lw=2.2, label="references, mean"),
        Line2D([], [], color=QUIET, ls=_DASHED, lw=1.2, label="best reference"),
    ]
    axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(1, 0),
        borderaxespad=0.6,
        labelspacing=0.3,
        fontsize=size,
    )


def _label_ends(axes: Axes, ends: list[tuple[float, str, str]], size: float) -> None:
    """Write (score, label, colour) beside the right end of the lines, without overlaps."""
    low, high = axes.get_ylim()
    height = axes.get_window_extent().height / axes.figure.dpi  # inches
    size = min(size, height * 72 / 1.35 / max(len(ends), 1))
    gap = (high - low) * 1.35 * size / 72 / height
    at = spread((y for y, _, _ in ends), gap=gap, within=(low, high))
    for y, (_, label, colour) in zip(at, ends, strict=True):
        axes.annotate(
            label,
            (1, y),
            xycoords=("axes fraction", "data"),
            xytext=(8, 0),
            textcoords="offset points",
            color=colour,
            va="center",
            fontsize=size,
            fontweight="bold",
            annotation_clip=False,
        )


def _line(
    axes: Axes,
    x: np.ndarray,
    values: Trajectory,
    colour: str,
    style: str,
    ends: list[tuple[float, str, str]] | None = None,
    label: str = "",
    *,
    bridge: bool = False,
) -> None:
    """Draw one trajectory, and append its last value, label and colour to `ends`.

    A gap is shown, unless `bridge` says that nothing was meant to be there.
    """
    filled = values.filled
    if not len(filled):
        return
    lone = len(filled) < 3  # a line of one point is invisible
    mean, sem = values.mean, values.sem
    if bridge:  # several blocks of references alone may stand at one generation
        x, mean, sem = pooled(x[filled], mean[filled], sem[filled])
        lone = len(x) < 3
    axes.plot(x, mean, color=colour, lw=2.2, ls=style, marker="o" if lone else None, zorder=3)
    if lone:
        axes.errorbar(x, mean, yerr=sem, color=colour, fmt="none", capsize=4, zorder=3)
    else:
        low, high = mean - sem, mean + sem
        axes.fill_between(x, low, high, color=colour, alpha=0.22, lw=0, zorder=2)
    if ends is not None:
        ends.append((float(values.mean[filled[-1]]), label, colour))


@styled
def scores(evolution: Evolution) -> Figure:
    """Scores over generations: each thread's images, and the reference images beside them."""
    height = max(4.6, 1.4 * len(evolution.score_units))
    figure = new_figure(11, height + 1)
    draw_all_scores(figure, evolution, (0.95, 0.75, 7.7, height), size=13)
    return figure


def draw_all_scores(
    figure: Figure,
    evolution: Evolution,
    place: tuple[float, float, float, float],
    *,
    size: float,
) -> None:
    """Draw every thread's scores, on axes one above the other where their units differ.

    Parameters
    ----------
    place : left, bottom, width and height of it all, inches
    size : of the letters, points
    """
    left, bottom, width, height = place
    groups = list(evolution.score_units.values()) or [[]]
    several = len(groups) > 1
    title = _TITLE if several else 0.0
    each = height / len(groups) - title
    for i, numbers in enumerate(groups):
        above = (len(groups) - 1 - i) * (each + title)
        axes = inches(figure, left, bottom + above, width, each)
        draw_scores(axes, evolution, size=size - 2 * several, numbers=numbers)
        if above:
            axes.set_xlabel("")
            axes.tick_params(labelbottom=False)
        elif not evolution.one_fitness and any(t.best_references for t in evolution.threads):
            _reference_key(axes, size - 2)


def rate_scale(evolution: Evolution) -> Normalize:
    """Return the colour scale all threads' heat maps share, spikes/s."""
    maps = [t.psth for t in evolution.threads if t.psth is not None]
    values = np.concatenate([m[np.isfinite(m)] for m in maps]) if maps else np.zeros(0)
    low, high = (
        (float(min(values.min(), 0)), float(values.max())) if values.size else (0.0, 0.0)
    )
    return Normalize(low, high if high > low else low + 1)


def draw_heat(
    axes: Axes, evolution: Evolution, thread: ThreadEvolution, scale: Normalize
) -> ScalarMappable:
    """Draw a thread's PSTHs as a map, generation against time."""
    psth = (
        thread.psth if thread.psth is not None else np.zeros((0, len(evolution.edges_ms) - 1))
    )
    rows = np.arange(len(psth) + 1) - 0.5
    mesh = axes.pcolormesh(
        evolution.edges_ms, rows, np.ma.masked_invalid(psth), cmap=RATES, norm=scale
    )
    axes.set_facecolor(UNMEASURED)  # generations that were not measured
    axes.yaxis.set_major_locator(whole_ticks(6))
    _time_axis(axes, evolution, label=True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return mesh


def draw_psth_lines(axes: Axes, evolution: Evolution, index: int) -> None:
    """Draw a thread's PSTHs as lines from early (pale) to late (full colour)."""
    thread, colour = evolution.threads[index], thread_colour(index)
    edges = evolution.edges_ms
    centres = (edges[1:] + edges[:-1]) / 2
    if thread.response_ms is not None:
        axes.axvspan(*thread.response_ms, color=RESPONSE_WINDOW, lw=0, zorder=0)
    if thread.baseline_ms is not None:
        axes.axvspan(*thread.baseline_ms, color=BASELINE_WINDOW, lw=0, zorder=0)
    groups: list[np.ndarray] = []
    if thread.psth is not None:
        measured = np.flatnonzero(np.isfinite(thread.psth).all(axis=1))
        groups = [
            g for g in np.array_split(measured, min(LINES, max(len(measured), 1))) if len(g)
        ]
        for k, group in enumerate(groups):
            share = 1.0 if len(groups) == 1 else 0.25 + 0.75 * k / (len(groups) - 1)
            line = smooth(thread.psth[group].mean(axis=0), edges_ms=edges, sigma_ms=SMOOTH_MS)
            axes.plot(
                centres,
                line,
                color=tint(colour, share),
                lw=1.6 + 0.8 * share,
                label=span(int(group[0]), int(group[-1])),
                zorder=2 + share,
            )
    if thread.reference_psth is not None:
        line = smooth(thread.reference_psth, edges_ms=edges, sigma_ms=SMOOTH_MS)
        axes.plot(centres, line, color=REFERENCE, lw=1.6, ls=_DASHED, label="references")
    handles, labels = axes.get_legend_handles_labels()
    if len(evolution.threads) > 2 and len(groups) > 2:  # narrow panels: the ends tell
        ends = [0, *range(len(groups) - 1, len(handles))]
        handles, labels = [handles[i] for i in ends], [labels[i] for i in ends]
    if handles:
        axes.legend(
            handles,
            labels,
            fontsize=9.5,
            loc="best",
            handlelength=1.3,
            labelspacing=0.25,
            borderaxespad=0.2,
            title="generations",
            title_fontsize=9.5,
            alignment="left",
        )
    axes.grid(axis="y", color=GRID, lw=0.8)
    axes.set_xlim(edges[0], edges[-1])
    _time_axis(axes, evolution)


def _time_axis(axes: Axes, evolution: Evolution, *, label: bool = False) -> None:
    """Put the time axis' limits, and above the axes a bar for as long as the image was on."""
    axes.set_xlim(evolution.edges_ms[0], evolution.edges_ms[-1])
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    if np.isfinite(evolution.on_ms):
        off = min(evolution.on_ms, float(evolution.edges_ms[-1]))
        above = ScaledTranslation(0, 6 / 72, axes.figure.dpi_scale_trans)
        axes.plot(
            [0, off],
            [1, 1],
            transform=axes.get_xaxis_transform() + above,
            color=INK,
            lw=4,
            solid_capstyle="butt",
            clip_on=False,
        )
        room = 0.7 * evolution.edges_ms[-1] + 0.3 * evolution.edges_ms[0]
        if label and off < room:
            axes.annotate(
                "image on",
                (off, 1),
                xycoords=axes.get_xaxis_transform(),
                xytext=(6, 6),
                textcoords="offset points",
                fontsize=10,
                va="center",
                annotation_clip=False,
            )


def has_psth(evolution: Evolution) -> bool:
    """Whether any thread has PSTHs to draw."""
    return any(t.psth is not None and np.isfinite(t.psth).any() for t in evolution.threads)


@styled
def psth(evolution: Evolution) -> Figure:
    """PSTHs over generations: a heat map each thread, and lines from early to late below it."""
    figure = new_figure(*SLIDE)
    n = max(len(evolution.threads), 1)
    left, right, gap = 0.95, 1.35, 0.45
    width = (SLIDE[0] - left - right - gap * (n - 1)) / n
    scale = rate_scale(evolution)
    below: list[Axes] = []
    for k, thread in enumerate(evolution.threads):
        x = left + k * (width + gap)
        heat = inches(figure, x, 4.05, width, 2.7)
        mesh = draw_heat(heat, evolution, thread, scale)
        heat.set_title(shorten(thread.name, 24), color=thread_colour(k), pad=16)
        heat.tick_params(labelbottom=False)
        lines = inches(figure, x, 0.75, width, 2.9)
        draw_psth_lines(lines, evolution, k)
        lines.set_xlabel("time after image onset (ms)")
        below.append(lines)
        if k == 0:
            heat.set_ylabel("generation")
            lines.set_ylabel("response (spikes/s)")
        if k == len(evolution.threads) - 1:
            bar = inches(figure, x + width + 0.2, 4.05, 0.16, 2.7)
            figure.colorbar(mesh, cax=bar, label="response (spikes/s)")
            bar.spines["outline"].set_visible(False)
    low = min((a.get_ylim()[0] for a in below), default=0)
    high = max((a.get_ylim()[1] for a in below), default=1)
    for axes in below:
        axes.set_ylim(min(low, 0), high)
    return figure


@styled
def budget(evolution: Evolution) -> Figure:
    """Where each block's time went: with the rig, and, beside it, with the engine."""
    figure = new_figure(11, 3.6)
    parts = _budget_parts(evolution)
    whole = inches(figure, 0.95, 0.7, 3.6, 2.35)
    theirs = {k: parts[k] for k in _RIGS_PARTS if k in parts}
    _stack(whole, evolution.blocks, theirs, 1.0)
    whole.set_title("the rig", pad=10)
    whole.set_ylabel("time (s)")
    own = inches(figure, 5.55, 0.7, 3.6, 2.35)
    proposed = {int(block) for thread in evolution.threads for block in thread.block}
    proposed |= evolution.of_sets
    new = np.array([int(block) in proposed for block in evolution.blocks], dtype=np.bool_)
    ours = {k: v[new] for k, v in parts.items() if k not in _RIGS_PARTS}
    _stack(own, np.arange(int(new.sum())), ours, 1000.0)
    own.set_title("the engine, meanwhile", pad=10)
    own.set_ylabel("time (ms)")
    whole.set_xlabel("block")
    own.set_xlabel("block with new images")
    # Top of the stack first, as the eye meets it.
    keys = [axes.get_legend_handles_labels() for axes in (whole, own)]
    handles = [handle for key in keys for handle in key[0]]
    labels = [str(label) for key in keys for label in key[1]]
    figure.legend(
        handles[::-1],
        labels[::-1],
        loc="center left",
        bbox_to_anchor=(0.845, 0.52),
        fontsize=10,
    )
    return figure


def _budget_parts(evolution: Evolution) -> dict[str, FloatArray]:
    """Return the parts of each block's time in the order they are stacked, seconds.

    `journal` ran beside the rest, so only `blocked`, the part the loop waited for, is in it.
    """
    parts = {
        name: np.nan_to_num(evolution.budget[name])
        for name in BUDGET
        if name in evolution.budget
    }
    return {n: v for n, v in parts.items() if n not in _RARE_PARTS or v.any()}


def _stack(axes: Axes, blocks: np.ndarray, parts: dict[str, FloatArray], scale: float) -> None:
    if not len(blocks):
        axes.set_ylim(bottom=0)
        axes.text(0.5, 0.5, "no block was finished", color=QUIET, ha="center")
        return
    base = np.zeros(len(blocks))
    edges = np.arange(len(base) + 1) - 0.5 + blocks[0]
    for name, values in parts.items():
        top = base + values * scale
        label = _BUDGET_WORDS.get(name, name)
        axes.stairs(top, edges, baseline=base, fill=True, color=BUDGET[name], label=label)
        base = top
    axes.set_xlim(edges[0], max(edges[-1], edges[0] + 1))
    axes.set_ylim(bottom=0)  # after the data: limits that are set keep their other end
    axes.xaxis.set_major_locator(whole_ticks(6))
    axes.grid(axis="y", color=GRID, lw=0.8)
