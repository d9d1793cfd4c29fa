"""Running a plan: what is not on the disk yet, in worker processes, with a progress bar.

Knows processes, and the store. Knows nothing of what a run does.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from benchmarks.optimizers.cost import Cost, measure_cost
from benchmarks.optimizers.run import groups, play

if TYPE_CHECKING:
    from rich.console import Console

    from benchmarks.optimizers.plan import Due, Plan
    from benchmarks.optimizers.run import Group
    from benchmarks.optimizers.store import RunOutcome, Store


def _die_with_parent() -> None:
    """Leave when the parent has gone, however it went: no worker outlives a killed run."""
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()


@contextmanager
def pool(workers: int, *, fresh: bool = False) -> Generator[ProcessPoolExecutor]:
    """Worker processes that share nothing; an error or Ctrl-C ends them at once.

    Parameters
    ----------
    workers : how many
    fresh : a new process for every task
    """
    others = multiprocessing.active_children()
    executor = ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=_die_with_parent,
        max_tasks_per_child=1 if fresh else None,
    )
    try:
        yield executor
    except BaseException:
        for child in multiprocessing.active_children():
            if child not in others:
                child.terminate()
        raise
    finally:
        executor.shutdown(cancel_futures=True)


@contextmanager
def _finished(todo: list[Group], workers: int) -> Generator[Iterator[list[RunOutcome]]]:
    """Play groups; hand each out when it is finished."""
    if workers == 1:
        yield map(play, todo)
        return
    with pool(workers) as executor:
        waiting = [executor.submit(play, group) for group in todo]
        yield (future.result() for future in as_completed(waiting))


def run_plan(
    due: Due, store: Store, *, device: str, workers: int, console: Console
) -> list[RunOutcome]:
    """Run what the store does not have; return every run of the plan, in its order.

    One worker is this process.
    """
    missing = [(spec, who) for spec, who in due.runs if spec.key not in store.outcomes]
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("runs,"),
        TimeElapsedColumn(),
        TextColumn("gone,"),
        TimeRemainingColumn(),
        TextColumn("to go"),
        console=console,
    )
    if missing:
        todo = groups(missing, device=device)
        with bar, _finished(todo, workers) as finished:
            task = bar.add_task(
                "evolving", total=len(due.runs), completed=len(due.runs) - len(missing)
            )
            for outcomes in finished:
                store.append(outcomes)
                last = outcomes[-1].spec
                words = f"{last.unit}, {last.noise}"
                bar.update(task, advance=len(outcomes), description=words)
    return [store.outcomes[spec.key] for spec, _ in due.runs]


def costs(plan: Plan, due: Due, *, console: Console) -> list[Cost]:
    """Measure what each optimizer costs in each world's size, one process at a time."""
    norms = {world.name: world.norm for world in plan.worlds}
    out = {(world, label) for world, label, _ in due.skipped}
    tasks = {
        (contestant, size): norms[world]
        for world, size in due.sizes.items()
        for contestant in plan.contestants
        if (world, contestant.label) not in out
    }
    bar = Progress(
        TextColumn("measuring cost"), BarColumn(), MofNCompleteColumn(), console=console
    )
    measured: list[Cost] = []
    with bar, pool(1, fresh=True) as executor:
        task = bar.add_task("", total=len(tasks))
        waiting = [
            executor.submit(measure_cost, contestant, d, popsize, norm)
            for (contestant, (d, popsize)), norm in tasks.items()
        ]
        for future in waiting:
            measured.append(future.result())
            bar.advance(task)
    return measured
