"""What the commands of `evolver compare` share: options, progress, files of their results."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.markup import escape
from rich.table import Table

from evolver.cli.terminal import check_can_write, console, error_console
from evolver.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Generators = Annotated[
    list[str] | None,
    typer.Option(
        "--generator",
        metavar="NAME[=WEIGHTS]",
        help="several allowed; mini-texture and mini-object without it",
    ),
]
SeedOption = Annotated[int, typer.Option(min=0, help="of all that is drawn at random")]
Device = Annotated[str, typer.Option(help="torch device: 'cpu', 'cuda', 'cuda:1'")]
LAYERS = ("mini:conv2", "mini:conv3", "mini:conv4", "mini:fc5", "mini:fc6")
EMBEDDED = ("mini-texture", "mini-object")
CHOSEN_IMAGES = (
    "'scenes' (the built-in world), 'white', 'pink', a folder, or a generator's: NAME or "
    "NAME@CODES, as deepsim-fc6@normal:4"
)


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


def write_figure(
    out: Path, figure: Figure, heads: Sequence[str], rows: Iterable[Sequence[object]]
) -> None:
    """Write the figure, and the numbers behind it as CSV."""
    from evolver.report.style import save

    table = out.with_suffix(".csv")
    try:
        save(figure, out)
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error}") from error
    write_csv(table, heads, rows)
    console.print(f"figure: {out}\ntable:  {table}")


def write_csv(file: Path, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file, whole or not at all."""
    from evolver.whole_files import whole_file

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows(rows)
    try:
        with whole_file(file) as unfinished:
            unfinished.write_bytes(text.getvalue().encode())
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error}") from error


@contextmanager
def progress_bar(what: str, total: int) -> Generator[Callable[[int, int], None]]:
    """Draw how much is finished, where there is a terminal to draw it in."""
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns,
        console=error_console,
        transient=True,
        disable=not error_console.is_terminal,
    ) as bar:
        task = bar.add_task(escape(what), total=total)
        try:
            yield lambda done, of: bar.update(task, completed=done, total=of)
        except KeyboardInterrupt:
            bar.stop()
            error_console.print(f"stopped in the middle of {escape(what)}")
            raise
