"""Numbers as text: Markdown sections for people, tidy CSV for programs.

Knows outcomes, statistics and costs. Knows no figure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.optimizers.contestants import BASELINE
from benchmarks.optimizers.noise import Noise
from benchmarks.optimizers.outcomes import CODES, FORMS
from benchmarks.optimizers.statistics import units_without_scale
from benchmarks.optimizers.worlds import layer_of
from evolver.plain_text import one_line
from evolver.report.words import NONE, count, joined
from evolver.table_files import table_bytes
from evolver.whole_files import write_whole

if TYPE_CHECKING:
    from benchmarks.optimizers.cost import Cost
    from benchmarks.optimizers.intervals import Comparison, Estimate
    from benchmarks.optimizers.outcomes import RunOutcome, Spec
    from benchmarks.optimizers.statistics import ScoreTable

_HEADS = ("run", "world", "layer", "unit", "noise", "seed", "optimizer")
DIFFERENCE = "\N{GREEK CAPITAL LETTER DELTA}"
"""Before a difference in units of the scale, where a ratio would mean nothing."""
_DOUBLING = 2.0
_CODE_WORDS = {
    "best": "Best image",
    "mean_image": "Final mean image",
    "pick": "Image with the best noisy score",
    "repeats": "Image picked by repeats",
}
_FORM_WORDS = {"": "", "_matched": ", at one code norm", "_contrast": ", at one image contrast"}
MEASURE_WORDS = {
    code + form: _CODE_WORDS[code] + _FORM_WORDS[form] for form in FORMS for code in CODES
}


def compared(comparison: Comparison | None) -> str:
    """Write a ratio with its interval, or a difference with its sign and what it is.

    '1.21 (1.10 to 1.34)' and '\N{GREEK CAPITAL LETTER DELTA} \N{MINUS SIGN}0.42 (...)'.
    """
    if comparison is None:
        return NONE
    text = interval(comparison.estimate)
    return text if comparison.kind == "ratio" or text == NONE else f"{DIFFERENCE} {text}"


def resolved(comparisons: Sequence[Comparison]) -> str:
    """Write the smallest differences that are told from none: '4 to 9 %' of ratios.

    Of ratios beyond a doubling no number is written: it would say how little is known.
    """
    parts: list[str] = []
    for kind in ("ratio", "difference"):
        sizes = [c.estimate.resolves for c in comparisons if c.kind == kind]
        sizes = [size for size in sizes if size == size]
        if not sizes:
            continue
        if kind == "ratio":
            parts.append(_part(min(sizes), max(sizes)))
        else:
            ends = [fixed(size, 2) for size in (min(sizes), max(sizes))]
            parts.append(f"{DIFFERENCE} {' to '.join(dict.fromkeys(ends))}")
    return "; ".join(parts) or NONE


def _part(least: float, most: float) -> str:
    """Write two ratios above 1 as what is resolved at best and at worst."""
    if least >= _DOUBLING:
        return "nothing below a doubling"
    ends = [f"{100 * (size - 1):.0f}" for size in (least, most)]
    if most >= _DOUBLING:
        return f"{ends[0]} % to over a doubling"
    return f"{' to '.join(dict.fromkeys(ends))} %"


def pairs_of(comparisons: Sequence[Comparison]) -> str:
    """Write how many pairs of a unit and a seed there are: '60', '15 to 60'."""
    ns = [c.estimate.pairs for c in comparisons]
    return " to ".join(dict.fromkeys(map(str, (min(ns), max(ns))))) if ns else NONE


def interval(estimate: Estimate | None) -> str:
    """Write a number with its interval: '1.21 (1.10 to 1.34)'."""
    if estimate is None or estimate.value != estimate.value:
        return NONE
    if estimate.low != estimate.low:
        return fixed(estimate.value, 2)
    return f"{fixed(estimate.value, 2)} ({fixed(estimate.low, 2)} to {fixed(estimate.high, 2)})"


def fixed(value: float, digits: int) -> str:
    """Write a number with so many digits after the point, and no minus before a zero."""
    return f"{value:z.{digits}f}".replace("-", "\N{MINUS SIGN}")


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def trust(scores: dict[str, ScoreTable], measure: str) -> list[list[str]]:
    """Return one row a noise: what leads by a measure, and what is as good."""
    rows: list[list[str]] = []
    for noise, table in scores.items():
        if not table.labels:
            continue
        first, beside = table.leaders(measure)
        comparisons = table.comparisons(measure, to=BASELINE)
        others = [c for label, c in comparisons.items() if label != BASELINE]
        rows.append([
            Noise.parse(noise).words,
            first,
            compared(comparisons.get(first)),
            "too few units to tell" if beside is None else joined(beside) or "none",
            pairs_of(others),
            resolved(others),
        ])
    return rows


TRUST_HEAD = (
    "noise",
    "leads",
    f"ratio to {BASELINE}",
    "not told apart from it",
    "pairs",
    "resolves",
)


def quality(scores: dict[str, ScoreTable], measure: str) -> tuple[list[str], list[list[str]]]:
    """Return head and rows: ratio to Cholesky with its interval, and the published form."""
    head = ["optimizer"]
    labels: list[str] = []
    for noise, table in scores.items():
        head += [f"{Noise.parse(noise).words}: ratio", "of the best"]
        labels += [label for label in table.labels if label not in labels]
    columns = [
        (table.comparisons(measure, to=BASELINE), table.normalised(measure))
        for table in scores.values()
    ]
    rows: list[list[str]] = []
    for label in labels:
        row = [label]
        for comparisons, normalised in columns:
            of_best = normalised.get(label)
            row += [
                compared(comparisons.get(label)),
                NONE if of_best is None else fixed(of_best.value, 3),
            ]
        rows.append(row)
    pairs, sizes = ["(pairs)"], ["(resolves)"]
    for comparisons, _ in columns:
        others = [c for label, c in comparisons.items() if label != BASELINE]
        pairs += [pairs_of(others), ""]
        sizes += [resolved(others), ""]
    return head, [*rows, pairs, sizes]


def norms(outcomes: Sequence[RunOutcome], world: str) -> tuple[list[str], list[list[str]]]:
    """Return head and rows: norm of the last generation's mean code, mean over runs."""
    runs = [o for o in outcomes if o.spec.world == world and not o.failed]
    noises = list(dict.fromkeys(o.spec.noise for o in runs))
    rows: list[list[str]] = []
    for label in dict.fromkeys(o.spec.optimizer for o in runs):
        row = [label]
        for noise in noises:
            lengths = [
                (o.best_norm, o.curve.mean_norm[-1])
                for o in runs
                if (o.spec.optimizer, o.spec.noise) == (label, noise)
            ]
            if lengths:
                best, mean = (sum(v) / len(lengths) for v in zip(*lengths, strict=True))
                row.append(f"{best:.0f} / {mean:.0f}")
            else:
                row.append(NONE)
        rows.append(row)
    return ["optimizer", *(Noise.parse(noise).words for noise in noises)], rows


