"""The loop's logic: propose a block, see what came back, say what is still to show, commit.

Values only: no sockets, no files, no clock, no pixels. Whoever runs it renders the codes, shows
the images and hands in what came back; the same calls with the same values give the same
session, whether an animal, a simulation or a replayed journal answers.

A block is what is presented between two updates, in a seeded balanced order: one generation of
every thread that is due, reference images, or both, by the session's schedule. A set of fixed
images is a thread too, which learns nothing: its shares are spread over the others'
generations, and it waits for no scores. Blocks may overlap, so that a rig has something to
show while the next generation is computed: a block can be proposed as soon as none of its
threads waits for the scores of an earlier one. Whatever the timing, the blocks are the same.
Between `propose` and `commit`, `still_to_show` applies the missing-trial policy.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from evolver.errors import MissingResponseError, OrderError
from evolver.journal.records import PlannedItem, PlannedPresentation
from evolver.session.fitness import Fitness
from evolver.session.fitness_state import FitnessState
from evolver.session.scoring import REFERENCE, answers_of, followed, score_block
from evolver.session.set_plan import SetPlan
from evolver.types import Codes, Optimizer, Scores
from rig_bridge.trials import TrialResult

Schedule: TypeAlias = Literal["together", "references", "alternate"]
"""Which threads and references share a block.

together: every thread and the references; nothing can be shown while the next is computed.
references: every thread, then the references as a block of their own, and so on.
alternate: threads take turns, each with the references.
"""

_LEAST_TO_LEARN_FROM = 2


@dataclass(frozen=True, slots=True, eq=False)
class Thread:
    """One optimizer and the fitness it climbs; which generator renders it is not known here."""

    name: str
    optimizer: Optimizer
    fitness: Fitness
    rng: np.random.Generator  # the optimizer's own, read for the record and never drawn from
    plan: SetPlan | None = None  # of a set, which learns nothing; None: it evolves


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Proposal:
    """One thread's generation inside a block."""

    thread: int
    generation: int  # from 0
    codes: Codes  # (n, d)
    state: Any  # the optimizer's, before it was asked
    rng_state: str  # JSON of the random stream's state, before it was asked
    items: tuple[PlannedItem, ...] = ()  # of a set: a row of the codes each


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """What is presented between two updates."""

    index: int
    proposals: tuple[Proposal, ...]  # of the threads that are due; none: references only
    references: int  # reference images in it
    presentations: tuple[PlannedPresentation, ...]  # numbered one after the other

    def planned(self, number: int) -> PlannedPresentation | None:
        """Return the presentation of a number; None where it is of another block."""
        place = number - self.presentations[0].presentation if self.presentations else -1
        return self.presentations[place] if 0 <= place < len(self.presentations) else None

    def item(self, planned: PlannedPresentation) -> PlannedItem | None:
        """Return which item of a set a presentation shows; None where it is of no set."""
        items = next((p.items for p in self.proposals if p.thread == planned.thread), ())
        return items[planned.row] if items else None


@dataclass(frozen=True, slots=True, eq=False)
class ThreadOutcome:
    """The scores from which one thread's optimizer learnt."""

    thread: int
    generation: int
    scores: Scores  # (n,) NaN where an image has no valid showing
    sem: Scores  # (n,) NaN where it has fewer than two


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """A block, scored and learnt from."""

    block: int
    threads: tuple[ThreadOutcome, ...]
    reference_scores: tuple[Scores, ...]  # a thread each, by its fitness: (references,)
    reference_levels: tuple[Scores, ...]  # the same of the responses themselves, spikes/s
    fitness_states: tuple[
        FitnessState | None, ...
    ] = ()  # a thread each; None: it learns nothing
    news: tuple[str, ...] = ()  # what scores are made with from now on


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Position:
    """Where a session stands, for one that goes on after an interruption."""

    next_block: int
    next_presentation: int
    generations: tuple[int, ...]  # proposed so far, a thread each
    last_was_threads: bool  # whether the last block proposed had any thread in it
    pending: tuple[Block, ...]  # proposed, not committed


