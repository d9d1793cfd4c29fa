"""Runs the tasks of a plan that are not done, in processes of their own.

A process that dies costs the task that it had: that one is tried again once, by itself, so that
a task that kills its process harms no other. A run that is interrupted goes on where it was.
"""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from evolver.campaign.plan import Plan, Task
from evolver.campaign.processes import in_processes
from evolver.campaign.store import Store
from evolver.config.tables import Config

DIED_TWICE = "its process died, twice: out of memory, or ended from outside"
_AHEAD = 4  # tasks handed to a process before it asks
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """How a task ended."""

    digest: str
    failed: str = ""  # why; empty: its result is in the store
    apart: tuple[str, ...] = ()  # why it was slower than others that advance together


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
    done: Set[str] | None = None,
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
    done : the store's sound results, where they were looked at already
    cluster : runs them in place of processes of this machine
    """
    store.keep_plan(plan)
    done = store.sound() if done is None else done
    due = [task for task in plan.tasks if task.digest not in done]
    kept = store.folder / "recordings" if keep_recordings else None

    def call(task: Task) -> Callable[[], TaskEnd]:
        return partial(run_one, plan.config(task), task.digest, str(store.folder), kept)

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
            n = 1 if alone else min(workers or os.cpu_count() or 1, max(len(left), 1))
            ends = in_processes(left, call, n=n, ahead=1 if alone else n * _AHEAD)
            for task, outcome in ends:
                if outcome is None:
                    interrupted.append(task)
                    continue
                outcomes.append(outcome)
                report(outcome)
        left = interrupted
    for task in left:
        store.keep_failure(task.digest, DIED_TWICE)
        outcomes.append(TaskEnd(task.digest, DIED_TWICE))
        report(outcomes[-1])
    return outcomes


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
