"""Figures of many experiments: success, activation, courses, PSTHs and attribution by area.

Knows an `ExperimentPopulation` and matplotlib's objects; computes nothing but positions. Each
figure says how many experiments it is of, what its bars are, and which test its marks are of.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# matplotlib's annotations leave keyword arguments open.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.ticker import MaxNLocator

from evolver.analysis.populations import population_mean
from evolver.analysis.trajectories import smooth
from evolver.colours import GRID, INK, QUIET, THREADS
from evolver.experiments.populations import (
    MEASURES,
    area_tests,
    attribution_courses,
    measured,
    normalised_trajectories,
    share_values,
    success_shares,
    time_courses,
)
from evolver.report.style import Canvas, inches, new_figure, styled, tint, whole_ticks
from evolver.report.tuning_figures import draw_tuning_peaks, draw_tuning_shapes
from evolver.report.words import count, joined, number, p_value, shorten

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from evolver.analysis.trajectories import Trajectory
    from evolver.experiments.populations import (
        AreaTest,
        CountedExperiment,
        ExperimentPopulation,
        TimeCourses,
    )
    from evolver.types import Vector

_LEFT, _GAP = 0.95, 0.55
_BAND = 0.18
_NARROWEST = 8.6
_DOTS: dict[str, Any] = {"ms": 3.5, "alpha": 0.45, "mew": 0, "clip_on": False}
"""Of experiments: whole also at an axis' end."""
_SMOOTH_MS = 5.0
_DIFFERENCE = LinearSegmentedColormap.from_list(
    "first-second", [THREADS[0], "#ffffff", THREADS[1]]
)
SEM = "mean \N{PLUS-MINUS SIGN} sem over experiments"


def _who(population: ExperimentPopulation) -> str:
    """Say which experiments means are of."""
    pair = len(population.generators) == 2
    which = {
        "any": "with a success in either thread" if pair else "with a success",
        "both": "with successes in both threads" if pair else "with a success",
        "all": "all that are valid",
    }[population.settings.among]
    return f"{which} (p < {population.settings.alpha:g}, {_rule(population)})"


def _rule(population: ExperimentPopulation) -> str:
    rule = population.settings.rule
    if rule != "shuffle":
        return f"published test '{rule}'"
    single = [one.thread.single for member in population.members for one in member.threads]
    if all(single):
        return "images dealt anew"
    means = "block means" if not any(single) else "images or block means"
    return f"{means} drawn anew"


def _sizes(population: ExperimentPopulation, *, chosen: bool = True) -> str:
    each = [f"{area} {len(population.of(area, chosen=chosen))}" for area in population.areas]
    return f"experiments: {', '.join(each)}"


def _n(values: list[Vector]) -> str:
    """Say how many experiments each thread's values are of."""
    sizes = [str(int(np.isfinite(of).sum())) for of in values]
    return f"n = {joined(sizes if len(set(sizes)) > 1 else sizes[:1])}"


def _panel(least: float, areas: int) -> float:
    """Return how wide a panel is, so that few areas fill the sheet too."""
    return max(least, (_NARROWEST - _LEFT - 0.1) / max(areas, 1) - _GAP)


def _legend(sheet: Canvas, population: ExperimentPopulation, *, x: float, y: float) -> None:
    for k, name in enumerate(population.generators):
        sheet.write(
            x + 1.5 * k,
            y,
            f"\u25cf {shorten(name, 16)}",
            colour=THREADS[k],
            size=10,
            align="left",
        )


def _marks(test: AreaTest) -> str:
    """Say how a test ends: p, and which rules it passes."""
    if test.test.reason:
        return "no test"
    passed = [name for name in ("fdr", "bonferroni") if getattr(test, name)]
    star = {0: "", 1: " *", 2: " **"}[len(passed)]
    return f"{p_value(test.test.p)}{star}"


MARKS = "*: significant at 0.05 also by the false discovery rate; **: and by Bonferroni"


def _tests_of(population: ExperimentPopulation, measure: str) -> dict[str, AreaTest]:
    return {test.area: test for test in area_tests(population) if test.measure == measure}


