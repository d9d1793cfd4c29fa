"""Figures of a decoded session: reconstructions, chance, sites, times, attributes, ceilings.

Knows a `DecodedSession` and matplotlib's objects; computes nothing but positions.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# matplotlib's annotations leave keyword arguments open.

from __future__ import annotations

import textwrap
from math import ceil, isfinite, nan
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import MaxNLocator
from scipy import special

from evolver.analysis.time_resolved import ALL_SITES
from evolver.colours import GRID, INK, QUIET, RED, UNMEASURED, series_colour
from evolver.reconstruction.results import CENTRED
from evolver.report.style import Canvas, inches, new_figure, styled, whole_ticks
from evolver.report.walk_figure import draw_walk
from evolver.report.words import count, number, p_value, shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from evolver.reconstruction.results import (
        DecodedSession,
        DecodedSite,
        DecodedTimes,
        DecodedWalk,
        DecodingMeasure,
    )
    from evolver.types import Vector

_COLUMNS, _BANDS, _SIDE, _PITCH, _LEFT = 10, 2, 1.05, 1.13, 1.1
SHOWN_ITEMS = _COLUMNS * _BANDS
"""Of the figure of reconstructions; spread over the items, never picked."""
BEST_ATTRIBUTES = 6
_BINS = 40


def decoding_sample(session: DecodedSession) -> str:
    """Say what was decoded of what, in a line."""
    train = f"{session.train_items:,} items of {', '.join(session.train_names)}"
    return (
        f"{session.settings.decoder} fitted on {train}; {session.held_out}, "
        f"{count(len(session.items), 'item')}, "
        f"{number(float(np.mean(session.repeats)))} showings each; "
        f"{count(len(session.channels), 'channel')}"
    )


@styled
def draw_reconstructions(session: DecodedSession) -> Figure | None:
    """Draw stimuli above their reconstructions; None where there are no images."""
    images = session.images
    if images is None:
        return None
    k = len(images.rows)
    shown = np.unique(np.linspace(0, k - 1, min(k, SHOWN_ITEMS)).round().astype(int))
    columns = min(_COLUMNS, len(shown))
    bands = ceil(len(shown) / columns)
    band = 2 * _PITCH + 0.42
    figure = new_figure(max(_LEFT + columns * _PITCH + 0.25, 9.0), 1.15 + bands * band + 0.15)
    sheet = Canvas(figure)
    sheet.heading(
        f"Stimuli and their reconstructions: {shorten(session.name, 50)}",
        decoding_sample(session),
    )
    each = {one.name: one.each for one in session.measures if len(one.each)}
    cosine = each.get(CENTRED)
    for place, at in enumerate(shown):
        line, column = divmod(place, columns)
        x = _LEFT + column * _PITCH
        y = sheet.height - 1.15 - line * band
        item = int(images.rows[at])
        words = session.items[item]
        if cosine is not None and isfinite(cosine[item]):
            words += f"  {number(float(cosine[item]))}"
        sheet.picture(images.true[at], x, y - _PITCH, _SIDE)
        sheet.picture(images.decoded[at], x, y - 2 * _PITCH, _SIDE)
        sheet.write(x + _SIDE / 2, y + 0.02, shorten(words, 20), size=10, colour=QUIET)
        if column == 0:
            sheet.write(0.3, y - _PITCH + _SIDE / 2, "shown", size=9.5, align="left")
            sheet.write(0.3, y - 2 * _PITCH + _SIDE / 2, "decoded", size=9.5, align="left")
    sheet.notes(
        f"Items evenly spread over the {count(len(session.items), 'decoded item')}, not "
        "picked. Above each its number, and the cosine of true and decoded code about the mean "
        "code. "
        f"Both rows are drawn by {session.generator} from codes."
    )
    return figure


def draw_decoded_walk(session: DecodedSession, walk: DecodedWalk) -> Figure:
    """Draw a walk between two items, a row a space that was walked in."""
    notes = (
        "On great circles, lengths linear. True: between the two codes; decoded: between "
        "those that were decoded; responses: between the two mean responses, each step decoded"
    )
    if "encodings" in walk.images:
        notes += "; encodings: what an encoder says of the true row's images, decoded"
    return draw_walk(
        {name: list(images) for name, images in walk.images.items()},
        walk.shares,
        title=f"From item {walk.first} to {walk.second}: {shorten(session.name, 40)}",
        subtitle=decoding_sample(session),
        notes=f"{notes}.",
    )


@styled
def draw_chance(session: DecodedSession) -> Figure | None:
    """Draw each measure on the distribution of its random sets."""
    measures = [one for one in session.measures if len(one.null)]
    if not measures:
        return None
    columns = min(4, len(measures))
    rows = ceil(len(measures) / columns)
    width, high, gap_x, gap_y, bottom = 2.45, 1.35, 0.6, 0.95, 0.95
    figure = new_figure(12.4, 1.5 + rows * high + (rows - 1) * gap_y + bottom)
    top = float(figure.get_size_inches()[1]) - 1.5
    for i, one in enumerate(measures):
        line, column = divmod(i, columns)
        axes = inches(
            figure,
            0.5 + column * (width + gap_x),
            top - high - line * (high + gap_y),
            width,
            high,
        )
        _draw_null(axes, one)
    sheet = Canvas(figure)
    sheet.heading(f"Against chance: {shorten(session.name, 60)}", decoding_sample(session))
    sets = len(measures[0].null)
    sheet.notes(
        f"Grey: {sets:,} random sets; red: what was decoded, with its 95 % interval over "
        "items. Of codes, fresh ones of the training prior in the true ones' place; of images, "
        "decoded ones dealt anew to the items. p = (1 + sets as high) / (1 + sets), never "
        f"below {1 / (1 + sets):.2g}; no correction for several measures."
    )
    return figure


def _draw_null(axes: Axes, one: DecodingMeasure) -> None:
    null = one.null[np.isfinite(one.null)]
    axes.hist(null, bins=_BINS, histtype="stepfilled", color="#b9bec4", lw=0)
    highest = float(axes.get_ylim()[1])
    if isfinite(one.low):
        axes.axvspan(one.low, one.high, color=RED, alpha=0.15, lw=0)
    axes.axvline(one.value.value, color=RED, lw=1.6)
    axes.set_ylim(0, highest * 1.05)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.tick_params(labelsize=10)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.set_title(
        f"{shorten(one.name, 34)}\n{number(one.value.value)}, {p_value(one.p)}, n = {one.n}",
        fontsize=10.5,
        fontweight="normal",
    )


@styled
def draw_sites(session: DecodedSession) -> Figure | None:
    """Draw what each site tells alone, by every measure."""
    if not session.sites:
        return None
    names = list(session.sites[0].measures)
    columns = min(4, len(names))
    rows = ceil(len(names) / columns)
    width, high, gap_x, gap_y, bottom = 2.35, 1.55, 0.7, 1.05, 1.15
    figure = new_figure(12.4, 1.35 + rows * high + (rows - 1) * gap_y + bottom)
    top = float(figure.get_size_inches()[1]) - 1.35
    chance = {one.name: one.chance for one in session.measures}
    for i, name in enumerate(names):
        line, column = divmod(i, columns)
        axes = inches(
            figure,
            0.65 + column * (width + gap_x),
            top - high - line * (high + gap_y),
            width,
            high,
        )
        _draw_alone(axes, session.sites, name, chance.get(name, nan))
    sheet = Canvas(figure)
    sheet.heading(f"Which site tells: {shorten(session.name, 60)}", decoding_sample(session))
    sheet.notes(
        "One decoder of all channels, tested with one site's responses, all others at "
        f"{_occluded_words(session)}. 95 % intervals over items: Student's where each has a "
        "value, else of leaving items out; dashed: mean over the random sets of all channels."
    )
    return figure


def _occluded_words(session: DecodedSession) -> str:
    if session.settings.occluded_by == "paper":
        return "the mean of the other test items (as published)"
    return "the training mean"


def _draw_alone(axes: Axes, sites: Sequence[DecodedSite], name: str, chance: float) -> None:
    n = 0
    for k, site in enumerate(sites):
        interval = site.measures.get(name)
        if interval is None:
            continue
        n = max(n, interval.n)
        ends = [[interval.mean - interval.low], [interval.high - interval.mean]]
        axes.errorbar(
            k, interval.mean, yerr=np.nan_to_num(ends), fmt="o", ms=5, lw=1.4, capsize=3,
            color=_site_colour(site.site, k),
        )  # fmt: skip
    if isfinite(chance):
        axes.axhline(chance, color=QUIET, lw=0.9, ls="--")
    labels = [f"{shorten(site.site, 10)}\n{site.channels:,}" for site in sites]
    axes.set_xticks(np.arange(len(sites)), labels, fontsize=10)
    axes.set_xlim(-0.5, len(sites) - 0.5)
    axes.tick_params(axis="y", labelsize=10)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.grid(axis="y", color=GRID, lw=0.6)
    axes.set_title(f"{shorten(name, 34)}\nn = {n}", fontsize=10.5, fontweight="normal")


@styled
def draw_regions(session: DecodedSession) -> Figure | None:
    """Draw decoders of each site's channels, and of all but them, beside random channels."""
    if not any(site.region is not None for site in session.sites):
        return None
    figure = new_figure(12.4, 4.6)
    _draw_regions(inches(figure, 0.95, 1.0, 10.9, 2.35), session.sites)
    sheet = Canvas(figure)
    sheet.heading(
        f"Decoders with and without a site: {shorten(session.name, 50)}",
        decoding_sample(session),
    )
    draws = session.settings.draws
    fold = "" if session.test_names else " Of the first fold's items."
    sheet.notes(
        "Fitted to a site's channels alone, and to all but them, beside the mean of "
        f"{draws} decoders of as many channels drawn at random. p of random ones that are as "
        f"high (in), or as low (out), never below {1 / (1 + draws):.2g}.{fold}"
    )
    return figure


