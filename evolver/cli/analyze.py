"""`evolver analyze`: experiments of any source to tables, figures and one page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from PIL import Image
from rich.markup import escape

from evolver.cli.compare.shared import print_rows, progress_bar
from evolver.cli.terminal import check_can_write, console, error_console, wrapped
from evolver.cli.units import NetworksFile, networks_in
from evolver.errors import ConfigError, DataError, EvolverError
from evolver.plain_text import one_line, plain
from evolver.regular_files import PARSER_ERRORS
from evolver.whole_files import move_files, unfinished_folder

if TYPE_CHECKING:
    from evolver.attributions.session_masks import LookSettings
    from evolver.experiments.copies import SessionCopy
    from evolver.experiments.experiment import Experiment
    from evolver.experiments.populations import AreaMean, ExperimentPopulation
    from evolver.experiments.reading import Source, Unread
    from evolver.experiments.summary import AnalysisSettings, ExperimentSummary
    from evolver.experiments.tables import Table

PAGE, FIGURES, EXPERIMENTS, MASKS = "analysis.html", "figures", "experiments", "masks"
RECORDING = "recording"
"""Reader of experiments that have images, as `Experiment.reader` says it."""
_TABLES = (
    "experiments|time_constants|image_similarity|success_rates|means|tests|trajectories|"
    "attribution|time_bins|left_out|tuning|tuning_shapes|tuning_peaks"
)
_OF_ANALYSES = re.compile(
    rf"{re.escape(PAGE)}|({_TABLES})\.(csv|parquet)|({EXPERIMENTS}|{MASKS})/\d{{4,}}-.+\.png|"
    rf"{FIGURES}/(success_rates|activation|trajectories|time_courses|attribution|similarity|"
    r"tuning_shapes|tuning_peaks)\.png"
)
"""What an analysis writes, below its folder."""
_MOST_COPIES = 20
"""On the terminal."""
_REMEDY = "Name another folder with --out"


def analyze(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILES...",
            help="recordings, archives of published experiments, folders of these or of the "
            "plain layout",
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="folder for tables, figures and the page")
    ],
    paper: Annotated[
        bool,
        typer.Option(
            "--paper",
            help="the published habits, right or not: t-tests of the highest blocks, "
            "intervals, errors",
        ),
    ] = False,
    alpha: Annotated[float, typer.Option(help="a success has a smaller p")] = 0.01,
    rule: Annotated[
        Literal["shuffle", "maxinit", "endinit"] | None,
        typer.Option(
            help="what says that responses rose: images dealt anew (if not given), or the "
            "published t-test of the highest or of the last blocks against the first"
        ),
    ] = None,
    last_pair: Annotated[
        Literal["paper", "all"],
        typer.Option(help="whether the highest two blocks may hold the last one: all"),
    ] = "paper",
    window: Annotated[
        tuple[float, float],
        typer.Option(
            help="part of each PSTH that figures and latencies are of, ms after onset"
        ),
    ] = (0.0, 200.0),
    response: Annotated[
        tuple[float, float], typer.Option(help="whose rate says which PSTH is highest, ms")
    ] = (50.0, 200.0),
    baseline: Annotated[tuple[float, float], typer.Option(help="before the response, ms")] = (
        0.0,
        45.0,
    ),
    early: Annotated[tuple[float, float], typer.Option(help="part of the response, ms")] = (
        50.0,
        100.0,
    ),
    late: Annotated[tuple[float, float], typer.Option(help="part of the response, ms")] = (
        100.0,
        200.0,
    ),
    bin_ms: Annotated[float, typer.Option("--bin", help="width of bins of time, ms")] = 10.0,
    threshold: Annotated[
        float, typer.Option(help="share of the rise that time constants wait for")
    ] = 0.8,
    among: Annotated[
        Literal["any", "both", "all"],
        typer.Option(help="means are over sessions with a success in any thread, both, or all"),
    ] = "any",
    generators: Annotated[
        str,
        typer.Option(
            metavar="NAME,NAME", help="whose sessions are compared; the commonest without it"
        ),
    ] = "",
    fewest_blocks: Annotated[
        int, typer.Option(min=3, help="of a session that counts in populations")
    ] = 15,
    fewest_images: Annotated[
        int, typer.Option(min=1, help="a last block of fewer is dropped")
    ] = 10,
    robust_sds: Annotated[
        float, typer.Option(min=0, help="a larger step of the baseline is a jump")
    ] = 3.0,
    baseline_sd: Annotated[
        Literal["steps", "levels"],
        typer.Option(help="whose standard deviation: the baseline's steps, or its block means"),
    ] = "steps",
    parquet: Annotated[bool, typer.Option("--parquet", help="tables also as Parquet")] = False,
    experiment_figures: Annotated[
        bool, typer.Option(help="a figure of every experiment, half a second each")
    ] = True,
    layer: Annotated[
        str,
        typer.Option(
            "--attribution",
            metavar="NETWORK:LAYER",
            help="where in images units look, of recordings, through a layer with places, as "
            "mini:conv3 or torchvision:resnet50:layer3; about half a minute a recording",
        ),
    ] = "",
    re_evolve: Annotated[
        Literal["thread", "fourier", "none"],
        typer.Option(
            help="in what the image is drawn that drives those features: the thread's own "
            "generator, pixels by their spectrum, or nothing"
        ),
    ] = "thread",
    device: Annotated[
        str, typer.Option(help="of the network and the generators: 'cpu', 'cuda', 'cuda:1'")
    ] = "cpu",
    session_file: NetworksFile = None,
) -> None:
    """Analyse evolutions, of one session or of a laboratory: tables, figures and one page.

    Every session is a row: did responses rise, from where to where, how fast, when in time.
    Sessions of the same two generators are brought together by area. A recording of steps or
    circles about an evolved code ([sets.around] in its session file) is the tuning of the
    thread that evolved it: name both. A file that cannot be read is left out and named at the
    end; the exit status is then 1.
    """
    from evolver.experiments.reading import find_sources
    from evolver.experiments.summary import AnalysisSettings
    from evolver.table_files import check_parquet

    try:
        settings = AnalysisSettings(
            alpha=alpha,
            last_pair=last_pair,
            window_ms=window,
            response_ms=response,
            baseline_ms=baseline,
            early_ms=early,
            late_ms=late,
            bin_ms=bin_ms,
            threshold=threshold,
            among=among,
            fewest_blocks=fewest_blocks,
            fewest_images=fewest_images,
            robust_sds=robust_sds,
            baseline_sd=baseline_sd,
        )
        if paper:
            settings = settings.as_published
        if rule is not None:
            settings = settings.with_rule(rule)
        wanted = _named_generators(generators)
        if parquet:
            check_parquet()
        sources = find_sources(files)
        looking = _look_settings(layer, re_evolve, device, session_file) if layer else None
    except DataError as error:
        raise ConfigError(str(error)) from error
    check_can_write(out.resolve().parent, _REMEDY)
    summaries, unread, copies = _read(sources, settings)
    notes = [one for one in unread if one.harmless]
    unread = [one for one in unread if not one.harmless]
    if not summaries:
        _print_notes(notes)
        if not unread:
            raise ConfigError("none of these files holds an evolution; nothing was written")
        _print_unread(unread)
        raise ConfigError("none of these files could be read; nothing was written")
    from evolver.experiments.populations import check_generators, population_of

    try:
        if wanted is not None:
            check_generators(summaries, wanted)
    except DataError as error:
        raise ConfigError(f"--generators: {error}") from error
    if looking is not None:
        summaries = _looked_at(summaries, looking)
    population = population_of(summaries, settings, generators=wanted, copies=copies)
    with _folder(out) as folder:
        _write(folder, summaries, population, unread, parquet, experiment_figures)
    _print_population(population, len(summaries))
    _print_copies(copies)
    _print_notes(notes)
    console.print(f"tables and figures: {escape(str(out))}")
    console.print(f"open {escape(str(out / PAGE))} in a browser")
    if unread:
        _print_unread(unread)
        raise typer.Exit(1)


def _named_generators(text: str) -> tuple[str, ...] | None:
    names = tuple(name.strip() for name in text.split(",")) if text else None
    if names is not None and (not 1 <= len(names) <= 2 or not all(names)):
        raise ConfigError(f"--generators must name one or two, as A,B; got {text!r}")
    return names


def _read(
    sources: list[Source], settings: AnalysisSettings
) -> tuple[list[ExperimentSummary], list[Unread], list[SessionCopy]]:
    from evolver.experiments.copies import SessionCopy, place_of, same_session, size_of_session
    from evolver.experiments.reading import Unread, read_experiments
    from evolver.experiments.summary import summarise

    summaries: dict[bytes, tuple[Experiment, ExperimentSummary]] = {}
    unread: list[Unread] = []
    copies: list[tuple[Experiment, bytes]] = []
    total = sum(max(source.experiments, 1) for source in sources)
    with progress_bar("experiments", total) as update:
        for done, experiment in enumerate(read_experiments(sources)):
            update(done, total)
            if isinstance(experiment, Unread):
                unread.append(experiment)
                continue
            session = same_session(experiment)
            if session in summaries:
                earlier = summaries[session][0]
                if size_of_session(experiment) <= size_of_session(earlier):
                    copies.append((experiment, session))
                    continue
                # The earlier one was folded while the session still ran.
                copies.append((earlier, session))
            try:
                summaries[session] = (experiment, summarise(experiment, settings))
            except (EvolverError, *PARSER_ERRORS) as error:
                reason = f"it cannot be analysed: {type(error).__name__}: {error}"
                unread.append(Unread(place_of(experiment), one_line(reason)[:500]))
        update(total, total)
    left_out = [
        SessionCopy(place_of(experiment), place_of(summaries[session][0]))
        for experiment, session in copies
    ]
    return _told_apart([summary for _, summary in summaries.values()]), unread, left_out


def _told_apart(summaries: list[ExperimentSummary]) -> list[ExperimentSummary]:
    """Give experiments of one name numbers, in their order."""
    seen: Counter[str] = Counter()
    named: list[ExperimentSummary] = []
    for summary in summaries:
        experiment = summary.experiment
        seen[experiment.id] += 1
        if (n := seen[experiment.id]) > 1:
            experiment = replace(experiment, id=f"{experiment.id} ({n})")
        named.append(replace(summary, experiment=experiment))
    return named


def _look_settings(
    layer: str,
    re_evolve: Literal["thread", "fourier", "none"],
    device: str,
    session_file: Path | None,
) -> LookSettings:
    """Load the layer that masks are made in; its mistakes are said before anything is read."""
    from evolver.attributions.drawing import RecordedGenerators
    from evolver.attributions.session_masks import LookSettings
    from scorers.layer_maps import load_layer_maps

    with console.status("loading the network …"):
        maps = load_layer_maps(layer, device=device, networks=networks_in(session_file))
    return LookSettings(maps, RecordedGenerators(device=device), re_evolution=re_evolve)


def _looked_at(
    summaries: list[ExperimentSummary], settings: LookSettings
) -> list[ExperimentSummary]:
    """Return summaries of which those of recordings say where their unit looks."""
    from evolver.attributions.session_masks import look
    from evolver.experiments.summary import with_look

    looked: list[ExperimentSummary] = []
    for i, summary in enumerate(summaries):
        experiment = summary.experiment
        if experiment.reader != RECORDING:
            looked.append(with_look(summary, f"of {experiment.reader} no images are read"))
            continue
        with progress_bar(f"masks of recording {i + 1} of {len(summaries)}", 1) as update:
            try:
                result = look(Path(experiment.source), settings, progress=update)
            except EvolverError as error:
                result = one_line(str(error))
        looked.append(with_look(summary, result))
    return looked


@contextmanager
def _folder(out: Path) -> Generator[Path]:
    """Yield an empty folder, whose files come into `out` once all of them are made."""
    place = out.resolve()
    try:
        with unfinished_folder(place) as made:
            yield made
            remove_analysis(place)
            move_files(made, place, last=PAGE)  # it names the others
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error}. {_REMEDY}") from error


def remove_analysis(place: Path) -> None:
    """Remove what an earlier analysis wrote there; a user's own files stay."""
    for path in [place / PAGE, *place.glob("*"), *place.glob("*/*.png")]:
        if path.is_file() and _OF_ANALYSES.fullmatch(path.relative_to(place).as_posix()):
            path.unlink()