@styled
def draw_success_rates(population: ExperimentPopulation) -> Figure:
    """Draw each area's share of successes, of each generator, of any and of both."""
    shares = success_shares(population)
    kinds = list(dict.fromkeys(one.what for one in shares))
    areas = population.areas
    panel = max(2.6, len(areas) * (0.42 * len(kinds) + 0.55))
    width = max(_LEFT + panel + 0.4, _NARROWEST)
    figure = new_figure(width, 4.4)
    sheet = Canvas(figure)
    settings = population.settings
    sheet.heading(
        "Success rates",
        f"{_sizes(population, chosen=False)}; p < {settings.alpha:g}, {_rule(population)}",
    )
    axes = inches(figure, _LEFT, 0.85, width - _LEFT - 0.4, 2.4)
    step = 0.8 / max(len(kinds), 1)
    colours = dict(
        zip(kinds, (*THREADS[: len(population.generators)], QUIET, INK), strict=False)
    )
    for i, area in enumerate(areas):
        for j, what in enumerate(kinds):
            one = next(s.share for s in shares if (s.area, s.what) == (area, what))
            x = i + (j - (len(kinds) - 1) / 2) * step
            if not one.n:
                continue
            axes.bar(x, one.value, step * 0.86, color=tint(colours[what], 0.55), lw=0)
            axes.plot([x, x], [one.low, one.high], color=colours[what], lw=2)
            axes.text(
                x,
                min(one.high, 1) + 0.03,
                f"{one.k}/{one.n}",
                ha="center",
                fontsize=8.5,
                color=colours[what],
            )
    axes.set_xticks(range(len(areas)), list(areas))
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.6, max(len(areas), 1) - 0.4)
    axes.set_ylim(0, 1.12)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.set_ylabel("share of sessions")
    axes.grid(axis="y", color=GRID, lw=0.8)
    for j, what in enumerate(kinds):
        text = f"\u25a0 {shorten(what, 15)}"
        sheet.write(_LEFT + 1.35 * j, 3.43, text, colour=colours[what], size=10, align="left")
    interval = "Wilson's" if settings.interval == "wilson" else "the published"
    sheet.notes(f"lines: {interval} {100 * settings.level:g} % interval of the true share")
    return figure


@styled
def draw_activation(population: ExperimentPopulation) -> Figure:
    """Draw the first and the last block of every experiment, and their means, by area."""
    areas, names = population.areas, population.generators
    panel = _panel(2.5, len(areas))
    width = max(_LEFT + len(areas) * (panel + _GAP) + 0.1, _NARROWEST)
    figure = new_figure(width, 5.0)
    sheet = Canvas(figure)
    sheet.heading("Initial and final activation", f"{_sizes(population)}; {_who(population)}")
    _legend(sheet, population, x=_LEFT, y=3.98)
    tests = {measure: _tests_of(population, measure) for measure in ("first", "last")}
    for i, area in enumerate(areas):
        axes = inches(figure, _LEFT + i * (panel + _GAP), 1.25, panel, 2.4)
        members = population.of(area)
        for j, measure in enumerate(("first", "last")):
            values = [measured(members, MEASURES[measure], k) for k in range(len(names))]
            at = [3 * j + k for k in range(len(names))]
            if len(names) == 2:
                axes.plot(at, np.stack(values), color=GRID, lw=0.8, zorder=1)
            for k, of in enumerate(values):
                _column(axes, at[k], of, THREADS[k], population)
            if len(names) == 2:
                text = _marks(tests[measure][area])
                axes.text(3 * j + 0.5, 1.07, text, ha="center", fontsize=9, color=INK)
        axes.set_xticks([0.5 * (len(names) - 1), 3 + 0.5 * (len(names) - 1)], ["first", "last"])
        axes.tick_params(axis="x", length=0)
        axes.set_xlim(-0.8, 3.8 + len(names) - 1)
        axes.set_ylim(0, 1.16)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
        axes.grid(axis="y", color=GRID, lw=0.8)
        axes.set_title(f"{area}, n = {len(members)}")
        axes.set_xlabel("block")
        if i == 0:
            axes.set_ylabel("mean response / highest block")
        else:
            axes.tick_params(labelleft=False)
    sheet.notes(
        f"p: paired t between threads; {MARKS}",
        f"dots: experiments, a line joins one's threads; diamond and bar: {SEM}",
    )
    return figure