def _draw_regions(axes: Axes, sites: Sequence[DecodedSite]) -> None:
    kept = [site for site in sites if site.region is not None]
    for k, site in enumerate(kept):
        region = site.region
        if region is None:
            continue
        colour = _site_colour(site.site, sites.index(site))
        for shift, value, random in (
            (-0.14, region.inside, region.random_inside),
            (0.14, region.outside, region.random_outside),
        ):
            filled = shift < 0
            axes.plot(
                k + shift, value.value, "o" if filled else "s", ms=7, color=colour,
                mfc=colour if filled else "white",
            )  # fmt: skip
            axes.plot([k + shift - 0.1, k + shift + 0.1], [random.value] * 2, color=INK, lw=1.6)
        words = f"in: {p_value(region.p_inside)}\nout: {p_value(region.p_outside)}"
        axes.annotate(
            words, (k, 1.0), xycoords=("data", "axes fraction"), ha="center", va="top",
            fontsize=10, color=QUIET,
        )  # fmt: skip
    axes.plot([], [], "o", color=QUIET, label="these channels alone")
    axes.plot([], [], "s", color=QUIET, mfc="white", label="all but these")
    axes.plot([], [], "-", color=INK, lw=1.6, label="as many at random")
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0), high + 0.25 * (high - min(low, 0)))
    _finish_sites(axes, kept)
    axes.set_ylabel("code correlation", fontsize=10)
    _legend_above(axes)


