"""Which cells are settled, and which pairs are run before it is looked again.

Knows outcomes and statistics. A cell is an optimizer in one world under one noise. Its pairs
come in batches of equal size; after each it is compared, by the best clean image, with the
baseline and with the optimizer that leads its world and noise. It is settled against another
where the interval of their ratio lies beyond 1 -+ `within`, or inside; settled against both, it
stops. Nothing is settled on fewer than `FEWEST_UNITS`, however clear it looks.

Intervals at every look are at 1 - 0.05 / looks, so that all looks together are wrong about one
comparison at most as often as 0.05 (Bonferroni), whenever it stops. Of several comparisons each
has its own 0.05; and whoever leads was picked for leading.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from benchmarks.optimizers.contestants import BASELINE
from benchmarks.optimizers.intervals import Comparison
from benchmarks.optimizers.statistics import FEWEST_UNITS, ScoreTable, tabulate
from benchmarks.optimizers.worlds import layer_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from benchmarks.optimizers.outcomes import RunOutcome, Spec

MEASURE = "best"
"""The measure by which cells are settled."""
Cell: TypeAlias = tuple[str, str, str]  # world, noise, optimizer
Verdict: TypeAlias = Literal["ahead", "behind", "alike", "open", "too few units"]
TOO_FEW: Verdict = "too few units"


def batches(specs: Sequence[Spec], looks: int) -> list[list[Spec]]:
    """Return runs in batches: of each world equally many pairs, all layers in every batch."""
    parts: list[list[Spec]] = [[] for _ in range(looks)]
    for world in dict.fromkeys(spec.world for spec in specs):
        own = [spec for spec in specs if spec.world == world]
        of_layer: dict[tuple[int, str], list[str]] = {}
        for seed, unit in dict.fromkeys((spec.seed, spec.unit) for spec in own):
            of_layer.setdefault((seed, layer_of(unit)), []).append(unit)
        turns = sorted(
            (seed, turn, order, unit)
            for order, ((seed, _), units) in enumerate(of_layer.items())
            for turn, unit in enumerate(units)
        )
        pairs = [(seed, unit) for seed, _, _, unit in turns]
        for k in range(looks):
            rows = range(len(pairs) * k // looks, len(pairs) * (k + 1) // looks)
            chosen = set(pairs[rows.start : rows.stop])
            parts[k] += [spec for spec in own if (spec.seed, spec.unit) in chosen]
    return [part for part in parts if part]


def verdict(comparison: Comparison, within: float, base: float) -> Verdict:
    """Say where an interval lies; "open" where it reaches over an edge, if there are units.

    Parameters
    ----------
    comparison : of one optimizer with another
    within : ratios of 1 / (1 + within) to 1 + within are as good as 1
    base : the other's mean score, of which differences are parts
    """
    estimate = comparison.estimate
    low, high = estimate.low, estimate.high
    if comparison.kind == "ratio":
        ends = 1 / (1 + within), 1 + within
    else:
        ends = -within * abs(base), within * abs(base)
    if estimate.units < FEWEST_UNITS:
        return TOO_FEW
    if low > ends[1]:
        return "ahead"
    if high < ends[0]:
        return "behind"
    return "alike" if ends[0] < low and high < ends[1] else "open"


def verdicts(table: ScoreTable, measure: str, within: float, *, to: str) -> dict[str, Verdict]:
    """Return what is settled of each other optimizer against one."""
    if to not in table.labels:
        return {}
    base = table.mean(measure, to)
    return {
        label: verdict(comparison, within, base)
        for label, comparison in table.comparisons(measure, to=to).items()
        if label != to
    }


def open_cells(
    outcomes: Sequence[RunOutcome], *, level: float, within: float
) -> Collection[Cell]:
    """Return the cells that need more pairs: open ones, and what they are compared with."""
    cells: dict[Cell, None] = {}
    for world, tables in tabulate(outcomes, level=level).items():
        for noise, table in tables.items():
            if not table.labels:
                continue
            leader = table.leader(MEASURE)
            unsettled = {
                label
                for to in (BASELINE, leader)
                for label, said in verdicts(table, MEASURE, within, to=to).items()
                if said in {"open", TOO_FEW}
            }
            if unsettled:
                for label in (*unsettled, BASELINE, leader):
                    cells[world, noise, label] = None
    return cells.keys()
