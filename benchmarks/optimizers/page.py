"""Everything a plan has found, written down: CSV, Markdown, and one HTML page.

Knows the tables and figures and where they go. The page loads nothing and runs no script.
"""

from __future__ import annotations

import base64
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmarks.optimizers import figures, statistics, tables
from benchmarks.optimizers.noise import Noise
from benchmarks.optimizers.reach import GENERATIONS
from benchmarks.optimizers.run import LEADERS, REPEATS
from evolver import __version__
from evolver.colours import PAGE_DARK, PAGE_LIGHT, css_variables
from evolver.report.style import save
from evolver.report.words import count, joined

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from benchmarks.optimizers.cost import Cost
    from benchmarks.optimizers.outcomes import RunOutcome
    from benchmarks.optimizers.plan import Due, Plan
    from benchmarks.optimizers.statistics import ScoreTable
    from benchmarks.optimizers.worlds import World


@dataclass(frozen=True, slots=True)
class _Table:
    title: str
    note: str
    head: Sequence[str]
    rows: list[list[str]]


@dataclass(frozen=True, slots=True)
class _PageFigure:
    title: str
    caption: str
    data: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class _Section:
    title: str
    trust: list[_Table]
    figures: list[_PageFigure]
    tables: list[_Table]


def write_results(
    plan: Plan,
    due: Due,
    outcomes: Sequence[RunOutcome],
    costs: Sequence[Cost],
    folder: Path,
    *,
    command: str,
) -> str:
    """Write the CSVs, tables.md, page.html and figures into `folder`; return the Markdown.

    Parameters
    ----------
    plan, due, outcomes, costs : what was run, and what came of it
    folder : where to
    command : what gives this result again
    """
    tables.write_csv(outcomes, folder)
    scores = statistics.tabulate(outcomes, level=plan.level)
    look = figures.looks([c.label for c in plan.contestants])
    sections = [
        _Section(
            world.words,
            _trust(scores[world.name], plan.within),
            _figures(world, scores[world.name], outcomes, costs, due, look, folder),
            _tables(world, scores[world.name], outcomes, costs, due, level=plan.level),
        )
        for world in plan.worlds
    ]
    out = tables.apart(due.skipped, outcomes)
    opening = lead(plan, due, len(outcomes))
    text = "\n".join(_markdown(plan, opening, sections, out, command)) + "\n"
    (folder / "tables.md").write_text(text, encoding="utf-8")
    template = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    ).get_template("page.html.j2")
    page = template.render(
        title="Which optimizer to trust at which noise",
        byline=byline(plan),
        command=command,
        lead=opening,
        sections=sections,
        out=out,
        notes=NOTES,
        settings=_settings(plan),
        version=__version__,
        light=css_variables(PAGE_LIGHT),
        dark=css_variables(PAGE_DARK),
    )
    (folder / "page.html").write_text(page, encoding="utf-8")
    return text


NOTES = (
    (
        "A clean score is a unit's activation: 0 at the median, 1 at the 99th percentile of "
        "5,000 reference images. Optimizers learn from noisy scores and are judged by clean "
        "ones."
    ),
    (
        "Ratio: the geometric mean over pairs of a unit and a seed. Where a score of a pair is "
        "not above 0, no ratio means anything: \N{GREEK CAPITAL LETTER DELTA} is then the mean "
        "difference, in units of the scale. In brackets, the bootstrap interval, at 95 % where "
        "nothing else is said: units are drawn, each with its seeds; there is none with fewer "
        "than five units."
    ),
    (
        "Pairs: how many. Resolves: half of the interval, the smallest true difference that is "
        "told from none in every second comparison (one 1.4 times as large, in four of five). "
        "What is smaller was not looked for."
    ),
    (
        "Of the best: the mean over pairs, each unit in parts of the largest clean score that "
        "any optimizer, seed and noise reached on it, the published form. A newcomer that does "
        "better moves its scale; it does not move ratios."
    ),
    (
        "Many optimizers on few units: the one that leads was picked for leading, which "
        "flatters it. Tune on the training units, and judge on those held apart."
    ),
    (
        "Code norm alone raises scores: compare the tables at the common norm before saying "
        "that one searches better than another."
    ),
)


_RATIOS_CAPTION = (
    "Clean scores as ratios to Cholesky's under the same noise, with 95 % intervals over "
    "units. Filled, of the best image; open, of the final mean image."
)
_CURVES_CAPTION = (
    "Means over units and seeds. Clean scores in parts of the unit's largest; below, the norm "
    "of each generation's mean code, latent units."
)


_REPEATS_NOTE = (
    f"Of the {LEADERS} images with the highest noisy scores, the best by the mean of {REPEATS} "
    "more presentations of each."
)
_REACH_NOTE = (
    "Of the best image so far, by clean scores: median over pairs, and the share that never "
    "get there. Cholesky's own score may have been reached before."
)


def byline(plan: Plan) -> str:
    """Say when and where."""
    machine = torch.cuda.get_device_name() if plan.device.startswith("cuda") else "CPU"
    name = platform.processor() or platform.machine()
    return f"{datetime.now().date()}, {name}, {machine}"


