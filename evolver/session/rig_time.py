"""What the rig's time goes to, second by second.

Values only; whoever owns it hands in the time, seconds that never go back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

RigState: TypeAlias = Literal["starting", "showing", "idle", "paused", "no rig"]
"""starting: nothing was shown yet, and that time is nobody's; no rig: whatever else is so."""


def _zeros() -> dict[RigState, float]:
    return dict.fromkeys(get_args(RigState), 0.0)


@dataclass(slots=True, eq=False)
class RigTime:
    """Seconds by what the rig did; each of them to one thing.

    Attributes
    ----------
    state : what it does now
    """

    state: RigState = "starting"
    _since: float = 0.0
    _totals: dict[RigState, float] = field(default_factory=_zeros)
    _claimed: dict[RigState, float] = field(default_factory=_zeros)

    def enter(self, state: RigState, now: float) -> None:
        """Count what passed to the state until now, and what is to come to this one."""
        self._totals[self.state] += max(0.0, now - self._since)
        self.state, self._since = state, now

    def total(self, state: RigState, now: float) -> float:
        """Return the seconds in a state, up to now."""
        self.enter(self.state, now)
        return self._totals[state]

    def claim(self, state: RigState, now: float) -> float:
        """Return the seconds in a state that were not claimed before."""
        total = self.total(state, now)
        seconds = total - self._claimed[state]
        self._claimed[state] = total
        return seconds
