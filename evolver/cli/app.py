"""The command line: ``evolver --help``.

Composition: the only place that prints, handles signals and sets up logging. What takes long to
import is imported by the command that needs it.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from evolver import __version__
from evolver.cli import (
    analyze,
    campaign,
    compare,
    decode,
    encode,
    export,
    keys,
    live,
    lsl,
    metric,
    monitor,
    open_ephys,
    person,
    receptive_field,
    replay,
    rescore,
    rigs,
    stimulus_display,
    units,
    weights,
)
from evolver.cli.rig_options import KeyFile
from evolver.cli.terminal import (
    StopSignals,
    check_can_write,
    console,
    error_console,
    lost_output,
    make_report,
    print_ended,
    print_error,
    print_news,
    print_rig_end,
    steady_streams,
    terminal_console,
    wrapped,
)
from evolver.errors import ConfigError, EvolverError
from evolver.garbage import collect_seldom
from evolver.logs import log_to_stderr
from evolver.plain_text import plain
from evolver.session_folder import JOURNAL, RECORDING, REPORT
from rig_bridge.errors import RigBridgeError

if TYPE_CHECKING:
    from evolver.config.tables import Config
    from evolver.recording.fold_activations import ActivationSource

app = typer.Typer(
    name="evolver",
    help="The closed loop that lets a neuron draw what it wants to see.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
config_app = typer.Typer(
    help="Write a session file to start from, or check one.", no_args_is_help=True
)
app.add_typer(config_app, name="config")
app.command()(live.serve)
app.command()(live.resume)
app.command()(rigs.xdream)
app.command("lsl")(lsl.lsl)
app.command("open-ephys")(open_ephys.open_ephys)
app.command("open-ephys-emulator")(open_ephys.emulate_open_ephys)
app.command()(monitor.monitor)
app.command()(person.person)
app.command("units")(units.list_units)
app.command("rf")(receptive_field.draw_receptive_fields)
app.command("analyze")(analyze.analyze)
app.command("decode")(decode.decode_recording)
app.command("encode")(encode.encode_recordings)
app.command("rescore")(rescore.rescore_recording)
app.command("replay")(replay.replay_recording)
app.command("replay-rig")(replay.be_replay_rig)
app.add_typer(live.ctl, name="ctl")
app.add_typer(campaign.app, name="campaign")
app.add_typer(compare.app, name="compare")
app.add_typer(export.app, name="export")
app.add_typer(keys.app, name="keys")
app.add_typer(weights.app, name="weights")
app.add_typer(stimulus_display.app, name="display")
app.add_typer(metric.app, name="metric")

SessionFile = Annotated[
    Path, typer.Argument(metavar="SESSION.toml", help="session file; see 'evolver config new'")
]


class ImageOption(StrEnum):
    """How `evolver fold` keeps images."""

    WEBP = "webp"
    PNG = "png"
    NONE = "none"


_WARNINGS_NAMED = 5
RecordingFile = Annotated[Path, typer.Argument(metavar="FILE", help="recording (.h5)")]


def main() -> None:
    """Run the command line; a mistake of the user's is a message, not a traceback."""
    collect_seldom()
    steady_streams()
    try:
        app()
    except SystemExit as ended:
        if ended.code or not (why := lost_output()):
            raise
        error_console.print(f"[bold red]error:[/] not all was printed: {escape(why)}")
        sys.exit(1)
    except (EvolverError, RigBridgeError) as exc:
        text = str(exc)
        for note in getattr(exc, "__notes__", ()):
            text += f" {note}" if text.endswith((".", "?")) else f". {note}"
        print_error(text)
        sys.exit(2)


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="log what happens to the terminal's stderr")
    ] = False,
) -> None:
    if version:
        console.print(f"evolver {__version__}")
        raise typer.Exit
    log_to_stderr(logging.INFO if verbose else logging.CRITICAL)