def _column(
    axes: Axes, x: float, values: Vector, colour: str, population: ExperimentPopulation
) -> None:
    """Draw values as points in a column, and their mean with its error."""
    kept = values[np.isfinite(values)]
    axes.plot(np.full(len(kept), x), kept, "o", color=colour, **_DOTS)
    if not len(kept):
        return
    mean = population_mean(kept[:, None], error=population.settings.error)
    if np.isfinite(mean.sem[0]):
        low, high = mean.mean[0] - mean.sem[0], mean.mean[0] + mean.sem[0]
        axes.plot([x, x], [low, high], color=INK, lw=1.8, zorder=3)
    axes.plot([x], [mean.mean[0]], "D", color=colour, mec=INK, ms=7, zorder=4, clip_on=False)


@styled
def draw_trajectories(population: ExperimentPopulation) -> Figure:
    """Draw each area's mean course, and the time constants below it."""
    found = {one.area: one for one in normalised_trajectories(population)}
    areas = tuple(area for area in population.areas if area in found)
    names = population.generators
    panel = _panel(2.9, len(areas))
    width = max(_LEFT + len(areas) * (panel + _GAP) + 0.1, _NARROWEST)
    figure = new_figure(width, 7.3)
    sheet = Canvas(figure)
    sheet.heading(
        "Trajectories and time constants", f"{_sizes(population)}; {_who(population)}"
    )
    _legend(sheet, population, x=_LEFT, y=6.28)
    tests = _tests_of(population, "time_constant")
    lower: list[Axes] = []
    for i, area in enumerate(areas):
        x = _LEFT + i * (panel + _GAP)
        upper = inches(figure, x, 3.7, panel, 2.2)
        one = found[area]
        for k, mean in enumerate(one.means):
            _area_line(upper, np.arange(len(mean)), mean, THREADS[k])
        shown = [m.n[: len(m)] for m in one.means]
        if len(names) == 2:
            upper.set_ylim(0, 1.12)
            for row, flags in enumerate((one.marks.raw, one.marks.fdr)):
                at = np.flatnonzero(flags & (shown[0] >= max(2, shown[0].max() / 2)))
                shade = QUIET if row == 0 else INK
                upper.plot(at, np.full(len(at), 1.05 + 0.035 * row), "s", color=shade, ms=2.2)
        upper.set_ylim(0, 1.12)
        upper.set_title(f"{area}, n = {len(one.values[0])}")
        upper.set_xlabel("block")
        upper.xaxis.set_major_locator(whole_ticks(6))
        upper.grid(axis="y", color=GRID, lw=0.8)
        axes = inches(figure, x, 1.42, panel, 1.3)
        members = population.of(area)
        values = [measured(members, MEASURES["time_constant"], k) for k in range(len(names))]
        for k, of in enumerate(values):
            rows = np.full(int(np.isfinite(of).sum()), len(names) - 1 - k)
            spread = np.random.default_rng(0).uniform(-0.13, 0.13, len(rows))
            kept = of[np.isfinite(of)]
            axes.plot(kept, rows + spread, "o", color=THREADS[k], **_DOTS)
            _row_mean(axes, kept, len(names) - 1 - k, THREADS[k], population)
        if len(names) == 2:
            axes.text(
                1, 1.02, _marks(tests[area]), transform=axes.transAxes, ha="right", fontsize=9
            )
        axes.set_yticks([])
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.set_xlabel(f"time constant (blocks), {_n(values)}")
        axes.grid(axis="x", color=GRID, lw=0.8)
        axes.spines["left"].set_visible(False)
        lower.append(axes)
        if i == 0:
            upper.set_ylabel("mean response / highest block")
    most = max((axes.get_xlim()[1] for axes in lower), default=1.0)
    for axes in lower:
        axes.set_xlim(-1, most)
    threshold = population.settings.threshold
    sheet.notes(
        f"lines: {SEM}, dashed where some have ended, down to half of them; squares: paired t "
        "between threads, p < 0.05 (grey) and by the false discovery rate (black)",
        f"time constant: first block above {threshold:g} of the rise, dots: experiments with "
        f"one, diamond and bar: {SEM}; p: paired t; {MARKS}",
    )
    return figure


