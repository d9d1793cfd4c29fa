"""What several commands share at the terminal: consoles, signals, a session watched, a report.

Composition, as `evolver.cli.app` is: prints and handles signals.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console as RichConsole
from rich.markup import escape

from evolver.session_folder import REPORT

if TYPE_CHECKING:
    from evolver.config.tables import Config
    from evolver.live import Console, Ended
    from evolver.session.ports import Command
    from evolver.setup.preflight import Check

console = RichConsole(highlight=False, soft_wrap=True)
error_console = RichConsole(stderr=True, highlight=False, soft_wrap=True)


class StopSignals:
    """Whether somebody asked to stop; a second signal ends the process as it always did."""

    def __init__(self) -> None:
        self._asked = False

    def __call__(self) -> bool:
        """Return whether somebody did."""
        return self._asked

    @contextmanager
    def on_signals(self) -> Generator[None, None, None]:
        """Listen to signals as long as this lasts."""
        before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

        def ask(number: int, _frame: object) -> None:
            self._asked = True
            signal.signal(number, before[signal.Signals(number)])

        for number in before:
            signal.signal(number, ask)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def terminal_console(
    config: Config, title: str, *, on_endpoint: Callable[[str], None] = lambda _: None
) -> Generator[Console, None, None]:
    """Show a session of this process in the terminal, and stop it at a Ctrl-C.

    Nobody is asked to confirm the checks; of them, what is bad is printed.
    """
    from evolver.cli.progress import ProgressView
    from evolver.live import Console
    from evolver.session.ports import Command

    view = ProgressView(console, title=title, threads=[t.name for t in config.threads])
    stop = StopSignals()

    def commands() -> Sequence[Command]:
        return (Command("stop"),) if stop() else ()

    with stop.on_signals(), view:
        yield Console(
            on_wait=view.wait,
            on_endpoint=on_endpoint,
            on_checks=lambda checks, _: _print_bad(checks),
            on_start=lambda folder: view.begin(f"{title} → {folder}"),
            on_progress=view.update,
            commands=commands,
        )


def _print_bad(checks: Sequence[Check]) -> None:
    for check in checks:
        if check.verdict == "bad":
            console.print(f"[red]bad[/]  {check.name}: {escape(check.text)}")


def print_ended(ended: Ended, *, report_too: bool = True) -> None:
    """Print how a session ended, and write its report."""
    console.print(f"[bold]{escape(ended.reason)}[/]")
    console.print(f"recording: {ended.recording}")
    if report_too:
        page = make_report(ended.recording, ended.folder / REPORT)
        console.print(f"report:    {page}")


def make_report(file: Path, out: Path) -> Path:
    """Write the report of a recording into a folder; return its page."""
    from evolver import recording
    from evolver.recording.strangers import said_as_recording
    from evolver.report.page import write_report
    from evolver.setup.build import renderers

    with (
        recording.read(file) as opened,
        console.status("writing the report …"),
        said_as_recording(file),
    ):
        return write_report(opened, out, render=renderers(opened.config))
