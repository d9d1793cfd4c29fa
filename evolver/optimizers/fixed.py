"""What stands in an optimizer's place where nothing is searched: planned codes, in order.

A set of fixed images is a thread of a session as any other, in the same loop and record; what
is asked for is what was planned, and scores teach it nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from evolver.errors import DataError, OrderError
from evolver.types import Codes, Scores


@dataclass(frozen=True, slots=True)
class FixedState:
    """All that changes between generations."""

    generation: int  # generations asked for


class FixedCodes:
    """Asks for planned codes, a generation after the other; an `Optimizer`.

    It may be asked again before it was told: nothing of what comes next depends on scores.

    Parameters
    ----------
    codes : (m, d) float64, latent units
    generations : the rows of `codes` of each generation, (n,) each; a row may come again
    state : where it stands; at its beginning if none is given
    """

    state_type: ClassVar = FixedState

    def __init__(
        self,
        codes: Codes,
        generations: Sequence[NDArray[np.intp]],
        *,
        state: FixedState | None = None,
    ) -> None:
        self._codes, self._generations = codes, tuple(generations)
        self._state = state or FixedState(0)

    @classmethod
    def from_state(cls, state: FixedState, *, rng: np.random.Generator) -> Self:  # noqa: ARG003
        """Raise `DataError`: a state has no codes. `go_on_from` has."""
        raise DataError(
            f"a set goes on with its codes, and a state, {state}, holds none; use go_on_from"
        )

    def go_on_from(self, state: FixedState, *, rng: np.random.Generator) -> FixedCodes:  # noqa: ARG002
        """Return the same codes, asked for from a state on.

        Raises
        ------
        DataError
            There are not so many generations.
        """
        if not 0 <= state.generation <= len(self._generations):
            raise DataError(
                f"a set of {len(self._generations)} generations must go on from one of them; "
                f"got {state.generation}"
            )
        return FixedCodes(self._codes, self._generations, state=state)

    @property
    def d(self) -> int:
        """Latent dimensions."""
        return self._codes.shape[1]

    @property
    def popsize(self) -> int:
        """Most codes of a generation."""
        return max(map(len, self._generations), default=0)

    @property
    def state(self) -> FixedState:
        """What `go_on_from` needs; `ask` replaces it."""
        return self._state

    def ask(self) -> Codes:
        """Return the next generation's codes, (n, d).

        Raises
        ------
        OrderError
            All have been asked for.
        """
        g = self._state.generation
        if g >= len(self._generations):
            raise OrderError(f"all {g} generations of the set have been asked for")
        self._state = FixedState(g + 1)
        return self._codes[self._generations[g]]

    def tell(self, codes: Codes, scores: Scores) -> None:
        """Learn nothing."""

    def adopt(self, codes: Codes) -> None:
        """Do nothing: what comes next does not depend on them."""
