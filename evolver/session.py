"""The loop's logic: propose a block, see what came back, say what is still to show, commit.

Values only: no sockets, no files, no clock, no pixels. Whoever runs it renders the codes, shows
the images and hands in what came back; the same calls with the same values give the same
session, whether an animal, a simulation or a replayed journal answers.

A block is one generation of every thread, plus the reference images, in a seeded balanced
order. `Session.propose` and `Session.commit` take turns; between them `still_to_show` applies
the missing-trial policy.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evolver.errors import MissingResponseError, OrderError
from evolver.fitness import Fitness, mean_and_sem
from evolver.recording.responses import Form
from evolver.types import Codes, Optimizer, Scores

REFERENCE = -1
"""Thread number of a reference image's presentation."""

_LEAST_TO_LEARN_FROM = 2


@dataclass(frozen=True, slots=True, eq=False)
class Thread:
    """One optimizer and the fitness it climbs; which generator renders it is not known here."""

    name: str
    optimizer: Optimizer
    fitness: Fitness
    rng: np.random.Generator  # the optimizer's own, read for the record and never drawn from


@dataclass(frozen=True, slots=True)
class Presentation:
    """One showing of one image."""

    presentation: int  # unique in the session, in the order of showing
    thread: int  # index, or REFERENCE
    row: int  # of the thread's codes, or of the reference images
    repeat: int  # from 0


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """One thread's generation inside a block."""

    thread: int
    generation: int  # from 0
    codes: Codes  # (n, d)
    state: Any  # the optimizer's, before it was asked
    rng_state: str  # JSON of the random stream's state, before it was asked


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """What is presented between two updates."""

    index: int
    proposals: tuple[Proposal, ...]
    presentations: tuple[Presentation, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Response:
    """What came back for one showing; of an aborted one only that it was."""

    presentation: int
    ok: bool
    form: Form
    arrays: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class ThreadOutcome:
    """What one thread's optimizer was told."""

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


class Session:
    """Any number of threads, evolved block by block.

    Parameters
    ----------
    threads : at least one
    references : int >= 0, reference images in every block
    repeats : int >= 1, showings of each image in a block
    generations : int >= 1, the session is finished after so many
    order : block index -> the random generator of that block's order; a stream a block, so
        that an order depends on nothing that happened before
    """

    def __init__(
        self,
        threads: Sequence[Thread],
        *,
        references: int,
        repeats: int,
        generations: int,
        order: Callable[[int], np.random.Generator],
    ) -> None:
        self.threads = tuple(threads)
        self.references = references
        self.generations = generations
        self._repeats = repeats
        self._order = order
        self._next_block = 0
        self._next_presentation = 0
        self._pending: Block | None = None

    @property
    def blocks_done(self) -> int:
        """Blocks committed."""
        return self._next_block

    @property
    def finished(self) -> bool:
        """Whether every generation has been committed."""
        return self._next_block >= self.generations

    def propose(self) -> Block:
        """Return the next block: every thread's next codes, and the order of showing.

        Raises
        ------
        OrderError
            The last block has not been committed, or the session is finished.
        """
        if self._pending is not None:
            raise OrderError(
                f"propose() and commit() take turns: commit block {self._pending.index} first"
            )
        if self.finished:
            raise OrderError(f"the session is finished after {self.generations} generations")
        proposals: list[Proposal] = []
        for index, thread in enumerate(self.threads):
            state = thread.optimizer.state
            rng_state = json.dumps(thread.rng.bit_generator.state)
            codes = thread.optimizer.ask()
            proposals.append(Proposal(index, self._next_block, codes, state, rng_state))
        groups = [len(p.codes) for p in proposals] + [self.references]
        presentations: list[Presentation] = []
        rng = self._order(self._next_block)
        for repeat in range(self._repeats):
            for group, row in balanced_order(groups, rng):
                thread = group if group < len(proposals) else REFERENCE
                number = self._next_presentation + len(presentations)
                presentations.append(Presentation(number, thread, row, repeat))
        self._next_presentation += len(presentations)
        self._pending = Block(self._next_block, tuple(proposals), tuple(presentations))
        return self._pending

    def still_to_show(self, responses: Sequence[Response]) -> tuple[int, ...]:
        """Return the presentations of the pending block that must be shown (again), in order.

        An aborted showing of a thread that re-shows comes back until it succeeds or was shown
        `max_attempts` times; a reference image comes back if any thread re-shows, so that the
        yardstick is as complete as what it measures. One without any response yet always
        comes back. So does, whatever the policy, every aborted one of a thread that has fewer
        than two scored images: there is no learning from such a generation, and going on
        without the animal would waste it.

        Parameters
        ----------
        responses : all that came for this block so far, several for one presentation allowed

        Raises
        ------
        MissingResponseError
            A presentation was aborted where the policy is to fail.
        OrderError
            No block is pending.
        """
        block = self._pending_block()
        valid = {r.presentation for r in responses if r.ok}
        tries: dict[int, int] = {}
        for response in responses:
            tries[response.presentation] = tries.get(response.presentation, 0) + 1
        scored: list[set[int]] = [set() for _ in self.threads]
        for p in block.presentations:
            if p.presentation in valid and p.thread != REFERENCE:
                scored[p.thread].add(p.row)
        again: list[int] = []
        for p in block.presentations:
            if p.presentation in valid:
                continue
            tried = tries.get(p.presentation, 0)
            if tried and p.thread != REFERENCE:
                self._fail_if_so_decided(block, p)
            if tried < self._attempts(p) or (
                p.thread != REFERENCE and len(scored[p.thread]) < _LEAST_TO_LEARN_FROM
            ):
                again.append(p.presentation)
        return tuple(again)

    def commit(self, responses: Sequence[Response]) -> Outcome:
        """Score the pending block and let every optimizer learn from it.

        An image whose showings were all aborted is left out, and its weight goes to the others.

        Parameters
        ----------
        responses : all that came for this block; aborted ones are not counted

        Raises
        ------
        DataError
            A response's arrays are not what they must be; nothing was learnt.
        OrderError
            No block is pending, or a thread has fewer than two scored images (`still_to_show`
            names what to show first); nothing was learnt.
        """
        block = self._pending_block()
        place = {p.presentation: p for p in block.presentations}
        valid = [r for r in responses if r.ok and r.presentation in place]
        scored: list[list[list[float]]] = [[[] for _ in p.codes] for p in block.proposals]
        reference: list[list[list[float]]] = [
            [[] for _ in range(self.references)] for _ in self.threads
        ]
        for response in valid:
            p = place[response.presentation]
            if p.thread == REFERENCE:
                for thread, rows in zip(self.threads, reference, strict=True):
                    rows[p.row].append(thread.fitness.score(response.form, response.arrays))
            else:
                fitness = self.threads[p.thread].fitness
                scored[p.thread][p.row].append(fitness.score(response.form, response.arrays))

        outcomes: list[ThreadOutcome] = []
        for proposal, values in zip(block.proposals, scored, strict=True):
            mean, sem = mean_and_sem(values)
            count = int(np.isfinite(mean).sum())
            if count < _LEAST_TO_LEARN_FROM:
                raise OrderError(
                    f"a generation needs {_LEAST_TO_LEARN_FROM} scored images to learn from; "
                    f"thread {self.threads[proposal.thread].name!r} has {count} in block "
                    f"{block.index}. Show what still_to_show() names first"
                )
            outcomes.append(ThreadOutcome(proposal.thread, proposal.generation, mean, sem))
        for proposal, outcome in zip(block.proposals, outcomes, strict=True):
            shown = np.flatnonzero(np.isfinite(outcome.scores))
            optimizer = self.threads[proposal.thread].optimizer
            optimizer.tell(proposal.codes[shown], outcome.scores[shown])
        self._pending = None
        self._next_block += 1
        return Outcome(
            block.index,
            tuple(outcomes),
            tuple(mean_and_sem(rows)[0] for rows in reference),
        )

    def _attempts(self, p: Presentation) -> int:
        """Return how often `p` is shown at most, by its thread's policy."""
        watching = self.threads if p.thread == REFERENCE else (self.threads[p.thread],)
        policies = [thread.fitness for thread in watching]
        return max((f.max_attempts for f in policies if f.missing == "reshow"), default=1)

    def _fail_if_so_decided(self, block: Block, p: Presentation) -> None:
        thread = self.threads[p.thread]
        if thread.fitness.missing == "fail":
            raise MissingResponseError(
                f"every showing must be valid (missing = 'fail'); presentation "
                f"{p.presentation} of thread {thread.name!r} in block {block.index} was "
                "aborted. With missing = 'reshow' or 'drop' the session goes on"
            )

    def _pending_block(self) -> Block:
        if self._pending is None:
            raise OrderError("propose() and commit() take turns: propose() a block first")
        return self._pending


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