def _write(
    folder: Path,
    summaries: list[ExperimentSummary],
    population: ExperimentPopulation,
    unread: list[Unread],
    parquet: bool,
    experiment_figures: bool,
) -> None:
    from evolver.experiments.tables import (
        constant_table,
        population_tables,
        similarity_table,
        thread_table,
    )
    from evolver.experiments.tuning_tables import axis_table, tuning_tables
    from evolver.report.analysis_page import PopulationFigure, write_analysis_page
    from evolver.report.experiment_figure import draw_experiment
    from evolver.report.population_figures import POPULATION_FIGURES
    from evolver.report.style import save
    from evolver.report.tuning_figures import draw_experiment_tuning

    tables = [
        thread_table(summaries),
        constant_table(summaries),
        similarity_table(summaries),
        *population_tables(population),
        axis_table(summaries),
        *tuning_tables(population),
    ]
    for table in tables:
        _write_table(folder, table, parquet=parquet)
    drawn: list[PopulationFigure] = []
    names = [f"{i + 1:04d}-{_as_name(s.experiment.id)}" for i, s in enumerate(summaries)]
    links: list[dict[str, str]] = [{} for _ in summaries]
    total = len(POPULATION_FIGURES) + len(summaries) * experiment_figures
    (folder / FIGURES).mkdir()
    (folder / EXPERIMENTS).mkdir()
    with progress_bar("figures", total) as update:
        for done, (name, (title, draw)) in enumerate(POPULATION_FIGURES.items()):
            figure = draw(population) if population.members else None
            path = folder / FIGURES / f"{name}.png"
            drawn.append(
                PopulationFigure(title, None if figure is None else save(figure, path))
            )
            update(done + 1, total)
        if experiment_figures:
            for i, summary in enumerate(summaries):
                own = {"figure with PSTHs": (f"{names[i]}.png", draw_experiment(summary))}
                if (curves := draw_experiment_tuning(summary)) is not None:
                    own["tuning curves"] = (f"{names[i]}-tuning.png", curves)
                for label, (name, figure) in own.items():
                    save(figure, folder / EXPERIMENTS / name)
                    links[i][label] = f"{EXPERIMENTS}/{name}"
                update(len(POPULATION_FIGURES) + i + 1, total)
    for own, name, summary in zip(links, names, summaries, strict=True):
        if _write_masks(folder / MASKS, name, summary):
            own["figure with masks"] = f"{MASKS}/{name}.png"
    page = write_analysis_page(
        summaries,
        population,
        figures=drawn,
        links=links,
        unread=[(one.where, one.reason) for one in unread],
    )
    (folder / PAGE).write_text(page, encoding="utf-8")


