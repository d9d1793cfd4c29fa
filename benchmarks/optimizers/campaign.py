"""Running a plan by the engine of campaigns: a run is a task, and what is paired one work.

Knows `evolver.campaign`. Knows nothing of what a run does, or of what is said of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.optimizers.contestants import Contestant
from benchmarks.optimizers.cost import Cost, measure_cost
from benchmarks.optimizers.looks import batches, open_cells
from benchmarks.optimizers.named import own_failures
from benchmarks.optimizers.outcomes import Curve, RunFacts, RunOutcome, as_outcome, as_result
from benchmarks.optimizers.run import Group, groups, play
from benchmarks.optimizers.time_needed import expected_s, time_words
from evolver.campaign.processes import in_processes
from evolver.campaign.progress import TaskProgress
from evolver.campaign.run import TaskEnd, one_thread_each, run_waves
from evolver.errors import DataError, RecordingError

if TYPE_CHECKING:
    from rich.console import Console

    from benchmarks.optimizers.looks import Cell
    from benchmarks.optimizers.outcomes import Spec
    from benchmarks.optimizers.plan import Due, Plan
    from evolver.campaign.run import Elsewhere
    from evolver.campaign.store import Store

_DIED = "its process died: out of memory, or ended from outside"


@dataclass(frozen=True, slots=True)
class Run:
    """One run, as the engine of campaigns sees it."""

    spec: Spec
    contestant: Contestant
    digest: str

    @property
    def levels(self) -> Mapping[str, str]:
        """Return what it is called."""
        return {name: str(getattr(self.spec, name)) for name in Runs.columns}


@dataclass(frozen=True, slots=True)
class Runs:
    """All runs of a plan, as the engine of campaigns sees them."""

    kind = "runs of optimizers"
    columns = ("world", "unit", "noise", "seed", "optimizer")

    name: str
    tasks: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class GroupWork:
    """Paired runs, which one process plays together."""

    group: Group

    @property
    def digests(self) -> tuple[str, ...]:
        """Return its runs'."""
        return tuple(spec.key for spec in self.group.specs)

    def run(self, due: Collection[str], store: Store) -> list[TaskEnd]:
        """Play those that are due, and keep what came of each."""
        group = self.group
        pairs = [
            (spec, who)
            for spec, who in zip(group.specs, group.contestants, strict=True)
            if spec.key in due
        ]
        specs, contestants = zip(*pairs, strict=True)
        try:
            outcomes = play(Group(specs, contestants, group.device))
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # noqa: BLE001  a contestant's own is an outcome; this is none
            return [TaskEnd(spec.key, store.keep_failure(spec.key, exc)) for spec in specs]
        for outcome in outcomes:
            store.keep(as_result(outcome))
        return [TaskEnd(outcome.key) for outcome in outcomes]


def run_plan(
    plan: Plan,
    due: Due,
    store: Store,
    *,
    workers: int | None,
    console: Console,
    cluster: Elsewhere | None = None,
    so_far: Callable[[int, list[RunOutcome]], object] = lambda _look, _outcomes: None,
) -> list[RunOutcome]:
    """Run what the store does not have; return every run of the plan, in its order.

    Parameters
    ----------
    plan, due : what is to be run
    store : the campaign's folder
    workers : processes of this machine; one a core without it
    console : is told how far it is
    cluster : runs them in place of processes of this machine
    so_far : called after each look but the last, with its number and all runs until then
    """
    who = {spec.key: contestant for spec, contestant in due.runs}
    parts = batches([spec for spec, _ in due.runs], plan.looks)
    outcomes: dict[str, RunOutcome] = {}
    still: Collection[Cell] | None = None  # all of them
    for look, part in enumerate(parts, 1):
        specs = [s for s in part if still is None or (s.world, s.noise, s.optimizer) in still]
        tasks = tuple(Run(spec, who[spec.key], spec.key) for spec in specs)
        if plan.looks > 1:
            console.print(f"Look {look} of {len(parts)}: ", end="")
        planned = tuple(Run(o.spec, who[key], key) for key, o in outcomes.items())
        store.keep_plan(Runs(plan.preset, (*planned, *tasks)))
        ran = _run_tasks(tasks, store, plan.device, workers, console, cluster)
        outcomes |= {outcome.key: outcome for outcome in ran}
        if plan.looks == 1:
            break
        still = open_cells(list(outcomes.values()), level=plan.level, within=plan.within)
        cells = len({(s.world, s.noise, s.optimizer) for s, _ in due.runs})
        console.print(f"{len(still):,} of {cells:,} cells are open", highlight=False)
        if not still:
            break
        if look < len(parts):
            so_far(look, list(outcomes.values()))
    return [outcomes[spec.key] for spec, _ in due.runs if spec.key in outcomes]


