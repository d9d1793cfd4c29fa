"""Optimizers of many tasks as one batch, each with the face of an optimizer of its own.

Knows optimizers and their random generators. Knows nothing of images or scores' meaning.
A batch is in float64 and draws each task's own stream, so that a task's codes are those it has
by itself but for rounding, whatever its company. Of codes whose showings were all lost nothing
is learnt, as by itself: such a population learns apart, and stays in its batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from evolver.campaign.shared import text_of
from evolver.errors import OrderError
from evolver.optimizers.ask_tell import rows_told
from evolver.optimizers.batched import Batched, is_batchable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evolver.config.tables import Config
    from evolver.setup.build import Parts
    from evolver.types import Codes, Matrix, Optimizer, Scores


class Member:
    """One population of a batch: an `Optimizer` that is asked and told with the others."""

    state_type: ClassVar[type[Any]] = type(None)

    def __init__(self, company: Company, row: int, alone: Optimizer) -> None:
        self._company, self._row = company, row
        self.d, self.popsize = alone.d, alone.popsize
        self.state = None

    @classmethod
    def from_state(
        cls,
        state: Any,  # noqa: ANN401, ARG003
        *,
        rng: np.random.Generator,  # noqa: ARG003
    ) -> Member:
        """Refuse: a batch is not gone on from."""
        raise OrderError("a population of a batch has no state of its own to go on from")

    def ask(self) -> Codes:
        """Return the next codes, (n, d); the first who asks draws for all."""
        return self._company.ask(self._row)

    def tell(self, codes: Codes, scores: Scores) -> None:
        """Hand in scores, (n,), of codes asked for; the last who tells learns for all."""
        self._company.tell(self._row, codes, np.asarray(scores, dtype=np.float64))

    def adopt(self, codes: Codes) -> None:  # noqa: ARG002  as an optimizer
        """Refuse: codes of a batch are its own."""
        raise OrderError("a population of a batch takes no other codes than its own")

    @property
    def may_ask(self) -> bool:
        """Whether nobody's scores are waited for before the next codes can be drawn."""
        return self._company.may_ask(self._row)

    def leave(self) -> None:
        """Be waited for no longer."""
        self._company.leave(self._row)


class Company:
    """The batch that members share.

    Parameters
    ----------
    alone : optimizers of one kind and setting, at their beginning
    rngs : their random generators
    device : where the batch is
    """

    def __init__(
        self, alone: Sequence[Any], rngs: Sequence[np.random.Generator], *, device: str
    ) -> None:
        self._batch = Batched(alone, rngs, dtype="float64", device=device, exact=True)
        self._kind = alone[0]  # of which nothing but functions of a state is called
        self.members = [Member(self, row, one) for row, one in enumerate(alone)]
        self._here = set(range(len(alone)))
        self._codes: Any = None  # (B, m + n, d): a head of m that is not drawn, and the rest
        self._head = 0
        self._waiting: set[int] = set()  # for their scores
        self._asked: set[int] = set()
        self._scores: Matrix = np.zeros((0, 0))  # (B, n)
        self._partly: dict[int, tuple[Codes, Scores]] = {}

    def may_ask(self, row: int) -> bool:
        """Return whether a member need not wait for others' scores."""
        return self._codes is None or row in self._waiting

    def ask(self, row: int) -> Codes:
        """Return a member's next codes."""
        if row in self._asked:
            raise OrderError("ask() and tell() take turns: tell() the codes asked for first")
        if self._codes is None:
            codes = self._batch.ask().cpu().numpy()
            head = self._kind.head(self._batch.state)
            self._scores = np.zeros(codes.shape[:2], dtype=np.float64)
            self._head = 0 if head is None else head.shape[1]
            self._codes = (
                codes if head is None else np.concatenate([head.cpu().numpy(), codes], axis=1)
            )
            self._waiting = set(self._here)
        elif row not in self._waiting:
            raise OrderError("the populations of a batch advance together: one is a step ahead")
        self._asked.add(row)
        return self._codes[row]

    def tell(self, row: int, codes: Codes, scores: Scores) -> None:
        """Take a member's scores."""
        if row not in self._asked:
            raise OrderError("ask() and tell() take turns: ask() for codes before tell()")
        asked = self._codes[row]
        rows = rows_told(codes, scores, asked=asked, at_least=1)
        if len(rows) == len(asked):
            self._scores[row] = scores[np.argsort(rows)][self._head :]
        else:
            order = np.argsort(rows)
            order = order[self._kind.passed_over(self._batch.state, rows[order]) :]
            self._partly[row] = (codes[order], scores[order])
        self._asked.discard(row)
        self._waiting.discard(row)
        self._learn()

    def leave(self, row: int) -> None:
        """Wait for a member no longer."""
        self._here.discard(row)
        self._asked.discard(row)
        if row in self._waiting:
            self._waiting.discard(row)
            self._learn()

    def _learn(self) -> None:
        if not self._waiting and self._here:
            self._batch.tell(self._scores, self._partly)
            self._codes, self._partly = None, {}


def companies(
    configs: Sequence[Config], parts: Sequence[Parts], *, device: str
) -> list[list[Optimizer]]:
    """Return each task's optimizers: members of batches, or its own where that cannot be.

    Parameters
    ----------
    configs, parts : of tasks that advance together
    device : where batches are
    """
    optimizers = [list(of_task.optimizers) for of_task in parts]
    groups: dict[str, list[tuple[int, int]]] = {}
    for i, (config, of_task) in enumerate(zip(configs, parts, strict=True)):
        for k in range(len(config.threads)):
            if not _why_apart(config, of_task.optimizers[k]):
                groups.setdefault(_kind(config, k, of_task), []).append((i, k))
    for places in groups.values():
        if len(places) < 2:
            continue
        alone = [parts[i].optimizers[k] for i, k in places]
        rngs = [parts[i].streams[k] for i, k in places]
        for (i, k), member in zip(
            places, Company(alone, rngs, device=device).members, strict=True
        ):
            optimizers[i][k] = member
    return optimizers


def searches_apart(config: Config, optimizers: Sequence[Optimizer]) -> tuple[str, ...]:
    """Return why some of a task's optimizers can be in no batch; empty where all can."""
    return tuple(
        f"optimizer {table.optimizer}: {why}"
        for table, one in zip(config.threads, optimizers, strict=False)  # then come the sets
        if not isinstance(one, Member) and (why := _why_apart(config, one))
    )


def _why_apart(config: Config, optimizer: Optimizer) -> str:
    """Return why an optimizer can be in no batch; empty where it can."""
    if not is_batchable(optimizer):
        return "it is no function of a state and scores alone"
    if not is_batchable(optimizer, all_told=config.simulation.abort_rate == 0):
        return "it keeps all codes, of which simulation.abort_rate loses some"
    return ""


def _kind(config: Config, thread: int, parts: Parts) -> str:
    """Return what is equal for populations whose states are of one shape and setting.

    Those of a task's first thread are none of another's second: so no two tasks can ever wait
    for one another.
    """
    table, optimizer = config.threads[thread], parts.optimizers[thread]
    given = getattr(optimizer.state, "given", np.zeros((0, 0)))
    return text_of((
        (table.optimizer, parts.optimizer_options[thread], optimizer.d, optimizer.popsize),
        [axes.sha256 for axes in parts.axes[thread]],
        (thread, len(given)),
    ))
