"""Sets about an evolved code as the tuning of the thread that evolved it.

A session that evolves and one that shows steps along axes are two recordings. What the second
says is brought to the first by the session's id and the thread's name, which it has on record.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from evolver import recording as recordings
from evolver.errors import EvolverError, RecordingError
from evolver.experiments.experiment import (
    DEGREES,
    LATENT_UNITS,
    MOST_AXES,
    MOST_STEPS,
    MOST_TRIALS,
    AxisTrials,
    Experiment,
    ExperimentThread,
    TuningTrials,
)
from evolver.experiments.unit_weights import read_unit_weights
from evolver.generators.around import CENTRE
from evolver.plain_text import one_line
from evolver.recording.set_rows import images_of_rows
from evolver.recording.strangers import said_as_recording
from evolver.regular_files import PARSER_ERRORS

if TYPE_CHECKING:
    from pathlib import Path

    from evolver.journal.records import AroundInfo
    from evolver.recording import Recording, ThreadData

_OF_SETS = "around"  # in every session file that has such a set
_NOT_THERE = "no recording of steps along axes about its code is among the files"
_ON_A_SPHERE = "sphere"


@dataclass(frozen=True, slots=True, eq=False)
class SetTuning:
    """One set about an evolved code: single trials along each axis.

    Attributes
    ----------
    session_id, thread : of the evolution
    shown_in : the id of the session that showed the set
    source, name : file of that session, and the set
    units : labels of the units whose mean rate the responses are, sorted
    axes : none of a sphere, whose figure is in the recording's own report
    """

    session_id: str
    thread: str
    shown_in: str
    source: str
    name: str
    units: tuple[str, ...]
    axes: tuple[AxisTrials, ...]

    @property
    def trials(self) -> int:
        """How many have a response."""
        return sum(int(np.isfinite(axis.response).sum()) for axis in self.axes)


@dataclass(slots=True, eq=False)
class SetTunings:
    """The sets about evolved codes of many recordings, and which were brought to their thread.

    Attributes
    ----------
    sets : of different sessions; of a session that is there twice the one with more trials
    failures : file -> why its sets could not be read
    """

    sets: tuple[SetTuning, ...]
    failures: dict[str, str]
    _sources: set[str]
    _refused: dict[int, str] = field(default_factory=dict[int, str])
    _used: set[int] = field(default_factory=set[int])

    @classmethod
    def of(cls, paths: Iterable[Path]) -> SetTunings:
        """Read those of recordings; files that are none, or have no such set, are passed by."""
        best: dict[tuple[str, str], SetTuning] = {}
        failures: dict[str, str] = {}
        sources: set[str] = set()
        for path in paths:
            try:
                opened = recordings.read(path)
            except (EvolverError, *PARSER_ERRORS):
                continue  # whoever looks for its evolution says why it cannot be read
            try:
                with opened, said_as_recording(path):
                    tunings = set_tunings(opened) if _OF_SETS in opened.config else ()
            except EvolverError as error:
                failures[str(path)] = one_line(str(error))
                continue
            sources |= {str(path)} if tunings else set()
            for tuning in tunings:
                key = tuning.shown_in, tuning.name
                if key not in best or best[key].trials < tuning.trials:
                    best[key] = tuning
        return cls(tuple(best.values()), failures, sources)

    def has(self, path: Path) -> bool:
        """Return whether a file has such sets, or has some that cannot be read."""
        return str(path) in self._sources or str(path) in self.failures

    def added_to(self, experiment: Experiment) -> Experiment:
        """Return an evolution with the tuning of its threads, where there is any."""
        threads = [self._added(experiment, thread) for thread in experiment.threads]
        return replace(experiment, threads=tuple(threads))

    @property
    def left(self) -> Iterable[tuple[SetTuning, str]]:
        """Sets that no thread got, and why."""
        for i, tuning in enumerate(self.sets):
            if i not in self._used:
                yield tuning, self._refused.get(i) or _why_left(tuning)

    def _added(self, experiment: Experiment, thread: ExperimentThread) -> ExperimentThread:
        axes: list[AxisTrials] = []
        sources: list[str] = []
        reason = _NOT_THERE
        for i, tuning in enumerate(self.sets):
            if (tuning.session_id, tuning.thread) != (experiment.session_id, thread.name):
                continue
            if not tuning.axes:
                continue
            if tuning.units != thread.units:
                reason = (
                    f"set {tuning.name!r} must have the responses of the units that "
                    f"{thread.name!r} evolved for, {', '.join(thread.units[:5])}; they are "
                    f"those of {', '.join(tuning.units[:5])}. fitness.units says which"
                )
                self._refused[i] = reason
                continue
            self._used.add(i)
            axes += tuning.axes
            sources.append(tuning.source)
        if thread.tuning is not None:
            return thread
        if axes:
            told = tuple(_told_apart(axes)[:MOST_AXES])
            trials = TuningTrials(told, sources=tuple(dict.fromkeys(sources)))
            return replace(thread, tuning=trials)
        return replace(thread, absent={**thread.absent, "tuning": reason})


def set_tunings(opened: Recording) -> tuple[SetTuning, ...]:
    """Return the sets of a recording that lie about an evolved code.

    Raises
    ------
    RecordingError
        A set's options and its rows contradict each other.
    """
    made: list[SetTuning] = []
    for k, thread in enumerate(opened.threads):
        info = thread.set_info
        if info is None or info.around is None:
            continue
        fitness = read_unit_weights(thread, units=len(opened.units))
        made.append(
            SetTuning(
                session_id=info.around.session_id,
                thread=info.around.thread,
                shown_in=opened.session_id,
                source=str(opened.path),
                name=thread.name,
                units=fitness.labels(opened.units),
                axes=_axis_trials(thread, info.around, images_of_rows(opened, k), fitness.unit),
            )
        )
    return tuple(made)


def _axis_trials(
    thread: ThreadData, around: AroundInfo, image: np.ndarray, unit: str
) -> tuple[AxisTrials, ...]:
    if around.kind == _ON_A_SPHERE:
        return ()
    axis = np.asarray(around.axis, dtype=np.int64)
    step = np.asarray(around.step, dtype=np.float64)
    if len(axis) != len(step) or int(image.max(initial=-1)) >= len(axis):
        raise RecordingError(
            f"set {thread.name!r} must say where each of its {int(image.max(initial=-1)) + 1} "
            f"images lies; it does of {len(axis)} axes and {len(step)} steps"
        )
    if len(axis) and int(axis.max()) >= len(around.axes):
        raise RecordingError(
            f"set {thread.name!r} must name each of its {int(axis.max()) + 1} axes; it names "
            f"{len(around.axes)}"
        )
    if len(around.axes) > MOST_AXES or len(np.unique(step)) > MOST_STEPS:
        raise RecordingError(
            f"set {thread.name!r} must have at most {MOST_AXES} axes and {MOST_STEPS} "
            f"different steps; it has {len(around.axes)} and {len(np.unique(step))}"
        )
    score = np.asarray(thread.score, dtype=np.float64)
    shown = image >= 0
    of, scores = axis[image[shown]], score[shown]
    steps = step[image[shown]]
    if len(scores) > MOST_TRIALS * max(1, len(around.axes)):
        raise RecordingError(
            f"set {thread.name!r} must have at most {MOST_TRIALS} trials of an axis; it has "
            f"{len(scores)} in all"
        )
    origin = scores[of == CENTRE]
    circles = around.kind == "circles"
    families = ("circles",) * circles + ("components",) * (not around.metric_sha256)
    numbers = around.numbers or ((),) * len(around.axes)
    return tuple(
        AxisTrials(
            name=f"circle {name}" if circles else name,
            half=around.part,
            eigenvector=number[0] if around.metric_sha256 and number else -1,
            step=steps[of == k],
            response=scores[of == k],
            origin=origin,
            family=", ".join(families),
            step_unit=DEGREES if circles else LATENT_UNITS,
            response_unit=unit,
        )
        for k, (name, number) in enumerate(zip(around.axes, numbers, strict=True))
    )


def _told_apart(axes: Sequence[AxisTrials]) -> list[AxisTrials]:
    """Give axes of one name, as of two sessions, numbers in their order."""
    seen: dict[str, int] = {}
    named: list[AxisTrials] = []
    for axis in axes:
        seen[axis.name] = n = seen.get(axis.name, 0) + 1
        named.append(axis if n == 1 else replace(axis, name=f"{axis.name} ({n})"))
    return named


def _why_left(tuning: SetTuning) -> str:
    if not tuning.axes:
        return (
            f"set {tuning.name!r} is a sphere about the code of thread {tuning.thread!r}: its "
            "map is in the report of this recording"
        )
    return (
        f"set {tuning.name!r} shows steps about the code of thread {tuning.thread!r} of "
        f"session {tuning.session_id}, whose recording is not among the files: name it too"
    )