def _row_mean(
    axes: Axes, kept: Vector, y: float, colour: str, population: ExperimentPopulation
) -> None:
    if not len(kept):
        return
    mean = population_mean(kept[:, None], error=population.settings.error)
    if np.isfinite(mean.sem[0]):
        low, high = mean.mean[0] - mean.sem[0], mean.mean[0] + mean.sem[0]
        axes.plot([low, high], [y, y], color=INK, lw=1.8, zorder=3)
    axes.plot([mean.mean[0]], [y], "D", color=colour, mec=INK, ms=7, zorder=4, clip_on=False)


def _area_line(
    axes: Axes, x: np.ndarray, mean: Trajectory, colour: str, *, style: str = "-"
) -> None:
    """Draw a mean over experiments: whole while all are in it, dashed down to half of them."""
    most = int(mean.n.max(initial=0))
    if not most:
        return
    whole = np.where(mean.n == most, mean.mean, np.nan)
    some = (mean.n < most) & (mean.n >= max(2, most / 2))
    joined_on = some | np.append(some[1:], False)  # a dashed line begins where the other ends
    axes.plot(x, whole, color=colour, lw=2.2, ls=style, zorder=3)
    axes.plot(x, np.where(joined_on, mean.mean, np.nan), color=colour, lw=1.6, ls=(0, (3, 2)))
    drawn = (mean.n == most) | some
    low, high = (np.where(drawn, mean.mean + sign * mean.sem, np.nan) for sign in (-1, 1))
    axes.fill_between(x, low, high, color=colour, alpha=_BAND, lw=0, zorder=2)


@styled
def draw_time_courses(population: ExperimentPopulation) -> Figure | None:
    """Draw each area's PSTHs at the first and the highest block, and the threads' difference.

    None where no experiment has PSTHs.
    """
    fine = {one.area: one for one in time_courses(population, width_ms=0)}
    binned = {one.area: one for one in time_courses(population)}
    lines = fine if fine.keys() == binned.keys() else binned
    areas = tuple(area for area in population.areas if area in binned)
    if not areas:
        return None
    names = population.generators
    pair = len(names) == 2
    panel = max(2.9, _panel(2.9, len(areas)) - 0.65 / len(areas))
    width = max(_LEFT + len(areas) * (panel + _GAP) + 0.75, _NARROWEST)
    figure = new_figure(width, 7.6 if pair else 4.6)
    sheet = Canvas(figure)
    used = {area: binned[area].values[0].shape[0] for area in areas}
    sizes = ", ".join(f"{area} {n}" for area, n in used.items())
    sheet.heading("Responses over time", f"experiments with PSTHs: {sizes}; {_who(population)}")
    _legend(sheet, population, x=_LEFT, y=sheet.height - 1.02)
    tall = 2.2
    bottom = sheet.height - 1.5 - tall
    tops: list[Axes] = []
    limit = max((_limit(binned[area]) for area in areas), default=1.0) if pair else 1.0
    for i, area in enumerate(areas):
        x = _LEFT + i * (panel + _GAP)
        axes = inches(figure, x, bottom, panel, tall)
        edges = lines[area].edges_ms
        centres = (edges[1:] + edges[:-1]) / 2
        members = _with_rates(population, area, lines[area])
        for k, rates in enumerate(lines[area].values):
            values = smooth(rates, edges_ms=edges, sigma_ms=_SMOOTH_MS)
            first = population_mean(values[:, 0], error=population.settings.error)
            peaks = [min(max(m.threads[k].psth_peak, 0), values.shape[1] - 1) for m in members]
            top = population_mean(
                values[np.arange(len(values)), peaks], error=population.settings.error
            )
            axes.plot(centres, first.mean, color=tint(THREADS[k], 0.5), lw=1.5, ls=(0, (3, 2)))
            _area_line(axes, centres, top, THREADS[k])
        axes.set_title(f"{area}, n = {used[area]}")
        axes.grid(axis="y", color=GRID, lw=0.8)
        axes.set_xlim(edges[0], edges[-1])
        axes.xaxis.set_major_locator(MaxNLocator(5))
        if not pair:
            axes.set_xlabel("time after image onset (ms)")
        tops.append(axes)
        if pair:
            heat = inches(figure, x, 1.1, panel, 2.1)
            mesh = _draw_difference(heat, binned[area], limit)
            heat.set_xlabel("time after image onset (ms)")
            if i == 0:
                heat.set_ylabel("block")
            if i == len(areas) - 1:
                bar = inches(figure, x + panel + 0.15, 1.1, 0.13, 2.1)
                figure.colorbar(mesh, cax=bar, label=f"{names[1]} \N{MINUS SIGN} {names[0]}")
                bar.spines["outline"].set_visible(False)
        if i == 0:
            axes.set_ylabel("response / highest block")
    high = max(axes.get_ylim()[1] for axes in tops)
    for axes in tops:
        axes.set_ylim(0, high)
    which = "dashed: the first block, whole: each experiment's highest"
    texts = [f"lines: {SEM}, smoothed by {_SMOOTH_MS:g} ms; {which}"]
    if pair:
        texts.append(
            f"maps: difference in bins of {population.settings.bin_ms:g} ms, down to half of "
            "the experiments; dots: paired t, significant by the false discovery rate at 0.05"
        )
    sheet.notes(*texts)
    return figure


