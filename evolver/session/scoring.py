"""A block's scores from its responses: the one way, while a session runs and afterwards.

Values only. Showings are taken in the order in which they were asked for, whatever came first,
so that sums are the same, bit for bit, whether an animal answered or a recording is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from evolver.journal.records import PlannedPresentation
from evolver.session.fitness import Fitness, mean_and_sem
from evolver.session.fitness_state import FitnessState
from evolver.types import Scores, Vector
from rig_bridge.trials import TrialResult

REFERENCE = -1
"""Thread number of a reference image's presentation."""

SeenShowings: TypeAlias = list[tuple[PlannedPresentation, Vector]]
"""What one thread's fitness sees: presentations, and the responses of its units, (units,)."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoredBlock:
    """A block's scores.

    Attributes
    ----------
    threads : thread -> (scores, sem), each (n,)
    references, levels : a thread each, (references,): scores by its fitness, and the responses
        themselves, spikes/s. NaN where there is no valid showing, or nothing to score it by yet
    """

    threads: dict[int, tuple[Scores, Scores]]
    references: tuple[Scores, ...]
    levels: tuple[Scores, ...]


def answers_of(
    planned: Callable[[int], PlannedPresentation | None],
    fitnesses: Sequence[Fitness],
    responses: Sequence[TrialResult],
) -> list[SeenShowings]:
    """Return what each thread's fitness sees in a block's valid showings.

    Its own images, the references, and every other thread's where it looks at them.

    Parameters
    ----------
    planned : number -> the block's presentation; None where it is not the block's
    fitnesses : a thread each
    responses : all that came for the block; aborted ones are not counted

    Raises
    ------
    DataError
        Arrays are not what they must be.
    """
    answers: list[SeenShowings] = [[] for _ in fitnesses]
    for response in sorted(responses, key=lambda r: (r.attempt, r.presentation)):
        p = planned(response.presentation)
        if p is None or not response.ok:
            continue
        for k, fitness in enumerate(fitnesses):
            if p.thread in {REFERENCE, k} or fitness.looks_at_all:
                answers[k].append((p, fitness.response(response.form, response.arrays)))
    return answers


def followed(
    fitnesses: Sequence[Fitness],
    states: Sequence[FitnessState],
    answers: Sequence[SeenShowings],
) -> list[FitnessState]:
    """Return what each thread's fitness knows with one more block."""
    return [
        fitness.follow(state, [(p.thread, p.row, values) for p, values in own])
        if fitness.learns
        else state
        for fitness, state, own in zip(fitnesses, states, answers, strict=True)
    ]


def score_block(
    fitnesses: Sequence[Fitness],
    states: Sequence[FitnessState],
    answers: Sequence[SeenShowings],
    *,
    images: Mapping[int, int],
    references: int,
) -> ScoredBlock:
    """Return a block's scores.

    Parameters
    ----------
    fitnesses, states, answers : a thread each; states are those with this block
    images : thread -> how many of its images are in the block
    references : how many of these are
    """
    threads: dict[int, tuple[Scores, Scores]] = {}
    of_references: list[Scores] = []
    levels: list[Scores] = []
    for k, (fitness, state, own) in enumerate(zip(fitnesses, states, answers, strict=True)):
        ready = fitness.is_ready(state)
        scores: list[list[float]] = [[] for _ in range(images.get(k, 0))]
        yardstick: list[list[float]] = [[] for _ in range(references)]
        level: list[list[float]] = [[] for _ in range(references)]
        for p, values in own:
            if p.thread == REFERENCE:
                level[p.row].append(fitness.level_of(values))
            if ready and p.thread in {REFERENCE, k}:
                rows = yardstick if p.thread == REFERENCE else scores
                rows[p.row].append(fitness.score_of(values, state))
        if k in images:
            threads[k] = mean_and_sem(scores)
        of_references.append(mean_and_sem(yardstick)[0])
        levels.append(mean_and_sem(level)[0])
    return ScoredBlock(threads, tuple(of_references), tuple(levels))
