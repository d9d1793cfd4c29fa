"""Random search: every population is drawn from one normal distribution, whatever was scored.

The control that every optimizer must beat.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from array_api_compat import array_namespace

from evolver.optimizers.arguments import (
    LARGEST,
    SMALLEST,
    check_numbers,
    check_state_arrays,
    population,
    rows_of,
    start_from,
    step,
    whole,
)
from evolver.optimizers.ask_tell import AskTell
from evolver.types import Codes, Scores, Vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True, eq=False)
class RandomState:
    """All there is to know between generations."""

    generation: int  # generations scored
    popsize: int  # n, codes drawn a generation
    given: Codes  # (m, d) the caller's first population while it is due, (0, d) after
    center: Vector  # (d,) latent units
    sigma: float  # > 0, latent units
    best: Vector  # (d,) the code that scored highest so far
    best_score: float  # its score; the least float64 before any


def sample(s: RandomState, z: Codes) -> Codes:
    """Turn standard normal draws, (n, d), into codes, (n, d). Pure."""
    codes = z * s.sigma
    codes += s.center
    return codes


def update(s: RandomState, codes: Codes, scores: Scores) -> RandomState:
    """Return the state one generation on: the best code, and no other trace. Pure."""
    xp = array_namespace(s.best, codes, scores)
    best = xp.argmax(scores)
    better = scores[best, ...] > s.best_score
    return replace(
        s,
        generation=s.generation + 1,
        given=s.given[:0],
        best=xp.where(better, codes[best, ...], s.best),
        best_score=xp.where(better, scores[best, ...], s.best_score),
    )


class RandomSearch(AskTell[RandomState]):
    """Ask and tell around `sample` and `update`; owns the random generator.

    Parameters
    ----------
    d : int >= 1, latent dimensions
    rng : numpy.random.Generator
    popsize : int >= 2, codes a generation; 4 + floor(3 log2 d) by default
    sigma : float > 0, spread of the codes, latent units
    initial : what codes are drawn around, latent units. None: zero. Shape (d,): this code.
        Shape (m, d): these codes are the first population, as they are, and their mean is
        what the others are drawn around

    Raises
    ------
    ConfigError
        `d`, `popsize` or `sigma` is out of its range.
    DataError
        `initial` has the wrong shape or is not finite.
    """

    state_type: ClassVar = RandomState

    def __init__(
        self,
        d: int,
        *,
        rng: np.random.Generator,
        popsize: int | None = None,
        sigma: float = 3.0,
        initial: ArrayLike | None = None,
    ) -> None:
        d = whole("d", d, at_least=1)
        center, given = start_from(d, initial)
        state = RandomState(
            generation=0,
            popsize=population(d, popsize),
            given=given,
            center=center,
            sigma=step(sigma),
            best=center,
            best_score=float(np.finfo(np.float64).min),
        )
        super().__init__(state, rng=rng)

    def sample(self, s: RandomState, *draws: Codes) -> Codes:
        """Turn draws into codes, (n, d). Pure."""
        return sample(s, *draws)

    def update(self, s: RandomState, codes: Codes, scores: Scores) -> RandomState:
        """Return the state one generation on. Pure."""
        return update(s, codes, scores)

    def _next(self) -> tuple[Codes, Codes]:
        return self._next_in_blocks()

    @classmethod
    def _check(cls, state: RandomState) -> None:
        d = rows_of(state.center)
        check_state_arrays(
            state, {"center": (d,), "best": (d,), "given": (rows_of(state.given), d)}
        )
        bounds = {
            "generation": (0, np.inf),
            "popsize": (2, np.inf),
            "sigma": (SMALLEST, LARGEST),
            "best_score": (-np.inf, np.inf),
        }
        check_numbers(state, bounds)
