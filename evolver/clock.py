"""Time, handed in: what needs a clock takes one, so that tests hand in another."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Three ways of asking for the time."""

    def time_ns(self) -> int:
        """Return ns since the unix epoch."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Return after so long."""
        ...


class SystemClock:
    """The machine's clocks."""

    def time_ns(self) -> int:
        """Return ns since the unix epoch."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Return after so long."""
        time.sleep(seconds)


SYSTEM_CLOCK = SystemClock()
