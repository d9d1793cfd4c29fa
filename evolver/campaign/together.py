"""Runs the tasks of a plan that are not done, many at once in each process.

A process has a wave of tasks, whose images are rendered and scored in one call each. A wave
whose process dies costs nothing but its time: its tasks are tried again once, each by itself.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evolver.campaign.run import Report, TaskEnd, run_waves
from evolver.campaign.wave import Together, Waves

if TYPE_CHECKING:
    from evolver.campaign.plan import Plan, Task
    from evolver.campaign.store import Store
    from evolver.config.tables import Config

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
    # No longer than what gives each process one: the last ones end together.
    size = min(together.tasks, -(-len(due) // workers)) or 1
    waves = [due[first : first + size] for first in range(0, len(due), size)]

    def work(wave: Sequence[Task]) -> WaveWork:
        return WaveWork(tuple((task.digest, plan.config(task)) for task in wave), together)

    return run_waves(store, waves, work, workers=workers, report=report)


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
            _waves[self.together] = Waves(self.together)
        tasks = [(digest, config) for digest, config in self.tasks if digest in due]
        ends = _waves[self.together].run(tasks, store)
        return [TaskEnd(digest, why) for digest, why in ends.items()]
