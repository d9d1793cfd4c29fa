"""Terminals of every encoding, and none: printing ends nothing."""

import io
import os
import signal

import pytest

from evolver.cli import terminal
from evolver.cli.app import main
from evolver.cli.checks import checks_table
from evolver.errors import ConfigError
from evolver.setup.preflight import Check

ARROWS = "recording → a\N{EN DASH}b … 3 \N{MULTIPLICATION SIGN} 4 ○ ä \udcff"


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", "recording -> a-b ... 3 x 4 \\u25cb \\xe4 \\udcff"),
        ("latin-1", "recording -> a-b ... 3 \xd7 4 \\u25cb ä \\udcff"),
        ("utf-8", "recording → a\N{EN DASH}b … 3 \xd7 4 ○ ä \\udcff"),
    ],
)
def test_what_an_encoding_lacks_is_written_otherwise(monkeypatch, encoding, expected):
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding=encoding))
    terminal.steady_streams()
    terminal.console.print(ARROWS)
    print(ARROWS, flush=True)  # noqa: T201  as the page does
    line = expected.encode(encoding) + b"\n"
    assert written.getvalue() == line * 2


def test_a_pipe_that_nobody_reads_is_written_to_in_vain(monkeypatch):
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream:
        monkeypatch.setattr("sys.stdout", stream)
        terminal.steady_streams()
        terminal.console.print("heard")
        assert os.read(read, 100) == b"heard\n"
        os.close(read)
        for _ in range(3):
            terminal.console.print("unheard")
        monkeypatch.undo()
        with open(os.devnull, "w") as nothing:  # so that closing has nowhere to fail
            os.dup2(nothing.fileno(), write)


def test_a_full_disk_ends_nothing_and_is_an_error_at_the_end(monkeypatch, capsys):
    with open("/dev/full", "w") as stream:
        monkeypatch.setattr("sys.stdout", stream)
        terminal.steady_streams()
        terminal.console.print("x")
        assert terminal.lost_output() == "No space left on device"
        monkeypatch.setattr("sys.argv", ["evolver", "--version"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 1
        assert "not all was printed: No space left on device" in capsys.readouterr().err
        monkeypatch.undo()
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), stream.fileno())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_of_three_signals_asks_to_stop(number):
    before = signal.signal(number, signal.default_int_handler)  # however tests were started
    try:
        stop = terminal.StopSignals()
        with stop.on_signals():
            assert not stop()
            os.kill(os.getpid(), number)
            assert stop()
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)


def test_a_terminal_that_was_to_be_outlived_is():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop = terminal.StopSignals()
        with stop.on_signals():
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_place_is_checked_before_work_is_done_for_it(tmp_path):
    terminal.check_can_write(tmp_path / "new" / "folder", "no")
    assert list((tmp_path / "new" / "folder").iterdir()) == []
    (tmp_path / "file").touch()
    for wrong in (tmp_path / "file", "/proc", "/proc/new"):
        with pytest.raises(ConfigError, match=r"can be written to.*Name another"):
            terminal.check_can_write(tmp_path / wrong, "Name another")


def test_no_command_to_the_terminal_is_printed_of_what_a_file_says(monkeypatch):
    told = io.StringIO()
    monkeypatch.setattr(terminal, "error_console", terminal.RichConsole(file=told, width=80))
    terminal.print_error("unknown variant \x1b[31mZZ\x9b, \ud800")
    assert told.getvalue() == "error: unknown variant ·[31mZZ·, ·\n"


def test_errors_are_broken_between_words_on_a_terminal_and_nowhere_else():
    text = (
        "s.toml has 2 mistakes:\n  a.b: must be a long word" + " and so on" * 9 + "\n  c: bad"
    )
    on_terminal = terminal.RichConsole(force_terminal=True, width=40, file=io.StringIO())
    lines = terminal.wrapped(text, on_terminal).splitlines()
    assert max(map(len, lines)) <= 40
    assert lines[:3] == [
        "s.toml has 2 mistakes:",
        "  a.b: must be a long word and so on and",
        "    so on and so on and so on and so on",
    ]
    assert lines[-1] == "  c: bad"
    assert "".join(terminal.wrapped(text, on_terminal).split()) == "".join(text.split())
    piped = terminal.RichConsole(width=40, file=io.StringIO())
    assert terminal.wrapped(text, piped) == text  # a program reads whole lines


def test_what_to_look_at_is_nearest_to_the_question():
    names = {"a": "good", "b": "bad", "c": "warning", "d": "good", "e": "warning"}
    table = checks_table([Check(name, verdict, "text") for name, verdict in names.items()])
    assert list(table.columns[1].cells) == ["a", "d", "c", "e", "b"]
    assert table.title == "before the first image"
    assert checks_table([], goes_on=True).title == "before the session goes on"
