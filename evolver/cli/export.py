"""`evolver export`: a recording in the formats of others.

Composition: prints, and draws progress; what needs another package is imported by the command.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from evolver.cli.compare.shared import progress_bar
from evolver.cli.terminal import check_can_write, console
from evolver.errors import ConfigError
from evolver.plain_text import plain

if TYPE_CHECKING:
    from evolver.recording import Recording

app = typer.Typer(
    help="A recording in the formats of others: NWB, MATLAB, Parquet, images, animations.",
    no_args_is_help=True,
)

RecordingFile = Annotated[
    Path, typer.Argument(metavar="RECORDING.h5", help="of 'evolver fold', or a session's")
]
Overwrite = Annotated[bool, typer.Option(help="replace a file that is there")]


@app.command("nwb")
def export_as_nwb(
    recording: RecordingFile,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.nwb", help="file to write; beside the recording without it"),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a recording as an NWB file: for archives as DANDI, and for whatever reads NWB.

    Subject, device and experimenter are those of the session file's tables [subject],
    [device] and [experimenter]. Says what DANDI will ask for and the session file left out.
    """
    try:
        from evolver.export.nwb import export_nwb
    except ImportError as exc:
        raise ConfigError(
            f"an NWB file needs the package {exc.name}: pip install 'evolver[nwb]'"
        ) from exc
    from evolver.export.clock import session_clock
    from evolver.export.lab import config_of, dandi_lacks, dandi_refuses

    target = _target(recording, out, ".nwb", overwrite=overwrite)
    with _opened(recording) as opened, progress_bar("bytes", 0) as update:
        config = config_of(opened.config)
        with _written(target):
            export_nwb(opened, target, overwrite=overwrite, progress=update)
        damage = _damage(opened)
        day = session_clock(opened).start.date()
    _print_damage(damage)
    lacks = ["id", "species", "sex", "age or date_of_birth"]
    if config is not None:
        lacks = dandi_lacks(config.subject)
        for problem in dandi_refuses(config.subject, day):
            console.print(f"[yellow]note:[/] DANDI would refuse {escape(plain(problem))}")
    if lacks:
        console.print(
            "[yellow]note:[/] to share it on DANDI, the session file's table "
            f"{escape('[subject]')} needs {', '.join(lacks)}"
        )
    console.print(f"NWB: {escape(str(target))}")


@app.command("mat")
def export_as_mat(
    recording: RecordingFile,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.mat", help="file to write; beside the recording without it"),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a recording as a MAT-file of version 7.3: 'load' in MATLAB, with every image."""
    from evolver.export.matlab import export_matlab

    target = _target(recording, out, ".mat", overwrite=overwrite)
    with _opened(recording) as opened, progress_bar("variables", 0) as update, _written(target):
        export_matlab(opened, target, overwrite=overwrite, progress=update)
        damage = _damage(opened)
    _print_damage(damage)
    console.print(f"MAT-file: {escape(str(target))}")


@app.command("parquet")
def export_as_parquet(
    recording: RecordingFile,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="for a file a table")],
    overwrite: Overwrite = False,
) -> None:
    """Write tables and responses as Parquet files: for data frames of any language."""
    try:
        from evolver.export.parquet import export_parquet
    except ImportError as exc:
        raise ConfigError(
            f"Parquet tables need the package {exc.name}: pip install 'evolver[parquet]'"
        ) from exc
    _check_folder(folder, overwrite=overwrite)
    with _opened(recording) as opened, progress_bar("tables", 0) as update, _written(folder):
        written = export_parquet(opened, folder, overwrite=overwrite, progress=update)
        damage = _damage(opened)
    _print_damage(damage)
    for name, rows in written.items():
        console.print(f"{escape(str(folder / name))}.parquet: {rows} rows", highlight=False)


@app.command("images")
def export_all_images(
    recording: RecordingFile,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="for the PNG files")],
    overwrite: Overwrite = False,
) -> None:
    """Write every image as a PNG file, and an index: thread, generation, row, score, sha256."""
    from evolver.export.image_files import INDEX, export_images

    _check_folder(folder, overwrite=overwrite)
    with _opened(recording) as opened, progress_bar("images", 0) as update, _written(folder):
        count = export_images(opened, folder, overwrite=overwrite, progress=update)
        lost = len(opened.images) - count
    if lost:
        console.print(f"[yellow]note:[/] the pixels of {lost} images are lost")
    console.print(f"{count} images and {escape(str(folder / INDEX))}", highlight=False)


