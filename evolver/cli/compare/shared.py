"""What the commands of `evolver compare` share: options, tasks, progress, files of results."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.markup import escape
from rich.table import Table

from evolver.cli.terminal import check_can_write, console, error_console
from evolver.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from evolver.comparisons.tasks import Act, ComparisonTask, KeptTasks

Generators = Annotated[
    list[str] | None,
    typer.Option(
        "--generator",
        metavar="NAME[=WEIGHTS]",
        help="several allowed; mini-texture and mini-object without it",
    ),
]
SeedOption = Annotated[int, typer.Option(min=0, help="of all that is drawn at random")]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="do again what was done before, and is kept beside OUT")
]
Device = Annotated[str, typer.Option(help="torch device: 'cpu', 'cuda', 'cuda:1'")]
LAYERS = ("mini:conv2", "mini:conv3", "mini:conv4", "mini:fc5", "mini:fc6")
EMBEDDED = ("mini-texture", "mini-object")
CHOSEN_IMAGES = (
    "'scenes' (the built-in world), 'white', 'pink', a folder, or a generator's: NAME or "
    "NAME@CODES, as deepsim-fc6@normal:4"
)


_STOPPED = 130  # as a shell says of what a Ctrl-C ended
_PERIOD_S = 600.0  # from which the time that is left is told: a step may take long
T = TypeVar("T")


def once(values: Iterable[T]) -> list[T]:
    """Return values in their order, each once: an option that is given again says no more."""
    return list(dict.fromkeys(values))


def metric_files(texts: Sequence[str], generators: Iterable[str]) -> dict[str, Path]:
    """Read GENERATOR=FILE.npz, of generators that take part.

    Raises
    ------
    ConfigError
        One is of another form, or of a generator that is not compared.
    """
    known = once(generators)
    named: dict[str, Path] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise ConfigError(f"a metric must be GENERATOR=FILE.npz; got {text!r}")
        if name not in known:
            raise ConfigError(
                f"a metric must be of a generator that is compared, {', '.join(known)}; got "
                f"{text!r}"
            )
        named[name] = Path(path)
    return named


def check_out(out: Path) -> None:
    """Raise `ConfigError` unless `--out` names a PNG file that can be written, and a CSV."""
    if out.suffix.lower() != ".png":
        raise ConfigError(f"--out must name a PNG file, as comparison.png; got {out}")
    for file in (out, out.with_suffix(".csv")):
        if file.is_dir():
            raise ConfigError(f"{file} must be a file that can be written; it is a folder")
    if tasks_folder(out).is_file():
        raise ConfigError(f"{tasks_folder(out)} must be a folder; it is a file")
    check_can_write(out.resolve().parent, "Name another file with --out")


def print_rows(
    heads: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: bool = False
) -> None:
    """Print a table; where all but the first column are `numbers`, none of them is broken."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for i, head in enumerate(heads):
        table.add_column(escape(head), overflow="fold", no_wrap=numbers == (i > 0))
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    console.print(table)


@dataclass(frozen=True, slots=True, eq=False)
class DoneTasks:
    """The tasks of a comparison, as far as they are done.

    Attributes
    ----------
    kept : KeptTasks
    stopped : whether somebody stopped the command before all of them were
    out : of the figure; that of a part has another name, so as to replace none of the whole
    """

    kept: KeptTasks
    stopped: bool
    out: Path

    @property
    def figure(self) -> Path:
        """Return where the figure goes."""
        return _partial(self.out) if self.stopped else self.out

    def check_enough(self, enough: object) -> None:
        """End the command where a stop left too little to draw; say how to go on.

        Raises
        ------
        typer.Exit
            It was stopped, and there is not `enough`.
        """
        if self.stopped and not enough:
            self._say_how_to_go_on()
            raise typer.Exit(_STOPPED)

    def write(
        self, figure: Figure, heads: Sequence[str], rows: Iterable[Sequence[object]]
    ) -> None:
        """Write the figure, and the numbers behind it as CSV.

        Raises
        ------
        typer.Exit
            The command was stopped.
        """
        from evolver.report.style import save
        from evolver.table_files import table_bytes
        from evolver.whole_files import whole_file, write_whole

        out = self.figure
        table = out.with_suffix(".csv")
        try:
            with whole_file(out) as unfinished:
                save(figure, unfinished)
            write_whole(table, table_bytes(".csv", heads, rows))
        except OSError as error:
            raise ConfigError(f"{out} and its table cannot be written: {error}") from error
        part = " of what is done" if self.stopped else ""
        console.print(f"figure{part}: {out}\ntable{part}:  {table}", markup=False)
        if self.stopped:
            self._say_how_to_go_on()
            raise typer.Exit(_STOPPED)
        for file in (_partial(self.out), _partial(self.out).with_suffix(".csv")):
            file.unlink(missing_ok=True)

    def _say_how_to_go_on(self) -> None:
        kept = self.kept
        console.print(
            f"stopped: {kept.done} of {kept.total} tasks are done, and kept in {kept.folder}.\n"
            "The same command goes on from there.",
            markup=False,
        )


def do_tasks(
    comparison: str,
    waves: Sequence[Sequence[ComparisonTask]],
    act: Act,
    *,
    out: Path,
    fresh: bool,
) -> DoneTasks:
    """Do what has no result in the folder beside the figure; a Ctrl-C keeps what is done.

    Parameters
    ----------
    comparison : what the tasks are pieces of
    waves : all tasks, those together that are done with one call of `act`
    act : does tasks
    out : of the figure
    fresh : whether to do all of them again
    """
    from evolver.campaign.progress import TaskProgress
    from evolver.comparisons.tasks import KeptTasks

    kept = KeptTasks(tasks_folder(out), comparison, waves, fresh=fresh)
    if kept.there:
        console.print(
            f"{kept.there} of {kept.total} tasks were done before, and are not done again "
            f"(--fresh does them): {kept.folder}",
            markup=False,
        )
    lines = TaskProgress(error_console, kept.total - kept.there, what="tasks")
    try:
        # On a terminal bars say how far it is.
        kept.run(act, (lambda _: None) if error_console.is_terminal else lines)
    except KeyboardInterrupt:
        return DoneTasks(kept, True, out)
    return DoneTasks(kept, False, out)


def tasks_folder(out: Path) -> Path:
    """Return the folder of a figure's tasks."""
    return out.with_suffix(".tasks")


def _partial(out: Path) -> Path:
    return out.with_name(f"{out.stem}-partial{out.suffix}")


@contextmanager
def progress_bar(what: str, total: int) -> Generator[Callable[[float, int], None]]:
    """Draw how much is finished, where there is a terminal to draw it in.

    Yields
    ------
    told how much is, which may be a part of one, and of how many
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    columns = (
        TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TimeLeft()
    )  # fmt: skip
    with Progress(
        *columns,
        console=error_console,
        transient=True,
        disable=not error_console.is_terminal,
        speed_estimate_period=_PERIOD_S,
    ) as bar:
        task = bar.add_task(escape(what), total=total)
        try:
            yield lambda done, of: bar.update(task, completed=done, total=of)
        except KeyboardInterrupt:
            bar.stop()
            error_console.print(f"stopped in the middle of {escape(what)}")
            raise
