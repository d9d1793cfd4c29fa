"""Runs the tasks of a plan that are not done, many at once in each process.

A process has a wave of tasks, whose images are rendered and scored in one call each. A wave
whose process dies costs nothing but its time: its tasks are tried again once, each by itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from evolver.campaign.run import Report, TaskEnd, end_with_parent, one_thread_each
from evolver.campaign.store import Store
from evolver.campaign.wave import Together, Waves

if TYPE_CHECKING:
    from evolver.campaign.plan import Plan, Task
    from evolver.config.tables import Config

_waves: dict[Together, Waves] = {}  # of this process


def run_together(
    plan: Plan,
    store: Store,
    together: Together,
    *,
    workers: int | None = None,
    report: Report = lambda _: None,
) -> list[TaskEnd]:
    """Run what is not done; return how each of those tasks ended.

    Parameters
    ----------
    plan : its digests made with the `tag` of `together`, where that is not empty
    store : where results are kept, and those that are there already stay
    together : how; no recordings are kept, for none are made
    workers : processes; without it one a core, or one where the device is none
    report : told of each task as it ends
    """
    store.keep_plan(plan)
    done = store.sound()
    due = [task for task in plan.tasks if task.digest not in done]
    if workers is None:
        workers = (os.cpu_count() or 1) if together.device == "cpu" else 1
    # No longer than what gives each process one: the last ones end together.
    size = min(together.tasks, -(-len(due) // workers)) or 1
    waves = [due[first : first + size] for first in range(0, len(due), size)]
    ends: list[TaskEnd] = []
    for last in (False, True):
        left: list[Task] = []
        with one_thread_each():
            for wave, told in _run(plan, store, together, waves, 1 if last else workers):
                if told is None:
                    done = store.done()
                    left += [task for task in wave if task.digest not in done]
                    told = {task.digest: "" for task in wave if task.digest in done}
                for digest, why in told.items():
                    ends.append(TaskEnd(digest, why))
                    report(ends[-1])
        waves = [[task] for task in left]
    for (task,) in waves:
        why = "its process died, twice: out of memory, or ended from outside"
        store.keep_failure(task.digest, why)
        ends.append(TaskEnd(task.digest, why))
        report(ends[-1])
    return ends


def _run(
    plan: Plan,
    store: Store,
    together: Together,
    waves: Sequence[Sequence[Task]],
    workers: int,
) -> Iterator[tuple[Sequence[Task], dict[str, str] | None]]:
    """Yield waves as they end, with how their tasks did; None: the process died."""
    left = list(waves)
    while left:
        pool = ProcessPoolExecutor(
            min(workers, len(left)),
            mp_context=get_context("spawn"),
            initializer=end_with_parent,
        )
        pending: dict[Future[dict[str, str]], Sequence[Task]] = {}
        broken = False
        try:
            while pending or (left and not broken):
                while left and not broken and len(pending) < workers:
                    tasks = [(task.digest, plan.config(task)) for task in left[0]]
                    try:
                        future = pool.submit(run_wave, tasks, together, str(store.folder))
                    except BrokenProcessPool:
                        broken = True  # this wave was not begun
                        break
                    pending[future] = left.pop(0)
                if not pending:
                    break
                future = next(as_completed(pending))
                wave = pending.pop(future)
                try:
                    told = future.result()
                except BrokenProcessPool:
                    broken, told = True, None
                yield wave, told
        finally:
            pool.shutdown(wait=not broken, cancel_futures=True)


def run_wave(
    tasks: Sequence[tuple[str, Config]], together: Together, folder: str
) -> dict[str, str]:
    """Run some tasks together and keep their results; in a process of a pool."""
    if together not in _waves:
        _waves[together] = Waves(together)
    return _waves[together].run(tasks, Store(Path(folder)))
