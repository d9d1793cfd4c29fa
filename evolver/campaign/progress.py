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


class TaskProgress:
    """Told of each task as it ends, says so: one line that changes, or a few that stay.

    Parameters
    ----------
    console : where to
    total : tasks that are to end
    what : of what, in the plural; empty: tasks
    """

    def __init__(self, console: Console, total: int, *, what: str = "") -> None:
        self._console, self._total, self._what = console, total, what and f" {what}"
        self._begun = time.monotonic()
        self._count = Counter[bool]()

    def __call__(self, end: TaskEnd) -> None:
        """Count a task, and say how far the run is."""
        self._count[bool(end.failed)] += 1
        ended, total = self._count.total(), self._total
        left = (time.monotonic() - self._begun) / ended * (total - ended)
        failed = f", {self._count[True]} failed" if self._count[True] else ""
        text = f"{ended:,} of {total:,}{self._what}{failed}, {duration_text(left)} left"
        if self._console.is_terminal:
            self._console.print(text, end="\n" if ended == total else "\r")
        elif ended == total or ended % max(total // _LINES, 1) == 0:
            self._console.print(text)