@app.command("demo")
def run_demo(
    folder: Annotated[Path, typer.Option(help="where the recording goes")] = Path("demo"),
    generations: Annotated[int, typer.Option(min=1, help="generations a thread")] = 30,
    speed: Annotated[float, typer.Option(help="how many times faster than real time")] = 25.0,
    unit: Annotated[str, typer.Option(help="the simulated neuron")] = "",
    seed: Annotated[int, typer.Option(min=0, help="of every random number")] = 1,
) -> None:
    """Evolve images for a simulated neuron: two threads, a real socket, a recording, a report.

    Starts a simulated rig in a process of its own, runs a session against it over TCP, folds
    the recording and writes the report. Nobody is asked to confirm anything; watchdogs warn
    and pause nothing.
    """
    from evolver import config
    from evolver.config import presets
    from evolver.live import run_live

    settings = presets.demo_session(
        folder=folder, generations=generations, speed=speed, unit=unit or None, seed=seed
    )
    text = config.commented_session_file(settings)
    check_can_write(folder, "Name another folder with --folder")
    path = folder / "demo.toml"
    path.write_text(text, encoding="utf-8")
    console.print(f"session file: {path}")
    rigs: list[subprocess.Popen[bytes]] = []

    def start_rig(endpoint: str) -> None:
        command = [sys.executable, "-m", "evolver", "rig", str(path), "--endpoint", endpoint]
        rigs.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))

    title = f"demo: two threads evolve images for {settings.simulation.units[0]}"
    try:
        with terminal_console(settings, title, on_endpoint=start_rig) as session_console:
            ended = run_live(settings, text, session_console)
    finally:
        for process in rigs:
            process.terminate()
            process.wait(timeout=10)
    print_ended(ended)


@app.command()
def simulate(
    session_file: SessionFile,
    report_too: Annotated[
        bool, typer.Option("--report/--no-report", help="write the report at the end")
    ] = True,
) -> None:
    """Run a session against the simulated rig of its file: no sockets, no waiting.

    All else is as 'evolver serve' runs it, but for what needs an operator: nobody is asked to
    confirm the checks, and watchdogs warn where the session file has them pause
    ('watchdogs.pause_on'), because nobody could resume.
    """
    from evolver import config
    from evolver.live import run_simulated

    settings, text = config.load_session_file(session_file)
    with terminal_console(settings, f"{settings.session.name}: simulation") as session_console:
        ended = run_simulated(settings, text, session_console)
    print_ended(ended, report_too=report_too)


@app.command("rig")
def start_simulated_rig(
    session_file: Annotated[
        Path | None,
        typer.Argument(metavar="[SESSION.toml]", help="its [simulation] and [rig] tables"),
    ] = None,
    endpoint: Annotated[str, typer.Option(help="the engine's address, instead")] = "",
    unit: Annotated[
        list[str] | None, typer.Option(help="a neuron, instead; several allowed")
    ] = None,
    speed: Annotated[float | None, typer.Option(help="instead; 1 is real time")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="of the neurons, instead")] = None,
    abort_rate: Annotated[
        float | None,
        typer.Option(min=0, max=0.95, help="share of showings broken off, instead"),
    ] = None,
    key: KeyFile = None,
) -> None:
    """Be a simulated rig: units of the built-in network as spiking neurons, in real time.

    Connects to an engine ('evolver serve') and answers until its session ends. Started before
    the engine, it waits for it; Ctrl-C ends it.
    """
    from evolver.setup.simulated_rig import run_rig
    from rig_bridge.auth import RigKey

    settings = _simulation_settings(
        session_file,
        units=tuple(unit) if unit else None,
        speed=speed,
        seed=seed,
        abort_rate=abort_rate,
    )
    table = settings.simulation
    stop = StopSignals()
    with stop.on_signals():
        where = endpoint or settings.rig.endpoint
        console.print(
            f"simulated rig of {escape(', '.join(table.units))} at speed {table.speed:g}; "
            f"connecting to {where} …"
        )
        loaded_key = None if key is None else RigKey.load(key)
        reason = run_rig(settings, endpoint=where, stop=stop, key=loaded_key, tell=print_news)
    print_rig_end(reason)


