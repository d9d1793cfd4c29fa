"""A campaign's folder: the plan as it was run last, and one file for every task that is done.

    plan.json              the tasks, for `status` and `gather`, which load no network
    results/ab/abcd….npz   a task's result, by its digest; whole, or not there
    failed/abcd….txt       why a task could not be run; it is tried again by the next run

Knows files. Knows nothing of how results are made.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from evolver.campaign.kind import SESSIONS
from evolver.errors import DataError, RecordingError
from evolver.lab_code import error_text
from evolver.numpy_files import archive_bytes, opened_archive
from evolver.plain_text import plain
from evolver.regular_files import read_regular
from evolver.whole_files import write_whole

if TYPE_CHECKING:
    from evolver.campaign.kind import AnyPlan

_PLAN = "plan.json"
_META = "meta"
_LARGEST_PLAN = 1 << 30
_MOST_NUMBERS = 1 << 24


class PlannedTask(Struct, frozen=True):
    """One task, as plan.json has it."""

    digest: str
    levels: dict[str, str]


class PlanFile(Struct, frozen=True):
    """plan.json."""

    name: str
    factors: tuple[str, ...]
    tasks: tuple[PlannedTask, ...]
    kind: str = SESSIONS


class Facts(Struct, frozen=True):
    """What any task's result says beside its arrays; each kind says more."""

    digest: str


FactsT = TypeVar("FactsT", bound=Facts)


@dataclass(frozen=True, slots=True, eq=False)
class AnyResult(Generic[FactsT]):
    """One task's result, of any kind."""

    meta: FactsT
    arrays: Mapping[str, NDArray[Any]]


class TaskMeta(Facts, frozen=True):
    """What a session's result says beside its arrays."""

    threads: tuple[str, ...]
    units: tuple[str, ...]  # of each thread's scores
    generations: tuple[int, ...]
    presentations: int
    seconds: float
    evolver: str


@dataclass(frozen=True, slots=True, eq=False)
class TaskResult(AnyResult[TaskMeta]):
    """One session's result.

    Attributes
    ----------
    meta : TaskMeta
    arrays : per thread k from 0: ``mean-k``, ``sem-k``, ``best-k``, ``references-k``, each (g,)
        float64 by generation, units of the score, NaN where there is none; ``image-k``, the
        image that scored best in the last generation, (h, w, 3) uint8
    """


