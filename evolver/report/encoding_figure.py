"""The figure of fitted encoders: how well each layer predicts each area, whose best it is.

Knows scores, an assignment and matplotlib's objects.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# matplotlib's annotations leave keyword arguments open.

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evolver.analysis.rank_tests import mean_interval
from evolver.colours import GRID, QUIET, series_colour
from evolver.report.style import Canvas, inches, new_figure, styled
from evolver.report.words import count, shorten

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from evolver.analysis.layer_assignment import EncodingScores, LayerAssignment


@styled
def draw_layers(
    scores: Mapping[str, EncodingScores],
    assignment: LayerAssignment,
    areas: tuple[str, ...],
    *,
    title: str,
    subtitle: str,
) -> Figure:
    """Draw correlations by layer and area, and shares of units by best layer.

    Parameters
    ----------
    scores : by layer, of all units
    assignment : of the same units
    areas : (u,) of each unit
    title, subtitle : at the top
    """
    figure = new_figure(12.4, 5.0)
    left, right = inches(figure, 0.95, 1.35, 4.9, 2.55), inches(figure, 7.0, 1.35, 4.9, 2.55)
    _draw_correlations(left, scores, assignment, areas)
    _draw_shares(right, assignment)
    sheet = Canvas(figure)
    sheet.heading(title, subtitle)
    sheet.notes(
        "Left: Pearson's correlation of predicted and measured responses over images that no "
        "fit has seen, mean over units with 95 % t interval (three units or more). Right: "
        "share of an area's units that each layer predicts best, with Wilson's 95 % interval."
        + (
            " Open diamonds: median over units of r over its ceiling, the root of the test "
            "responses' split-half reliability."
            if any(np.isfinite(s.over_ceiling).any() for s in scores.values())
            else ""
        )
    )
    return figure


def _draw_correlations(
    axes: Axes,
    scores: Mapping[str, EncodingScores],
    assignment: LayerAssignment,
    areas: tuple[str, ...],
) -> None:
    for k, area in enumerate(assignment.areas):
        members = np.array([a == area for a in areas])
        at = np.arange(len(scores)) + _shift(k, len(assignment.areas))
        values = [s.r[members & np.isfinite(s.r)] for s in scores.values()]
        means = [mean_interval(v, within=(-1.0, 1.0)) for v in values]
        middles = np.array([m.mean for m in means])
        ends = np.array([[m.mean - m.low, m.high - m.mean] for m in means]).T
        ends = np.nan_to_num(ends, nan=0.0)
        axes.errorbar(
            at, middles, yerr=ends, fmt="o-", ms=5, lw=1.4, capsize=3,
            color=series_colour(k), label=_label(area, int(members.sum())),
        )  # fmt: skip
        over = [s.over_ceiling[members & np.isfinite(s.over_ceiling)] for s in scores.values()]
        known = [i for i, values in enumerate(over) if len(values)]
        axes.plot(
            at[known], [float(np.median(over[i])) for i in known], "D", ms=5, mfc="white",
            color=series_colour(k)
        )  # fmt: skip
    axes.axhline(0, color=QUIET, lw=0.8)
    axes.set_ylabel("correlation, r", fontsize=10)
    axes.set_ylim(top=min(1.05, max(0.2, axes.get_ylim()[1])))
    _finish(axes, assignment)
    if any(np.isfinite(s.over_ceiling).any() for s in scores.values()):
        axes.plot([], [], "D", ms=5, mfc="white", color=QUIET, label="r over its ceiling")
    axes.legend(
        fontsize=9, frameon=False, loc="lower left", bbox_to_anchor=(-0.02, 0.98), ncols=4
    )


def _draw_shares(axes: Axes, assignment: LayerAssignment) -> None:
    for k, area in enumerate(assignment.areas):
        at = np.arange(len(assignment.layers)) + _shift(k, len(assignment.areas))
        shares = assignment.shares[area]
        if any(s.reason for s in shares):
            continue
        values = np.array([s.value for s in shares])
        ends = np.array([[s.value - s.low, s.high - s.value] for s in shares]).T
        axes.errorbar(
            at, values, yerr=np.maximum(ends, 0), fmt="o", ms=5, lw=1.4, capsize=3,
            color=series_colour(k), label=_label(area, shares[0].n),
        )  # fmt: skip
    axes.set_ylabel("share of units, by best layer", fontsize=10)
    axes.set_ylim(-0.03, 1.03)
    _finish(axes, assignment)


def _finish(axes: Axes, assignment: LayerAssignment) -> None:
    layers = [shorten(layer, 18) for layer in assignment.layers]
    slanted = max(map(len, layers)) > 8
    axes.set_xticks(
        np.arange(len(layers)),
        layers,
        fontsize=9,
        rotation=30 if slanted else 0,
        ha="right" if slanted else "center",
    )
    axes.set_xlim(-0.5, len(layers) - 0.5)
    axes.grid(axis="y", color=GRID, lw=0.6)


def _label(area: Hashable, n: int) -> str:
    return f"{shorten(str(area), 24)}, {count(n, 'unit')}"


def _shift(k: int, of: int) -> float:
    """Return by how much an area's points stand beside their layer."""
    return 0.0 if of < 2 else 0.3 * (k / (of - 1) - 0.5)