def _finish_sites(axes: Axes, sites: Sequence[DecodedSite]) -> None:
    labels = [f"{shorten(site.site, 16)}\n{site.channels:,} ch." for site in sites]
    axes.set_xticks(np.arange(len(sites)), labels, fontsize=10.5)
    axes.set_xlim(-0.5, len(sites) - 0.5)
    axes.axhline(0, color=QUIET, lw=0.8)
    axes.grid(axis="y", color=GRID, lw=0.6)


def _legend_above(axes: Axes) -> None:
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize=10.5, borderaxespad=0.1,
        columnspacing=1.2, handlelength=1.4,
    )  # fmt: skip


def _site_colour(site: str, k: int) -> str:
    """Return a site's colour, the same in every figure: `ALL_SITES` is first of the sites."""
    return INK if site == ALL_SITES else series_colour(k - 1)


@styled
def draw_times(session: DecodedSession) -> Figure | None:
    """Draw the course of code correlation of each site, its sigmoid, and when it rises."""
    if not session.times:
        return None
    figure = new_figure(12.4, 7.7)
    axes = inches(figure, 0.95, 3.55, 7.4, 3.1)
    order = [ALL_SITES, *(one.site for one in session.times if one.site != ALL_SITES)]
    for one in session.times:
        _draw_course(axes, one, _site_colour(one.site, order.index(one.site)))
    axes.axhline(0, color=QUIET, lw=0.8)
    axes.axvline(0, color=QUIET, lw=0.8, ls=":")
    axes.grid(axis="y", color=GRID, lw=0.6)
    axes.set_xlabel("time after onset (ms), middle of the window", fontsize=10)
    axes.set_ylabel("code correlation", fontsize=10)
    _draw_other_courses(figure, session.times, order)
    sheet = Canvas(figure)
    sheet.heading(f"When codes are told: {shorten(session.name, 60)}", decoding_sample(session))
    sheet.write(8.8, 6.6, "half way up (t0), 95 % interval", size=10, bold=True, align="left")
    y = 6.32
    for k, one in enumerate(sorted(session.times, key=lambda one: order.index(one.site))):
        y = _write_rise(sheet, y, one, _site_colour(one.site, k))
    first = session.times[0]
    width = float(np.diff(first.centres_ms[:2])[0]) if len(first.centres_ms) > 1 else 0.0
    fold = "" if session.test_names else " Of the first fold's items."
    sheet.notes(
        f"A decoder of its own for each window of {width:g} ms and each site. Bands: 95 % "
        f"interval over items, of leaving items out. Lines: a + b / (1 + exp(-k (t - t0))), "
        "where one explains half of the course or more; t0's interval is over items drawn with "
        f"replacement, {session.settings.resamplings} times, decoders not fitted again.{fold}"
    )
    return figure