@app.command("video")
def export_as_video(
    recording: RecordingFile,
    out: Annotated[
        Path,
        typer.Argument(metavar="FILE", help=".webp or .png, without loss; .gif, 256 colours"),
    ],
    thread: Annotated[
        str, typer.Option(help="its name; needed where the session has several")
    ] = "",
    seconds: Annotated[float, typer.Option(min=0.01, max=60, help="each is shown")] = 0.2,
    scale: Annotated[
        int, typer.Option(min=1, max=16, help="pixels a side of the file for one of the image")
    ] = 1,
    overwrite: Overwrite = False,
) -> None:
    """Write the best image of each generation of a thread, one after another."""
    from evolver.export.animation import ENDINGS, export_animation

    target = _target(recording, out, *ENDINGS, overwrite=overwrite)
    with _opened(recording) as opened:
        names = opened.threads.names
        if not thread and len(names) != 1:
            raise ConfigError(f"the thread must be named with --thread; one of {names}")
        if thread and thread not in names:
            raise ConfigError(f"--thread must be one of {names}; got {thread!r}")
        one = opened.threads[thread or names[0]]
        with _written(target):
            best = export_animation(
                opened, one, target, seconds=seconds, scale=scale, overwrite=overwrite
            )
    for generations, what in (
        (best.replaced, "show the best image whose pixels are not lost, a better one's are"),
        (best.omitted, "are left out: the pixels of all their images are lost"),
    ):
        if generations:
            text = ", ".join(map(str, generations))
            console.print(f"[yellow]note:[/] generations {text} {what}")
    count = len(best.image_ids)
    console.print(f"{count} images of {one.name}: {target}", markup=False, highlight=False)


_PRINTED = 5  # warnings


def _damage(opened: Recording) -> list[str]:
    """Return what an export carries of a recording's damage, a line each."""
    warnings = opened.warnings
    lines = warnings[:_PRINTED]
    if len(warnings) > _PRINTED:
        lines.append(f"and {len(warnings) - _PRINTED} more; the export has all of them")
    return lines


def _print_damage(lines: list[str]) -> None:
    for line in lines:
        console.print(f"[yellow]note:[/] {escape(plain(line))}")


def _check_folder(folder: Path, *, overwrite: bool) -> None:
    """Check that files may be written to a folder: a new or an empty one, or --overwrite."""
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise ConfigError(_FULL.format(folder=folder))


_FULL = (
    "{folder} must be empty, or not be there yet; it is not. Name another, or replace what an "
    "earlier export has put there with --overwrite"
)
_THERE = (
    "{target} must not be there yet; it is. Name another file, or replace it with --overwrite"
)


def _target(recording: Path, out: Path | None, *endings: str, overwrite: bool) -> Path:
    """Return the file to write; it has an ending, and is not there unless it may be."""
    target = out or recording.with_suffix(endings[0])
    if target.suffix not in endings:
        allowed = " or ".join(f"*{ending}" for ending in endings)
        raise ConfigError(f"the file must be called {allowed}; got {target.name}")
    if target.exists() and not overwrite:
        raise ConfigError(_THERE.format(target=target))
    return target


@contextmanager
def _opened(path: Path) -> Generator[Recording]:
    """Open a recording; what is wrong with a stranger's file is said as that."""
    from evolver import recording
    from evolver.recording.strangers import said_as_recording

    with recording.read(path) as opened, said_as_recording(path):
        yield opened


@contextmanager
def _written(target: Path) -> Generator[None]:
    """Check that a file or a folder can be made; say what the system says if it cannot."""
    place = target.resolve()
    beside = place if place.is_mount() else place.parent
    check_can_write(beside, "Name another place to write to")
    try:
        yield
    except OSError as exc:
        if exc.errno is None:
            raise
        if exc.errno in {errno.EEXIST, errno.ENOTEMPTY}:  # since it was looked at
            text = _FULL.format(folder=target) if target.is_dir() else None
            raise ConfigError(text or _THERE.format(target=target)) from exc
        raise ConfigError(f"{target} cannot be written: {os.strerror(exc.errno)}") from exc
