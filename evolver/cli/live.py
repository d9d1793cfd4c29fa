"""`evolver serve`, `resume` and `ctl`: a live session, and how an operator speaks to it.

Composition: terminal, signals, the supervisor; what takes long to import is imported by the
command that needs it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from evolver.cli.terminal import after, console, watching
from evolver.errors import ConfigError, ControlError, RecordingError
from evolver.session_folder import JOURNAL, RECORDING, SESSION_FILE

if TYPE_CHECKING:
    from evolver.config.tables import Config
    from evolver.live.control import Status
    from evolver.live.pipe import Check
    from evolver.session.ports import CommandName

_COLOURS = {"good": "green", "warning": "yellow", "bad": "red"}

ctl = typer.Typer(
    help="Speak to the live session that runs on this machine.", no_args_is_help=True
)

Which = Annotated[
    Path | None,
    typer.Option("--session", metavar="FOLDER", help="its folder, where several sessions run"),
]
Yes = Annotated[
    bool, typer.Option("--yes", help="confirm the pre-flight checks without being asked")
]
Page = Annotated[
    int | None, typer.Option(min=0, max=65535, help="port of the live page; 0 takes any")
]
NoPage = Annotated[bool, typer.Option("--no-page", help="without the live page")]


def serve(
    session_file: Annotated[Path, typer.Argument(metavar="SESSION.toml", help="session file")],
    yes: Yes = False,
    page: Page = 0,
    no_page: NoPage = False,
) -> None:
    """Run a live session: engine, recorder and live page, each started again if it falls.

    Nothing is shown before the checks are confirmed. Ctrl-C ends the session after the
    presentation under way and keeps everything; a second one ends it at once. A terminal that
    is closed ends nothing: 'evolver ctl' reaches the session from any other.
    """
    from evolver import config
    from evolver.clock import SYSTEM_CLOCK
    from evolver.live.children import check_in_child
    from evolver.session_folder import new_folder

    settings, text = config.load_session_file(session_file)
    with console.status("loading the generators …"):
        # Mistakes in the file are said here, before a folder is made.
        check_in_child(session_file)
    folder = new_folder(settings, text, SYSTEM_CLOCK.time_ns())
    _supervise(settings, folder, yes=yes, page=None if no_page else page)


def resume(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="the session's folder")],
    yes: Yes = False,
    page: Page = 0,
    no_page: NoPage = False,
) -> None:
    """Go on with a session that was interrupted, live or simulated, in the same recording.

    On the same machine it goes on as if nothing had happened, bit for bit; elsewhere from the
    recorded codes and images, and the recording says so.
    """
    from evolver import config
    from evolver.journal.history import find_history
    from evolver.live import fold_in_child
    from evolver.setup.resume import Restored

    history = find_history(folder / JOURNAL)
    if history is None:
        if (folder / SESSION_FILE).is_file():
            settings, _ = config.load_session_file(folder / SESSION_FILE)
            _supervise(settings, folder, yes=yes, page=None if no_page else page)
            return
        raise RecordingError(
            f"{folder} must be a session's folder, with its journal; it is not"
        )
    if history.ended == "finished" and not (folder / RECORDING).exists():
        fold_in_child(folder / JOURNAL, folder / RECORDING)
        console.print("the session had finished; its recording was not made yet, and is now:")
        console.print(f"recording: {folder / RECORDING}")
        return
    restored = Restored.of(history)
    settings = config.parse_session_file(
        restored.config_text, source=f"the session file in {folder}"
    )
    if restored.mode == "live":
        _supervise(settings, folder, yes=yes, page=None if no_page else page)
        return
    from evolver.live import resume_simulated

    with watching(settings, f"{settings.session.name}: simulation, resumed") as watcher:
        ended = resume_simulated(folder, watcher)
    after(ended)


def _supervise(settings: Config, folder: Path, *, yes: bool, page: int | None) -> None:
    from evolver.cli.progress import Display
    from evolver.live import supervisor

    title = f"{settings.session.name}: live session → {folder}"
    display = Display(console, title=title, threads=[t.name for t in settings.threads])
    terminal = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
    shown = contextlib.ExitStack()
    drawing: list[bool] = []  # the table is on the terminal

    def on_checks(checks: Sequence[Check], needed: bool) -> None:
        if not drawing:  # an engine that was started again has nothing new to say
            console.print(_checks(checks))
        if needed and terminal is not None:
            console.print("[bold]show the first image?[/] yes / no ", end="")
        elif needed:
            console.print("confirm with  evolver ctl confirm")

    def on_wait(text: str) -> None:
        if drawing:
            display.wait(text)
        elif text:
            console.print(text)
        else:
            drawing.append(True)
            shown.enter_context(display)

    watching_it = supervisor.Console(
        on_wait=on_wait,
        on_checks=on_checks,
        on_progress=display,
        on_event=lambda text: console.print(f"  {escape(text)}"),
    )
    dogs = settings.watchdogs
    watched = supervisor.Supervisor(
        supervisor.Settings(
            folder,
            settings.session.name,
            confirmed=yes,
            page_port=page,
            terminal=terminal,
            disk_minutes=dogs.disk_minutes,
            pause_on_disk="disk" in dogs.pause_on,
        ),
        watching_it,
    )
    console.print(f"session folder: {folder}")
    with shown:
        reason = watched.run()
    console.print(f"[bold]{escape(reason)}[/]")
    if (folder / RECORDING).exists():
        console.print(f"recording: {folder / RECORDING}")
    if watched.failed is not None:
        raise ControlError(
            f"the session must end by itself or by its operator; {watched.failed}. What was "
            f"recorded is kept; 'evolver resume {folder}' goes on"
        )


def _checks(checks: Sequence[Check]) -> Table:
    table = Table(box=None, padding=(0, 2), show_header=False, title_justify="left")
    table.title = "before the first image"
    for check in checks:
        colour = _COLOURS[check.verdict]
        table.add_row(f"[{colour}]{check.verdict}[/]", check.name, escape(check.text))
    return table


@ctl.command()
def status(session: Which = None) -> None:
    """Say where the session stands."""
    from evolver.live import control

    listed = control.find(session)
    reply = control.ask(listed, control.Request("status"))
    if reply.status is None:
        raise ControlError(f"the session in {listed.folder} answers without a status: {reply}")
    console.print(_status(reply.status))


def _status(s: Status) -> Table:
    table = Table(box=None, padding=(0, 2), show_header=False)
    shown = f"{s.presentations} presentations, {s.aborted} aborted"
    rows = [
        ("session", f"{s.name} in {s.folder}"),
        ("state", s.state),
        ("generation", f"{s.generation} of {s.generations}"),
        ("shown", shown),
        ("time", f"{s.elapsed_s / 60:.1f} min, the rig idle for {s.idle_s:.1f} s of it"),
        ("rig", s.rig_endpoint or "-"),
        ("live page", s.page or "-"),
        ("disk", "-" if s.disk_minutes is None else f"{s.disk_minutes:.0f} minutes left"),
    ]
    for child in s.children:
        again = f", started again {child.restarts} times" if child.restarts else ""
        rows.append((
            child.name,
            f"{child.state}, process {child.pid}, {child.memory_mb:.0f} MB{again}",
        ))
    rows += [("" if i else "events", text) for i, text in enumerate(s.events[-8:])]
    for name, text in rows:
        table.add_row(f"[dim]{name}[/]", escape(text))
    return table


def _command(name: CommandName, text: str, session: Path | None) -> None:
    from evolver.live import control

    reply = control.ask(control.find(session), control.Request(name, text))
    if not reply.ok:
        raise ConfigError(reply.text)
    console.print(reply.text)


@ctl.command()
def confirm(session: Which = None) -> None:
    """Confirm the pre-flight checks: the first image follows."""
    from evolver.live import control

    reply = control.ask(control.find(session), control.Request("confirm"))
    if not reply.ok:
        raise ConfigError(reply.text)
    console.print(reply.text)


Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="kept in the record")]


@ctl.command()
def pause(why: Why = "", session: Which = None) -> None:
    """Show nothing more after the presentation under way, until 'resume'."""
    _command("pause", why, session)


@ctl.command("resume")
def go_on(why: Why = "", session: Which = None) -> None:
    """Go on after 'pause' or 'reference-only'."""
    _command("resume", why, session)


@ctl.command()
def stop(why: Why = "", session: Which = None) -> None:
    """End the session after the presentation under way; everything is kept."""
    _command("stop", why, session)


@ctl.command()
def abort(why: Why = "", session: Which = None) -> None:
    """End the session at once; what was recorded is kept."""
    _command("abort", why, session)


@ctl.command("reference-only")
def reference_only(why: Why = "", session: Which = None) -> None:
    """Show nothing but the reference images, until 'resume'."""
    _command("reference-only", why, session)


@ctl.command()
def note(
    text: Annotated[str, typer.Argument(help="what to keep in the record")],
    session: Which = None,
) -> None:
    """Keep a note in the record, with its time."""
    _command("note", text, session)
