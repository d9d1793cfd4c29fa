"""The optimizer around another library's search: what it is told is kept, and replayed.

What these libraries hold between generations cannot be written as plain arrays, and nothing is
pickled here: the state is the seed and the history of all that was told (rows and scores, some
kilobytes; the codes follow from them), and `from_state` replays it. That is the same bit for
bit, on the same machine with the same versions, and takes as long as the library took for all
the generations before. Where a version draws otherwise, `adopt` puts the recorded codes in the
place of the generation that is due, and the session is marked.

Of the random generator handed to it, an optimizer of this room draws one seed, when made.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from evolver.errors import ConfigError, DataError
from evolver.optimizers.arguments import (
    check_numbers,
    check_state_arrays,
    population,
    rows_of,
    start_from,
    step,
    whole,
)
from evolver.optimizers.ask_tell import AskTell
from evolver.optimizers.libraries.engine import Beginning, Engine
from evolver.optimizers.ranks import rank_weights
from evolver.optimizers.states import array_of_text, text_of_array
from evolver.types import Codes, Scores, Vector

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True, eq=False)
class ReplayState:
    """The seed, and all that was told since: what a search is replayed from."""

    popsize: int  # n, codes drawn a generation
    seed: int  # of the library's random stream
    sigma: float  # > 0, first step size, latent units
    settings: Vector  # what else the library was given, JSON as numbers
    given: Codes  # (m, d) the caller's first population while it is due, (0, d) after
    begin: Vector  # (d,) where the library starts
    counts: Vector  # (g,) codes told, in each generation that the library drew
    rows: Vector  # (sum of counts,) which codes, by their row in what was asked for
    scores: Vector  # (sum of counts,) their scores, larger is better
    adopted_in: Vector  # (a,) generations whose codes were adopted
    adopted: Codes  # (a n, d) those codes


class ReplayedOptimizer(AskTell[ReplayState]):
    """An optimizer of another library; `_engine` says of which."""

    state_type: ClassVar = ReplayState
    _engine: ClassVar[type[Engine]]

    def _make(
        self,
        d: int,
        rng: np.random.Generator,
        popsize: int | None,
        sigma: float,
        initial: ArrayLike | None,
        settings: Mapping[str, Any],
    ) -> None:
        d = whole("d", d, at_least=2)
        begin, given = start_from(d, initial)
        try:
            text = json.dumps(dict(settings), sort_keys=True)
        except TypeError as exc:
            raise ConfigError(
                f"options must be numbers, texts and lists of them: {exc}"
            ) from exc
        state = ReplayState(
            popsize=population(d, popsize, at_least=4),
            seed=int(rng.integers(2**31)),
            sigma=step(sigma),
            settings=array_of_text(text),
            given=given,
            begin=begin,
            counts=np.zeros(0),
            rows=np.zeros(0),
            scores=np.zeros(0),
            adopted_in=np.zeros(0),
            adopted=np.zeros((0, d)),
        )
        self._begin(state, rng)
        self._start_engine()

    def _begin(self, state: ReplayState, rng: np.random.Generator) -> None:
        super()._begin(state, rng)
        self._live: Engine | None = None
        self._were_adopted = False

    def _start_engine(self) -> Engine:
        """Make the library's object, and bring it to where the state says it stood."""
        s = self._state
        begin = Beginning(
            start=s.begin,
            sigma=s.sigma,
            popsize=s.popsize,
            seed=s.seed,
            settings=json.loads(text_of_array(s.settings)),
        )
        engine = self._engine(begin)
        ends = np.cumsum(s.counts, dtype=np.int64)
        adopted = {int(g): i for i, g in enumerate(s.adopted_in)}
        for g, (end, count) in enumerate(zip(ends, s.counts, strict=True)):
            codes = engine.ask()
            if g in adopted:
                codes = s.adopted[adopted[g] * s.popsize :][: s.popsize]
            span = slice(end - int(count), end)
            engine.tell(codes, s.rows[span].astype(np.intp), s.scores[span])
        self._live = engine
        return engine

    def _next(self) -> tuple[Codes, Codes]:
        s = self._state
        self._were_adopted = False
        if len(s.given):
            return s.given, s.given.copy()
        codes = (self._live or self._start_engine()).ask()
        if not np.isfinite(codes).all():
            raise DataError(
                f"{type(self).__name__} has drawn codes that are not finite: the search has "
                "diverged. Start again, with a smaller sigma"
            )
        return codes, codes.copy()

    def adopt(self, codes: ArrayLike) -> None:
        """Take `codes` for what the last `ask` returned; as `AskTell.adopt`."""
        super().adopt(codes)
        self._were_adopted = True

    def _learn(self, codes: Codes, scores: Scores, rows: NDArray[np.intp]) -> ReplayState:
        s, asked = self._state, self._asked
        if len(s.given):
            self._live = None  # it is to start elsewhere than it was made
            begin = rank_weights(scores) @ codes
            return replace(s, given=s.given[:0], begin=begin)
        if asked is None or self._live is None:
            raise DataError("tell() without ask()")
        self._live.tell(asked, rows, scores)
        if self._were_adopted:
            s = replace(
                s,
                adopted_in=np.append(s.adopted_in, float(len(s.counts))),
                adopted=np.concatenate([s.adopted, asked]),
            )
        return replace(
            s,
            counts=np.append(s.counts, float(len(rows))),
            rows=np.append(s.rows, rows.astype(np.float64)),
            scores=np.append(s.scores, scores),
        )

    @classmethod
    def _check(cls, state: ReplayState) -> None:
        d, rows = rows_of(state.begin), rows_of(state.rows)
        adopted = rows_of(state.adopted_in)
        check_state_arrays(
            state,
            {
                "begin": (d,),
                "given": (rows_of(state.given), d),
                "settings": (rows_of(state.settings),),
                "counts": (rows_of(state.counts),),
                "rows": (rows,),
                "scores": (rows,),
                "adopted_in": (adopted,),
                "adopted": (adopted * state.popsize, d),
            },
        )
        bounds = {"popsize": (4, np.inf), "seed": (0, 2**31), "sigma": (1e-150, 1e150)}
        check_numbers(state, bounds)
        whole_numbers = np.concatenate([state.counts, state.rows])
        if state.counts.sum() != rows or (whole_numbers % 1).any() or (whole_numbers < 0).any():
            raise DataError(
                f"counts of the state must add up to its {rows} rows, and both be whole "
                "numbers >= 0. Pass a state as it was saved"
            )