def _with_rates(
    population: ExperimentPopulation, area: str, of: TimeCourses
) -> list[CountedExperiment]:
    """Return the members that rows of `of` are of."""
    bins = len(of.edges_ms) - 1
    members = [one for one in population.of(area) if all(t.thread.psth for t in one.threads)]
    if len(members) == of.values[0].shape[0]:
        return members
    return [
        one
        for one in members
        if all(t.thread.psth and t.thread.psth.mean.shape[1] == bins for t in one.threads)
    ][: of.values[0].shape[0]]


def _difference_map(of: TimeCourses) -> np.ndarray:
    """Return the mean paired difference, (b, k), NaN where fewer than half have both."""
    difference = of.values[1] - of.values[0]
    n = np.isfinite(difference).sum(axis=0)
    total = np.where(np.isfinite(difference), difference, 0).sum(axis=0)
    return np.where(n >= max(1, len(difference) / 2), total / np.maximum(n, 1), np.nan)


def _limit(of: TimeCourses) -> float:
    found = np.abs(_difference_map(of))
    return float(np.nanpercentile(found, 99)) if np.isfinite(found).any() else 1.0


def _draw_difference(axes: Axes, of: TimeCourses, limit: float):  # noqa: ANN202  a mesh
    difference = _difference_map(of)
    kept = np.flatnonzero(np.isfinite(difference).any(axis=1))
    rows = int(kept[-1]) + 1 if len(kept) else 1
    mesh = axes.pcolormesh(
        of.edges_ms,
        np.arange(rows + 1) - 0.5,
        np.ma.masked_invalid(difference[:rows]),
        cmap=_DIFFERENCE,
        norm=Normalize(-limit, limit),
    )
    marked = of.marks.fdr.reshape(len(of.tests), -1)[:rows] & np.isfinite(difference[:rows])
    centres = (of.edges_ms[1:] + of.edges_ms[:-1]) / 2
    block, at = np.nonzero(marked)
    axes.plot(centres[at], block, ".", color=INK, ms=1.6)
    axes.yaxis.set_major_locator(whole_ticks(6))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    return mesh


