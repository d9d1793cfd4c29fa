"""Runs tasks that have no result, of any kind, in processes of their own.

A process that dies costs the tasks that it had: they are tried again once, each by itself, so
that a task that kills its process harms no other. A run that is interrupted goes on where it
was, and several runs in one folder share its tasks.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection, Generator, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from evolver.campaign.claims import claimed
from evolver.campaign.kind import TaskT, Work
from evolver.campaign.processes import in_processes
from evolver.campaign.store import Store

if TYPE_CHECKING:
    from evolver.campaign.plan import Plan, Task
    from evolver.config.tables import Config

DIED_TWICE = "its process died, again and again: out of memory, or ended from outside"
_AHEAD = 4  # sessions handed to a process before it asks
_LOOK_EVERY_S = 1.0
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """How a task ended."""

    digest: str
    failed: str = ""  # why; empty: its result is in the store
    apart: tuple[str, ...] = ()  # why it was slower than others that advance together


Report: TypeAlias = Callable[[TaskEnd], None]


class Elsewhere(Protocol):
    """Runs work on other machines than this one."""

    def __call__(
        self,
        store: Store,
        waves: Sequence[Sequence[TaskT]],
        work: Callable[[Sequence[TaskT]], Work],
    ) -> Iterator[tuple[Sequence[TaskT], Sequence[TaskEnd] | None]]:
        """Yield each wave as it ends, as `in_processes` does."""
        ...


def run_waves(
    store: Store,
    waves: Sequence[Sequence[TaskT]],
    work: Callable[[Sequence[TaskT]], Work],
    *,
    workers: int | None = None,
    ahead: int = 1,
    report: Report = lambda _: None,
    elsewhere: Elsewhere | None = None,
) -> list[TaskEnd]:
    """Run tasks of any kind; return how each of them ended.

    What another run of the folder is doing is left to it, and waited for: done here after all
    where that run ended without a result.

    Parameters
    ----------
    store : where results are kept
    waves : tasks, those that are done together in one wave
    work : of a wave, or of some of its tasks, what a process is to do
    workers : processes of this machine; one a core without it
    ahead : waves handed to each before it asks
    report : told of each task as it ends
    elsewhere : runs them in place of processes of this machine
    """
    ends: list[TaskEnd] = []

    def end(*ended: TaskEnd) -> None:
        for one in ended:
            ends.append(one)
            report(one)

    waves = [wave for wave in waves if wave]
    while waves:
        others: list[TaskT] = []
        dead: list[TaskT] = []
        for alone in (False, True):  # those whose process died, one by one
            died: list[TaskT] = []
            n = 1 if alone else min(workers or os.cpu_count() or 1, max(len(waves), 1))
            for wave, told in _run(store, waves, work, n=n, ahead=ahead, elsewhere=elsewhere):
                end(*(told or ()))
                known = {one.digest for one in told or ()}
                # A cluster has tried it several times.
                tried = alone or (elsewhere is not None and len(wave) == 1)
                for task in wave:
                    if told is not None:
                        others += [task] if task.digest not in known else []
                    elif store.has(task.digest):
                        end(TaskEnd(task.digest))
                    else:
                        (dead if tried else died).append(task)
            waves = [[task] for task in died]
        for task in dead:
            store.keep_failure(task.digest, DIED_TWICE)
            end(TaskEnd(task.digest, DIED_TWICE))
        waves = [[task] for task in _left_by_others(store, others, end)]
    return ends


def _run(
    store: Store,
    waves: Sequence[Sequence[TaskT]],
    work: Callable[[Sequence[TaskT]], Work],
    *,
    n: int,
    ahead: int,
    elsewhere: Elsewhere | None,
) -> Iterator[tuple[Sequence[TaskT], Sequence[TaskEnd] | None]]:
    if elsewhere is not None:
        yield from elsewhere(store, waves, work)
        return

    def call(wave: Sequence[TaskT]) -> Callable[[], Sequence[TaskEnd]]:
        # Absolute: what work goes through may change the folder that its process is in.
        return partial(do_work, work(wave), str(store.folder.absolute()))

    with one_thread_each():
        yield from in_processes(waves, call, n=n, ahead=n * ahead)


def do_work(work: Work, folder: str) -> Sequence[TaskEnd]:
    """Do work and keep its results; in a process of a pool.

    Nothing is returned of a task that another process is doing.
    """
    # Watchdogs of sessions speak of the pace of a rig that there is not, and why a task failed
    # is kept with the results.
    log = logging.getLogger("evolver")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        return _done(work, Store(Path(folder)))
    finally:
        log.setLevel(level)


def done_here(
    store: Store,
    waves: Sequence[Sequence[TaskT]],
    work: Callable[[Sequence[TaskT]], Work],
) -> Iterator[tuple[Sequence[TaskT], Sequence[TaskEnd] | None]]:
    """Do work in this process, a wave after the other; what it raises is raised here.

    An `Elsewhere`, for work that shares what is loaded already, as a network on a GPU.
    """
    for wave in waves:
        yield wave, _done(work(wave), store)


def _done(work: Work, store: Store) -> Sequence[TaskEnd]:
    """Do what has no result and is nobody else's to do; return how it ended."""
    with claimed(store.folder, work.digests) as mine:
        landed = [digest for digest in mine if store.has(digest)]
        due = [digest for digest in mine if digest not in landed]
        ends = [TaskEnd(digest) for digest in landed]
        return [*ends, *(work.run(due, store) if due else ())]


def _left_by_others(
    store: Store, tasks: Sequence[TaskT], end: Callable[[TaskEnd], None]
) -> list[TaskT]:
    """Wait for tasks that other processes have; return what is to be done here, if anything."""
    waiting = list(tasks)
    while waiting:
        with claimed(store.folder, [task.digest for task in waiting]) as free:
            pass  # given back at once: whoever is to do them claims them
        ended = [task for task in waiting if task.digest in free]
        left = [task for task in ended if not store.has(task.digest)]
        waiting = [task for task in waiting if task.digest not in free]
        for task in ended:
            if task not in left:
                end(TaskEnd(task.digest))
        if left:
            return [*left, *waiting]
        time.sleep(_LOOK_EVERY_S if waiting else 0.0)
    return []


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


@dataclass(frozen=True, slots=True)
class SessionWork:
    """One simulated session, by itself."""

    settings: Config
    digest: str
    kept: Path | None = None  # a folder in which its recording stays

    @property
    def digests(self) -> tuple[str, ...]:
        """Return its task's."""
        return (self.digest,)

    def run(self, due: Collection[str], store: Store) -> list[TaskEnd]:
        """Run it and keep its result."""
        from evolver.campaign.task import run_task

        del due
        try:
            store.keep(run_task(self.settings, self.digest, kept=self.kept))
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # noqa: BLE001  whatever a task raises is that task's
            return [TaskEnd(self.digest, store.keep_failure(self.digest, exc))]
        return [TaskEnd(self.digest)]


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
    """Run a plan's sessions that have no result; return how each of those tasks ended.

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
    kept = store.folder.resolve() / "recordings" if keep_recordings else None

    def work(wave: Sequence[Task]) -> SessionWork:
        (task,) = wave
        return SessionWork(plan.config(task), task.digest, kept)

    return run_waves(
        store,
        [[task] for task in plan.tasks if task.digest not in done],
        work,
        workers=workers,
        ahead=_AHEAD,
        report=report,
        elsewhere=cluster,
    )
