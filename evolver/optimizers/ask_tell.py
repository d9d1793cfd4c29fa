"""Asking and telling, as every optimizer of this room does.

Knows whose turn it is, what was asked for, and the random generator. Knows no algorithm: each
optimizer gives it three functions over its state, and what it must check.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np

from evolver.checks import check_batch, check_scores
from evolver.errors import DataError, OrderError
from evolver.types import Codes, Scores

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_BLOCK = 40_960  # numbers sampled at a time: what is drawn is still in the cache when scaled


class DrawSource(Protocol):
    """What an optimizer draws from: a `numpy.random.Generator`, or a stand-in for many."""

    def standard_normal(self, size: tuple[int, ...]) -> Any:  # noqa: ANN401  any array library
        """Draw from the normal distribution N(0, 1)."""
        ...

    def random(self, size: tuple[int, ...]) -> Any:  # noqa: ANN401
        """Draw from the uniform distribution on [0, 1)."""
        ...


class State(Protocol):
    """What the states of all optimizers have."""

    @property
    def popsize(self) -> int:
        """Codes drawn a generation."""
        ...

    @property
    def given(self) -> Codes:
        """The caller's first population, (m, d), while it is due; (0, d) after."""
        ...


StateT = TypeVar("StateT", bound=State)


@dataclass(frozen=True, slots=True)
class Functions(Generic[StateT]):
    """An optimizer's algorithm, as functions of its state; `AskTell` says what each does."""

    draws: Callable[[StateT, DrawSource], tuple[Any, ...]]
    sample: Callable[..., Any]
    update: Callable[[StateT, Any, Any], StateT]


