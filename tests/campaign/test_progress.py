"""How far a run is, on a terminal: no time that is left before it can be told."""

import io

import pytest
from rich.console import Console

from evolver.campaign import progress
from evolver.campaign.progress import TaskProgress
from evolver.campaign.run import TaskEnd


@pytest.fixture
def at(monkeypatch):
    """Return a function that sets the clock, seconds."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, seconds)


def lines(at, ends, total, *, terminal=False, **more):
    """Return what is printed as tasks end at these seconds."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=80, color_system=None)
    at(0.0)
    report = TaskProgress(console, total, what="runs", **more)
    for seconds in ends:
        at(seconds)
        report(TaskEnd("digest"))
    return file.getvalue().replace("\r", "\n").splitlines()


def test_nothing_is_said_of_the_time_before_a_tenth_has_ended(at):
    # A wave of three that ends at once: the first would say that each took 19 s.
    printed = lines(at, [19.0] * 3 + [38.0], 30)
    assert printed[:2] == ["1 of 30 runs", "2 of 30 runs"]
    assert printed[2:] == ["3 of 30 runs, 2:51 left", "4 of 30 runs, 4:07 left"]
    many = lines(at, [float(k) for k in range(1, 60)], 10_000, terminal=True)
    assert many[48].strip() == "49 of 10,000 runs"
    assert many[49].strip() == "50 of 10,000 runs, 2:45:50 left"


def test_what_is_expected_counts_until_it_was_measured(at):
    printed = lines(at, [19.0] * 15 + [40.0] * 15, 30, expected_s=40.0)
    assert printed[0] == "1 of 30 runs, 0:55 left"  # by itself it would be 9:11
    assert printed[14] == "15 of 30 runs, 0:19 left"
    assert printed[-1] == "30 of 30 runs, 0:00 left"


def test_a_line_covers_the_one_before(at):
    before, after = lines(at, [610.0, 610.5], 3, terminal=True, expected_s=1500.0)[:2]
    assert before == "1 of 3 runs, 17:53 left"
    assert after == "2 of 3 runs, 6:10 left "
