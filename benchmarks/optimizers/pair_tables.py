"""Numbers over pairs as rows of text: what is settled, and presentations until a score.

Knows outcomes, statistics and how numbers are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.optimizers.contestants import BASELINE
from benchmarks.optimizers.looks import MEASURE, TOO_FEW, verdicts
from benchmarks.optimizers.noise import Noise
from benchmarks.optimizers.reach import Reach, presentations
from benchmarks.optimizers.tables import pairs_of
from evolver.report.words import NONE, count

if TYPE_CHECKING:
    from benchmarks.optimizers.intervals import Comparison
    from benchmarks.optimizers.outcomes import RunOutcome
    from benchmarks.optimizers.statistics import ScoreTable


def settled(scores: dict[str, ScoreTable], within: float) -> tuple[list[str], list[list[str]]]:
    """Return head and rows: how each optimizer stands to Cholesky and to the leader."""
    head = ["optimizer", *(Noise.parse(noise).words for noise in scores)]
    columns: list[dict[str, str]] = []
    for table in scores.values():
        leader = table.leader(MEASURE) if table.labels else ""
        ours = verdicts(table, MEASURE, within, to=BASELINE)
        lead = verdicts(table, MEASURE, within, to=leader)
        pairs = table.comparisons(MEASURE, to=BASELINE)
        columns.append({
            label: _settled(ours.get(label, NONE), lead.get(label, "leads"), comparison)
            for label, comparison in pairs.items()
        })
    labels = dict.fromkeys(label for column in columns for label in column)
    return head, [[label, *(c.get(label, NONE) for c in columns)] for label in labels]


def _settled(baseline: str, leader: str, comparison: Comparison) -> str:
    """Write how one stands to both, and on how many pairs; or on how few units."""
    if TOO_FEW in {baseline, leader}:
        leads = ", leads" if leader == "leads" else ""
        return f"{count(comparison.estimate.units, 'unit')}{leads}"
    return f"{baseline}, {leader} ({pairs_of([comparison])})"


def reach(
    outcomes: Sequence[RunOutcome], world: str, generation: int, *, level: float
) -> tuple[list[str], list[list[str]]]:
    """Return head and rows: presentations until Cholesky's score of a generation."""
    runs = [o for o in outcomes if o.spec.world == world]
    noises = list(dict.fromkeys(o.spec.noise for o in runs))
    by_noise = [
        presentations([o for o in runs if o.spec.noise == noise], generation, level=level)
        for noise in noises
    ]
    head = ["optimizer"]
    for noise in noises:
        head += [f"{Noise.parse(noise).words}: median", "never"]
    rows: list[list[str]] = []
    for label in dict.fromkeys(label for reaches in by_noise for label in reaches):
        row = [label]
        for reaches in by_noise:
            row += _reached(reaches.get(label), runs[0].spec.generations * runs[0].spec.popsize)
        rows.append(row)
    return head, rows


def _reached(of_run: Reach | None, most: int) -> list[str]:
    """Write a median with its interval, and the share of pairs that did not get there."""
    if of_run is None:
        return [NONE, NONE]
    median = of_run.presentations

    def number(value: float) -> str:
        return f"> {most:,}" if value == float("inf") else f"{value:,.0f}"

    text = "not reached" if median.value == float("inf") else number(median.value)
    if median.low == median.low and median.low != float("inf"):
        text += f" ({number(median.low)} to {number(median.high)})"
    return [text, f"{100 * of_run.never:.0f} %"]
