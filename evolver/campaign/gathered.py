"""All results of a campaign, read once: rows for tables, courses and small images for a page.

Knows results. Knows nothing of files' formats, HTML or figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image

from evolver.analysis.trajectories import FloatArray, evenly
from evolver.campaign.kind import SESSIONS
from evolver.campaign.table import MEASURES, Row, task_rows
from evolver.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evolver.campaign.store import PlanFile, Store

Tile: TypeAlias = "NDArray[np.uint8]"

SERIES = ("mean", "sem", "best")
"""What is kept of every generation, as a result names it."""
MOST_GENERATIONS = 120
"""Of a course, as it is drawn; of longer ones so many, evenly."""
_LARGE, _SMALL, _MANY = 128, 64, 256
"""Pixels of a small image's side: where there are not many runs, and where there are."""


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """What there is of a campaign.

    Attributes
    ----------
    plan : PlanFile
    done : tasks of the plan that have a result
    failed : and those that could not be run
    damaged : and those whose result cannot be read
    rows : one a thread of every task that is done, as `evolver.campaign.table` has them
    generations : the numbers of the generations in `courses`
    courses : by the names in `SERIES`, (rows, generations) float64, NaN where there is none
    tiles : of every row, its last generation's best image, (side, side, 3), or None
    side : pixels
    """

    plan: PlanFile
    done: int
    failed: int
    damaged: int
    rows: list[Row]
    generations: list[int]
    courses: dict[str, FloatArray]
    tiles: list[Tile | None]
    side: int

    @property
    def columns(self) -> list[str]:
        """Return the names of a row's values, in their order."""
        return [*self.plan.factors, *MEASURES]


def gather_results(store: Store) -> Gathered:
    """Read everything.

    Raises
    ------
    RecordingError
        The plan is damaged.
    ConfigError
        Its tasks are no sessions.
    """
    plan = store.plan()
    if plan.kind != SESSIONS:
        raise ConfigError(
            f"{store.folder} must hold simulated sessions; it holds {plan.kind}, whose tables "
            "the command that ran them writes"
        )
    planned = {task.digest for task in plan.tasks}
    there = len(planned & store.done())
    side = _SMALL if there > _MANY else _LARGE
    done = 0
    rows: list[Row] = []
    tiles: list[Tile | None] = []
    whole: list[dict[str, FloatArray]] = []
    for task, result in store.results():
        done += 1
        rows += task_rows(task, result)
        for k in range(len(result.meta.threads)):
            whole.append({name: result.arrays[f"{name}-{k}"] for name in SERIES})
            image = result.arrays.get(f"image-{k}")
            tiles.append(None if image is None else _tile(image, side))
    lengths = np.array([len(one["mean"]) for one in whole], dtype=np.int64)
    shown = evenly(np.arange(int(lengths.max(initial=0))), at_most=MOST_GENERATIONS)
    courses = {name: np.full((len(rows), len(shown)), np.nan) for name in SERIES}
    for length in np.unique(lengths):
        same, inside = np.flatnonzero(lengths == length), shown[shown < length]
        for name, course in courses.items():
            stacked = np.stack([whole[row][name] for row in same])
            course[same, : len(inside)] = stacked[:, inside]
    failed = len(planned & store.failed().keys())
    damaged = there - done
    return Gathered(plan, done, failed, damaged, rows, shown.tolist(), courses, tiles, side)


def _tile(image: Tile, side: int) -> Tile:
    """Return an image as a square of so many pixels; a small one keeps hard edges."""
    if image.shape[:2] == (side, side):
        return image
    enlarged = max(image.shape[:2]) < side
    how = Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(image).resize((side, side), how))