class Session:
    """Any number of threads, evolved block by block.

    Parameters
    ----------
    threads : at least one; where `position` is given, asked for what is pending in it
    references : int >= 0, reference images a block that has any
    repeats : int >= 1, showings of each image in a block
    generations : int >= 1, the session is finished after so many a thread that evolves
    on_ms, off_ms : image on screen, then blank, milliseconds
    order : block index -> the random generator of that block's order; a stream a block, so
        that an order depends on nothing that happened before
    schedule : which threads and references share a block
    position : where an interrupted session stood; None: at its beginning
    fitness_states : what each thread's fitness had learnt there; None: nothing
    """

    def __init__(
        self,
        threads: Sequence[Thread],
        *,
        references: int,
        repeats: int,
        generations: int,
        on_ms: float,
        off_ms: float,
        order: Callable[[int], np.random.Generator],
        schedule: Schedule = "together",
        position: Position | None = None,
        fitness_states: Sequence[FitnessState | None] | None = None,
    ) -> None:
        self.threads = tuple(threads)
        self.references = references
        self.lengths = tuple(
            generations if thread.plan is None else thread.plan.blocks for thread in threads
        )
        self._evolving = tuple(k for k, t in enumerate(self.threads) if t.plan is None)
        self.generations = generations if self._evolving else max(self.lengths)
        self._repeats = repeats
        self._on_ms, self._off_ms = on_ms, off_ms
        self._order = order
        self._schedule: Schedule = schedule
        start = position or Position(
            next_block=0,
            next_presentation=0,
            generations=(0,) * len(self.threads),
            last_was_threads=False,
            pending=(),
        )
        self._next_block = start.next_block
        self._next_presentation = start.next_presentation
        self._proposed = list(start.generations)
        self._last_was_threads = start.last_was_threads
        self._pending = {block.index: block for block in start.pending}
        states = fitness_states or [None] * len(self.threads)
        self._fitness_states = [state or FitnessState() for state in states]
        self._first_blocks = max((t.fitness.reference_blocks for t in threads), default=0)

    @property
    def generations_done(self) -> tuple[int, ...]:
        """Generations committed, a thread each; of a set, shares."""
        waiting = Counter(p.thread for block in self._pending.values() for p in block.proposals)
        return tuple(n - waiting[k] for k, n in enumerate(self._proposed))

    @property
    def blocks_done(self) -> int:
        """How much of `generations` is committed, of the thread that has least before it."""
        leaders = self._leaders()
        done = self.generations_done
        return min(done[k] for k in leaders)

    @property
    def pending(self) -> tuple[Block, ...]:
        """Blocks proposed and not committed, in order."""
        return tuple(self._pending[index] for index in sorted(self._pending))

    @property
    def finished(self) -> bool:
        """Whether every block of the schedule has been committed."""
        return not self._pending and self._due() is None

    @property
    def can_propose(self) -> bool:
        """Whether the next block of the schedule waits for nothing."""
        due = self._due()
        if due is None or not self._waiting().isdisjoint(due[0]):
            return False
        return not due[0] or not self._lacks_references()

    def propose(self) -> Block:
        """Return the next block of the schedule.

        Raises
        ------
        OrderError
            One of its threads has a block that is not committed, or there is no next block.
        """
        due = self._due()
        if due is None:
            raise OrderError(f"the session is finished after {self.generations} generations")
        if due[0] and self._lacks_references():
            raise OrderError(
                "scores are made with the responses to references: commit blocks "
                f"{sorted(self._pending)} first"
            )
        if late := self._waiting().intersection(due[0]):
            waiting = next(
                b.index for b in self.pending if any(p.thread in late for p in b.proposals)
            )
            raise OrderError(
                f"a thread learns before it proposes: commit block {waiting} first"
            )
        return self._propose(*due)

    def propose_references(self) -> Block:
        """Return a block of reference images only, whatever the schedule.

        Raises
        ------
        OrderError
            The session has no reference images.
        """
        if not self.references:
            raise OrderError("a session without reference images has none to show")
        return self._propose((), self.references)

    def _due(self) -> tuple[tuple[int, ...], int] | None:
        """Return the threads and the number of references of the next block; None: finished."""
        if self._schedule == "references" and self._last_was_threads and self.references:
            return (), self.references
        left = [k for k, n in enumerate(self._proposed) if n < self.lengths[k]]
        if not left:
            return None
        if self._begins_with_references():
            return (), self.references
        if self._schedule == "alternate":
            turn = min(self._turns(left), key=lambda ks: min(self._proposed[k] for k in ks))
            return turn, self.references
        due = tuple(k for k in left if self._is_due(k))
        return due, self.references if self._schedule == "together" else 0

    def _turns(self, left: Sequence[int]) -> list[tuple[int, ...]]:
        """Return who takes a turn together: a thread that evolves; all sets that are due."""
        turns = [(k,) for k in left if k in self._evolving]
        sets = tuple(k for k in left if k not in self._evolving and self._is_due(k))
        return [*turns, sets] if sets else turns

    def _leaders(self) -> tuple[int, ...]:
        """Return the threads that sets keep step with: those that evolve, or the longest."""
        if self._evolving:
            return self._evolving
        return (self.lengths.index(self.generations),)

    def _is_due(self, k: int) -> bool:
        """Return whether a thread's next generation comes with the leaders' next, or before.

        A leader's does. Where sets stand alone, they lead: the longest has a share in every
        block. Where all leaders are done, all that is left is due.
        """
        leaders = self._leaders()
        if k in leaders:
            return True
        next_one = max(self._proposed[j] for j in leaders) + 1
        return self._proposed[k] * self.generations < self.lengths[k] * next_one

    def _begins_with_references(self) -> bool:
        """Return whether references come next, of which the first scores will be made.

        As many blocks of them as the session file says, and more where too few showings were
        valid, so that every generation is scored alike, from the first on.
        """
        if not self._first_blocks or any(self._proposed):
            return False
        if self._next_block < self._first_blocks:
            return True
        return not self._pending and self._lacks_references()

    def _lacks_references(self) -> bool:
        """Return whether a fitness knows too few responses to references to score anything."""
        if any(self._proposed):
            return False
        return any(
            thread.fitness.reference_blocks and not thread.fitness.is_ready(state)
            for thread, state in zip(self.threads, self._fitness_states, strict=True)
        )

    def _waiting(self) -> set[int]:
        """Return the threads that learn from a generation that is not committed."""
        proposed = {p.thread for block in self._pending.values() for p in block.proposals}
        return proposed.intersection(self._evolving)

    def _propose(self, threads: Sequence[int], references: int) -> Block:
        proposals: list[Proposal] = []
        for index in threads:
            thread = self.threads[index]
            state = thread.optimizer.state
            rng_state = json.dumps(thread.rng.bit_generator.state)
            codes = thread.optimizer.ask()
            generation = self._proposed[index]
            proposals.append(
                Proposal(
                    thread=index,
                    generation=generation,
                    codes=codes,
                    state=state,
                    rng_state=rng_state,
                    items=() if thread.plan is None else thread.plan.block(generation),
                )
            )
        presentations = self._planned(proposals, references)
        block = Block(self._next_block, tuple(proposals), references, presentations)
        self._next_presentation += len(presentations)
        self._next_block += 1
        for index in threads:
            self._proposed[index] += 1
        self._last_was_threads = bool(threads)
        self._pending[block.index] = block
        return block

    def _planned(
        self, proposals: Sequence[Proposal], references: int
    ) -> tuple[PlannedPresentation, ...]:
        """Return the presentations of the next block, in a balanced order.

        Of a set, whose rows are showings in a seeded order already, each pass over the others
        has the next part, and a row stays after those before it.
        """
        rng = self._order(self._next_block)
        presentations: list[PlannedPresentation] = []
        for repeat in range(self._repeats):
            rows = [self._rows(p, repeat) for p in proposals] + [range(references)]
            shown = [0] * len(rows)
            for group, drawn in balanced_order([len(part) for part in rows], rng):
                is_set = group < len(proposals) and bool(proposals[group].items)
                member = shown[group] if is_set else drawn
                shown[group] += 1
                proposal = proposals[group] if group < len(proposals) else None
                row = rows[group][member]
                items = () if proposal is None else proposal.items
                planned = PlannedPresentation(
                    presentation=self._next_presentation + len(presentations),
                    thread=REFERENCE if proposal is None else proposal.thread,
                    row=row,
                    repeat=items[row].repeat if items else repeat,
                    on_ms=self._on_ms,
                    off_ms=self._off_ms,
                )
                presentations.append(planned)
        return tuple(presentations)

    def _rows(self, proposal: Proposal, repeat: int) -> range:
        """Return the rows of a proposal that one pass over the block shows."""
        n, passes = len(proposal.codes), self._repeats
        if not proposal.items:
            return range(n)
        return range(repeat * n // passes, (repeat + 1) * n // passes)

    def still_to_show(self, index: int, responses: Sequence[TrialResult]) -> tuple[int, ...]:
        """Return the presentations of a pending block that must be shown (again), in order.

        An aborted showing of a thread that re-shows comes back until it succeeds or was shown
        `max_attempts` times; a reference image comes back if any thread re-shows, so that the
        yardstick is as complete as what it measures. One without any response yet always
        comes back. So does, whatever the policy, every aborted one of a thread that evolves and
        has fewer than two scored images: there is no learning from such a generation, and
        going on without the animal would waste it.

        Parameters
        ----------
        index : the block's
        responses : all that came for this block so far, several for one presentation allowed

        Raises
        ------
        MissingResponseError
            A presentation was aborted where the policy is to fail.
        OrderError
            The block is not pending.
        """
        block = self._pending_block(index)
        valid = {r.presentation for r in responses if r.ok}
        tries: dict[int, int] = {}
        for response in responses:
            tries[response.presentation] = tries.get(response.presentation, 0) + 1
        scored: dict[int, set[int]] = {
            p.thread: set() for p in block.proposals if p.thread in self._evolving
        }
        for p in block.presentations:
            if p.presentation in valid and p.thread in scored:
                scored[p.thread].add(p.row)
        again: list[int] = []
        for p in block.presentations:
            if p.presentation in valid:
                continue
            tried = tries.get(p.presentation, 0)
            if not tried:
                again.append(p.presentation)
                continue
            if p.thread != REFERENCE:
                self._fail_if_so_decided(block, p)
            if tried < self._attempts(p) or (
                p.thread in scored and len(scored[p.thread]) < _LEAST_TO_LEARN_FROM
            ):
                again.append(p.presentation)
        return tuple(again)

    def fault_of(self, index: int, response: TrialResult) -> str:
        """Return why a showing of a pending block cannot be scored; empty where it can.

        An answer may be all that the protocol asks for and still have no score: its bins may
        not fit the fitness's windows, its rates overflow the sum.

        Raises
        ------
        OrderError
            The block is not pending.
        """
        planned = self._pending_block(index).planned(response.presentation)
        if planned is None or not response.ok:
            return ""
        faults = (f.fault(response.form, response.arrays) for f in self._fitness_of(planned))
        return next((fault for fault in faults if fault), "")

    def may_commit(self, index: int) -> bool:
        """Return whether a pending block's turn has come.

        Where a fitness learns from responses, blocks are scored in their order: what a
        generation is scored with must not depend on how fast the one before was answered.
        """
        return index == min(self._pending) or not any(t.fitness.learns for t in self.threads)

    def commit(self, index: int, responses: Sequence[TrialResult]) -> Outcome:
        """Score a pending block and let the optimizers of its threads learn from it.

        An image whose showings were all aborted is left out, and its weight goes to the others.

        Parameters
        ----------
        index : the block's
        responses : all that came for it; aborted ones are not counted

        Raises
        ------
        DataError
            A response's arrays are not what they must be; nothing was learnt.
        OrderError
            The block is not pending, or it is not its turn (`may_commit`), or a thread has
            fewer than two scored images (`still_to_show` names what to show first); nothing
            was learnt.
        """
        block = self._pending_block(index)
        if not self.may_commit(index):
            raise OrderError(
                f"a fitness learns from every block in order: commit block "
                f"{min(self._pending)} before block {index}"
            )
        fitnesses = [thread.fitness for thread in self.threads]
        answers = answers_of(block.planned, fitnesses, responses)
        states = followed(fitnesses, self._fitness_states, answers)
        scores = score_block(
            fitnesses,
            states,
            answers,
            images={p.thread: len(p.codes) for p in block.proposals},
            references=block.references,
        )
        outcomes: list[ThreadOutcome] = []
        for proposal in block.proposals:
            k = proposal.thread
            mean, sem = scores.threads[k]
            count = int(np.isfinite(mean).sum())
            if k in self._evolving and count < _LEAST_TO_LEARN_FROM:
                raise OrderError(
                    f"a generation needs {_LEAST_TO_LEARN_FROM} scored images to learn from; "
                    f"thread {self.threads[k].name!r} has {count} in block "
                    f"{block.index}. Show what still_to_show() names first"
                )
            outcomes.append(ThreadOutcome(k, proposal.generation, mean, sem))
        for proposal, outcome in zip(block.proposals, outcomes, strict=True):
            if proposal.thread not in self._evolving:
                continue
            rows = np.flatnonzero(np.isfinite(outcome.scores))
            optimizer = self.threads[proposal.thread].optimizer
            optimizer.tell(proposal.codes[rows], outcome.scores[rows])
        news = self._news(states)
        self._fitness_states = states
        del self._pending[index]
        learns = [thread.fitness.learns for thread in self.threads]
        return Outcome(
            block.index,
            tuple(outcomes),
            scores.references,
            scores.levels,
            tuple(state if has else None for state, has in zip(states, learns, strict=True)),
            news,
        )

    def _news(self, states: Sequence[FitnessState]) -> tuple[str, ...]:
        """Return what scores are made with from now on, once the session has begun so."""

        def begun(thread: Thread, state: FitnessState) -> bool:
            return state.blocks >= self._first_blocks and thread.fitness.is_ready(state)

        return tuple(
            f"{thread.name}: {thread.fitness.needs_text(state)}"
            for thread, before, state in zip(
                self.threads, self._fitness_states, states, strict=True
            )
            if thread.fitness.learns and begun(thread, state) and not begun(thread, before)
        )

    def _attempts(self, p: PlannedPresentation) -> int:
        """Return how often `p` is shown at most, by its thread's policy."""
        policies = self._fitness_of(p)
        return max((f.max_attempts for f in policies if f.missing == "reshow"), default=1)

    def _fitness_of(self, p: PlannedPresentation) -> list[Fitness]:
        """Return what a showing is scored by: every thread's fitness, for a reference."""
        scoring = self.threads if p.thread == REFERENCE else (self.threads[p.thread],)
        return [thread.fitness for thread in scoring]

    def _fail_if_so_decided(self, block: Block, p: PlannedPresentation) -> None:
        thread = self.threads[p.thread]
        if thread.fitness.missing == "fail":
            raise MissingResponseError(
                f"every showing must be valid (missing = 'fail'); presentation "
                f"{p.presentation} of thread {thread.name!r} in block {block.index} was "
                "aborted. With missing = 'reshow' or 'drop' the session goes on"
            )

    def _pending_block(self, index: int) -> Block:
        if index not in self._pending:
            raise OrderError(
                f"block {index} must be proposed and not committed yet; pending are "
                f"{sorted(self._pending) or 'none'}"
            )
        return self._pending[index]


def balanced_order(groups: Sequence[int], rng: np.random.Generator) -> list[tuple[int, int]]:
    """Return a random order in which every group is spread evenly over the whole.

    Group g's m members, in random order, are placed one in each of m equal parts of the
    block, at a random place within the part. So at any moment each group has had its share of
    the showings to within one, and slow drift of the recording falls on all groups alike.

    Parameters
    ----------
    groups : members of each group
    rng : numpy.random.Generator

    Returns
    -------
    list of (group, member), every member once
    """
    places: list[tuple[float, int, int]] = []
    for group, m in enumerate(groups):
        members = rng.permutation(m)
        at = (np.arange(m) + rng.random(m)) / max(m, 1)
        places += [(float(t), group, int(i)) for t, i in zip(at, members, strict=True)]
    return [(group, member) for _, group, member in sorted(places)]
