"""Nobody outside can end the engine: what any local user could do to it, done."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.limits import PATIENCE_S
from tests.soak import share

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def attack(seconds: float, *, intruders: int) -> str:
    """Have an engine attacked; return what it said at its end."""
    seeds = itertools.count()
    engine = subprocess.Popen(
        [sys.executable, "-m", "tests.rig_bridge.engine_process"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        endpoint = engine.stdout.readline().strip()
        assert endpoint.startswith("tcp://127.0.0.1:"), endpoint
        deadline = time.monotonic() + seconds
        command = [sys.executable, str(HERE / "intruder.py"), endpoint]
        attackers: list[subprocess.Popen] = []
        # An intruder's own libzmq gives up after minutes: another takes its place.
        while (left := deadline - time.monotonic()) > 0 and engine.poll() is None:
            attackers = [one for one in attackers if one.poll() is None]
            for _ in range(intruders - len(attackers)):
                seed = str(next(seeds))
                attackers.append(
                    subprocess.Popen([*command, str(left), seed], stderr=subprocess.DEVNULL)
                )
            time.sleep(min(0.2, left))
        for attacker in attackers:
            attacker.wait(PATIENCE_S)
        said, _ = engine.communicate("enough\n", timeout=PATIENCE_S)
    finally:
        engine.kill()
        engine.wait()
    assert engine.returncode == 0, said  # -6: ended by an assertion of libzmq's
    return said


def test_clients_that_fill_the_queue_and_leave_do_not_end_the_engine():
    assert attack(1.0, intruders=1).startswith("{")


@pytest.mark.soak
def test_they_do_not_however_long_they_try():
    assert attack(share(600, 60), intruders=2).startswith("{")
