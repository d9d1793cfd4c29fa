"""Time of day that is never set: durations are those of the monotonic clock."""

import subprocess
import sys
import time

from evolver.clock import SYSTEM_CLOCK
from rig_bridge import steady

PROGRAM = (
    "from evolver.clock import SYSTEM_CLOCK as c; print(c.time_ns() - int(c.monotonic() * 1e9))"
)


def test_a_clock_that_is_set_changes_no_stamp(monkeypatch):
    engine, rig = SYSTEM_CLOCK.time_ns(), steady.unix_ns()
    monkeypatch.setattr(time, "time_ns", lambda: 0)  # set back, by half a century
    assert engine <= SYSTEM_CLOCK.time_ns() < engine + 60_000_000_000
    assert rig <= steady.unix_ns() < rig + 60_000_000_000


def test_processes_of_one_session_have_one_clock():
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    ours = SYSTEM_CLOCK.time_ns() - int(SYSTEM_CLOCK.monotonic() * 1e9)
    assert abs(int(said.stdout) - ours) < 1_000_000  # as far as the two readings are apart