def lead(plan: Plan, due: Due, n: int) -> str:
    """Say in plain words what was run."""
    populations = joined([
        f"{name} {d} dimensions, {n} images a generation" for name, (d, n) in due.sizes.items()
    ])
    units = {
        "training": "from the set to tune on",
        "held-apart": "from the set held apart, on which nothing was tuned",
    }.get(plan.unit_set, "as named by hand")
    noises = joined([Noise.parse(noise).words for noise in plan.noises])
    start = "codes drawn" if plan.start == "drawn" else "zeros"
    rendered = ", all codes rendered at the common norm" if plan.at_norm else ""
    stopped = (
        f" Cells that were settled to {100 * plan.within:g} % at one of {plan.looks} looks "
        f"were stopped; {len(due.runs):,} runs would be all. Intervals are at "
        f"{100 * plan.level:g} %, so that all looks together err in 5 %."
        if plan.looks > 1
        else ""
    )
    return (
        f"{count(n, 'run')}: {count(len(plan.units), 'unit')} {units}; {noises}; "
        f"{count(plan.seeds, 'seed')}; {count(plan.generations, 'generation')} "
        f"({populations}), from {start}{rendered}."
        f"{stopped}"
    )


def _settings(plan: Plan) -> list[list[str]]:
    return [
        [c.label, c.target, ", ".join(f"{name} = {value}" for name, value in c.options)]
        for c in plan.contestants
    ]


def _trust(scores: dict[str, ScoreTable], within: float) -> list[_Table]:
    part = f"{100 * within:g} %"
    return [
        _Table(
            f"Settled to {part}",
            (
                "By the best image, against Cholesky and against the one that leads (pairs): "
                f"ahead or behind by more than {part}, alike within {part}, or open."
            ),
            *tables.settled(scores, within),
        ),
        *_leading(scores),
    ]


def _leading(scores: dict[str, ScoreTable]) -> list[_Table]:
    return [
        _Table(
            f"What to trust, {words}", note, tables.TRUST_HEAD, tables.trust(scores, measure)
        )
        for measure, words, note in (
            (
                "best",
                "by the best image",
                "The largest clean score of all codes evaluated; noise hides which one it is.",
            ),
            (
                "repeats",
                "by the image picked by repeats",
                _REPEATS_NOTE,
            ),
            (
                "mean_image",
                "by the final mean image",
                "What is left in hand when a run ends.",
            ),
        )
    ]


def _tables(
    world: World,
    scores: dict[str, ScoreTable],
    outcomes: Sequence[RunOutcome],
    costs: Sequence[Cost],
    due: Due,
    *,
    level: float,
) -> list[_Table]:
    page_tables: list[_Table] = []
    for measure, words in tables.MEASURE_WORDS.items():
        note = ""
        if measure.endswith("_matched"):
            note = f"The common norm is {world.norm:g}."
        elif measure.endswith("_contrast"):
            note = "Each code as long as gives its whole image the common RMS contrast."
        page_tables.append(_Table(words, note, *tables.quality(scores, measure)))
    for generation in GENERATIONS:
        head, rows = tables.reach(outcomes, world.name, generation, level=level)
        if rows:
            title = f"Presentations until Cholesky's score at {generation} generations"
            page_tables.append(_Table(title, _REACH_NOTE, head, rows))
    norms = tables.norms(outcomes, world.name)
    page_tables.append(
        _Table("Code norms", "Best code / final mean code, mean over runs.", *norms)
    )
    d, n = due.sizes[world.name]
    if rows := tables.costs(costs, d):
        note = f"ask + tell of one generation, {d} dimensions, {n} images; CPU time."
        page_tables.append(_Table("Cost", note, tables.COST_HEAD, rows))
    return page_tables


def _figures(
    world: World,
    scores: dict[str, ScoreTable],
    outcomes: Sequence[RunOutcome],
    costs: Sequence[Cost],
    due: Due,
    look: figures.LineStyles,
    folder: Path,
) -> list[_PageFigure]:
    if not any(table.labels for table in scores.values()):
        return []
    drawn: list[tuple[str, str, str, Figure | None]] = [
        (
            "ratios",
            "Beside Cholesky CMA-ES",
            _RATIOS_CAPTION,
            figures.ratios(scores, look),
        ),
        (
            "curves",
            "Learning curves",
            _CURVES_CAPTION,
            figures.curves(outcomes, world.name, look),
        ),
        (
            "cost",
            "Quality and cost",
            "What a generation costs against what it gains, both as ratios to Cholesky's.",
            figures.cost(scores, costs, due.sizes[world.name][0], look),
        ),
    ]
    page_figures: list[_PageFigure] = []
    for name, title, caption, figure in drawn:
        if figure is None:
            continue
        path = save(figure, folder / f"{world.name.replace('/', '-')}-{name}.png")
        width, height = (round(inch * figure.dpi) for inch in figure.get_size_inches())
        data = base64.b64encode(path.read_bytes()).decode("ascii")
        page_figures.append(_PageFigure(title, caption, data, width, height))
    return page_figures


def _markdown(
    plan: Plan,
    opening: str,
    sections: list[_Section],
    out: list[tuple[str, str]],
    command: str,
) -> list[str]:
    lines = [
        "## Optimizers: which to trust at which noise",
        "",
        f"`{command}`, {byline(plan)}.",
        opening,
        "",
        *(f"{note}\n" for note in NOTES),
    ]
    for section in sections:
        lines += [f"### {section.title}", ""]
        for table in (*section.trust, *section.tables):
            lines += [f"**{table.title}.** {table.note}".rstrip(), ""]
            lines += [*tables.markdown(table.head, table.rows), ""]
    if out:
        lines += ["**Left out.**", "", *(f"- {label}: {why}" for label, why in out), ""]
    return lines
