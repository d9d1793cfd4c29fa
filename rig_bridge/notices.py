"""Notices at a bounded rate: the first few as they come, of the others the number.

Values only; what is noticed, and when, is handed in.
"""

from __future__ import annotations

from dataclasses import dataclass

from rig_bridge.messages import Notice

AT_ONCE = 5
EVERY_S = 10.0


@dataclass(slots=True, eq=False)
class _Burst:
    since: float  # seconds
    said: int = 0
    left_out: int = 0
    last: Notice | None = None


class NoticeLimit:
    """Lets a few notices of a kind through in a time, and sums up the others.

    Whatever comes from outside may come thousands of times; each that is let through is an
    event of the session, on record and before people's eyes.

    Parameters
    ----------
    at_once : so many of a kind are let through
    every_s : in so many seconds
    """

    def __init__(self, *, at_once: int = AT_ONCE, every_s: float = EVERY_S) -> None:
        self._at_once, self._every_s = at_once, every_s
        self._bursts: dict[str, _Burst] = {}

    def admit(self, kind: str, notice: Notice, now: float) -> list[Notice]:
        """Return the notice, or nothing where there were many of its kind.

        Parameters
        ----------
        kind : one of a few: what is limited together
        notice : Notice
        now : seconds, monotonic
        """
        said = self.due(now)
        burst = self._bursts.setdefault(kind, _Burst(now))
        if burst.said < self._at_once:
            burst.said += 1
            return [*said, notice]
        burst.left_out += 1
        burst.last = notice
        return said

    def due(self, now: float) -> list[Notice]:
        """Return a line for every kind of which some were left out, once its time is over."""
        over = {k: b for k, b in self._bursts.items() if now - b.since >= self._every_s}
        for kind in over:
            del self._bursts[kind]
        return [
            Notice(
                burst.last.level,
                f"and {burst.left_out} more in {now - burst.since:.0f} s; "
                f"the last: {burst.last.text}"[:2000],
            )
            for burst in over.values()
            if burst.last is not None
        ]
