"""The conversation, exhaustively: see `exploration`.

Each search ends without a contradiction, and every history ends with everything on disk.
"""

import pytest

from tests.rig_bridge.exploration import explore


def test_every_order_without_a_fault_ends_with_all_of_it_on_disk():
    found = explore(0)
    assert found.states > 1000
    assert found.ends >= 1


def test_every_moment_at_which_a_rig_may_be_started_anew():
    found = explore(1, prompt=True, kinds={"restart_rig"})
    assert found.states > 1000
    assert found.faults["restart_rig"] > 300
    assert found.ends > 1


@pytest.mark.soak
@pytest.mark.parametrize(
    "kind",
    [
        "lose_rig",
        "double_rig",
        "last_rig",
        "lose_engine",
        "double_engine",
        "last_engine",
        "pause",
        "lose_connection",
        "restart_rig",
        "restart_engine",
    ],
)
def test_every_moment_of_one_fault(kind):
    found = explore(1, kinds={kind})
    assert found.states > 3000
    assert found.faults[kind] > 30
    assert found.ends > 1


@pytest.mark.soak
def test_every_moment_of_a_timeout_that_comes_early():
    """Everything is asked for again while the answers are on their way."""
    found = explore(1, prompt=True, kinds={"time_passes"})
    assert found.states > 10_000
    assert found.faults["time_passes"] > 300


def test_the_search_finds_what_it_is_for(monkeypatch):
    """An engine that takes every repeat for safe acknowledges what is not on disk."""
    monkeypatch.setattr("rig_bridge.delivery.Answers.is_safe", lambda *_: True)
    with pytest.raises(AssertionError, match="ack too early"):
        explore(1, kinds={"double_engine"})
