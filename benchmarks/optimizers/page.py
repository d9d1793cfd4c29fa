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
    CONTRAST_NOTE,
    COST_CAPTION,
    COST_NOTE,
    CURVES_CAPTION,
    NOTES,
    REACH_NOTE,
    REPEATS_NOTE,
    SETTINGS_HEAD,
    SETTINGS_NOTE,
    byline,
    lead,
    ratios_caption,
    settings,
    settled_note,
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


COST = "Cost"
"""Title of the table of costs."""


@dataclass(frozen=True, slots=True)
class ResultTable:
    """A table, and what is said above it."""

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
class WorldResults:
    """What was found in one world."""

    title: str
    trust: list[ResultTable]
    figures: list[_PageFigure]
    tables: list[ResultTable]

    @property
    def shortest(self) -> list[ResultTable]:
        """Return what a terminal has room for: what to trust, the best image, and the cost."""
        return [*self.trust, *self.tables[:1], *(t for t in self.tables if t.title == COST)]


@dataclass(frozen=True, slots=True)
class Results:
    """All that was found, in words and tables."""

    opening: str
    worlds: list[WorldResults]
    out: list[tuple[str, str]]  # optimizer, why it took no part or failed
    markdown: str  # what tables.md has


def write_results(
    plan: Plan,
    due: Due,
    outcomes: Sequence[RunOutcome],
    costs: Sequence[Cost],
    folder: Path,
    *,
    command: str,
    after_look: int | None = None,
) -> Results:
    """Write the CSVs, tables.md, page.html and figures into `folder`; return what they say.

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
        WorldResults(
            world.words,
            _trust(scores[world.name], plan.within),
            _figures(plan, world, scores[world.name], outcomes, costs, due, look, folder),
            _tables(world, scores[world.name], outcomes, costs, due, level=plan.level),
        )
        for world in plan.worlds
    ]
    out = tables.apart(due.skipped, outcomes)
    opening = lead(plan, due, len(outcomes), after_look)
    text = "\n".join(_markdown(plan, due, opening, sections, out, command)) + "\n"
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
        settings=ResultTable("", SETTINGS_NOTE, SETTINGS_HEAD, settings(plan, due)),
        version=__version__,
        light=css_variables(PAGE_LIGHT),
        dark=css_variables(PAGE_DARK),
    )
    write_whole(folder / "page.html", page.encode())
    return Results(opening, sections, out, text)


def _trust(scores: dict[str, ScoreTable], within: float) -> list[ResultTable]:
    units = max((len(set(table.units.tolist())) for table in scores.values()), default=0)
    return [
        ResultTable(
            f"Settled to {100 * within:g} %",
            settled_note(within, units),
            *pair_tables.settled(scores, within),
        ),
        *_leading(scores),
    ]


def _leading(scores: dict[str, ScoreTable]) -> list[ResultTable]:
    return [
        ResultTable(
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
) -> list[ResultTable]:
    page_tables: list[ResultTable] = []
    for measure, words in tables.MEASURE_WORDS.items():
        note = ""
        if measure.endswith("_matched"):
            note = f"The common norm is {world.norm:g}."
        elif measure.endswith("_contrast"):
            note = CONTRAST_NOTE
        page_tables.append(ResultTable(words, note, *tables.quality(scores, measure)))
    for generation in GENERATIONS:
        head, rows = pair_tables.reach(outcomes, world.name, generation, level=level)
        if rows:
            title = f"Presentations until Cholesky's score at {generation} generations"
            page_tables.append(ResultTable(title, REACH_NOTE, head, rows))
    norms = tables.norms(outcomes, world.name)
    page_tables.append(
        ResultTable("Code norms", "Best code / final mean code, mean over runs.", *norms)
    )
    d, n = due.sizes[world.name]
    if rows := tables.costs(costs, d):
        note = f"{COST_NOTE}. {d} dimensions, {n} images."
        page_tables.append(ResultTable(COST, note, tables.COST_HEAD, rows))
    return page_tables


def _figures(
    plan: Plan,
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
            ratios_caption(plan.level),
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
            COST_CAPTION,
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
    due: Due,
    opening: str,
    sections: list[WorldResults],
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
    lines += [f"**Settings.** {SETTINGS_NOTE}", ""]
    lines += [*tables.markdown(SETTINGS_HEAD, settings(plan, due)), ""]
    if out:
        lines += ["**Left out.**", "", *(f"- {label}: {why}" for label, why in out), ""]
    return lines
