"""Time of day that is never set: durations are those of the monotonic clock."""

import subprocess
import sys
import time

from evolver.clock import SYSTEM_CLOCK, waiting_text
from rig_bridge import steady

PROGRAM = (
    "from evolver.clock import SYSTEM_CLOCK as c; print(c.time_ns() - int(c.monotonic() * 1e9))"
)


def test_a_clock_that_is_set_changes_no_stamp(monkeypatch):
    engine, rig = SYSTEM_CLOCK.time_ns(), steady.unix_ns()
    monkeypatch.setattr(time, "time_ns", lambda: 0)  # set back, by half a century
    assert engine <= SYSTEM_CLOCK.time_ns() < engine + 60_000_000_000
    assert rig <= steady.unix_ns() < rig + 60_000_000_000


def test_what_waits_for_a_rig_says_for_how_long():
    assert waiting_text("loading", 0, 10**18) == "loading"
    assert waiting_text("", 5, 10**18) == ""
    waiting = waiting_text("waiting for the rig: x", 10**18, 10**18 + 42 * 10**9)
    assert waiting == "waiting for the rig: x (no rig for 0:42)"


def test_processes_of_one_session_have_one_clock():
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    ours = SYSTEM_CLOCK.time_ns() - int(SYSTEM_CLOCK.monotonic() * 1e9)
    assert abs(int(said.stdout) - ours) < 1_000_000  # as far as the two readings are apart
