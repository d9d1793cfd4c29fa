"""Which answers the engine has handed up, and which of them are safe.

Knows numbers of blocks, presentations and attempts; no messages. Keeps the blocks of the last
quarter of an hour or so: a session of hours must not grow by them, and of a block that is long
over nothing new can come.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

BLOCKS_KEPT = 32


@dataclass(slots=True, eq=False)
class _Block:
    attempt: int = 0  # the last used
    first: int = 0  # the first that was used; above 1: an engine before this one had asked
    delivered: dict[int, int] = field(default_factory=dict[int, int])  # presentation -> attempt
    safe: dict[int, int] = field(default_factory=dict[int, int])

    @property
    def is_safe(self) -> bool:
        return self.delivered == self.safe


class Answers:
    """The answers of one session, by block and presentation."""

    def __init__(self) -> None:
        self._blocks: dict[int, _Block] = {}
        self._late: set[int] = set()  # blocks that would be forgotten, were they safe
        self._begin = 0  # other blocks below are over and forgotten

    def last_attempt(self, block: int) -> int:
        """Return the last attempt number used for a block; 0: it was never asked for."""
        known = self._blocks.get(block)
        return 0 if known is None else known.attempt

    def is_resumed(self, block: int) -> bool:
        """Return whether a block was asked for before, by an engine that this one follows."""
        known = self._blocks.get(block)
        return known is not None and known.first > 1

    def use(self, block: int, attempt: int) -> None:
        """Take the news that an attempt number is used; lower ones change nothing."""
        known = self._blocks.setdefault(block, _Block())
        known.attempt = max(attempt, known.attempt)
        known.first = known.first or attempt

    def deliver(self, block: int, presentation: int, attempt: int) -> None:
        """Take the news that a result was handed up."""
        self._blocks.setdefault(block, _Block()).delivered[presentation] = attempt

    def delivered(self, block: int, presentation: int) -> int:
        """Return the attempt of the last result handed up; 0: none."""
        known = self._blocks.get(block)
        return 0 if known is None else known.delivered.get(presentation, 0)

    def acknowledge(self, block: int, presentation: int) -> int:
        """Take the news that the last result handed up is safe; return its attempt."""
        known = self._blocks[block]
        attempt = known.safe[presentation] = known.delivered[presentation]
        if block in self._late and known.is_safe:
            self._late.discard(block)
            del self._blocks[block]
        return attempt

    def is_safe(self, block: int, presentation: int, attempt: int) -> bool:
        """Whether a result need not be kept by the rig: it is safe, or its block long over."""
        known = self._blocks.get(block)
        if known is None:
            return block < self._begin
        return attempt <= known.safe.get(presentation, 0)

    def forget(self, newest: int, still_open: Iterable[int]) -> None:
        """Forget what is safe of blocks long before the newest, but not of open ones.

        Parameters
        ----------
        newest : block that is asked for now
        still_open : blocks that have unanswered presentations
        """
        begin = min(newest - BLOCKS_KEPT, *still_open, newest)
        if begin <= self._begin:
            return
        self._begin = begin
        for block in [b for b in self._blocks if b < begin and b not in self._late]:
            if self._blocks[block].is_safe:
                del self._blocks[block]
            else:
                self._late.add(block)
