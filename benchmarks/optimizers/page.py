"""Everything a plan has found, written down: CSV, Markdown, and one HTML page.

Knows the tables and figures and where they go. The page loads nothing and runs no script.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmarks.optimizers import figures, pair_tables, statistics, tables
from benchmarks.optimizers.page_text import (
    CURVES_CAPTION,
    NOTES,
    RATIOS_CAPTION,
    REACH_NOTE,
    REPEATS_NOTE,
    byline,
    lead,
)
from benchmarks.optimizers.reach import GENERATIONS
from evolver import __version__
from evolver.colours import PAGE_DARK, PAGE_LIGHT, css_variables
from evolver.report.style import save
from evolver.whole_files import whole_file, write_whole

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
    after_look: int | None = None,
) -> str:
    """Write the CSVs, tables.md, page.html and figures into `folder`; return the Markdown.

    Parameters
    ----------
    plan, due, outcomes, costs : what was run, and what came of it
    folder : where to
    command : what gives this result again
    after_look : of several, while others are to come; None at the end
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
    opening = lead(plan, due, len(outcomes), after_look)
    text = "\n".join(_markdown(plan, opening, sections, out, command)) + "\n"
    write_whole(folder / "tables.md", text.encode())
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
    write_whole(folder / "page.html", page.encode())
    return text


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
            *pair_tables.settled(scores, within),
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
                REPEATS_NOTE,
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
        head, rows = pair_tables.reach(outcomes, world.name, generation, level=level)
        if rows:
            title = f"Presentations until Cholesky's score at {generation} generations"
            page_tables.append(_Table(title, REACH_NOTE, head, rows))
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
            RATIOS_CAPTION,
            figures.ratios(scores, look),
        ),
        (
            "curves",
            "Learning curves",
            CURVES_CAPTION,
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
        path = folder / f"{world.name.replace('/', '-')}-{name}.png"
        with whole_file(path) as unfinished:
            save(figure, unfinished)
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