def _simulation_settings(session_file: Path | None, **changes: object) -> Config:
    """Return a session file's values, with keys of [simulation] replaced; None: as it is."""
    import msgspec

    from evolver import config
    from evolver.config import presets

    settings = presets.new_session()
    if session_file is not None:
        settings, _ = config.load_session_file(session_file)
    given = {name: value for name, value in changes.items() if value is not None}
    table = msgspec.structs.replace(settings.simulation, **given)
    settings = msgspec.structs.replace(settings, simulation=table)
    text = config.commented_session_file(settings)
    return config.parse_session_file(text, source="the rig's options")


@app.command("inspect")
def inspect_recording(file: RecordingFile) -> None:
    """Say what is in a recording."""
    from rich.table import Table

    from evolver import recording
    from evolver.recording.strangers import said_as_recording
    from evolver.report.tables import describe

    with recording.read(file) as opened:
        with said_as_recording(file):
            sections = list(describe(opened))
        for section in sections:
            table = Table(
                title=escape(section.title),
                title_justify="left",
                title_style="bold",
                box=None,
                padding=(0, 1),
                header_style="dim",
                show_header=any(section.columns),
            )
            for column in section.columns:
                table.add_column(escape(column), overflow="fold")
            for row in section.rows:
                table.add_row(*(escape(str(cell)) for cell in row))
            console.print(table)
            console.print()


@app.command("report")
def report_recording(
    file: RecordingFile,
    out: Annotated[
        Path | None, typer.Option(help="folder; by default 'report' beside the recording")
    ] = None,
    paper: Annotated[
        bool,
        typer.Option(
            "--paper",
            help="judge success by the published t-test, which calls one in 2.5 to 5 % of "
            "sessions of noise; by default images are dealt anew to generations",
        ),
    ] = False,
    alpha: Annotated[
        float, typer.Option(min=0, max=1, help="a success has a smaller p")
    ] = 0.01,
) -> None:
    """Write the report of a recording: one HTML page, and its figures as PNG files."""
    rule = "maxinit" if paper else "shuffle"
    out = out or file.resolve().parent / REPORT
    page = make_report(file, out, rule=rule, alpha=alpha)
    console.print(f"report: {page}")


@app.command("fold")
def fold_journal(
    journal: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="journal, or the session's folder")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="file to write; by default session.h5 beside the journal"),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="replace a file that is there")] = False,
    images: Annotated[
        ImageOption,
        typer.Option(help="how images are kept: webp is smallest, MATLAB reads png and none"),
    ] = ImageOption.WEBP,
) -> None:
    """Make the recording from a journal, complete, cut short or damaged."""
    from evolver.recording.fold import fold

    def activations(text: str) -> ActivationSource | None:  # no torch until it is called
        from evolver.setup.recorded_activations import activations_of_text

        return activations_of_text(text)

    folder = journal / JOURNAL if (journal / JOURNAL).is_dir() else journal
    target = out or folder.resolve().parent / RECORDING
    done = fold(
        folder,
        target,
        overwrite=overwrite,
        compress_images=images.value,
        activations=activations,
    )
    ended = done.end_reason if done.complete else "cut short: no end was recorded"
    console.print(
        f"{done.shown} presentations ({done.missing} planned and never shown), "
        f"{done.images} images, {done.spikes} spikes; session: {escape(ended)}"
    )
    for warning in done.warnings:
        console.print(f"[yellow]warning:[/] {escape(warning)}")
    console.print(f"recording: {target}")


