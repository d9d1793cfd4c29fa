"""`evolver serve`, `resume` and `ctl`: a live session, and how an operator speaks to it.

Composition: terminal, signals, the supervisor; what takes long to import is imported by the
command that needs it.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from evolver.cli.checks import checks_table
from evolver.cli.terminal import console, print_ended, terminal_console
from evolver.clock import duration_text, time_text
from evolver.errors import ConfigError, ControlError, RecordingError
from evolver.plain_text import plain
from evolver.session_folder import JOURNAL, LOGS, RECORDING, SESSION_FILE, remove_unused

if TYPE_CHECKING:
    from evolver.config.tables import Config
    from evolver.journal.records import Committed
    from evolver.live import Console
    from evolver.live.control import SessionStatus
    from evolver.session.ports import CommandName
    from evolver.setup.preflight import Check

_DAYS_MIN = 2 * 24 * 60.0  # minutes

ctl = typer.Typer(
    help="Speak to the live session that runs on this machine.", no_args_is_help=True
)

SessionOption = Annotated[
    Path | None,
    typer.Option("--session", metavar="FOLDER", help="its folder, where several sessions run"),
]
YesOption = Annotated[
    bool, typer.Option("--yes", help="confirm the pre-flight checks without being asked")
]
PageOption = Annotated[
    int | None, typer.Option(min=0, max=65535, help="port of the live page; 0 takes any")
]
NoPageOption = Annotated[bool, typer.Option("--no-page", help="without the live page")]
DownloadOption = Annotated[
    bool, typer.Option("--download", help="fetch weight files that are not on this machine")
]
ReportOption = Annotated[
    bool, typer.Option("--report/--no-report", help="write the report at the end")
]


def serve(
    session_file: Annotated[Path, typer.Argument(metavar="SESSION.toml", help="session file")],
    yes: YesOption = False,
    page: PageOption = 0,
    no_page: NoPageOption = False,
    download: DownloadOption = False,
    report_too: ReportOption = True,
) -> None:
    """Run a session against a rig, which connects over the network.

    Engine, recorder and live page are processes of their own, each started again if it falls.
    Nothing is shown before the checks are confirmed. Ctrl-C ends the session after the
    presentation under way and keeps everything; a second one ends it at once. A terminal that
    is closed ends nothing: 'evolver ctl' reaches the session from any other, also where a
    watchdog has paused it.
    """
    from evolver import config
    from evolver.clock import SYSTEM_CLOCK
    from evolver.live.children import check_in_child
    from evolver.session_folder import new_folder
    from rig_bridge.errors import EndpointError
    from rig_bridge.sockets import check_free

    with console.status("loading the generators …"):
        # All that is wrong is said here, before a folder is made.
        check_in_child(session_file, download=download)
    if page and not no_page:
        try:
            check_free(f"tcp://127.0.0.1:{page}")
        except EndpointError as exc:
            raise ConfigError(f"--page {page}: {exc}. --page 0 takes any port") from exc
    settings, text = config.load_session_file(session_file)
    folder = new_folder(settings, text, SYSTEM_CLOCK.time_ns())
    page = None if no_page else page
    _supervise(settings, folder, yes=yes, page=page, report_too=report_too, new=True)


def resume(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="the session's folder")],
    yes: YesOption = False,
    page: PageOption = 0,
    no_page: NoPageOption = False,
    report_too: ReportOption = True,
) -> None:
    """Go on with a session that was interrupted, live or simulated, in the same recording.

    On the same machine it goes on as if nothing had happened, bit for bit; elsewhere from the
    recorded codes and images, and the recording says so.
    """
    from evolver import config
    from evolver.journal.history import find_history
    from evolver.live import control, fold_in_child, resume_simulated
    from evolver.setup.resume import Restored

    control.check_not_running(folder)
    page = None if no_page else page
    history = find_history(folder / JOURNAL)
    if history is None:
        if (folder / RECORDING).exists():
            raise RecordingError(
                f"{folder} must hold a journal to go on from; it has a recording and no "
                "journal. The recording is left as it is; bring the journal back, or begin "
                "another session"
            )
        if not (folder / SESSION_FILE).is_file():
            raise RecordingError(
                f"{folder} must be a session's folder, with its journal; it is not"
            )
        if not (folder / LOGS).is_dir():
            # A simulation would go on as a live session: nothing else says what it was.
            raise RecordingError(
                f"{folder} must hold a session that has begun; nothing of this one was "
                "recorded or shown. Begin it again: 'evolver serve' or 'evolver simulate' with "
                f"{folder / SESSION_FILE}"
            )
        settings, _ = config.load_session_file(folder / SESSION_FILE)
        _supervise(settings, folder, yes=yes, page=page, report_too=report_too)
        return
    if history.ended == "finished" and not (folder / RECORDING).exists():
        fold_in_child(folder / JOURNAL, folder / RECORDING)
        console.print("the session had finished; its recording was not made yet, and is now:")
        console.print(f"recording: {folder / RECORDING}")
        return
    restored = Restored.of(history)
    if restored.loss:
        console.print(f"[yellow]warning:[/] the journal is damaged: {escape(restored.loss)}")
    settings = config.parse_session_file(
        restored.config_text, source=f"the session file in {folder}"
    )
    if restored.mode == "live":
        _supervise(
            settings,
            folder,
            yes=yes,
            page=page,
            report_too=report_too,
            earlier=history.committed,
            goes_on=history.time.begun,
        )
        return
    if restored.mode == "replay":
        raise RecordingError(
            f"{folder} must hold a session that can go on; it is a replay of a recording, "
            "which is begun again: 'evolver replay'. 'evolver fold' keeps what there is"
        )
    title = f"{settings.session.name}: simulation, resumed"
    with terminal_console(settings, title, earlier=history.committed) as session_console:
        ended = resume_simulated(folder, session_console)
    print_ended(ended, report_too=report_too)


def _supervise(
    settings: Config,
    folder: Path,
    *,
    yes: bool,
    page: int | None,
    report_too: bool,
    earlier: Sequence[Committed] = (),
    goes_on: bool = False,
    new: bool = False,
) -> None:
    """Run a session under a supervisor to its end; say how it ended, and write its report.

    Parameters
    ----------
    earlier, goes_on : as the terminal's view takes them
    new : the folder was made for it; one in which nothing was begun is removed again
    """
    from evolver.live import Ended, supervisor

    terminal = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
    console.print(f"session folder: {folder}")
    view = _OperatorView(
        settings, folder, asks=terminal is not None, earlier=earlier, goes_on=goes_on
    )
    with view:
        session = supervisor.Supervisor(
            supervisor.Settings(
                folder,
                settings.session.name,
                confirmed=yes,
                page_port=page,
                watchdogs=settings.watchdogs,
                terminal=terminal,
                references=settings.references.count > 0,
            ),
            view.console(),
        )
        reason = session.run()
    recording = folder / RECORDING
    if session.failed is None:
        print_ended(Ended(reason, folder, recording), report_too=report_too)
        return
    if not session.began:
        kept = f". The logs are in {folder / LOGS}" if session.fell or not new else ""
        if new and not session.fell:
            remove_unused(folder)
        raise ControlError(f"the session did not begin: {session.failed}{kept}")
    console.print(f"[bold]{escape(reason)}[/]")
    if recording.exists():
        console.print(f"recording: {recording}")
    raise ControlError(
        f"the session must end by itself or by its operator; {session.failed}. What was "
        f"recorded is kept; 'evolver resume {folder}' goes on"
    )


class _OperatorView:
    """A supervised session at the terminal: the checks, then the table of its progress.

    Parameters
    ----------
    settings, folder : of the session
    asks : whether somebody can answer at this terminal
    earlier : blocks from before it was interrupted
    goes_on : something was shown before
    """

    def __init__(
        self,
        settings: Config,
        folder: Path,
        *,
        asks: bool,
        earlier: Sequence[Committed],
        goes_on: bool = False,
    ) -> None:
        from evolver.cli.progress import ProgressView

        title = f"{settings.session.name}: live session → {folder}"
        names = [thread.name for thread in settings.all_threads]
        units = [settings.fitness_of(k).score_unit for k in range(len(names))]
        self._view = ProgressView(
            console,
            title=title,
            threads=names,
            units=units,
            step="generation" if settings.threads else "block",
        )
        for committed in earlier:
            self._view.remember(committed)
        self._asks, self._goes_on = asks, goes_on
        self._drawing = False  # the table is on the terminal
        self._stack = ExitStack()

    def __enter__(self) -> _OperatorView:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def console(self) -> Console:
        """Return what the supervisor tells its news to."""
        from evolver.live import Console

        return Console(
            on_wait=self._on_wait,
            on_checks=self._on_checks,
            on_progress=self._view.update,
            on_event=self._on_event,
        )

    def _on_event(self, text: str) -> None:
        self._view.event(text)
        console.print(f"  {time_text(time.time_ns())}  {plain(text)}", markup=False)

    def _on_checks(self, checks: Sequence[Check], needed: bool) -> None:
        if not self._drawing:  # an engine that was started again has nothing new to say
            console.print(checks_table(checks, goes_on=self._goes_on))
        if needed and self._asks:
            if warnings := sum(check.verdict != "good" for check in checks):
                last = "last" if warnings == 1 else f"last {warnings}"
                console.print(f"[yellow]look at the {last} of these checks[/]")
            question = "go on?" if self._goes_on else "show the first image?"
            console.print(f"[bold]{question}[/] yes / no ", end="")
        elif needed:
            console.print("confirm with  evolver ctl confirm")

    def _on_wait(self, text: str, no_rig_since_ns: int = 0) -> None:
        if self._drawing:
            self._view.wait(text, no_rig_since_ns)
        elif text:
            console.print(text, markup=False)
        else:
            self._drawing = True
            self._stack.enter_context(self._view)


@ctl.command("status")
def print_status(session: SessionOption = None) -> None:
    """Say where the session stands."""
    from evolver.live import control

    listed = control.find_session(session)
    reply = control.ask(listed, control.Request("status"))
    if reply.status is None:
        raise ControlError(f"the session in {listed.folder} answers without a status: {reply}")
    console.print(_status_table(reply.status))


def _status_table(status: SessionStatus) -> Table:
    table = Table(box=None, padding=(0, 2), show_header=False)
    rows = [("session", f"{status.name} in {status.folder}"), ("state", status.state)]
    if (p := status.progress) is not None:
        kept = f"no rig for {duration_text(p.no_rig_s)}"
        if p.frozen_s >= 1:
            kept += f", engine frozen for {duration_text(p.frozen_s)}"
        rows += [
            ("generations", f"{p.generation} of {p.generations} done"),
            ("shown", f"{p.presentations} presentations, {p.aborted} aborted"),
            ("time", f"{duration_text(p.elapsed_s)} since the first image"),
            (
                "of it",
                f"rig idle {duration_text(p.idle_s)}, paused {duration_text(p.paused_s)}",
            ),
            ("", kept),
            ("pace", "-" if p.pace is None else f"{p.pace:.1f} images/s"),
            ("left", "-" if p.left_s is None else duration_text(math.ceil(p.left_s))),
        ]
    minutes = status.disk_minutes
    rows += [
        ("rig", status.rig_endpoint or "-"),
        ("live page", status.page or "-"),
        ("disk", "-" if minutes is None else _room_text(minutes)),
    ]
    for child in status.children:
        times = "once" if child.restarts == 1 else f"{child.restarts} times"
        again = f", started again {times}" if child.restarts else ""
        rows.append((
            child.name,
            f"{child.state}, process {child.pid}, {child.memory_mb:.0f} MB{again}",
        ))
    rows += [("" if i else "events", text) for i, text in enumerate(status.events[-8:])]
    for name, text in rows:
        table.add_row(f"[dim]{name}[/]", escape(plain(text)))
    return table


def _room_text(minutes: float) -> str:
    """Return how long the disk lasts, in words; what is days away needs no number."""
    return f"{minutes:.0f} minutes left" if minutes < _DAYS_MIN else "days of room"


def _command(name: CommandName, text: str, session: Path | None) -> None:
    from evolver.live import control

    reply = control.ask(control.find_session(session), control.Request(name, text))
    if not reply.ok:
        raise ConfigError(reply.text)
    console.print(reply.text)


@ctl.command("confirm")
def confirm_checks(session: SessionOption = None) -> None:
    """Confirm the pre-flight checks: images are shown from then on."""
    from evolver.live import control

    reply = control.ask(control.find_session(session), control.Request("confirm"))
    if not reply.ok:
        raise ConfigError(reply.text)
    console.print(reply.text)


WhyOption = Annotated[str, typer.Option("--why", metavar="TEXT", help="kept in the record")]


@ctl.command("pause")
def pause_session(why: WhyOption = "", session: SessionOption = None) -> None:
    """Show nothing more after the presentation under way, until 'resume'."""
    _command("pause", why, session)


@ctl.command("resume")
def end_pause(why: WhyOption = "", session: SessionOption = None) -> None:
    """Go on after 'pause' or 'reference-only'."""
    _command("resume", why, session)


@ctl.command("stop")
def stop_session(why: WhyOption = "", session: SessionOption = None) -> None:
    """Stop the session after the presentation under way; everything is kept."""
    _command("stop", why, session)


@ctl.command("abort")
def stop_session_at_once(why: WhyOption = "", session: SessionOption = None) -> None:
    """Stop the session at once; what was recorded is kept."""
    _command("abort", why, session)


@ctl.command("reference-only")
def show_references_only(why: WhyOption = "", session: SessionOption = None) -> None:
    """Show nothing but the reference images, until 'resume'."""
    _command("reference-only", why, session)


@ctl.command("note")
def record_note(
    text: Annotated[str, typer.Argument(help="what to keep in the record")],
    session: SessionOption = None,
) -> None:
    """Keep a note in the record, with its time."""
    _command("note", text, session)
