"""A session's scores by another fitness than its own, from the recorded responses.

Knows records and fitnesses. Blocks are scored in their order, whatever order they were
committed in, as in a session whose fitness learns: that follows from the blocks alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from evolver.errors import DataError
from evolver.journal.records import AnyRecord, Proposed, RigRecord, RunStart
from evolver.session.fitness import Fitness
from evolver.session.fitness_state import FitnessState
from evolver.session.rescore import AnsweredBlock, answered_blocks
from evolver.session.scoring import REFERENCE, SeenShowings, answers_of, followed, score_block
from evolver.types import Scores
from rig_bridge.trials import TrialResult


@dataclass(slots=True)
class OtherScores:
    """What came of it.

    Attributes
    ----------
    threads : (thread, generation) -> (scores, sem), each (n,) float64; NaN where an image has
        no valid showing, or the fitness had not learnt enough to score anything
    unscorable : why showings have no score by this fitness, and how many; a session would have
        taken them for aborted ones
    lost : committed blocks whose plan is lost
    """

    threads: dict[tuple[int, int], tuple[Scores, Scores]] = field(
        default_factory=dict[tuple[int, int], "tuple[Scores, Scores]"]
    )
    unscorable: Counter[str] = field(default_factory=Counter[str])
    lost: int = 0


def other_scores(
    records: Iterable[AnyRecord], resolve: Callable[[RigRecord], Sequence[Fitness]]
) -> OtherScores:
    """Score every committed block of a session by other fitnesses.

    Parameters
    ----------
    records : of the session, from its first
    resolve : called with each rig that joined; returns a fitness a thread, for its units

    Raises
    ------
    ConfigError
        `resolve` refuses a rig.
    DataError
        A score is none: too large to be learnt from.
    """
    found = OtherScores()
    fitnesses: Sequence[Fitness] = ()
    seen: dict[int, tuple[Proposed, Sequence[Fitness], list[SeenShowings]]] = {}
    for item in answered_blocks(records):
        match item:
            case RunStart():
                pass
            case RigRecord():
                fitnesses = resolve(item)
            case AnsweredBlock(plan=None):
                found.lost += 1
            case AnsweredBlock(plan=plan) if plan is not None:
                planned = {p.presentation: p for p in plan.presentations}
                valid = [r for r in item.responses if _is_scorable(r, fitnesses, found)]
                answers = answers_of(planned.get, fitnesses, valid)
                seen[plan.block] = plan, fitnesses, answers
            case _:
                pass
    states = [FitnessState() for _ in fitnesses]
    for block in sorted(seen):
        plan, then, answers = seen[block]
        states = followed(then, states, answers)
        _score(plan, then, states, answers, found)
    return found


def _score(
    plan: Proposed,
    fitnesses: Sequence[Fitness],
    states: Sequence[FitnessState],
    answers: Sequence[SeenShowings],
    found: OtherScores,
) -> None:
    has_references = any(p.thread == REFERENCE for p in plan.presentations)
    try:
        scores = score_block(
            fitnesses,
            states,
            answers,
            images={part.thread: len(part.images) for part in plan.threads},
            references=len(plan.references) if has_references else 0,
        )
    except DataError as exc:
        raise DataError(f"block {plan.block}: {exc}") from exc
    for part in plan.threads:
        found.threads[part.thread, part.generation] = scores.threads[part.thread]


def _is_scorable(
    response: TrialResult, fitnesses: Sequence[Fitness], found: OtherScores
) -> bool:
    """Return whether every fitness can score a showing; keep why one cannot."""
    if not response.ok:
        return False
    faults = (fitness.fault(response.form, response.arrays) for fitness in fitnesses)
    fault = next((fault for fault in faults if fault), "")
    if fault:
        found.unscorable[fault] += 1
    return not fault
