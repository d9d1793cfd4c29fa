"""What several commands share at the terminal: consoles, signals, a session watched, a report.

Composition, as `evolver.cli.app` is: prints and handles signals.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from evolver.session_folder import REPORT

if TYPE_CHECKING:
    from evolver.config.tables import Config
    from evolver.live import Ended, Watcher

console = Console(highlight=False, soft_wrap=True)
error_console = Console(stderr=True, highlight=False, soft_wrap=True)


class Stop:
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
def watching(settings: Config, title: str) -> Generator[Watcher, None, None]:
    """Show a session in the terminal, and stop it at a Ctrl-C."""
    from evolver.cli.progress import Display
    from evolver.live import Watcher

    display = Display(console, title=title, threads=[t.name for t in settings.threads])
    stop = Stop()
    start: Callable[[Path], None] = lambda folder: display.begin(f"{title} → {folder}")  # noqa: E731
    with stop.on_signals(), display:
        yield Watcher(
            should_stop=stop, on_wait=display.wait, on_start=start, on_progress=display
        )


def after(ended: Ended, *, report_too: bool = True) -> None:
    """Say how a session ended, and write its report."""
    console.print(f"[bold]{escape(ended.reason)}[/]")
    console.print(f"recording: {ended.recording}")
    if report_too:
        page = make_report(ended.recording, ended.folder / REPORT)
        console.print(f"report:    {page}")


def make_report(file: Path, out: Path) -> Path:
    """Write the report of a recording into a folder; return its page."""
    from evolver import recording
    from evolver.report.page import write_report
    from evolver.setup.build import renderers

    with recording.read(file) as opened, console.status("writing the report …"):
        return write_report(opened, out, render=renderers(opened.config))
