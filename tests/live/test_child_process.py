"""When a process that fell is started again, and when no more."""

from pathlib import Path

import pytest

from evolver.live.child_process import Child


@pytest.fixture
def child():
    return Child("engine", ["engine"], Path("engine.log"))


def test_the_fifth_fall_within_ten_minutes_is_the_last(child):
    waits = []
    for now in (0.0, 100.0, 200.0, 300.0):
        assert child.fall(now)
        waits.append(child.start_at - now)
    assert waits == [0.0, 1.0, 2.0, 5.0]
    assert not child.fall(599.0)
    assert (child.wanted, child.restarts) == (False, 4)


def test_a_fall_that_is_long_ago_counts_no_more(child):
    for now in (0.0, 300.0, 400.0, 500.0):
        assert child.fall(now)
    assert child.fall(600.0)
    assert child.start_at == 605.0


def test_falls_by_abort_are_no_verdict_and_come_in_no_hurry(child):
    waits = []
    for now in range(100, 108):
        assert child.fall(float(now), excused=True)
        waits.append(child.start_at - now)
    assert waits == [0.0, 1.0, 2.0, 5.0, 10.0, 10.0, 10.0, 10.0]
    for now in range(200, 204):  # nor do they make the others come earlier
        assert child.fall(float(now))
    assert not child.fall(204.0)