class Store:
    """A campaign's folder.

    Parameters
    ----------
    folder : made where it is missing and `make` says so

    Raises
    ------
    RecordingError
        There is no campaign in it.
    """

    def __init__(self, folder: Path, *, make: bool = False) -> None:
        self.folder, self._results = folder, folder / "results"
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        elif not (folder / _PLAN).is_file():
            raise RecordingError(
                f"{folder} must be the folder of a campaign, with {_PLAN} in it; it is not. "
                "'evolver campaign run FILE.toml' makes one"
            )

    def path(self, digest: str) -> Path:
        """Return where a task's result is, or will be."""
        return self._results / f"{digest[:2]}/{digest}.npz"

    def done(self) -> set[str]:
        """Return the digests of all tasks that have a result."""
        return {path.stem for path in self._results.glob("??/*.npz")}

    def sound(self) -> set[str]:
        """Return the digests of all tasks whose result can be read, and is that task's."""
        return {digest for digest in self.done() if self.has(digest)}

    def has(self, digest: str) -> bool:
        """Whether a task has a result that can be read, and is that task's."""
        try:
            with opened_archive(self.path(digest)) as archive:
                if archive is None:
                    return False
                meta = archive.read(_META, fits=_fits)
                _facts(meta, digest, Facts)
        except (OSError, DataError, KeyError, msgspec.DecodeError):
            return False
        return True

    def failed(self) -> dict[str, str]:
        """Return why tasks could not be run, by digest."""
        return {
            path.stem: path.read_text(encoding="utf-8", errors="replace")
            for path in sorted((self.folder / "failed").glob("*.txt"))
        }

    def keep_plan(self, plan: AnyPlan) -> None:
        """Write plan.json."""
        tasks = tuple(PlannedTask(task.digest, dict(task.levels)) for task in plan.tasks)
        kept = PlanFile(plan.name, plan.columns, tasks, plan.kind)
        write_whole(self.folder / _PLAN, msgspec.json.format(msgspec.json.encode(kept)))

    def plan(self) -> PlanFile:
        """Return the plan as it was run last.

        Raises
        ------
        RecordingError
            plan.json is damaged.
        """
        path = self.folder / _PLAN
        try:
            plan = msgspec.json.decode(read_regular(path, at_most=_LARGEST_PLAN), type=PlanFile)
            _check_plan(plan)
        except (OSError, DataError, msgspec.DecodeError) as exc:
            raise RecordingError(
                f"{path} must be a campaign's plan; it cannot be read: {exc}. What ran the "
                "campaign, as 'evolver campaign run FILE.toml', writes it anew and loses none"
            ) from exc
        return plan

    def keep(self, result: AnyResult[FactsT]) -> None:
        """Write a result; on the disk when this returns."""
        meta = np.frombuffer(msgspec.json.encode(result.meta), dtype=np.uint8)
        content = archive_bytes({_META: meta, **result.arrays})
        write_whole(self.path(result.meta.digest), content)
        with suppress(FileNotFoundError):
            (self.folder / "failed" / f"{result.meta.digest}.txt").unlink()

    def keep_failure(self, digest: str, why: str | BaseException) -> str:
        """Write why a task could not be run, an error with its traceback; return it, short."""
        short = text = why if isinstance(why, str) else error_text(why)
        if not isinstance(why, str):
            text = f"{short}\n\n{''.join(traceback.format_exception(why))}"
        write_whole(self.folder / "failed" / f"{digest}.txt", plain(text).encode())
        return short

    def result(self, digest: str) -> TaskResult:
        """Read a session's result.

        Raises
        ------
        RecordingError
            It is damaged.
        """
        result = self.read(digest, TaskMeta)
        try:
            _check_session(result.meta, result.arrays)
        except DataError as exc:
            raise _damaged(self.path(digest), exc) from exc
        return TaskResult(result.meta, result.arrays)

    def read(self, digest: str, facts: type[FactsT]) -> AnyResult[FactsT]:
        """Read a result whose kind says such facts.

        Raises
        ------
        RecordingError
            It is damaged.
        """
        path = self.path(digest)
        try:
            with opened_archive(path) as archive:
                if archive is None:
                    raise DataError("it is no archive of arrays")
                arrays = {name: archive.read(name, fits=_fits) for name in archive.names}
            meta = _facts(arrays.pop(_META), digest, facts)
        except (OSError, DataError, KeyError, msgspec.DecodeError) as exc:
            raise _damaged(path, exc) from exc
        return AnyResult(meta, arrays)

    def results(self) -> Iterator[tuple[PlannedTask, TaskResult]]:
        """Yield the tasks of the plan that are done, in its order; what is damaged is not."""
        done = self.done()
        for task in self.plan().tasks:
            if task.digest in done:
                try:
                    result = self.result(task.digest)
                except RecordingError:
                    continue
                yield task, result


def _damaged(path: Path, exc: Exception) -> RecordingError:
    return RecordingError(
        f"{path} must be a task's result; it cannot be read: {exc}. What ran the campaign, as "
        "'evolver campaign run FILE.toml', makes it again"
    )


def _check_plan(plan: PlanFile) -> None:
    """Raise `DataError` unless tasks differ, and each has a level of every factor."""
    if len({task.digest for task in plan.tasks}) != len(plan.tasks):
        raise DataError("a task is in it twice")
    for task in plan.tasks:
        if not set(plan.factors) <= task.levels.keys():
            raise DataError(f"the task {task.digest[:16]} must have {', '.join(plan.factors)}")


def _check_session(meta: TaskMeta, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raise `DataError` unless a session's arrays are as `TaskResult` says."""
    if not len(meta.threads) == len(meta.units) == len(meta.generations):
        raise DataError("it must say as much of each thread")
    for k, generations in enumerate(meta.generations):
        for name in ("mean", "sem", "best"):
            array = arrays.get(f"{name}-{k}")
            if array is None or array.shape != (generations,) or array.dtype.kind != "f":
                raise DataError(f"{name}-{k} must have a number of each generation")
        if (references := arrays.get(f"references-{k}")) is None or references.ndim != 1:
            raise DataError(f"references-{k} must be a vector")
        image = arrays.get(f"image-{k}")
        if image is not None and (
            image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size
        ):
            raise DataError(f"image-{k} must be an image, (h, w, 3) uint8")


def _fits(shape: tuple[int, ...]) -> bool:
    return math.prod(shape) < _MOST_NUMBERS


def _facts(array: NDArray[Any], digest: str, facts: type[FactsT]) -> FactsT:
    """Return what a result says of itself; its file must be named after its task."""
    meta = msgspec.json.decode(array.tobytes(), type=facts)
    if meta.digest != digest:
        raise DataError(f"it is the result of another task, {meta.digest[:16]}")
    return meta
