"""Time, handed in: what needs a clock takes one, so that tests hand in another."""

from __future__ import annotations

import os
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


_BASE = "EVOLVER_UNIX_MINUS_MONOTONIC_NS"
"""Handed to child processes, so that an engine that is started again has the same clock."""


def _base_ns() -> int:
    """Return unix time less monotonic time, as this session's first process found it."""
    given = os.environ.get(_BASE, "")
    return int(given) if given.isdecimal() else time.time_ns() - time.monotonic_ns()


class SystemClock:
    """The machine's clocks.

    Its unix time is read once and goes on with the monotonic clock: a computer whose clock is
    set during a session changes no duration, and hides no jump of the rig's.
    """

    def __init__(self) -> None:
        self._base_ns = _base_ns()
        os.environ[_BASE] = str(self._base_ns)

    def time_ns(self) -> int:
        """Return ns since the unix epoch; never goes back."""
        return self._base_ns + time.monotonic_ns()

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Return after so long."""
        time.sleep(seconds)


SYSTEM_CLOCK = SystemClock()
