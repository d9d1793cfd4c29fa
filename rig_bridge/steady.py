"""Unix time that is never set: what a rig's stamps come from.

Knows the machine's two clocks. A clock that is set (by a time server, or a hand) while an image
is on the screen would have the image end before it began.
"""

from __future__ import annotations

import time

_BASE_NS = time.time_ns() - time.monotonic_ns()


def unix_ns() -> int:
    """Return ns since the unix epoch, as of this program's start; never goes back or jumps."""
    return _BASE_NS + time.monotonic_ns()