@app.command("verify")
def verify_recording(
    file: RecordingFile,
    journal: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="compare it with this journal as well"),
    ] = None,
) -> None:
    """Say whether a recording is, bit for bit, what was written: every dataset, every image."""
    from evolver.recording.verify import verify, verify_file

    done = verify_file(file)
    if done.datasets:
        console.print(f"{done.datasets} datasets have their checksums")
    else:
        console.print(
            "[yellow]note:[/] made before files had checksums: only the images can be "
            "compared with their digests. Fold the journal again for a file that has them"
        )
    console.print(f"{done.images} images have their digests")
    if done.missing:
        console.print(
            f"[yellow]note:[/] {done.missing} records of its journal could not be read when it "
            "was made; what they held is not in it:"
        )
    elif done.warnings:
        console.print("[yellow]note:[/] not all of its journal could be taken over:")
    for warning in done.warnings[:_WARNINGS_NAMED]:
        console.print(f"  {escape(warning)}")
    if (more := len(done.warnings) - _WARNINGS_NAMED) > 0:
        console.print(f"  and {more} more, in the recording's warnings")
    _print_rescored(file)
    if journal is not None:
        verify(file, journal / JOURNAL if (journal / JOURNAL).is_dir() else journal)
        console.print("it holds what the journal holds")
    console.print("[green]good[/]")


def _print_rescored(file: Path) -> None:
    """Say whether a recording's scores come out again of its responses."""
    from evolver.recording import read
    from evolver.recording.replay import replayed_records
    from evolver.report.tables import replay_text
    from evolver.session.rescore import rescore

    with read(file) as recording:
        found = rescore(replayed_records(recording), in_order=False)
        replay = replay_text(recording) if recording.is_replay else ""
    if replay:
        text = f"note: no animal: it is {replay[0].lower()}{replay[1:]}"
        lines = wrapped(plain(text), console)[len("note:") :]
        console.print(f"[yellow]note:[/]{escape(lines)}")
    if same := found.scores - found.differing:
        console.print(f"{same} scores are, bit for bit, what the recorded responses give")
    if found.differing:
        console.print(
            f"[yellow]note:[/] {found.differing} scores are not, by {found.largest:.3g} at "
            "most: responses are lost, or another version counted them"
        )
    for text in found.unknown[:_WARNINGS_NAMED]:
        console.print(f"[yellow]note:[/] scores could not be made again: {escape(text)}")


@config_app.command("new")
def new_session_file(
    file: Annotated[Path, typer.Argument(metavar="SESSION.toml")],
    overwrite: Annotated[bool, typer.Option(help="replace a file that is there")] = False,
    preset: Annotated[
        Literal["evolution", "decoding", "field"],
        typer.Option(
            help="'evolution': two threads; 'decoding': fixed images, 4,000 once and 100 "
            "twenty times; 'field': small images on a grid, to map receptive fields"
        ),
    ] = "evolution",
) -> None:
    """Write a session file with every key, its default, and what it means."""
    from evolver import config
    from evolver.config import presets

    if file.exists() and not overwrite:
        raise ConfigError(f"{file} exists already; name another file, or add --overwrite")
    try:
        text = config.commented_session_file(presets.PRESETS[preset]())
        file.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"{file} cannot be written: {exc.strerror}") from exc
    console.print(f"wrote {file}; check it with  evolver config check {file}")


@config_app.command("check")
def check_session_file(
    session_file: SessionFile,
    download: Annotated[
        bool,
        typer.Option("--download", help="fetch weight files that are not on this machine"),
    ] = False,
) -> None:
    """Name every mistake in a session file at once, and what 'evolver serve' would meet.

    Looks at names, options, references, weights, the address and its port, keys, the folder of
    the recordings, and then at what is checked before the first image and needs no rig. Nothing
    is fetched without --download, nothing is written. Exit status: 0 good; 2 something must be
    mended; 3 nothing is wrong so far, but weight files would have to be fetched first.
    """
    from evolver.cli.checks import print_checks

    status = print_checks(session_file, download=download)
    if status:
        raise typer.Exit(status)