@styled
def draw_attribution(population: ExperimentPopulation) -> Figure | None:
    """Draw which bins of time the rise is in, and its early and late parts, by area.

    None where no success has PSTHs.
    """
    courses, edges = attribution_courses(population)
    found = {one.area: one for one in courses if any(len(v) for v in one.values)}
    areas = tuple(area for area in population.areas if area in found)
    if not areas:
        return None
    names = population.generators
    panel = _panel(2.9, len(areas))
    width = max(_LEFT + len(areas) * (panel + _GAP) + 0.1, _NARROWEST)
    figure = new_figure(width, 7.3)
    sheet = Canvas(figure)
    settings = population.settings
    sheet.heading(
        "When the rise comes",
        f"successes of each thread (p < {settings.alpha:g}, {_rule(population)}); highest "
        "block less first",
    )
    _legend(sheet, population, x=_LEFT, y=6.28)
    tests = {
        measure: _tests_of(population, measure) for measure in ("early_share", "late_share")
    }
    centres = (edges[1:] + edges[:-1]) / 2
    tops: list[Axes] = []
    lows: list[Axes] = []
    for i, area in enumerate(areas):
        one = found[area]
        x = _LEFT + i * (panel + _GAP)
        upper = inches(figure, x, 3.75, panel, 2.15)
        upper.axhline(0, color=QUIET, lw=0.8)
        for k, mean in enumerate(one.means):
            _area_line(upper, centres, mean, THREADS[k])
        upper.set_title(f"{area}, n = {joined([str(len(v)) for v in one.values])}")
        upper.set_xlabel("time after image onset (ms)")
        upper.set_xlim(edges[0], edges[-1])
        upper.xaxis.set_major_locator(MaxNLocator(5))
        upper.grid(axis="y", color=GRID, lw=0.8)
        tops.append(upper)
        axes = inches(figure, x, 1.35, panel, 1.6)
        sizes: list[str] = []
        for j, measure in enumerate(("early_share", "late_share")):
            values = [share_values(population, area, measure, k) for k in range(len(names))]
            sizes.append(_n(values))
            for k, of in enumerate(values):
                _column(axes, 3 * j + k, of, THREADS[k], population)
            if len(names) == 2:
                axes.text(
                    (3 * j + 1.3) / 5.6,
                    1.02,
                    _marks(tests[measure][area]),
                    transform=axes.transAxes,
                    ha="center",
                    fontsize=9,
                )
        early, late = (
            f"{w[0]:g}\N{EN DASH}{w[1]:g} ms" for w in (settings.early_ms, settings.late_ms)
        )
        middle = (len(names) - 1) / 2
        ticks = [f"{span}\n{size}" for span, size in zip((early, late), sizes, strict=True)]
        axes.set_xticks([middle, 3 + middle], ticks)
        axes.tick_params(axis="x", length=0)
        axes.set_xlim(-0.8, 4.8)
        axes.grid(axis="y", color=GRID, lw=0.8)
        lows.append(axes)
        if len(names) == 2:
            marked = one.marks
            for row, flags in enumerate((marked.raw, marked.fdr)):
                at = centres[np.flatnonzero(flags)]
                shade = QUIET if row == 0 else INK
                upper.plot(
                    at,
                    np.full(len(at), 0.96 + 0.03 * row),
                    "s",
                    color=shade,
                    ms=2.4,
                    transform=upper.get_xaxis_transform(),
                )
        if i == 0:
            upper.set_ylabel("share of the rise, a bin")
            axes.set_ylabel("share of the rise")
    for some in (tops, lows):
        low, high = (f(a.get_ylim()[e] for a in some) for e, f in ((0, min), (1, max)))
        for axes in some:
            axes.set_ylim(low, high)
    sheet.notes(
        f"lines and diamonds: {SEM}; squares: unpaired t between threads in a bin of "
        f"{settings.bin_ms:g} ms, p < 0.05 (grey) and by the false discovery rate (black)",
        f"dots: experiments; p: unpaired t between threads; {MARKS}",
    )
    return figure