def _write_masks(folder: Path, name: str, summary: ExperimentSummary) -> bool:
    """Write a figure of where a unit looks, and each thread's best image with its mask.

    Return whether there is one.
    """
    from evolver.report.mask_figure import draw_masks
    from evolver.report.style import save

    figure = draw_masks(summary)
    if summary.look is None or figure is None:
        return False
    folder.mkdir(exist_ok=True)
    save(figure, folder / f"{name}.png")
    for thread, seen in zip(summary.threads, summary.look.threads, strict=True):
        stem = f"{name}-{_as_name(thread.thread.name)}"
        if seen.best is not None and seen.mask is not None and not seen.mask.reason:
            alpha = summary.look.grid.alpha(seen.best, seen.mask.mask)
            Image.fromarray(alpha).save(folder / f"{stem}-mask.png")
        if seen.re_evolved is not None:
            Image.fromarray(seen.re_evolved).save(folder / f"{stem}-re-evolved.png")
    return True


def _as_name(text: str) -> str:
    """Return a name that any file system takes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text)[:80].strip(".") or "experiment"


def _write_table(folder: Path, table: Table, *, parquet: bool) -> None:
    from evolver.table_files import table_bytes

    for suffix in (".csv", *((".parquet",) if parquet else ())):
        content = table_bytes(suffix, table.columns, table.rows)
        (folder / f"{table.name}{suffix}").write_bytes(content)


def _print_population(population: ExperimentPopulation, read: int) -> None:
    from evolver.experiments.populations import area_means, success_shares
    from evolver.report.words import count, interval_words, shorten

    names = " and ".join(population.generators)
    console.print(
        f"{count(read, 'experiment')}; {len(population.members)} of {escape(names)} count"
        + ("\nleft_out.csv says why the others do not" if population.left_out else "")
    )
    if not population.members:
        return
    shares = {(one.area, one.what): one.share for one in success_shares(population)}
    means = {(one.measure, one.area, one.thread): one for one in area_means(population)}
    rows: list[tuple[object, ...]] = []
    for area in population.areas:
        for name in population.generators:
            share = shares[area, name]
            interval = f" ({share.low:.2f}\N{EN DASH}{share.high:.2f})" if share.n else ""
            first, last, constant = (
                means[measure, area, name] for measure in ("first", "last", "time_constant")
            )
            rows.append((
                shorten(f"{area} {name}", 14),
                f"{share.k}/{share.n}{interval}",
                first.n if first.n == constant.n else f"{first.n}, {constant.n}",
                _mean_and_sem(first, 2),
                _mean_and_sem(last, 2),
                _mean_and_sem(constant, 1),
            ))
    print_rows(("", "successes", "n", "first", "last", "rise (blocks)"), rows)
    interval = interval_words(population.settings.interval, population.settings.level)
    console.print(
        f"successes: in brackets the {interval}\n"
        "first, last: block over the highest, n sessions; rise: of the last n where two"
    )


def _mean_and_sem(mean: AreaMean, digits: int) -> str:
    if not mean.n:
        return "\N{EN DASH}"
    sem = f"\N{PLUS-MINUS SIGN}{mean.sem:.{digits}f}" if mean.n > 1 else ""
    return f"{mean.mean:.{digits}f}{sem}"


def _print_copies(copies: list[SessionCopy]) -> None:
    if not copies:
        return
    console.print(f"sessions that are there again, and count once: {len(copies)}")
    for copy in copies[:_MOST_COPIES]:
        text = f"  {plain(copy.where)}: {plain(copy.reason)}"
        console.print(wrapped(text, console), highlight=False, markup=False)
    if len(copies) > _MOST_COPIES:
        console.print(f"  and {len(copies) - _MOST_COPIES} more, in left_out.csv")


def _print_notes(notes: list[Unread]) -> None:
    """Say what files hold that nothing was made of, though nothing is wrong with them."""
    for one in notes:
        text = f"note: {plain(one.where)}: {plain(one.reason)}"
        console.print(wrapped(text, console), highlight=False, markup=False)


def _print_unread(unread: list[Unread]) -> None:
    error_console.print(f"[yellow]{len(unread)} could not be read:[/]")
    for one in unread:
        text = f"  {plain(one.where)}: {plain(one.reason)}"
        error_console.print(wrapped(text, error_console), highlight=False, markup=False)
