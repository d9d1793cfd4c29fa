"""Runs the tasks of a plan that are not done, in processes of their own.

A process that dies costs the task that it had: that one is tried again once, by itself, so that
a task that kills its process harms no other. A run that is interrupted goes on where it was.
"""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from threading import Thread
from typing import TypeAlias

from evolver.campaign.plan import Plan, Task
from evolver.campaign.store import Store
from evolver.config.tables import Config

_AHEAD = 4  # tasks handed to a process before it asks
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """How a task ended."""

    digest: str
    failed: str = ""  # why; empty: its result is in the store


Report: TypeAlias = Callable[[TaskEnd], None]
Elsewhere: TypeAlias = Callable[
    [Plan, Store, Sequence[Task], Path | None], Iterator[tuple[Task, TaskEnd]]
]
"""Runs tasks of a plan, and yields each as it ends."""


def run_plan(
    plan: Plan,
    store: Store,
    *,
    workers: int | None = None,
    keep_recordings: bool = False,
    report: Report = lambda _: None,
    cluster: Elsewhere | None = None,
) -> list[TaskEnd]:
    """Run what is not done; return how each of those tasks ended.

    Parameters
    ----------
    plan : Plan
    store : where results are kept, and those that are there already stay
    workers : processes; one a core without it
    keep_recordings : whether each task's whole recording stays, in the folder ``recordings``
    report : told of each task as it ends
    cluster : runs them in place of processes of this machine
    """
    store.keep_plan(plan)
    done = store.sound()
    due = [task for task in plan.tasks if task.digest not in done]
    kept = store.folder / "recordings" if keep_recordings else None
    outcomes: list[TaskEnd] = []
    left = due
    if cluster is not None:
        left = []
        for _, outcome in cluster(plan, store, due, kept):
            outcomes.append(outcome)
            report(outcome)
    for alone in (False, True):  # those whose process died, one by one
        interrupted: list[Task] = []
        with one_thread_each():
            for task, outcome in _run(plan, store, left, kept, workers, alone=alone):
                if outcome is None:
                    interrupted.append(task)
                    continue
                outcomes.append(outcome)
                report(outcome)
        left = interrupted
    for task in left:
        why = "its process died, twice: out of memory, or ended from outside"
        store.keep_failure(task.digest, why)
        outcomes.append(TaskEnd(task.digest, why))
        report(outcomes[-1])
    return outcomes


def _run(
    plan: Plan,
    store: Store,
    tasks: Sequence[Task],
    kept: Path | None,
    workers: int | None,
    *,
    alone: bool,
) -> Iterator[tuple[Task, TaskEnd | None]]:
    """Yield tasks as they end; None: the process died with it, or before it was begun."""
    n = 1 if alone else min(workers or os.cpu_count() or 1, max(len(tasks), 1))
    size = 1 if alone else n * _AHEAD
    position = 0
    while position < len(tasks):
        pool = ProcessPoolExecutor(
            n, mp_context=get_context("spawn"), initializer=end_with_parent
        )
        pending: dict[Future[TaskEnd], Task] = {}
        broken = False
        try:
            while pending or (position < len(tasks) and not broken):
                while not broken and position < len(tasks) and len(pending) < size:
                    task = tasks[position]
                    try:
                        future = pool.submit(
                            run_one, plan.config(task), task.digest, str(store.folder), kept
                        )
                    except BrokenProcessPool:
                        broken = True  # this task was not begun
                        break
                    pending[future] = task
                    position += 1
                if not pending:
                    break
                future = next(as_completed(pending))
                task = pending.pop(future)
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    broken, outcome = True, None
                yield task, outcome
        finally:
            pool.shutdown(wait=not broken, cancel_futures=True)


@contextmanager
def one_thread_each() -> Generator[None, None, None]:
    """Have processes that are started meanwhile compute with one thread each.

    There is one a core, and sums of several threads are not the sums of one: a result must not
    depend on how many processes there were.
    """
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def end_with_parent() -> None:
    """End this process when the one that began it has ended, however that came."""
    parent = parent_process()
    if parent is not None:
        Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def run_one(settings: Config, digest: str, folder: str, kept: Path | None) -> TaskEnd:
    """Run one task and keep its result; in a process of a pool."""
    from evolver.campaign.task import run_task

    # Its watchdogs speak of the pace of a rig that there is not.
    logging.getLogger("evolver").setLevel(logging.ERROR)
    store = Store(Path(folder))
    try:
        store.keep(run_task(settings, digest, kept=kept))
    except Exception as exc:  # noqa: BLE001  whatever a task raises is that task's
        why = f"{type(exc).__name__}: {exc}\n\n{traceback.format_exc()}"
        store.keep_failure(digest, why)
        return TaskEnd(digest, f"{type(exc).__name__}: {exc}")
    return TaskEnd(digest)
