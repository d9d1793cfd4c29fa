"""Unix time that is never set: what a rig's stamps come from.

Knows the machine's two clocks. A clock that is set (by a time server, or a hand) while an image
is on the screen would have the image end before it began.
"""

from __future__ import annotations

import time

_BASE_NS = time.time_ns() - time.monotonic_ns()


def asleep_s() -> float:
    """Return how long this machine has slept since it was started, seconds.

    `time.monotonic` does not count that everywhere. 0 where the system cannot tell.
    """
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return 0.0 if boottime is None else time.clock_gettime(boottime) - time.monotonic()


def unix_ns() -> int:
    """Return ns since the unix epoch, as of this program's start; never goes back or jumps."""
    return _BASE_NS + time.monotonic_ns()
