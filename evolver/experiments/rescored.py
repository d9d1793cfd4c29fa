"""A recorded session by other scores: which images would have ranked otherwise, and where to.

Knows recordings and fitnesses; draws and prints nothing. Nothing is rendered: codes and
responses are all that is needed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evolver.analysis.quantities import Quantity
from evolver.analysis.score_agreement import RankAgreement, angle_between, rank_agreement
from evolver.errors import ConfigError, EvolverError
from evolver.experiments.directions import Moves, moves_of
from evolver.recording.replay import replayed_records
from evolver.session.fitness_record import recorded_fitness
from evolver.session.other_scores import other_scores
from evolver.session.rescore import Rescored, rescore

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evolver.journal.records import RigRecord
    from evolver.recording import Recording, ThreadData
    from evolver.session.fitness import Fitness
    from evolver.setup.other_fitness import OtherFitness
    from evolver.types import Scores


_UNITS = 4  # that are named


@dataclass(frozen=True, slots=True, eq=False)
class RescoredGeneration:
    """One generation of a thread, by both scores.

    Attributes
    ----------
    generation : from 0
    image_id : (n,) rows of the recording's images
    before, after : (n,) float64, the recorded scores and the others; NaN where there is none
    agreement : of the two
    turned : degrees between the two directions in which the search moved
    by : what moved: the optimizer's own update, or the weighted mean of the better half
    repeats : whether the optimizer comes to the very state that is recorded; None: not known
    """

    generation: int
    image_id: NDArray[np.int64]
    before: Scores
    after: Scores
    agreement: RankAgreement
    turned: Quantity
    by: str
    repeats: bool | None


@dataclass(frozen=True, slots=True, eq=False)
class RescoredThread:
    """A thread by both scores.

    Attributes
    ----------
    name : of the thread
    unit, after_unit : what its recorded scores, and the others, are counted in
    before_text, after_text : how either score is made, of which units
    generations : those that were scored
    agreement : of all images together
    turned : degrees between all its moves together, and what they would have been together,
        each given the codes that were shown
    """

    name: str
    unit: str
    before_text: str
    after_text: str
    after_unit: str
    generations: tuple[RescoredGeneration, ...]
    agreement: RankAgreement
    turned: Quantity

    @property
    def parents(self) -> tuple[int, int]:
        """How many of the generations' parents differ, of how many; not of ties alone."""
        rows = [g.agreement for g in self.generations if not g.agreement.tied]
        return sum(a.parents_differing for a in rows), sum(a.parents for a in rows)


@dataclass(frozen=True, slots=True, eq=False)
class RescoredSession:
    """A session by both scores.

    Attributes
    ----------
    check : whether its recorded scores come out again of its responses by its own fitness
    threads : those of which something was changed
    unscorable : why showings have no other score, and how many
    lost : blocks that could not be scored, as their plan is lost
    replay : where the recording is a replay, what is to be said of it; else empty
    """

    check: Rescored
    threads: tuple[RescoredThread, ...]
    unscorable: dict[str, int]
    lost: int
    replay: str = ""


def rescored_session(
    recording: Recording,
    fitness: OtherFitness,
    *,
    update: Callable[[int, int], None] = lambda _done, _of: None,
) -> RescoredSession:
    """Score a recorded session by another fitness.

    Parameters
    ----------
    recording : open
    fitness : the other one, of every thread
    update : told how many generations are finished, and of how many

    Raises
    ------
    ConfigError
        The fitness does not fit a rig of the session, or nothing can be scored by it.
    """
    check = rescore(replayed_records(recording), in_order=False)
    last: list[Fitness] = []
    labels: list[str] = []

    def resolve(rig: RigRecord) -> list[Fitness]:
        last[:], labels[:] = fitness.resolve(rig), [unit.label for unit in rig.units]
        return list(last)

    others = other_scores(replayed_records(recording), resolve)
    scored = {k: _scored(recording.threads[k]) for k in fitness.changed}
    if not any(
        np.isfinite(scores).any()
        for (k, _), (scores, _) in others.threads.items()
        if k in scored
    ):
        reason = next(iter(others.unscorable), "it would have learnt too little to score any")
        raise ConfigError(f"no image of this recording has a score by this fitness: {reason}")
    total, done = sum(map(len, scored.values())), 0
    threads: list[RescoredThread] = []
    for k, generations in scored.items():
        thread = recording.threads[k]
        rows: list[RescoredGeneration] = []
        moves: list[Moves] = []
        for generation in generations:
            after = others.threads.get((k, generation))
            row, move = _generation(thread, generation, None if after is None else after[0])
            rows.append(row)
            moves += [] if move is None else [move]
            done += 1
            update(done, total)
        threads.append(_thread(thread, rows, moves, last[k], labels))
    return RescoredSession(
        check,
        tuple(threads),
        dict(others.unscorable),
        others.lost,
        recording.replay_line,
    )