@styled
def draw_similarity(population: ExperimentPopulation) -> Figure | None:
    """Draw how alike two threads' images are against how alike they drive their unit.

    None where no experiment has images and PSTHs of both.
    """
    from evolver.analysis.dependent_correlations import compare_correlations

    members = [
        member
        for area in population.areas
        for member in population.of(area)
        if member.summary.difference is not None and member.summary.similarity
    ]
    measures = [
        measure
        for measure in ("pixel_r", "ssim", "cnn_cosine")
        if any(np.isfinite(_alike(member, measure)) for member in members)
    ]
    if len(population.generators) != 2 or not measures:
        return None
    y = np.array([m.summary.difference.mae for m in members if m.summary.difference])
    figure = new_figure(max(_LEFT + len(measures) * 3.6 + 0.2, _NARROWEST), 5.0)
    sheet = Canvas(figure)
    sheet.heading(
        "Images against PSTHs",
        f"n = {count(len(members), 'experiment')} with images, {_who(population)}",
    )
    columns: list[Vector] = []
    titles = {
        "pixel_r": "correlation of pixels",
        "ssim": "structural similarity",
        "cnn_cosine": "cosine of features",
    }
    for j, measure in enumerate(measures):
        axes = inches(figure, _LEFT + j * 3.6, 1.2, 3.0, 2.6)
        x = np.array([_alike(member, measure) for member in members])
        columns.append(x)
        for a, area in enumerate(population.areas):
            mine = np.array([member.area == area for member in members])
            axes.plot(
                x[mine], y[mine], "o", color=_AREA_COLOURS[a % 4], ms=5, mew=0, label=area
            )
        axes.set_xlabel(titles[measure])
        axes.xaxis.set_major_locator(MaxNLocator(4))
        both = np.isfinite(x) & np.isfinite(y)
        if both.sum() > 2 and np.ptp(x[both]) > 0 and np.ptp(y[both]) > 0:
            n = int(both.sum())
            r = float(np.corrcoef(x[both], y[both])[0, 1])
            axes.set_title(f"r = {number(r)}, {p_value(_p_of_r(r, n))}, n = {n}")
        axes.grid(color=GRID, lw=0.8)
        if j == 0:
            axes.set_ylabel("PSTHs apart / highest block")
            axes.legend(fontsize=9)
        else:
            axes.tick_params(labelleft=False)
    texts = [
        "dots: experiments, by their best images; r: Pearson's, p: by Student's t",
        "best image: of the largest response in a thread's highest block",
    ]
    if len(columns) > 1:
        test = compare_correlations(y, columns[0], columns[1])
        said = "the first two correlations share the PSTHs' difference; "
        said += (
            f"they are not compared: {test.reason}"
            if test.reason
            else f"compared by Williams's t: t = {number(test.statistic)}, {p_value(test.p)}, "
            f"n = {test.n}"
        )
        texts.insert(0, said)
    sheet.notes(*texts)
    return figure


def _p_of_r(r: float, n: int) -> float:
    """Return the two-sided p of a correlation, by Student's t."""
    from scipy.special import stdtr  # pyright: ignore[reportUnknownVariableType]

    left = max(1 - r * r, 1e-300)
    return float(2 * stdtr(n - 2, -abs(r) * np.sqrt((n - 2) / left)))


_AREA_COLOURS = (THREADS[2], THREADS[3], THREADS[4], THREADS[5])


def _alike(member: CountedExperiment, measure: str) -> float:
    for one in member.summary.similarity:
        if (one.prototype, one.measure) == ("best", measure):
            return one.value.value
    return float("nan")


POPULATION_FIGURES: dict[str, tuple[str, Callable[[ExperimentPopulation], Figure | None]]] = {
    "success_rates": ("How often evolutions succeed", draw_success_rates),
    "activation": ("Where they begin and end", draw_activation),
    "trajectories": ("How they get there", draw_trajectories),
    "time_courses": ("When units respond", draw_time_courses),
    "attribution": ("Which part of the response rises", draw_attribution),
    "similarity": ("Images and responses", draw_similarity),
    "tuning_shapes": ("How units are tuned along latent axes", draw_tuning_shapes),
    "tuning_peaks": ("Where along latent axes they respond most", draw_tuning_peaks),
}
"""File's name -> what it is headed on the page, and what draws it."""
