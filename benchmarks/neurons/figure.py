"""The figure of published and simulated sites: what is measured, and mean PSTHs."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false
# matplotlib leaves the types of these open.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from benchmarks.neurons.experiments import AREAS, THREADS, Array, Experiment, quantiles

_COLOURS = {"published": "#444444", "simulated": "#c0504d"}


def draw(found: Mapping[str, Mapping[str, Sequence[Experiment]]], path: Path) -> None:
    """Draw 10 to 90 % of every measure, and mean normalised PSTHs, a column an area.

    Parameters
    ----------
    found : "published" and "simulated" to experiments by area
    path : of a PNG
    """
    figure, axes = plt.subplots(
        2, 3, figsize=(11, 8.2), height_ratios=(2.4, 1), layout="constrained"
    )
    for column, area in enumerate(AREAS):
        _measures(
            axes[0, column], {kind: found[kind][area] for kind in _COLOURS}, named=column == 0
        )
        _psths(axes[1, column], {kind: found[kind][area] for kind in _COLOURS})
        sites = {kind: len(found[kind][area]) for kind in _COLOURS}
        axes[0, column].set_title(
            f"{area}: {sites['published']} published, {sites['simulated']} simulated"
        )
    axes[1, 0].set_ylabel("rate, of the highest")
    axes[1, 0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _measures(ax: Axes, kinds: Mapping[str, Sequence[Experiment]], *, named: bool) -> None:
    rows = {kind: quantiles(experiments) for kind, experiments in kinds.items()}
    names = list(rows["published"])
    for i, name in enumerate(names):
        for shift, kind in ((-0.17, "published"), (0.17, "simulated")):
            low, middle, high = np.maximum(rows[kind][name], 0.005)
            ax.plot([low, high], [i + shift] * 2, color=_COLOURS[kind], lw=3, alpha=0.6)
            ax.plot(middle, i + shift, "o", color=_COLOURS[kind], ms=5)
    ax.set_xscale("log")
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.set_yticks(range(len(names)), names if named else [""] * len(names), fontsize=8)
    ax.set_xlabel("10, 50, 90 % of sites", fontsize=8)
    ax.grid(axis="x", color="#dddddd", lw=0.6)
    ax.spines[["top", "right"]].set_visible(False)


def _psths(ax: Axes, kinds: Mapping[str, Sequence[Experiment]]) -> None:
    for kind, experiments in kinds.items():
        for k, style in enumerate(("-", "--")):
            mean = _mean_psth(experiments, k)
            label = f"{kind}, {THREADS[k]}"
            ax.plot(np.arange(200) + 0.5, mean, style, color=_COLOURS[kind], label=label)
    ax.set_ylim(0, 1.05)
    ax.set_xlim(0, 200)
    ax.set_xlabel("ms after onset")
    ax.spines[["top", "right"]].set_visible(False)


def _mean_psth(experiments: Sequence[Experiment], thread: int) -> Array:
    """Return the mean over sites of late PSTHs, each divided by its highest."""
    late = [e.psth[thread, -11:].mean(axis=0) for e in experiments]
    return np.mean([psth / psth.max() for psth in late if psth.max() > 5], axis=0)
