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
three, of which the first is none; best: the highest single score; references: their mean over
all blocks; change: last less first, NaN of a single generation; all in `unit`."""
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
        mean, best = arrays[f"mean-{k}"], arrays[f"best-{k}"]
        shown = arrays[f"references-{k}"]
        filled = mean[np.isfinite(mean)]
        later = filled[1:]  # a change from the first is none of the first's own
        last = _mean(later[-_LAST:] if len(later) else filled)
        first = float(filled[0]) if len(filled) else np.nan
        scored = best[np.isfinite(best)]
        yield {
            **task.levels,
            "thread": thread,
            "unit": meta.units[k],
            "generations_run": meta.generations[k],
            "presentations": meta.presentations,
            "first": first,
            "last": last,
            "last_sem": float(arrays[f"sem-{k}"][-1]) if len(mean) else np.nan,
            "best": float(scored.max()) if len(scored) else np.nan,
            "references": _mean(shown[np.isfinite(shown)]),
            "change": last - first if len(later) else np.nan,
            "seconds": meta.seconds,
            "digest": meta.digest,
        }


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else np.nan


def save_table(columns: Sequence[str], found: Sequence[Row], path: Path) -> None:
    """Write rows as a table, CSV or Parquet by its name.

    Raises
    ------
    ConfigError
        The name ends otherwise, or Parquet is asked for and pyarrow is missing.
    """
    cells = ([row[column] for column in columns] for row in found)
    write_whole(path, table_bytes(path.suffix, columns, cells))
