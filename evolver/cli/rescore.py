"""`evolver rescore`: a recording's scores by another window, other units, another fitness."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table as TerminalTable

from evolver.cli.compare.shared import progress_bar
from evolver.cli.terminal import check_can_write, console, print_warning, wrapped
from evolver.errors import ConfigError, EvolverError
from evolver.plain_text import plain

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from evolver.experiments.rescored import RescoredSession, RescoredThread
    from evolver.recording import Recording
    from evolver.report.rescore_figures import Mover
    from evolver.setup.other_fitness import OtherFitness

_LETTERS = 27  # of a row, for the images that moved most
_REASONS = 3
_REMEDY = "Name another folder with --out"


def rescore_recording(
    file: Annotated[Path, typer.Argument(metavar="RECORDING.h5", help="recording (.h5)")],
    response: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="START END", help="window whose rate counts, ms after onset"),
    ] = None,
    baseline: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="START END", help="window whose rate is taken off, ms"),
    ] = None,
    units: Annotated[
        str,
        typer.Option(metavar="UNIT,UNIT", help="rows of the unit table, or labels"),
    ] = "",
    fitness: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE|FILE.toml",
            help="a key of the session file's [fitness], several allowed; or a file with such "
            "a table, in place of the recorded one",
        ),
    ] = None,
    thread: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="score this one otherwise; several allowed"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="folder for tables, the figure and the images"),
    ] = None,
    parquet: Annotated[bool, typer.Option("--parquet", help="tables also as Parquet")] = False,
) -> None:
    """Say how a recorded session would have been scored by another fitness.

    Which images would have ranked otherwise, how many of the parents would have been others,
    and by how much the search would have turned, given the codes that were shown. Codes and
    responses are all it needs: no weights, no rig.
    """
    from evolver import recording
    from evolver.experiments.rescored import rescored_session
    from evolver.recording.strangers import said_as_recording
    from evolver.table_files import check_parquet

    if parquet:
        check_parquet()
    if out is not None:
        check_can_write(out, _REMEDY)
    with recording.read(file) as opened, said_as_recording(file):
        other = _other_fitness(opened, response, baseline, units, fitness or [], thread or [])
        with progress_bar("generations", 1) as update:
            session = rescored_session(opened, other, update=update)
        if session.replay:
            print_warning(plain(session.replay))
        _print_check(session)
        for rescored in session.threads:
            _print_thread(rescored)
        _print_left_out(session)
        if out is not None:
            _write(out, opened, session, parquet=parquet)


def _other_fitness(
    opened: Recording,
    response: tuple[float, float] | None,
    baseline: tuple[float, float] | None,
    units: str,
    fitness: list[str],
    threads: list[str],
) -> OtherFitness:
    """Return the fitness that the options ask for."""
    from evolver.config.tables import session_file_text
    from evolver.setup.other_fitness import other_fitness, read_changes, read_fitness_tables

    files = [text for text in fitness if text.endswith(".toml") and "=" not in text]
    if len(files) > 1:
        raise ConfigError(f"--fitness must name one file at most; got {', '.join(files)}")
    tables = None
    if files:
        text = session_file_text(Path(files[0]), what="fitness file")
        tables = read_fitness_tables(text, files[0])
    changes: dict[str, Any] = read_changes([text for text in fitness if text not in files])
    if response is not None:
        changes["response_ms"] = list(response)
    if baseline is not None:
        changes["baseline_ms"] = list(baseline)
    if units:
        changes["units"] = [_unit(text, opened) for text in units.split(",")]
    if not changes and not tables:
        raise ConfigError(
            "say what is to be scored otherwise: --response, --baseline, --units or --fitness. "
            "Whether the recorded scores come out again,  evolver verify FILE  says"
        )
    return other_fitness(opened, changes, tables=tables, threads=threads)


def _unit(text: str, opened: Recording) -> int | str:
    """Return a unit as a session file names it: a row of the table, or a label."""
    text = text.strip()
    labels = [str(label) for label in opened.units["label"]]
    return int(text) if text.isdecimal() and text not in labels else text


def _print_check(session: RescoredSession) -> None:
    check = session.check
    same = check.scores - check.differing
    if check.differing:
        console.print(
            f"[yellow]warning:[/] {check.differing} of {check.scores} recorded scores are not "
            f"what the recorded responses give by the session's own fitness, by "
            f"{check.largest:.3g} at most: responses are lost, or another version counted "
            "them. What follows compares with the recorded ones"
        )
    elif same:
        console.print(
            f"{same} recorded scores are, bit for bit, what the responses give by the "
            "session's own fitness"
        )
    for text in check.unknown[:_REASONS]:
        console.print(
            f"[yellow]warning:[/] recorded scores could not be checked: {escape(text)}"
        )


def _print_thread(thread: RescoredThread) -> None:
    from evolver.report.words import count

    console.print()
    console.print(f"[bold]{escape(thread.name)}[/]")
    for head, text in (("recorded", thread.before_text), ("now", thread.after_text)):
        console.print(escape(wrapped(f"{head}: {text}", console, indent="  ")))
    table = TerminalTable(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for head in ("gen", "images", "Spearman", "Kendall", "parents\nother", "turned"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("moved most: image\nrank→rank (1: best)", overflow="fold")
    for row in thread.generations:
        both = row.agreement
        moved = _movers_text([
            f"{row.image_id[i]} {both.before[i]:g}→{both.after[i]:g}" for i in both.movers
        ])
        table.add_row(
            str(row.generation),
            *_cells(both.n, both.spearman.value, both.kendall.value),
            "-" if both.tied else f"{both.parents_differing} of {both.parents}",
            _degrees(row.turned.value),
            moved or ("-" if both.tied else "none moved"),
        )
    differing, parents = thread.parents
    whole = thread.agreement
    table.add_row(
        "all",
        *_cells(whole.n, whole.spearman.value, whole.kendall.value),
        f"{differing} of {parents}" if parents else "-",
        _degrees(thread.turned.value),
        "",
        style="bold",
    )
    console.print(table)
    console.print(wrapped(_turned_text(thread), console, indent="  ", hanging=""))
    reasons = Counter(row.agreement.tied for row in thread.generations)
    for reason, n in reasons.most_common(_REASONS + 1):
        if reason:
            text = f"-: in {count(n, 'generation')} {reason}, and ties say nothing of an order"
            console.print(escape(wrapped(text, console, indent="  ", hanging="")))


def _movers_text(movers: list[str]) -> str:
    """Return the first of them, as many as stand in a line of 80 columns."""
    text = ""
    for mover in movers:
        longer = f"{text}, {mover}" if text else mover
        if len(longer) > _LETTERS:
            break
        text = longer
    return text


def _turned_text(thread: RescoredThread) -> str:
    """Say what the angles are between."""
    from evolver.experiments.directions import OWN_UPDATE, PARENTS_MEAN
    from evolver.report.words import count

    own = [row for row in thread.generations if row.by == OWN_UPDATE]
    mean = sum(row.by == PARENTS_MEAN for row in thread.generations)
    parts: list[str] = []
    if own:
        known = [row.repeats for row in own if row.repeats is not None]
        text = f"{OWN_UPDATE} in {count(len(own), 'generation')}"
        if known:
            text += (
                f" (by the recorded scores it comes to the recorded state, bit for bit, in "
                f"{sum(known)} of {len(known)})"
            )
        parts.append(text)
    if mean:
        parts.append(f"{PARENTS_MEAN} in {count(mean, 'generation')}")
    return f"turned, degrees: by {'; by '.join(parts)}" if parts else "nothing moved"


def _cells(n: int, spearman: float, kendall: float) -> tuple[str, str, str]:
    return str(n), _plain(spearman), _plain(kendall)


def _plain(value: float) -> str:
    return "-" if value != value else f"{value:.2f}"


def _degrees(value: float) -> str:
    return "-" if value != value else f"{value:.0f}°"


def _print_left_out(session: RescoredSession) -> None:
    from evolver.report.words import count

    console.print()
    for reason, n in list(session.unscorable.items())[:_REASONS]:
        console.print(f"[yellow]warning:[/] {count(n, 'showing')} left out: {escape(reason)}")
    if session.lost:
        console.print(
            f"[yellow]warning:[/] {count(session.lost, 'block')} left out: the plan is lost"
        )


def _write(out: Path, opened: Recording, session: RescoredSession, *, parquet: bool) -> None:
    """Write tables, figure and pictures into a folder."""
    from evolver.experiments.rescored_tables import rescored_tables
    from evolver.report.rescore_figures import draw_agreement, draw_movers
    from evolver.report.style import banner, save
    from evolver.table_files import table_bytes

    pictures = _Pictures(opened)
    try:
        for table in rescored_tables(session):
            for suffix in (".csv", *((".parquet",) if parquet else ())):
                content = table_bytes(suffix, table.columns, table.rows)
                (out / f"{table.name}{suffix}").write_bytes(content)
        title = f"{opened.name}, scored otherwise"
        drawings = {
            "agreement": draw_agreement(session, title=title),
            "movers": draw_movers(session, pictures.pixels, title=title),
        }
        for name, figure in drawings.items():
            if session.replay:
                banner(figure, session.replay)
            save(figure, out / f"{name}.png")
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error}. {_REMEDY}") from error
    if pictures.drawn:
        console.print(
            f"{pictures.drawn} of the images are not in the file and were drawn again by "
            "their generator"
        )
    if pictures.reason:
        console.print(
            f"[yellow]note:[/] images are missing in movers.png: {escape(pictures.reason)}"
        )
    text = f"tables, agreement.png and movers.png: {plain(str(out))}"
    console.print(wrapped(text, console), markup=False)


class _Pictures:
    """Pixels of a recording's images: its own, or drawn again of their codes.

    Attributes
    ----------
    drawn : how many were drawn again
    reason : why there are some of which there are no pixels
    """

    def __init__(self, opened: Recording) -> None:
        self._recording = opened
        self.drawn, self.reason = 0, ""

    def pixels(self, thread: RescoredThread, mover: Mover) -> NDArray[np.uint8] | None:
        """Return an image's, (h, w, 3); None where there are none."""
        if not self._recording.images.is_lost(mover.image):
            return self._recording.images[mover.image]
        from evolver.setup.build import renderers

        recorded = self._recording.threads[thread.name]
        at = (recorded.generation == mover.generation) & (recorded.row == mover.row)
        try:
            image = renderers(self._recording.config)(thread.name, recorded.codes[at])[0]
        except EvolverError as exc:
            self.reason = f"their pixels are not in the file, and {exc}"
            return None
        self.drawn += 1
        return image