def _draw_other_courses(
    figure: Figure, times: Sequence[DecodedTimes], order: Sequence[str]
) -> None:
    """Draw the courses of the other measures, below."""
    for place, (name, of) in enumerate((
        ("cosine about the mean", "cosine"),
        ("pairs told apart", "pairwise"),
    )):
        axes = inches(figure, 0.95 + 6.0 * place, 1.1, 5.0, 1.55)
        for one in times:
            colour = _site_colour(one.site, order.index(one.site))
            axes.plot(one.centres_ms, getattr(one, of), "-", lw=1.2, color=colour)
        axes.axhline(0.5 * place, color=QUIET, lw=0.8)
        axes.axvline(0, color=QUIET, lw=0.8, ls=":")
        axes.grid(axis="y", color=GRID, lw=0.6)
        axes.tick_params(labelsize=10)
        axes.set_title(name, fontsize=10.5, fontweight="normal")


def _draw_course(axes: Axes, one: DecodedTimes, colour: str) -> None:
    axes.fill_between(one.centres_ms, one.low, one.high, color=colour, alpha=0.15, lw=0)
    axes.plot(one.centres_ms, one.correlation, "o", ms=3.5, color=colour, mew=0)
    rise = one.rise
    if isfinite(rise.t0_ms):
        t = np.linspace(float(one.centres_ms[0]), float(one.centres_ms[-1]), 300)
        shape = special.expit(rise.steepness * (t - rise.t0_ms))
        axes.plot(t, rise.low + rise.height * shape, lw=1.8, color=colour)
        axes.plot([rise.t0_ms], [rise.low + rise.height / 2], "D", ms=6, color=colour)
    else:
        axes.plot(one.centres_ms, one.correlation, lw=0.8, color=colour)


def _write_rise(sheet: Canvas, y: float, one: DecodedTimes, colour: str) -> float:
    """Write when a site tells, at a height; return that of the next."""
    name = f"{shorten(one.site, 14)}, {one.channels:,} ch."
    sheet.write(8.8, y, name, size=9.5, colour=colour, bold=True, align="left")
    rise = one.rise
    if isfinite(rise.low_ms):
        words = f"{rise.t0_ms:.0f} ms ({rise.low_ms:.0f} to {rise.high_ms:.0f})"
    elif isfinite(rise.t0_ms):
        words = f"{rise.t0_ms:.0f} ms; {rise.reason or 'no interval was asked for'}"
    else:
        words = rise.reason
    lines = textwrap.wrap(words, 46)[:3]
    for i, line in enumerate(lines):
        sheet.write(8.8, y - 0.18 - 0.15 * i, line, size=8.5, colour=QUIET, align="left")
    return y - 0.3 - 0.15 * len(lines)


