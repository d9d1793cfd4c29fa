"""One row a task and thread: what was varied, and how the evolution went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from evolver.analysis.trajectories import FloatArray
from evolver.campaign.store import PlannedTask, Store, TaskResult
from evolver.table_files import table_bytes
from evolver.whole_files import write_whole

MEASURES = (
    "thread",
    "unit",
    "generations_run",
    "presentations",
    "first",
    "last",
    "last_sem",
    "best",
    "references",
    "change",
    "seconds",
    "digest",
)
"""Columns beside the varied ones. first, last: mean of the first generation and of the last
three, of which the first is none; last_sem: the standard error of `last`, over the images of
those generations, NaN where one of them has a single image; best: the highest single score;
references: their mean over all blocks; change: last less first, NaN of a single generation; all
in `unit`."""
Row: TypeAlias = dict[str, str | float | int]

_LAST = 3  # generations


def rows(store: Store) -> Iterator[Row]:
    """Yield a row for every thread of every task that is done, in the plan's order."""
    for task, result in store.results():
        yield from task_rows(task, result)


def task_rows(task: PlannedTask, result: TaskResult) -> Iterator[Row]:
    """Yield a row for every thread of a task."""
    meta, arrays = result.meta, result.arrays
    for k, thread in enumerate(meta.threads):
        mean, sem, best = (arrays[f"{name}-{k}"] for name in ("mean", "sem", "best"))
        shown = arrays[f"references-{k}"]
        scored = np.flatnonzero(np.isfinite(mean))
        filled = mean[scored]
        later = scored[1:]  # a change from the first is none of the first's own
        latest = later[-_LAST:] if len(later) else scored
        last = _mean(mean[latest])
        first = float(filled[0]) if len(filled) else np.nan
        highest = best[np.isfinite(best)]
        yield {
            **task.levels,
            "thread": thread,
            "unit": meta.units[k],
            "generations_run": meta.generations[k],
            "presentations": meta.presentations,
            "first": first,
            "last": last,
            "last_sem": _sem_of_mean(sem[latest]),
            "best": float(highest.max()) if len(highest) else np.nan,
            "references": _mean(shown[np.isfinite(shown)]),
            "change": last - first if len(later) else np.nan,
            "seconds": meta.seconds,
            "digest": meta.digest,
        }


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else np.nan


def _sem_of_mean(sem: FloatArray) -> float:
    """Return the standard error of the mean of independent means with these errors, (n,)."""
    return float(np.sqrt((sem * sem).sum()) / len(sem)) if len(sem) else np.nan


def save_table(columns: Sequence[str], found: Sequence[Row], path: Path) -> None:
    """Write rows as a table, CSV or Parquet by its name.

    Raises
    ------
    ConfigError
        The name ends otherwise, or Parquet is asked for and pyarrow is missing.
    """
    cells = ([row[column] for column in columns] for row in found)
    write_whole(path, table_bytes(path.suffix, columns, cells))
