"""What several commands share at the terminal: consoles, signals, a session watched, a report.

Composition, as `evolver.cli.app` is: prints and handles signals.
"""

from __future__ import annotations

import codecs
import errno
import signal
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rich.console import Console as RichConsole
from rich.markup import escape

from evolver.clock import time_text
from evolver.errors import ConfigError
from evolver.plain_text import plain
from evolver.session_folder import REPORT

if TYPE_CHECKING:
    from evolver.analysis.success_tests import SuccessRule
    from evolver.config.tables import Config
    from evolver.journal.records import Committed
    from evolver.live import Console, Ended
    from evolver.session.ports import Command
    from evolver.setup.preflight import Check

console = RichConsole(highlight=False, soft_wrap=True, emoji=False)
error_console = RichConsole(stderr=True, highlight=False, soft_wrap=True, emoji=False)


_PLAIN = {
    "→": "->",
    "…": "...",
    "█": "#",
    "\N{EN DASH}": "-",
    "\N{MINUS SIGN}": "-",
    "\N{MULTIPLICATION SIGN}": "x",
}
_GONE = (errno.EIO, errno.EPIPE)
_FULL = (errno.ENOSPC, errno.EDQUOT)


def _plainly(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replace what a terminal's encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letter = error.object[error.start]
    if letter in _PLAIN:
        return _PLAIN[letter], error.start + 1
    one = UnicodeEncodeError(
        error.encoding, error.object, error.start, error.start + 1, error.reason
    )
    return codecs.backslashreplace_errors(one)


codecs.register_error("evolver-plainly", _plainly)


class _Lasting:
    """A text stream that prints what it can: in its encoding, as long as anybody reads.

    Parameters
    ----------
    stream : of a terminal, a pipe or a file

    Attributes
    ----------
    lost : why something is not in the file that it was to go to; empty where all is
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self.lost = stream, ""

    def _take(self, exc: OSError) -> None:
        """Go on where there is nobody to read, or no room; raise what is anything else."""
        if exc.errno in _FULL:
            self.lost = exc.strerror or str(exc)
        elif exc.errno not in _GONE:
            raise exc

    def write(self, text: str) -> int:
        """Write, if anybody reads; what the encoding lacks is written otherwise."""
        encoding = self._stream.encoding or "utf-8"
        plain = text.encode(encoding, "evolver-plainly").decode(encoding)
        try:
            self._stream.write(plain)
        except OSError as exc:
            self._take(exc)
        return len(text)

    def flush(self) -> None:
        """Flush, if anybody reads."""
        try:
            self._stream.flush()
        except OSError as exc:
            self._take(exc)

    def __getattr__(self, name: str) -> object:
        """Return what else the stream has."""
        return getattr(self._stream, name)


def steady_streams() -> None:
    """Make standard output and errors of this process such that printing ends no session.

    A letter that the terminal's encoding lacks is written otherwise; a terminal that was
    closed, or a pipe that nobody reads any more, is written to in vain, and so is a file on a
    disk that is full, which `lost_output` says at the end.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, _Lasting):
            setattr(sys, name, _Lasting(stream))


def lost_output() -> str:
    """Return why not all that was printed is where it was to go; empty where it is."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, _Lasting):
            stream.flush()
            if stream.lost:
                return stream.lost
    return ""


def check_can_write(folder: Path, remedy: str) -> None:
    """Check that files can be made in a folder, before work is done for them.

    Raises
    ------
    ConfigError
        They cannot; with the remedy.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as exc:
        raise ConfigError(
            f"{folder} must be a folder that can be written to, and is not: {exc.strerror}. "
            f"{remedy}"
        ) from exc


def wrapped(text: str, where: RichConsole, *, indent: str = "", hanging: str = "  ") -> str:
    """Return a text with its lines broken between words, for a terminal; else as it is.

    Parameters
    ----------
    text : of one line or several, which keep what they are indented by
    where : printed on; what is no terminal is read by programs, and has whole lines
    indent : before every line
    hanging : besides, before what goes on with a line
    """
    lines: list[str] = []
    for line in text.splitlines():
        first = indent + line[: len(line) - len(line.lstrip())]
        lines += textwrap.wrap(
            line.strip(),
            where.width if where.is_terminal else sys.maxsize,
            initial_indent=first,
            subsequent_indent=first + hanging,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]
    return "\n".join(lines)


def print_error(text: str) -> None:
    """Print what is wrong, its lines broken between words, where errors go."""
    _print_marked("error", "bold red", text, error_console)


def print_warning(text: str) -> None:
    """Print a warning, its lines broken between words."""
    _print_marked("warning", "yellow", text, console)


def _print_marked(word: str, style: str, text: str, where: RichConsole) -> None:
    lines = wrapped(f"{word}: {plain(text)}", where).removeprefix(f"{word}:")
    where.print(f"[{style}]{word}:[/]{escape(lines)}")


def print_news(text: str) -> None:
    """Print what happened, with the time."""
    console.print(f"{time_text(time.time_ns())}  {plain(text)}", markup=False)


def print_rig_end(reason: str) -> None:
    """Print why a rig ended."""
    if reason == "stopped":  # here, by a signal; the engine waits for a rig
        console.print("stopped here; a session that is not over waits for its rig")
    else:
        console.print(f"the session is over: {escape(reason)}")


class StopSignals:
    """Whether somebody asked to stop; a second signal ends the process as it always did.

    A terminal that is closed asks to stop as well: what was begun is brought to an end. One
    that this process was told to outlive (nohup) does not.
    """

    def __init__(self) -> None:
        self._asked = False

    def __call__(self) -> bool:
        """Return whether somebody did."""
        return self._asked

    @contextmanager
    def on_signals(self) -> Generator[None, None, None]:
        """Listen to signals as long as this lasts."""
        before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            before[signal.SIGHUP] = signal.getsignal(signal.SIGHUP)

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
    config: Config,
    title: str,
    *,
    on_endpoint: Callable[[str], None] = lambda _: None,
    earlier: Sequence[Committed] = (),
) -> Generator[Console, None, None]:
    """Show a session of this process in the terminal, and stop it at a Ctrl-C.

    Nobody is asked to confirm the checks; of them, what is bad is printed.
    """
    from evolver.cli.progress import ProgressView
    from evolver.live import Console
    from evolver.session.ports import Command

    view = ProgressView(
        console,
        title=title,
        threads=[thread.name for thread in config.all_threads],
        units=[config.fitness_of(k).score_unit for k in range(len(config.all_threads))],
        step="generation" if config.threads else "block",
    )
    for committed in earlier:
        view.remember(committed)
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


def make_report(
    file: Path, out: Path, *, rule: SuccessRule = "shuffle", alpha: float = 0.01
) -> Path:
    """Write the report of a recording into a folder; return its page."""
    from evolver import recording
    from evolver.recording.strangers import said_as_recording
    from evolver.report.page import write_report
    from evolver.setup.build import renderers

    remedy = "Name another folder with  evolver report FILE --out FOLDER"
    with (
        recording.read(file) as opened,
        console.status("writing the report …"),
        said_as_recording(file),
    ):
        check_can_write(out, remedy)
        render = renderers(opened.config)
        try:
            return write_report(opened, out, render=render, rule=rule, alpha=alpha)
        except OSError as exc:
            raise ConfigError(f"the report cannot be written: {exc}. {remedy}") from exc