class AskTell(Generic[StateT]):
    """`ask` and `tell` in turns around pure functions; owns the random generator.

    A subclass says what `sample` and `update` are, `draws` and `d` where they are not those of
    a population of normal draws in all dimensions, and what `_check`s a state
    that it is to go on from.
    """

    state_type: ClassVar[type[Any]]
    keeps_codes: ClassVar[bool] = False
    """Whether a state's arrays are the longer the more codes were told."""
    popsize_follows_d: ClassVar[bool] = True
    """Whether its population is larger, the more dimensions codes have, where none is given."""
    popsize_varies: bool = False
    """Whether some generations have more codes than `popsize`."""
    notice: str = ""
    """What the last `ask` came upon that a person should know; mostly nothing."""
    usual_radius: ClassVar[float | None] = None
    """Norm of its codes where none is given, in units of sqrt(d); None: they have none."""

    def __init__(self, state: StateT, *, rng: np.random.Generator) -> None:
        self._begin(state, rng)

    def _begin(self, state: StateT, rng: np.random.Generator) -> None:
        self._state, self._rng = state, rng
        self._asked: Codes | None = None
        self._kept = np.empty((0, 0))  # memory of the codes asked for last: fresh pages cost

    @classmethod
    def from_state(cls, state: StateT, *, rng: np.random.Generator) -> Self:
        """Go on from a `state`, at the beginning of a generation.

        With `rng` in the state its stream had when `state` was read (before that
        generation's `ask`), everything that follows is the same bit for bit.

        Raises
        ------
        DataError
            The state's arrays do not fit one another or are not finite.
        """
        cls._check(state)
        self = cls.__new__(cls)
        self._begin(state, rng)
        return self

    def draws(self, s: StateT, rng: DrawSource) -> tuple[Any, ...]:
        """Draw what the next population is made of: the same numbers whatever was scored.

        Here z, standard normal, (n, d); a subclass may want another shape, or more.
        """
        return (rng.standard_normal((s.popsize, s.given.shape[1])),)

    def sample(self, s: StateT, *draws: Any) -> Codes:  # noqa: ANN401  any array library
        """Turn draws into codes, (n, d). Pure; no branch on array values."""
        raise NotImplementedError

    def update(self, s: StateT, codes: Codes, scores: Scores) -> StateT:
        """Return the state one generation on. Pure; no branch on array values."""
        raise NotImplementedError

    def head(self, s: StateT) -> Any:  # noqa: ANN401, ARG002  any array library
        """Return codes that are asked for before those that are drawn, (m, d), or None.

        They show how the search goes. Of the states of many populations in one, (B, m, d).
        """
        return None

    def passed_over(self, s: StateT, rows: NDArray[np.intp]) -> int:  # noqa: ARG002
        """Return how many of the rows told, ascending, are of the head and not learnt from."""
        return 0

    def functions(self, asarray: Callable[[Any], Any]) -> Functions[StateT]:  # noqa: ARG002
        """Return the three functions; `asarray` makes what they hold one library's arrays."""
        return Functions(self.draws, self.sample, self.update)

    @classmethod
    def _check(cls, state: StateT) -> None:
        """Raise `DataError` unless `state` can be gone on from."""
        raise NotImplementedError

    def _check_after(self, before: StateT, after: StateT) -> None:
        """Raise `DataError` where an update has left what the algorithm can go on from."""

    def _least(self) -> int:
        """Fewest codes that can be learnt from; one, of a given first population."""
        return 1 if len(self._state.given) else 2

    @property
    def d(self) -> int:
        """Latent dimensions."""
        return self._state.given.shape[1]

    @property
    def popsize(self) -> int:
        """Codes drawn by one `ask`; a given first population has its own number."""
        return self._state.popsize

    @property
    def state(self) -> StateT:
        """What `from_state` needs. `ask` leaves it as it is; `tell` replaces it."""
        return self._state

    def ask(self) -> Codes:
        """Draw the next codes, shape (n, d) float64, latent units.

        Raises
        ------
        OrderError
            The codes asked for last have not been told yet.
        """
        if self._asked is not None:
            raise OrderError("ask() and tell() take turns: tell() the codes asked for first")
        self._asked, theirs = self._next()
        return theirs

    def _next(self) -> tuple[Codes, Codes]:
        """Return the next codes, and a copy for the caller to do with as it likes."""
        s = self._state
        draws = self.draws(s, self._rng)
        codes = s.given if len(s.given) else self.sample(s, *draws)
        return codes, codes.copy()

    def _next_in_blocks(self, head: Codes | None = None) -> tuple[Codes, Codes]:
        """Do as `_next`, for a `sample` that turns each row of one (n, d) draw into a code.

        Rows of `head`, (m, d), come before those that are drawn.
        """
        s = self._state
        (z,) = self.draws(s, self._rng)
        if len(s.given):
            return s.given, s.given.copy()
        m = 0 if head is None else len(head)
        shape = (m + len(z), z.shape[1])
        if self._kept.shape != shape:
            self._kept = np.empty(shape)
        kept = self._kept[m:]
        rows = max(1, _BLOCK // z.shape[1])
        for first in range(0, len(z), rows):
            part = slice(first, first + rows)
            z[part] = self.sample(s, z[part])
            kept[part] = z[part]
        if head is None:
            return self._kept, z
        self._kept[:m] = head
        return self._kept, self._kept.copy()

    def adopt(self, codes: ArrayLike) -> None:
        """Take `codes` for what the last `ask` returned, wherever they were drawn.

        For a session that goes on with recorded codes on a machine where the same draw comes
        out otherwise: the steps they stand for are read back from them.

        Parameters
        ----------
        codes : shape (n, d), float64, finite

        Raises
        ------
        OrderError
            Nothing was asked for.
        DataError
            The shape is not that of what was asked for, or a value is not finite.
        """
        if self._asked is None:
            raise OrderError("adopt() takes the place of what was asked for: ask() first")
        taken = np.array(codes, dtype=np.float64)
        if taken.shape != self._asked.shape or not np.isfinite(taken).all():
            raise DataError(
                f"codes must be finite and of shape {self._asked.shape}, as those asked for; "
                f"got shape {taken.shape}"
            )
        self._asked = taken

    def tell(self, codes: ArrayLike, scores: ArrayLike) -> None:
        """Learn from the scored codes of this generation.

        Codes whose presentations were lost are simply left out: any two or more of those
        asked for will do (one, of a given first population), in any order.

        Parameters
        ----------
        codes : shape (n, d), float64, rows of what `ask` returned, unchanged
        scores : shape (n,), finite, larger is better. Equal scores are treated alike,
            wherever their rows stand

        Raises
        ------
        OrderError
            Nothing was asked for.
        DataError
            Shapes are wrong, a value is not finite, too few codes are told, or a code is not
            one of those asked for (or is told twice). Nothing is learnt; `tell` may be called
            again.
        """
        asked = self._asked
        if asked is None:
            raise OrderError("ask() and tell() take turns: ask() for codes before tell()")
        # In rows, as they were asked for: products of other layouts differ in the last bits.
        scored = np.asarray(codes, dtype=np.float64, order="C")
        values = np.asarray(scores, dtype=np.float64)
        rows = rows_told(scored, values, asked=asked, at_least=self._least())
        if (np.diff(rows) < 0).any():  # as they were asked for: sums come out the same
            order = np.argsort(rows)
            scored, values, rows = scored[order], values[order], rows[order]
        with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
            after = self._learn(scored, values, rows)
        self._check_after(self._state, after)
        self._state, self._asked = after, None

    def _learn(self, codes: Codes, scores: Scores, rows: NDArray[np.intp]) -> StateT:
        """Return the next state, from `rows` of what was asked for, in ascending order."""
        first = self.passed_over(self._state, rows)
        return self.update(self._state, codes[first:], scores[first:])


def rows_told(codes: Codes, scores: Scores, *, asked: Codes, at_least: int) -> NDArray[np.intp]:
    """Return which rows of what was asked for have been told, in any order, each once.

    Parameters
    ----------
    codes : array of float64, shape (n, d); any subset of `asked`
    scores : array of float64, shape (n,), finite
    asked : array of float64, shape (m, d), finite
    at_least : fewest codes that can be learnt from

    Returns
    -------
    array of intp, shape (n,): the row of `asked` that each code is

    Raises
    ------
    DataError
        A code is none of `asked`, or comes again; or shapes or values are wrong.
    """
    if codes.shape == asked.shape and np.array_equal(codes, asked):
        check_scores(scores, n=len(codes))  # the codes are finite, as they were when drawn
        return np.arange(len(codes))
    check_batch(codes, scores, d=asked.shape[1], at_least=at_least)
    left: dict[bytes, list[int]] = {}
    for i in reversed(range(len(asked))):
        left.setdefault(asked[i].tobytes(), []).append(i)
    rows = np.empty(len(codes), dtype=np.intp)
    for i, row in enumerate(codes):
        places = left.get(row.tobytes())
        if places is None:
            raise DataError(
                f"codes must be rows of what ask() returned, as float64 and unchanged; row {i} "
                "is none of them. Tell the codes that were asked for"
            )
        if not places:
            raise DataError(
                f"each code can be told once; row {i} comes again. Average the scores of "
                "repeated presentations before tell()"
            )
        rows[i] = places.pop()
    return rows
