"""Runs the tasks of a plan that are not done, many at once in each process.

A process has a wave of tasks, whose images are rendered and scored in one call each. A wave
whose process dies costs nothing but its time: its tasks are tried again once, each by itself.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Generator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evolver.campaign.run import Report, TaskEnd, run_waves
from evolver.campaign.wave import Together, Waves
from evolver.garbage import collect_seldom

if TYPE_CHECKING:
    from evolver.campaign.plan import Plan, Task
    from evolver.campaign.store import Store
    from evolver.config.tables import Config

_KEPT_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_TOP_PAD_": str(2**26),
}
"""For glibc, which reads it as a process starts; others pass it over."""
_waves: dict[Together, Waves] = {}  # of this process


def run_together(
    plan: Plan,
    store: Store,
    together: Together,
    *,
    workers: int | None = None,
    report: Report = lambda _: None,
    done: Set[str] | None = None,
) -> list[TaskEnd]:
    """Run what is not done; return how each of those tasks ended.

    Parameters
    ----------
    plan : its digests made with the `tag` of `together`, where that is not empty
    store : where results are kept, and those that are there already stay
    together : how; no recordings are kept, for none are made
    workers : processes; without it one a core, or one where the device is none
    report : told of each task as it ends
    done : the store's sound results, where they were looked at already
    """
    store.keep_plan(plan)
    done = store.sound() if done is None else done
    due = [task for task in plan.tasks if task.digest not in done]
    if workers is None:
        workers = (os.cpu_count() or 1) if together.device == "cpu" else 1
    waves = waves_of(due, workers=workers, most=together.tasks)

    def work(wave: Sequence[Task]) -> WaveWork:
        return WaveWork(tuple((task.digest, plan.config(task)) for task in wave), together)

    with kept_memory():
        return run_waves(store, waves, work, workers=workers, report=report)


@contextmanager
def kept_memory() -> Generator[None, None, None]:
    """Have processes that are started meanwhile keep the memory that they have freed.

    Each pass needs the same tens of megabytes as the one before. Handed back and asked for
    again they are fresh pages, to be zeroed and mapped one by one: a seventh of the time.
    What the user has set of it stays.
    """
    own = {name: value for name, value in _KEPT_MEMORY.items() if name not in os.environ}
    os.environ.update(own)
    try:
        yield
    finally:
        for name in own:
            del os.environ[name]


def waves_of(tasks: Sequence[Task], *, workers: int, most: int) -> list[Sequence[Task]]:
    """Return tasks in waves, shorter towards the end, so that processes end together.

    Each is half of a worker's even share of what is left, for nobody knows how long tasks take
    (guided self-scheduling: Polychronopoulos & Kuck, IEEE Trans. Comput. 36, 1987).

    Parameters
    ----------
    tasks : in their order
    workers : processes that take a wave each as they are free
    most : tasks in a wave
    """
    waves: list[Sequence[Task]] = []
    first = 0
    while first < len(tasks):
        share = -(-(len(tasks) - first) // (2 * workers if workers > 1 else 1))
        waves.append(tasks[first : first + min(share, most)])
        first += len(waves[-1])
    return waves


@dataclass(frozen=True, slots=True)
class WaveWork:
    """Tasks that advance together."""

    tasks: tuple[tuple[str, Config], ...]
    together: Together

    @property
    def digests(self) -> tuple[str, ...]:
        """Return its tasks'."""
        return tuple(digest for digest, _ in self.tasks)

    def run(self, due: Collection[str], store: Store) -> list[TaskEnd]:
        """Run those that are due and keep their results."""
        if self.together not in _waves:
            collect_seldom()
            _waves[self.together] = Waves(self.together)
        tasks = [(digest, config) for digest, config in self.tasks if digest in due]
        waves = _waves[self.together]
        ends = waves.run(tasks, store)
        return [
            TaskEnd(digest, why, waves.apart.pop(digest, ())) for digest, why in ends.items()
        ]
