"""Every score of a session again, from the recorded responses.

Knows records, in the order of the journal, or as a recording plays them back. Nothing is taken
from the recorded scores, which are compared with what comes out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import numpy as np

from evolver.errors import ConfigError, DataError, RecordingError
from evolver.journal.records import (
    AnyRecord,
    Committed,
    PackedArray,
    Proposed,
    Result,
    RigRecord,
    RunStart,
)
from evolver.session.fitness import Fitness
from evolver.session.fitness_record import recorded_fitness
from evolver.session.fitness_state import FitnessState
from evolver.session.scoring import REFERENCE, answers_of, followed, score_block
from evolver.session.to_records import fitness_state_of, result_of
from evolver.types import Scores
from rig_bridge.trials import TrialResult

_TOLD = ("kind", "response_ms")  # one of them is in every record that says how it scored

_Pairs: TypeAlias = list[tuple[PackedArray, Scores]]
"""Recorded scores, and beside each what the responses give."""


@dataclass(frozen=True, slots=True, eq=False)
class AnsweredBlock:
    """A committed block, and all that it was scored with.

    Attributes
    ----------
    committed : with the recorded scores
    plan : None where it is lost
    responses : of every attempt, also aborted ones
    """

    committed: Committed
    plan: Proposed | None
    responses: list[TrialResult]


def answered_blocks(
    records: Iterable[AnyRecord],
) -> Iterator[RunStart | RigRecord | AnsweredBlock]:
    """Yield the blocks of a session as they were committed, with their responses.

    Parameters
    ----------
    records : of a session, from its first

    Yields
    ------
    RunStart, RigRecord or AnsweredBlock
        What the session is, each rig that joined, and every committed block after its rig
    """
    plans: dict[int, Proposed] = {}
    results: dict[int, dict[tuple[int, int], TrialResult]] = {}
    for record in records:
        match record:
            case RunStart() | RigRecord():
                yield record
            case Proposed():
                plans[record.block] = record
                results[record.block] = {}
            case Result():
                answers = results.get(record.block, {})
                answers.setdefault((record.presentation, record.attempt), result_of(record))
            case Committed():
                answers = results.pop(record.block, {})
                yield AnsweredBlock(
                    record, plans.pop(record.block, None), list(answers.values())
                )
            case _:
                pass


@dataclass(slots=True)
class Rescored:
    """What came of it.

    Attributes
    ----------
    scores : numbers that were made again: scores, their errors, references' scores
    differing : of them, those that differ in any bit
    largest : the largest difference
    states : what fitnesses had learnt, a thread and block each, that was made again
    states_differing : of them, those that differ in any bit
    unknown : why scores were left out, a sentence each
    """

    scores: int = 0
    differing: int = 0
    largest: float = 0.0
    states: int = 0
    states_differing: int = 0
    unknown: list[str] = field(default_factory=list[str])

    @property
    def exact(self) -> bool:
        """Whether everything came out as it is recorded, and nothing was left out."""
        return not (self.differing or self.states_differing or self.unknown)


def rescore(records: Iterable[AnyRecord], *, in_order: bool = True) -> Rescored:
    """Make every score again from the responses, and compare it with the recorded one.

    Parameters
    ----------
    records : of a session, from its first
    in_order : blocks are committed in the order of the journal, so that what fitnesses learn
        can be made again as well; False: scores are made with what is recorded of that, as a
        recording does not say in which order blocks were committed where a clock was set back

    Raises
    ------
    RecordingError
        A fitness cannot be read.
    """
    session = _Session(in_order=in_order)
    for item in answered_blocks(records):
        match item:
            case RunStart():
                session.start = item
            case RigRecord():
                session.join(len(item.units))
            case AnsweredBlock():
                session.commit(item)
    return session.found


class _Session:
    """What is known while records are read."""

    def __init__(self, *, in_order: bool) -> None:
        self.found = Rescored()
        self.start: RunStart | None = None
        self._fitnesses: list[Fitness] = []
        self._states: list[FitnessState] = []
        self._in_order = in_order

    def join(self, n_units: int) -> None:
        """Resolve every thread's fitness for a rig of so many units."""
        threads = () if self.start is None else self.start.threads
        self._fitnesses = []
        if not threads or not all(_is_told(thread.fitness) for thread in threads):
            self._leave_out("the record does not say how the threads were scored")
            return
        try:
            self._fitnesses = [recorded_fitness(t.fitness, n_units) for t in threads]
        except ConfigError as exc:
            self._leave_out(str(exc))
        if not self._states:
            self._states = [FitnessState() for _ in threads]

    def commit(self, block: AnsweredBlock) -> None:
        """Score a block again."""
        record, plan, responses = block.committed, block.plan, block.responses
        if not self._fitnesses:
            return
        if plan is None:
            self._leave_out(f"the plan of block {record.block} is lost")
            return
        try:
            pairs = self._score(record, plan, responses)
        except (DataError, LookupError, ValueError) as exc:
            self._leave_out(f"block {record.block}: {exc}")
            return
        for recorded, values in pairs:
            self._compare(recorded, values)

    def _score(self, record: Committed, plan: Proposed, responses: list[TrialResult]) -> _Pairs:
        planned = {p.presentation: p for p in plan.presentations}
        answers = answers_of(planned.get, self._fitnesses, responses)
        states = followed(self._fitnesses, self._states, answers)
        for k, recorded in enumerate(record.fitness_states):
            if recorded is None:
                continue
            known = fitness_state_of(recorded)
            if self._in_order:
                self.found.states += 1
                self.found.states_differing += not _same_state(states[k], known)
            states[k] = known
        self._states = states
        has_references = any(p.thread == REFERENCE for p in plan.presentations)
        scores = score_block(
            self._fitnesses,
            states,
            answers,
            images={part.thread: len(part.images) for part in plan.threads},
            references=len(plan.references) if has_references else 0,
        )
        pairs: _Pairs = list(zip(record.reference_scores, scores.references, strict=True))
        for part in record.threads:
            mean, sem = scores.threads[part.thread]
            pairs += [(part.scores, mean), (part.sem, sem)]
        return pairs

    def _compare(self, recorded: PackedArray, values: Scores) -> None:
        before = np.asarray(recorded.numpy(), dtype=np.float64)
        if before.shape != values.shape:
            self._leave_out(f"scores of shape {before.shape} are of images {values.shape}")
            return
        same = (before == values) | (np.isnan(before) & np.isnan(values))
        self.found.scores += int((~np.isnan(before) | ~np.isnan(values)).sum())
        self.found.differing += int((~same).sum())
        away = np.nan_to_num(np.abs(before - values)[~same], nan=np.inf)
        self.found.largest = max(self.found.largest, float(away.max(initial=0.0)))

    def _leave_out(self, text: str) -> None:
        if text not in self.found.unknown:
            self.found.unknown.append(text)


def _is_told(text: str) -> bool:
    try:
        said = cast("dict[str, Any]", json.loads(text))
    except ValueError as exc:
        raise RecordingError(f"a recorded fitness must be JSON; it is not: {exc}") from exc
    return "units" in said and any(key in said for key in _TOLD)


def _same_state(one: FitnessState, other: FitnessState) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in FitnessState.__dataclass_fields__
    )