def _generation(
    thread: ThreadData, generation: int, after: Scores | None
) -> tuple[RescoredGeneration, Moves | None]:
    rows = np.flatnonzero(thread.generation == generation)
    before = thread.score[rows]
    if after is None or len(after) != len(rows):  # its plan is lost
        after = np.full(len(rows), np.nan)
    moves = moves_of(thread, generation, before, after)
    agreement = rank_agreement(before, after)
    if agreement.tied:
        moves = None
        turned, by, repeats = Quantity.undefined(agreement.tied), "", None
    elif moves is None:
        turned, by, repeats = Quantity.undefined("fewer than two images have a score"), "", None
    else:
        turned, by = angle_between(moves.before, moves.after), moves.by
        repeats = moves.repeats
    row = RescoredGeneration(
        generation,
        thread.image_id[rows],
        before,
        after,
        agreement,
        turned,
        by,
        repeats,
    )
    return row, moves


def _thread(
    thread: ThreadData,
    rows: list[RescoredGeneration],
    moves: list[Moves],
    fitness: Fitness,
    labels: Sequence[str],
) -> RescoredThread:
    before = np.concatenate([row.before for row in rows]) if rows else np.zeros(0)
    after = np.concatenate([row.after for row in rows]) if rows else np.zeros(0)
    turned = Quantity.undefined("there was no move")
    if moves:
        turned = angle_between(
            np.sum([move.before for move in moves], axis=0),
            np.sum([move.after for move in moves], axis=0),
        )
    return RescoredThread(
        name=thread.name,
        unit=str(thread.fitness.get("unit", "spikes/s")),
        before_text=_recorded_text(thread, fitness.n_units, labels),
        after_text=_text(fitness, labels),
        after_unit=fitness.unit,
        generations=tuple(rows),
        agreement=rank_agreement(before, after),
        turned=turned,
    )


def _text(fitness: Fitness, labels: Sequence[str]) -> str:
    """Return how scores are made, and of which units, each by its row and its label."""
    text = f"{fitness.description()}; {units_text(fitness.units.tolist(), labels)}"
    if len(fitness.others):
        text += f", others {units_text(fitness.others.tolist(), labels)}"
    return text


def units_text(units: Sequence[int], labels: Sequence[str]) -> str:
    """Return units by their rows and labels: 'unit 3 (mini:fc6:3)', the first few of many."""
    names = [
        f"{row} ({labels[row]})" if row < len(labels) and labels[row] else str(row)
        for row in units[:_UNITS]
    ]
    more = f" and {len(units) - _UNITS} more" if len(units) > _UNITS else ""
    return f"unit{'s' if len(units) != 1 else ''} {', '.join(names)}{more}"


def _recorded_text(thread: ThreadData, n_units: int, labels: Sequence[str]) -> str:
    """Return how a thread was scored, in words."""
    if "kind" not in thread.fitness and "response_ms" not in thread.fitness:
        return "the record does not say how"
    try:
        return _text(recorded_fitness(json.dumps(thread.fitness), n_units), labels)
    except EvolverError as exc:
        return str(exc)


def _scored(thread: ThreadData) -> list[int]:
    """Return the generations of a thread that were scored."""
    return np.unique(thread.generation[np.isfinite(thread.score)]).tolist()
