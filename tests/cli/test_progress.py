"""What a person sees of a session: in a terminal, and in a pipe."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

from evolver.cli import terminal
from evolver.cli.progress import ProgressView, sparkline
from evolver.clock import SYSTEM_CLOCK, time_text
from evolver.journal.records import Committed, CommittedThread, PackedArray, TimeBudget
from evolver.session.ports import Progress
from tests.soak import further
from tests.terminal import Terminal

BUDGET = TimeBudget(**dict.fromkeys(TimeBudget.__struct_fields__, 0.0))


def outcome(block, *means, references=()):
    """Return a block in which each thread scored about its mean."""
    spread = np.array([-1.0, 0.0, 1.0])
    threads = tuple(
        CommittedThread(
            k, block // 2, PackedArray.of(m + spread), PackedArray.of(np.full(3, np.nan))
        )
        for k, m in enumerate(means)
    )
    scores = tuple(PackedArray.of(np.array(references, float)) for _ in (0, 1))
    return Committed(block, 0, threads, scores, BUDGET)


def progress(generation, *, done=None, **changes):
    values = {
        "generation": generation,
        "generations": 40,
        "shown": 12,
        "planned": 49,
        "aborted": 7,
        "presentations": 1960,
        "elapsed_s": 490.0,
        "idle_s": 4.9,
        "idle_share": 0.01,
        "paused_s": 0.0,
        "no_rig_s": 0.0,
        "frozen_s": 0.0,
        "pace": 4.0,
        "left_s": 1470.0,
        "state": "running",
        "committed": done,
        "event": "",
    }
    return Progress(**{**values, **changes})


def picture(width, *news):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    view = ProgressView(console, title="monday: live session", threads=["texture", "object"])
    for one in news:
        view.update(one)
    console.print(view._picture())
    return console.file.getvalue()


NEWS = [
    progress(9, done=outcome(18, 12.3, 4.5)),
    progress(9, done=outcome(19, references=(7.0, 9.0))),
    progress(10, done=outcome(20, 14.7, 5.1)),
]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_key_facts_are_there_at_every_width(width):
    text = " ".join(picture(width, *NEWS).split())
    for fact in ("10 of 40 generations done", "14.7 ± 0.6", "5.1 ± 0.6", "15.7", "8.0"):
        assert fact in text, text
    for fact in ("24:30 left", "1960 presentations (7 aborted)", "4.0 images/s", "idle 1.0%"):
        assert fact in text, text
    assert all(len(line) <= width for line in picture(width, *NEWS).splitlines())


def test_scores_are_written_in_their_unit():
    console = Console(file=io.StringIO(), width=120, force_terminal=False)
    names = ["texture", "object"]
    view = ProgressView(console, title="t", threads=names, units=["cosine", "spikes/s"])
    view.update(NEWS[-1])
    console.print(view._picture())
    text = " ".join(console.file.getvalue().split())
    assert "14.70 ± 0.58 cosine" in text
    assert "5.1 ± 0.6 spikes/s" in text
    assert "[spikes/s]" not in text
    view = ProgressView(console, title="t", threads=names, units=["z", "z"])
    view.update(NEWS[-1])
    console.print(view._picture())
    assert "mean ± sem [z]" in console.file.getvalue()


def test_before_the_first_score_it_says_what_it_waits_for():
    console = Console(file=io.StringIO(), width=80)
    view = ProgressView(console, title="t", threads=["a"])
    view.wait("waiting for a rig")
    console.print(view._picture())
    assert "waiting for a rig" in console.file.getvalue()


def test_sessions_of_sets_alone_count_blocks():
    console = Console(file=io.StringIO(), width=80)
    view = ProgressView(console, title="t", threads=["test"], step="block")
    view.update(progress(3))
    console.print(view._picture())
    said = console.file.getvalue()
    assert "3 of 40 blocks done" in said
    assert "by block" in said
    assert "generation" not in said


@pytest.mark.parametrize("width", [80, 140])
def test_a_rig_that_is_waited_for_after_a_restart_has_its_duration(width):
    console = Console(file=io.StringIO(), width=width)
    view = ProgressView(console, title="t", threads=["texture", "object"])
    view.update(NEWS[-1])
    view.wait("waiting for the rig: tcp://127.0.0.1:5571", SYSTEM_CLOCK.time_ns() - 42 * 10**9)
    console.print(view._picture())
    assert (
        "\nwaiting for the rig: tcp://127.0.0.1:5571 (no rig for 0:4" in console.file.getvalue()
    )


def test_under_running_no_event_says_that_the_rig_is_gone():
    """After a restart the engine says that it goes on; nothing else had happened since."""
    again = "the session goes on, the rig is there"
    back = progress(10, event=again, event_ns=AT_NS + 42 * 10**9)
    lines = [line.strip() for line in picture(80, *NEWS, GONE, back, progress(10)).splitlines()]
    place = lines.index("running")
    assert lines[place + 1] == f"{time_text(AT_NS + 42 * 10**9)}  {again}"
    assert not any("is gone" in line for line in lines[place:])


def test_a_pause_cannot_be_overlooked():
    """A paused session has no block to tell of: its news comes with nothing planned."""
    paused = progress(10, state="paused", shown=0, planned=0, event="pause by operator")
    assert "PAUSED" in picture(80, *NEWS, paused)
    assert "PAUSED" not in picture(80, *NEWS)


AT_NS = 1_764_315_000 * 10**9
GONE = progress(
    10,
    state="no rig for 0:42",
    no_rig_s=42.0,
    planned=0,
    event="the connection to the rig is gone",
    event_ns=AT_NS,
)


TITLE = "monday: live session → /data/recordings/monkey-m/2026/" + "x" * 60


def draw():
    """Draw on the terminal that this process has, as the commands do, until it was seen."""
    with ProgressView(terminal.console, title=TITLE, threads=["texture", "object"]) as view:
        for one in (*NEWS, GONE):
            view.update(one)
        sys.stdin.read()


@pytest.mark.parametrize(
    ("columns", "rows"), [(80, 24), further(140, 8), further(140, 24), further(80, 8)]
)
def test_on_a_terminal_state_and_last_event_have_lines_of_their_own(columns, rows):
    """On the console of the commands, which leaves wrapping to the terminal."""
    environment = {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "LINES"}}
    with Terminal(columns, rows) as screen:
        process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import draw; draw()"],
            stdin=subprocess.PIPE,
            stdout=screen.fd,
            stderr=screen.fd,
            env={**environment, "TERM": "xterm-256color"},
        )
        seen = screen.until(
            r"in all|\n *\.\.\.",
            alive=lambda: process.poll() is None,
        ).splitlines()
        process.communicate(b"")
        if rows == 24:  # of a low terminal's picture the end is seen
            last = screen.until(r"(?m)^ *ended *$", alive=lambda: True)
            assert "NO RIG" not in last
            assert "left" not in last
    assert process.returncode == 0
    lines = [line.strip() for line in seen]
    assert "NO RIG FOR 0:42" in lines
    assert f"{time_text(AT_NS)}  the connection to the rig is gone" in lines
    assert all(len(line) <= columns for line in seen)
    assert sum("NO RIG" in line for line in lines) == 1  # drawn over, not one below the other
    if rows == 24:
        assert "24:30 left" in " ".join(lines)
        assert any(line.startswith("1960 presentations (7 aborted)") for line in lines)


def test_what_others_wrote_is_shown_as_it_is_and_commands_no_terminal():
    """A rig's notice, an operator's note: brackets are no markup, escapes are no escapes."""
    hostile = progress(10, event="see [/b] and [red]\x1b[2J")
    for force in (True, False):
        console = Console(file=io.StringIO(), width=80, force_terminal=force, soft_wrap=True)
        with ProgressView(console, title="[/] t", threads=["[bold]a"]) as view:
            view.update(hostile)
        said = console.file.getvalue()
        assert "see [/b] and [red]·[2J" in said
        assert "\x1b[2J" not in said


def test_a_pipe_gets_a_line_a_generation_and_one_an_event():
    console = Console(file=io.StringIO(), width=200, force_terminal=False)
    with ProgressView(console, title="monday", threads=["texture", "object"]) as view:
        for one in (*NEWS, progress(10, event="the rig is gone"), GONE):
            view.update(one)
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "monday"
    assert lines[1].split()[:4] == ["generation", "9/40", "texture", "12.3"]
    assert "references -" in lines[1]
    assert "references 8.0" in lines[2]
    assert lines[3].strip() == "the rig is gone"
    assert lines[4].strip() == f"{time_text(AT_NS)}  the connection to the rig is gone"
    assert len(lines) == 5


def test_a_sparkline_spans_its_range_and_stays_narrow():
    assert sparkline([0.0, 1.0], 0.0, 1.0) == "▁█"
    assert sparkline([5.0, 5.0], 5.0, 5.0) == "▁▁"
    long = sparkline(list(range(1000)), 0, 999)
    assert len(long) == 30
    assert (long[0], long[-1]) == ("▁", "█")


def test_what_is_waited_for_hides_no_pause():
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    view = ProgressView(console, title="monday", threads=["texture"])
    view.update(progress(3, state="paused, no rig for 0:42"))
    view.wait("the engine is started again")
    console.print(view._picture())
    assert "the engine is started again, paused\x1b" in console.file.getvalue()
