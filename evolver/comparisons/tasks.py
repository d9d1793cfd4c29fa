"""Comparisons as a kind of campaign: pieces of hours of work, each done once and kept.

A task is what has a result by itself: a layer by one method through one generator, some of the
images that are drawn, a recording. Its digest is of all that its numbers depend on, so that the
same command goes on where it was stopped, and a changed one does what is new. The engine is
`evolver.campaign`'s; work is done in this process, which has networks and generators loaded and
a GPU to itself.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import numpy as np

from evolver import __version__
from evolver.campaign.run import TaskEnd, done_here, run_waves
from evolver.campaign.store import AnyResult, Facts, Store
from evolver.errors import RecordingError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from evolver.campaign.run import Report

FORMAT = 1
"""Of what is kept; goes up where the same settings give other numbers than before."""
_LARGEST = 1 << 22  # numbers of an array in a file; larger ones are kept in pieces


@dataclass(frozen=True, slots=True, eq=False)
class ComparisonTask:
    """A piece of a comparison.

    Attributes
    ----------
    digest : of its comparison's name and of all that its numbers depend on
    levels : what it is called, a text in each column of its plan
    """

    digest: str
    levels: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class TaskOutcome:
    """What came of a task.

    Attributes
    ----------
    arrays : by name, of numbers
    names : texts that go with them
    """

    arrays: Mapping[str, NDArray[Any]]
    names: tuple[str, ...] = ()


class OutcomeFacts(Facts, frozen=True):
    """What a task's result says beside its arrays."""

    names: tuple[str, ...]
    seconds: float
    evolver: str


def comparison_task(
    comparison: str, levels: Mapping[str, object], inputs: Mapping[str, object]
) -> ComparisonTask:
    """Return a task.

    Parameters
    ----------
    comparison : what it is a piece of
    levels : what it is called
    inputs : all that its numbers depend on beside `levels`, as JSON has it
    """
    named = {name: str(level) for name, level in levels.items()}
    return ComparisonTask(text_digest(FORMAT, comparison, named, dict(inputs)), named)


def text_digest(*values: object) -> str:
    """Return the digest of values as JSON, 64 hexadecimal digits."""
    return hashlib.sha256(msgspec.json.encode(values, order="deterministic")).hexdigest()


def array_digest(array: NDArray[Any]) -> str:
    """Return the digest of an array's shape, dtype and numbers, 64 hexadecimal digits."""
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


Act: TypeAlias = "Callable[[Sequence[ComparisonTask]], Iterator[TaskOutcome]]"
"""Does tasks in their order, and yields what came of each."""


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """Tasks, as the engine sees them."""

    name: str
    tasks: Sequence[ComparisonTask]
    kind = "pieces of a comparison"

    @property
    def columns(self) -> tuple[str, ...]:
        """Return what tasks differ in."""
        return tuple(self.tasks[0].levels) if self.tasks else ()


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """Tasks that are done one after the other, with what they share."""

    tasks: Sequence[ComparisonTask]
    act: Act
    report: Report

    @property
    def digests(self) -> tuple[str, ...]:
        """Return its tasks'."""
        return tuple(task.digest for task in self.tasks)

    def run(self, due: Collection[str], store: Store) -> list[TaskEnd]:
        """Do those that are due; each is kept before the next begins."""
        ends: list[TaskEnd] = []
        wanted = [task for task in self.tasks if task.digest in due]
        begun = time.monotonic()
        for task, outcome in zip(wanted, self.act(wanted), strict=True):
            seconds = round(time.monotonic() - begun, 3)
            facts = OutcomeFacts(task.digest, outcome.names, seconds, __version__)
            with _written(store.folder):
                store.keep(AnyResult(facts, _in_pieces(outcome.arrays)))
            ends.append(TaskEnd(task.digest))
            self.report(ends[-1])
            begun = time.monotonic()
        return ends


class KeptTasks:
    """A comparison's tasks, and the folder in which their results are kept.

    Parameters
    ----------
    folder : made where it is missing
    comparison : what they are pieces of
    waves : all of them, those together that are done with one call
    fresh : whether results that are there are thrown away

    Raises
    ------
    RecordingError
        It cannot be written to.

    Attributes
    ----------
    folder : Path
    total : int, how many there are
    there : int, of them had a result before
    """

    def __init__(
        self,
        folder: Path,
        comparison: str,
        waves: Sequence[Sequence[ComparisonTask]],
        *,
        fresh: bool = False,
    ) -> None:
        tasks = [task for wave in waves for task in wave]
        self.folder, self._waves = folder, waves
        with _written(folder):
            self._store = Store(folder, make=True)
            self._store.keep_plan(_Plan(comparison, tasks))
            for task in tasks if fresh else ():
                self._store.path(task.digest).unlink(missing_ok=True)
        self._sound = {task.digest for task in tasks if self._store.has(task.digest)}
        self.total, self.there = len(tasks), len(self._sound)

    @property
    def done(self) -> int:
        """Return how many have a result."""
        return len(self._sound)

    def run(
        self,
        act: Act,
        report: Report = lambda _: None,
    ) -> None:
        """Do what has no result.

        What another process is doing in the same folder is left to it, and waited for.

        Parameters
        ----------
        act : does those of one wave that are due
        report : told of each task that is done here, as it is
        """
        due = [[t for t in wave if t.digest not in self._sound] for wave in self._waves]
        try:
            run_waves(
                self._store, due, partial(_Work, act=act, report=report), elsewhere=done_here
            )
        finally:
            tasks = (task for wave in due for task in wave)
            self._sound |= {t.digest for t in tasks if self._store.has(t.digest)}

    def outcome(self, task: ComparisonTask) -> TaskOutcome | None:
        """Return what came of a task; None: it is not done.

        Raises
        ------
        RecordingError
            Its file was damaged meanwhile.
        """
        if task.digest not in self._sound:
            return None
        result = self._store.read(task.digest, OutcomeFacts)
        return TaskOutcome(_whole(result.arrays), result.meta.names)

    def outcomes(self, tasks: Sequence[ComparisonTask]) -> list[TaskOutcome]:
        """Return what came of tasks, of those that are done."""
        return [outcome for task in tasks if (outcome := self.outcome(task)) is not None]


@contextmanager
def _written(folder: Path) -> Generator[None, None, None]:
    """Turn what a disk says into a message."""
    try:
        yield
    except OSError as error:
        raise RecordingError(
            f"what is done must be kept in {folder}; it cannot be written: {error}. What is "
            "there stays; mend that, and give the command again"
        ) from error


def _in_pieces(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return arrays, the large ones as rows of theirs, called NAME/0, NAME/1."""
    pieces: dict[str, NDArray[Any]] = {}
    for name, array in arrays.items():
        if array.size <= _LARGEST:
            pieces[name] = array
            continue
        rows = max(_LARGEST // (array.size // len(array)), 1)
        for i, first in enumerate(range(0, len(array), rows)):
            pieces[f"{name}/{i}"] = array[first : first + rows]
    return pieces


def _whole(pieces: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the arrays that `_in_pieces` was given."""
    together: dict[str, list[NDArray[Any]]] = {}
    for name, piece in pieces.items():
        together.setdefault(name.partition("/")[0], []).append(piece)
    return {
        name: parts[0] if len(parts) == 1 else np.concatenate(parts)
        for name, parts in together.items()
    }