@styled
def draw_attributes(session: DecodedSession) -> Figure | None:
    """Draw true against decoded scores of the best six directions, beside r of all."""
    found = session.attributes
    if found is None or not len(found.scores.best):
        return None
    scores, test = found.scores, found.test
    figure = new_figure(12.4, 5.9)
    side, pitch = 1.45, 2.2
    for place, k in enumerate(scores.best[:BEST_ATTRIBUTES].tolist()):
        line, column = divmod(place, 3)
        axes = inches(figure, 0.9 + column * pitch, 3.2 - line * 2.15, side, side)
        axes.plot(scores.true[:, k], scores.decoded[:, k], ".", ms=7, alpha=0.7, mew=0)
        axes.tick_params(labelsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=3))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=3))
        axes.set_title(
            f"direction {k}: r = {scores.r[k]:.2f}\n"
            f"of the best {p_value(float(test.p_best[k]))}",
            fontsize=9.5,
            fontweight="normal",
        )
        if line == 1:
            axes.set_xlabel("true", fontsize=9.5)
        if column == 0:
            axes.set_ylabel("decoded", fontsize=9.5)
    _draw_all_attributes(inches(figure, 7.7, 1.05, 4.3, 3.6), scores.r, test.random)
    sheet = Canvas(figure)
    sheet.heading(
        f"Attributes: {shorten(session.name, 60)}",
        f"scores of codes along the {len(scores.r)} directions of {found.source}'s first "
        f"weights (SeFa); n = {count(len(scores.true), 'item')}",
    )
    sheet.notes(
        "Left: the six directions of highest r, each dot an item. Right: r of all directions, "
        "the strongest of the weights first; dashed: what the best of all reaches in 95 % of "
        f"{test.sets:,} deals of decoded codes to items. 'Of the best' is p against that best: "
        "the best of many is not one test."
    )
    return figure


def _draw_all_attributes(axes: Axes, r: Vector, random: Vector) -> None:
    axes.plot(np.arange(len(r)), r, ".", ms=4 if len(r) > 150 else 6, mew=0)
    best = np.sort(np.where(np.isfinite(random), random, -np.inf).max(axis=1))
    level = float(np.quantile(best[np.isfinite(best)], 0.95)) if len(best) else np.nan
    axes.axhline(level, color=RED, lw=1.2, ls="--")
    axes.axhline(0, color=QUIET, lw=0.8)
    axes.grid(axis="y", color=GRID, lw=0.6)
    axes.set_xlabel("direction", fontsize=10)
    axes.set_ylabel("r of true and decoded scores", fontsize=10)
    axes.xaxis.set_major_locator(whole_ticks(6))
    axes.set_title(f"all {len(r)}", fontsize=10.5, fontweight="normal")


@styled
def draw_ceilings(session: DecodedSession) -> Figure | None:
    """Draw the ceiling of every channel, by area; None where no image was shown twice."""
    found = session.reliability
    if found is None or found.reason:
        return None
    areas = np.array(session.channels.areas)
    names = list(dict.fromkeys(areas.tolist()))
    figure = new_figure(12.4, 3.9)
    axes = inches(figure, 0.95, 0.75, 10.9, 2.1)
    at = 0
    for k, name in enumerate(names):
        values = np.sort(found.ceiling[areas == name])
        defined = int(np.isfinite(values).sum())
        x = at + np.arange(len(values))
        axes.plot(x, values, ".", ms=4 if len(areas) > 200 else 7, color=series_colour(k))
        if defined:
            median = float(np.nanmedian(values))
            axes.plot([at, at + len(values) - 1], [median] * 2, color=series_colour(k), lw=1.4)
        axes.text(
            at + len(values) / 2, 1.06,
            f"{shorten(name, 22)}: {defined:,} of {len(values):,} channels",
            ha="center", fontsize=10, color=series_colour(k),
        )  # fmt: skip
        at += len(values) + max(1, len(areas) // 60)
    axes.set_ylim(0, 1.03)
    axes.set_xticks([])
    axes.axhline(1, color=UNMEASURED, lw=0.8)
    axes.set_ylabel("ceiling, r", fontsize=10)
    sheet = Canvas(figure)
    sheet.heading(
        f"What no decoder or encoder can exceed: {shorten(session.name, 50)}",
        f"{found.images} items shown twice or more",
    )
    sheet.notes(
        "Square root of the reliability of the mean of all repeats: r of two halves of the "
        "repeats over items, 100 deals, by Spearman and Brown. Channels in their order of it; "
        "a line is their median; those whose halves do not agree have none."
    )
    return figure


DECODING_FIGURES: dict[str, tuple[str, Callable[[DecodedSession], Figure | None]]] = {
    "reconstructions": ("Stimuli and reconstructions", draw_reconstructions),
    "chance": ("Against chance", draw_chance),
    "sites": ("Which site tells", draw_sites),
    "regions": ("Decoders with and without a site", draw_regions),
    "times": ("When codes are told", draw_times),
    "attributes": ("Attributes", draw_attributes),
    "ceilings": ("Ceilings of channels", draw_ceilings),
}
"""Name of the file, without its ending -> title and what draws it."""