COST_HEAD = (
    "optimizer",
    "median, ms",
    f"{BASELINE} beside it, ms",
    "ratio of these medians",
    "ratio of means",
    "peak memory, MB",
)


def costs(measured: Sequence[Cost], d: int) -> list[list[str]]:
    """Return one row an optimizer at `d` dimensions."""
    rows: list[list[str]] = []
    for cost in measured:
        if cost.d != d or cost.failed:
            continue
        held = None if cost.peak_bytes is None else cost.peak_bytes / 1e6
        peak = NONE if held is None else f"{held:.1f}" if held >= 1 else f"{held:.2g}"
        rows.append([
            cost.optimizer,
            _milliseconds(cost.median_s),
            _milliseconds(cost.beside_s),
            f"{cost.median_ratio:.2f}",
            f"{cost.mean_ratio:.2f}",
            peak,
        ])
    return rows


def _milliseconds(seconds: float) -> str:
    """Write three digits: a ratio of two of them is then that of the table to a hundredth."""
    return f"{float(f'{seconds * 1e3:.3g}'):g}"


def apart(
    skipped: Sequence[tuple[str, str, str]], outcomes: Sequence[RunOutcome]
) -> list[tuple[str, str]]:
    """Return (what, why): optimizers that took no part or failed, and units without a scale."""
    worlds: dict[tuple[str, str], list[str]] = {}
    for world, label, reason in skipped:
        worlds.setdefault((label, reason), []).append(world)
    rows = [(label, f"{joined(w)}: {reason}") for (label, reason), w in worlds.items()]
    broken: dict[str, list[RunOutcome]] = {}
    for o in outcomes:
        if o.failed:
            broken.setdefault(o.spec.optimizer, []).append(o)
    for label, runs in broken.items():
        where = f"{runs[0].spec.unit}, noise {runs[0].spec.noise}: {runs[0].failed}"
        rows.append((label, f"{count(len(runs), 'run')} failed, the first on {where}"))
    low: dict[str, list[str]] = {}
    for (world, unit), best in units_without_scale(outcomes).items():
        low.setdefault(unit, []).append(f"{fixed(best, 2)} in {world}")
    for unit, reached in low.items():
        why = "no score of it counts: nobody drove it above the references' median, which is 0"
        rows.append((f"unit {unit}", f"{why}; the best was {joined(reached)}"))
    return [(what, one_line(why)) for what, why in rows]


def write_csv(outcomes: Sequence[RunOutcome], folder: Path) -> None:
    """Write generations.csv and runs.csv."""
    fields = (*_HEADS, "generation", *_CURVES)
    rows = (row for outcome in outcomes for row in _generation_rows(outcome))
    write_whole(folder / "generations.csv", table_bytes(".csv", fields, rows))
    fields = (*_HEADS, *MEASURE_WORDS, "best_norm", "mean_norm", "failed")
    rows = ([*_names(o.spec), *_numbers(o), o.failed] for o in outcomes)
    write_whole(folder / "runs.csv", table_bytes(".csv", fields, rows))


def _generation_rows(outcome: RunOutcome) -> Iterator[list[object]]:
    head = _names(outcome.spec)
    columns = [getattr(outcome.curve, name) for name in _CURVES]
    for generation, values in enumerate(zip(*columns, strict=True)):
        yield [*head, generation, *(_short(v) for v in values)]


def _numbers(outcome: RunOutcome) -> list[object]:
    """Return what runs.csv has of a run; all empty where it failed."""
    if outcome.failed:
        return [""] * (len(MEASURE_WORDS) + 2)
    measures = [outcome.finals[measure] for measure in MEASURE_WORDS]
    return [_short(v) for v in (*measures, outcome.best_norm, outcome.curve.mean_norm[-1])]


_CURVES = (
    "evaluations",
    "best",
    "generation_best",
    "generation_mean",
    "mean_image",
    "norm",
    "mean_norm",
    "seconds",
)


def _names(spec: Spec) -> tuple[str | int, ...]:
    """Return what names a run in a row, in the order of `_HEADS`."""
    return (
        spec.key[:12],
        spec.world,
        layer_of(spec.unit),
        spec.unit,
        spec.noise,
        spec.seed,
        spec.optimizer,
    )


def _short(value: float) -> str:
    return f"{value:.7g}"
