"""What a person sees of a session: in a terminal, and in a pipe."""

import io

import numpy as np
import pytest
from rich.console import Console

from evolver.cli.progress import ProgressView, sparkline
from evolver.journal.records import Committed, CommittedThread, PackedArray, TimeBudget
from evolver.session.ports import Progress

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
    for fact in ("generation 11 of 40", "14.7 ± 0.6", "5.1 ± 0.6", "15.7", "8.0"):
        assert fact in text, text
    for fact in ("24:30 left", "1960 presentations (7 aborted)", "4.0 images/s", "idle 1.0%"):
        assert fact in text, text
    assert all(len(line) <= width for line in picture(width, *NEWS).splitlines())


def test_before_the_first_score_it_says_what_it_waits_for():
    console = Console(file=io.StringIO(), width=80)
    view = ProgressView(console, title="t", threads=["a"])
    view.wait("waiting for a rig")
    console.print(view._picture())
    assert "waiting for a rig" in console.file.getvalue()


def test_a_pause_cannot_be_overlooked():
    assert "PAUSED" in picture(80, *NEWS, progress(10, state="paused"))
    assert "PAUSED" not in picture(80, *NEWS)


def test_a_pipe_gets_a_line_a_generation_and_one_an_event():
    console = Console(file=io.StringIO(), width=200, force_terminal=False)
    with ProgressView(console, title="monday", threads=["texture", "object"]) as view:
        for one in (*NEWS, progress(10, event="the rig is gone")):
            view.update(one)
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "monday"
    assert lines[1].split()[:4] == ["generation", "9/40", "texture", "12.3"]
    assert "references -" in lines[1]
    assert "references 8.0" in lines[2]
    assert lines[3].strip() == "the rig is gone"
    assert len(lines) == 4


def test_a_sparkline_spans_its_range_and_stays_narrow():
    assert sparkline([0.0, 1.0], 0.0, 1.0) == "▁█"
    assert sparkline([5.0, 5.0], 5.0, 5.0) == "▁▁"
    long = sparkline(list(range(1000)), 0, 999)
    assert len(long) == 30
    assert (long[0], long[-1]) == ("▁", "█")
