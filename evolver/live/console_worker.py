"""Tells a console its news on a worker, so that a terminal can hold up nobody.

A terminal that is stopped (Ctrl-S), a pipe that nobody reads, a connection that hangs: whoever
writes to them waits. A terminal that is gone answers with an error. Neither may reach what runs
a session.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from evolver.live.console import Console
from evolver.session.ports import Progress
from evolver.setup.preflight import Check

logger = logging.getLogger(__name__)

_FAR_BEHIND = 200
_MOST = 10_000


class ConsoleWorker:
    """Calls the callbacks of a console in their order, on one worker.

    Parameters
    ----------
    console : of which news alone are used: `on_wait`, `on_endpoint`, `on_checks`,
        `on_progress`, `on_event`
    """

    def __init__(self, console: Console) -> None:
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._told = console
        self.console = replace(
            console,
            on_wait=self._on_wait,
            on_endpoint=self._on_endpoint,
            on_checks=self._on_checks,
            on_progress=self._on_progress,
            on_event=self._on_event,
        )
        self._worker = threading.Thread(target=self._work, name="console", daemon=True)
        self._worker.start()

    def close(self, patience_s: float) -> None:
        """Return once everything is told, or the patience is over."""
        self._queue.put(None)
        self._worker.join(patience_s)

    def _on_wait(self, text: str, no_rig_since_ns: int = 0) -> None:
        self._put(lambda: self._told.on_wait(text, no_rig_since_ns))

    def _on_endpoint(self, endpoint: str) -> None:
        self._put(lambda: self._told.on_endpoint(endpoint))

    def _on_checks(self, checks: Sequence[Check], needed: bool) -> None:  # noqa: FBT001  as the console's
        self._put(lambda: self._told.on_checks(checks, needed))

    def _on_progress(self, progress: Progress) -> None:
        matters = progress.committed is not None or progress.event
        if matters or self._queue.qsize() < _FAR_BEHIND:
            self._put(lambda: self._told.on_progress(progress))

    def _on_event(self, text: str) -> None:
        self._put(lambda: self._told.on_event(text))

    def _put(self, tell: Callable[[], None]) -> None:
        if self._queue.qsize() < _MOST:
            self._queue.put(tell)

    def _work(self) -> None:
        while (tell := self._queue.get()) is not None:
            try:
                tell()
            except Exception:  # the worker's outer frame: the session goes on unseen
                logger.exception("the console cannot be told")
