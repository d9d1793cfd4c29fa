"""Time, handed in: what needs a clock takes one, so that tests hand in another.

And how times are written for people, the same in the terminal, on the live page and in
`evolver ctl status`.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
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


def duration_text(seconds: float) -> str:
    """Return a duration as "0:42" or "1:02:03"; whole seconds, nothing below 0."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def waiting_text(text: str, no_rig_since_ns: int, now_ns: int) -> str:
    """Return what a session waits for, and for how long there has been no rig.

    Parameters
    ----------
    text : what it waits for
    no_rig_since_ns : 0: it is nothing of a rig's, and has no duration
    now_ns : on the same clock
    """
    if not text or not no_rig_since_ns:
        return text
    return f"{text} (no rig for {duration_text((now_ns - no_rig_since_ns) / 1e9)})"


def time_text(time_ns: int) -> str:
    """Return a time of day as "14:03:12", in this machine's time zone."""
    return f"{datetime.fromtimestamp(time_ns / 1e9, tz=UTC).astimezone():%H:%M:%S}"
