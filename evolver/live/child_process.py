"""One of a session's processes, as its supervisor sees it."""

from __future__ import annotations

import os
import subprocess
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from evolver.live import pipe
from evolver.live.control import ChildStatus

KEPT_STARTS = 5
"""Starts again whose times are remembered, to tell a bad day from a process that cannot run."""


@dataclass(slots=True, eq=False)
class Child:
    """One process, and what there is to know of it."""

    name: str
    command: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    reader: pipe.Reader | None = None
    restarts: int = 0
    recent: deque[float] = field(default_factory=lambda: deque[float](maxlen=KEPT_STARTS))
    start_at: float = 0.0  # seconds, monotonic; not before then
    wanted: bool = True  # to be running

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.poll() is None

    def status(self) -> ChildStatus:
        """Return what an operator may want to know."""
        down = "restarting" if self.wanted else "ended"
        state = "running" if self.running else down
        pid = self.process.pid if self.process is not None else 0
        return ChildStatus(self.name, pid, state, self.restarts, _memory_mb(pid))


def _memory_mb(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