def _run_tasks(
    tasks: tuple[Run, ...],
    store: Store,
    device: str,
    workers: int | None,
    console: Console,
    cluster: Elsewhere | None,
) -> list[RunOutcome]:
    """Run those that the store does not have; return what came of all of them."""
    outcomes: dict[str, RunOutcome] = {}
    for task in tasks:
        if store.has(task.digest):
            try:
                outcomes[task.digest] = _kept(task, store)
            except (DataError, RecordingError):  # made again: else it would count as done
                store.path(task.digest).unlink(missing_ok=True)
    missing = {task.digest: task for task in tasks if task.digest not in outcomes}
    there = len(outcomes)
    console.print(f"{len(tasks):,} runs, {there:,} done before", highlight=False)
    paired = groups([(task.spec, task.contestant) for task in missing.values()], device)
    expected: float | None = None
    if cluster is None and missing:
        n = workers or os.cpu_count() or 1
        with own_failures(lambda _: None):  # of a unit: its runs say it
            in_one = expected_s([task.spec for task in missing.values()], device)
            console.print(time_words(in_one, n), highlight=False)
            expected = in_one / n
    ends = run_waves(
        store,
        [[missing[spec.key] for spec in group.specs] for group in paired],
        partial(_work, device=device),
        workers=workers,
        report=TaskProgress(console, len(missing), what="runs", expected_s=expected),
        elsewhere=cluster,
    )
    failed = {end.digest: end.failed for end in ends if end.failed}
    for task in missing.values():
        why = failed.get(task.digest, "")
        try:
            outcome = None if why else _kept(task, store)
        except (DataError, RecordingError) as error:
            outcome, why = None, f"its result cannot be read back: {error}"
        outcomes[task.digest] = outcome or RunOutcome(task.digest, task.spec, why, Curve(), {})
    return [outcomes[task.digest] for task in tasks]


def _kept(task: Run, store: Store) -> RunOutcome:
    """Return what the store has of a run.

    Raises
    ------
    DataError, RecordingError
        It cannot be read, or is not all of it.
    """
    return as_outcome(store.read(task.digest, RunFacts))


def _work(wave: Sequence[Run], *, device: str) -> GroupWork:
    specs, contestants = zip(*((run.spec, run.contestant) for run in wave), strict=True)
    return GroupWork(Group(specs, contestants, device))


def costs(plan: Plan, due: Due, *, console: Console) -> list[Cost]:
    """Measure what each optimizer costs in each world's size, one process at a time."""
    norms = {world.name: world.norm for world in plan.worlds}
    measured = {
        (
            contestant,
            *due.sizes[spec.world],
            due.axes.get((spec.world, contestant.label)),
        ): norms[spec.world]
        for spec, contestant in due.runs
    }
    report = TaskProgress(console, len(measured), what="measurements of cost")
    found: list[Cost] = []

    def call(item: tuple[Contestant, int, int, int | None]) -> partial[Cost]:
        contestant, d, popsize, axes = item
        return partial(measure_cost, contestant, d, popsize, measured[item], axes=axes)

    with one_thread_each():
        ended = in_processes(list(measured), call, n=1, ahead=1, fresh=True)
        for (contestant, d, popsize, _), cost in ended:
            died = Cost(contestant.label, d, popsize, 0.0, 0.0, 0.0, 0.0, 0.0, None, _DIED)
            found.append(cost or died)
            report(TaskEnd(contestant.label, found[-1].failed))
    return found
