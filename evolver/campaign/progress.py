"""How far a run is, how many failed, and how long it will take still, on a terminal."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from evolver.clock import duration_text

if TYPE_CHECKING:
    from rich.console import Console

    from evolver.campaign.run import TaskEnd

_LINES = 20  # in all, where lines stay
_SHARE, _ENOUGH = 0.1, 50  # tasks that have ended before it is said how long the others take


class TaskProgress:
    """Told of each task as it ends, says so: one line that changes, or a few that stay.

    Parameters
    ----------
    console : where to
    total : tasks that are to end
    what : of what, in the plural; empty: tasks
    expected_s : how long all of them are expected to take. Without it nothing is said of the
        time that is left until a tenth of them, or fifty, have ended; with it what was expected
        counts for the share that has not ended, and what was measured for the one that has
    """

    def __init__(
        self, console: Console, total: int, *, what: str = "", expected_s: float | None = None
    ) -> None:
        self._expected_s, self._width = expected_s, 0
        self._console, self._total, self._what = console, total, what and f" {what}"
        self._begun = time.monotonic()
        self._count = Counter[bool]()

    def __call__(self, end: TaskEnd) -> None:
        """Count a task, and say how far the run is."""
        self._count[bool(end.failed)] += 1
        ended, total = self._count.total(), self._total
        failed = f", {self._count[True]} failed" if self._count[True] else ""
        text = f"{ended:,} of {total:,}{self._what}{failed}{self._left(ended)}"
        if self._console.is_terminal:
            self._console.print(
                text.ljust(self._width), end="\n" if ended == total else "\r", soft_wrap=True
            )
            self._width = len(text)  # of what the next line is to cover
        elif ended == total or ended % max(total // _LINES, 1) == 0:
            self._console.print(text)

    def _left(self, ended: int) -> str:
        """Say how long the others will take; nothing while too few have ended to tell.

        Tasks end in waves: of those that one process had together, the first ends when all do,
        and alone it says that each took so long.
        """
        done = ended / self._total
        measured = (time.monotonic() - self._begun) / ended * (self._total - ended)
        if self._expected_s is not None:
            rest = self._expected_s * (1 - done)
            return f", {duration_text(done * measured + (1 - done) * rest)} left"
        if done < _SHARE and ended < _ENOUGH:
            return ""
        return f", {duration_text(measured)} left"
