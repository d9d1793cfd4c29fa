"""Which answers the engine has handed up, and which of them are safe.

Knows numbers of blocks, presentations and attempts; no messages. Keeps the blocks of the last
quarter of an hour or so: a session of hours must not grow by them, and of a block that is long
over nothing new can come.
"""

from __future__ import annotations

from collections.abc import Iterable

BLOCKS_KEPT = 32


class Answers:
    """The answers of one session, by block and presentation."""

    def __init__(self) -> None:
        self._attempts: dict[int, int] = {}  # block -> last attempt used
        self._delivered: dict[tuple[int, int], int] = {}  # (block, presentation) -> attempt
        self._acked: dict[tuple[int, int], int] = {}
        self._begin = 0  # blocks below are over and forgotten

    def last_attempt(self, block: int) -> int:
        """Return the last attempt number used for a block; 0: it was never asked for."""
        return self._attempts.get(block, 0)

    def use(self, block: int, attempt: int) -> None:
        """Take the news that an attempt number is used; lower ones change nothing."""
        self._attempts[block] = max(attempt, self._attempts.get(block, 0))

    def deliver(self, block: int, presentation: int, attempt: int) -> None:
        """Take the news that a result was handed up."""
        self._delivered[block, presentation] = attempt

    def delivered(self, block: int, presentation: int) -> int:
        """Return the attempt of the last result handed up; 0: none."""
        return self._delivered.get((block, presentation), 0)

    def acknowledge(self, block: int, presentation: int) -> int:
        """Take the news that the last result handed up is safe; return its attempt."""
        attempt = self._delivered[block, presentation]
        self._acked[block, presentation] = attempt
        return attempt

    def is_safe(self, block: int, presentation: int, attempt: int) -> bool:
        """Whether a result need not be kept by the rig: it is safe, or its block long over."""
        if block < self._begin and (block, presentation) not in self._delivered:
            return True
        return attempt <= self._acked.get((block, presentation), 0)

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
        for key in [k for k in self._delivered if k[0] < begin]:
            if self._acked.get(key) == self._delivered[key]:
                del self._delivered[key], self._acked[key]
        for block in [b for b in self._attempts if b < begin]:
            del self._attempts[block]
