"""How far a session has come, how fast it goes and how long it will still take.

Fed with committed blocks in their order. The loop, the terminal and the live page all take
these numbers from here, so that they cannot differ; a session that goes on is fed with the
blocks that its journal has. Every second of the engine's monotonic clock is one of five: an
image is on screen or about to be (`wait` of a block's budget), the rig has nothing to show
(`idle`), it is paused, there is no rig, or the engine stood still.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, replace

from evolver.journal.records import Committed

_RECENT_S = 30.0
"""Time on screen that says how fast a rig is of late; a block at least."""


@dataclass(slots=True, eq=False)
class ShowingTally:
    """The committed blocks of one session, summed up.

    Attributes
    ----------
    generations : committed so far, all threads together
    on_screen_s, idle_s, paused_s, no_rig_s, frozen_s : seconds, of all committed blocks
    """

    generations: int = 0
    on_screen_s: float = 0.0
    idle_s: float = 0.0
    paused_s: float = 0.0
    no_rig_s: float = 0.0
    frozen_s: float = 0.0
    _recent: deque[tuple[int, float]] = field(default_factory=deque[tuple[int, float]])

    def add(self, committed: Committed) -> None:
        """Take a block that was scored and learnt from."""
        budget = committed.budget
        self.generations += len(committed.threads)
        self.on_screen_s += _seconds(budget.wait)
        self.idle_s += _seconds(budget.idle)
        self.paused_s += _seconds(budget.paused)
        self.no_rig_s += _seconds(budget.no_rig)
        self.frozen_s += _seconds(budget.frozen)
        if budget.shown > 0:
            self._recent.append((budget.shown, _seconds(budget.wait)))
            while self._recent_s - self._recent[0][1] >= _RECENT_S:
                self._recent.popleft()

    def copy(self) -> ShowingTally:
        """Return another one that stands where this one does."""
        return replace(self, _recent=self._recent.copy())

    @property
    def elapsed_s(self) -> float:
        """All of them, from the first image on."""
        kept_s = self.paused_s + self.no_rig_s + self.frozen_s
        return self.on_screen_s + self.idle_s + kept_s

    @property
    def pace(self) -> float | None:
        """Showings a second of late, while the rig had something to show; None: not known."""
        shown = sum(count for count, _ in self._recent)
        return shown / self._recent_s if self._recent_s > 0 else None

    @property
    def idle_share(self) -> float:
        """How much of the time that it could have shown images the rig had none to show."""
        useful = self.on_screen_s + self.idle_s
        return self.idle_s / useful if useful > 0 else 0.0

    def left_s(self, planned: int) -> float | None:
        """Return the seconds of showing that are left; None before a generation is done.

        Pauses, times without a rig and those of an engine that stood still are not expected to
        come again.

        Parameters
        ----------
        planned : generations of the whole session, all threads together
        """
        if not self.generations:
            return None
        each = (self.on_screen_s + self.idle_s) / self.generations
        return each * max(0, planned - self.generations)

    @property
    def _recent_s(self) -> float:
        return sum(seconds for _, seconds in self._recent)


def _seconds(value: float) -> float:
    return 0.0 if math.isnan(value) else value  # files of before do not have every part
