"""The genetic algorithm of XDream: conserve, recombine, mutate.

Ponce, Xiao et al. 2019 (Cell), "Evolving images for visual neurons using a deep generative
network reveals coding principles and neuronal preferences", with the settings used there.
Scores are maximised; unlike the other optimizers, it uses their spacing and not their order
alone, so that scores scaled and shifted are the same to it, and scores bent are not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from array_api_compat import array_namespace

from evolver.errors import ConfigError
from evolver.optimizers.arguments import (
    LARGEST,
    between,
    check_numbers,
    check_state_arrays,
    rows_of,
    start_from,
    step,
    whole,
)
from evolver.optimizers.ask_tell import AskTell, DrawSource
from evolver.types import Codes, Matrix, Scores, Vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_POPSIZE, _CONSERVED = 40, 10


@dataclass(frozen=True, slots=True, eq=False)
class GeneticState:
    """All there is to know between generations; `Genetic.from_state` goes on from it."""

    generation: int  # generations learnt from
    popsize: int  # n, codes a generation, the conserved ones included
    conserved: int  # best codes that live on as they are
    mutation_rate: float  # share of a child's numbers that mutate
    mutation_size: float  # standard deviation of a mutation, latent units
    kt_multiplier: float  # temperature of selection, in standard deviations of the scores
    skew: float  # share of a child's numbers that come from its first parent
    sigma: float  # spread of the first population, latent units
    center: Vector  # (d,) its centre
    given: Codes  # (m, d) the caller's first population while it is due, (0, d) after
    parents: Codes  # (m, d) the last generation, best first; (0, d) before any
    fitness: Vector  # (m,) in proportion to a code's chance of being a parent


def sample(s: GeneticState, z: Codes, pairs: Matrix, first: Codes, mutate: Codes) -> Codes:
    """Turn draws into the next population, (n, d). Pure.

    Draws of rows that are conserved are not used.

    Parameters
    ----------
    s : the state
    z : array, shape (n, d), standard normal
    pairs : array, shape (2, n), uniform on [0, 1): choose the parents
    first, mutate : arrays, shape (n, d), uniform: which numbers come from the first parent,
        and which mutate
    """
    xp = array_namespace(z, s.parents)
    if not s.parents.shape[0]:
        return s.center + s.sigma * z
    keep = min(s.conserved, s.parents.shape[0])
    shares = xp.cumulative_sum(s.fitness)
    shares = shares / shares[-1]
    # The last share is 1, and no draw is: every place is one of the parents'.
    place = xp.sum(xp.astype(pairs[:, keep:, None] >= shares, xp.int64), axis=-1)
    first_parent = xp.take(s.parents, place[0, :], axis=0)
    second_parent = xp.take(s.parents, place[1, :], axis=0)
    children = xp.where(first[keep:, :] < s.skew, first_parent, second_parent)
    moved = mutate[keep:, :] < s.mutation_rate
    children += xp.where(moved, s.mutation_size * z[keep:, :], xp.zeros_like(children))
    return xp.concat([s.parents[:keep, :], children])


def update(s: GeneticState, codes: Codes, scores: Scores) -> GeneticState:
    """Return the state one generation on. Pure: no draw, no I/O, arguments untouched.

    Fitness is exp((score - best) / kT), kT a multiple of the standard deviation of the
    scores; where all are equal (a silent unit), so is the fitness. Of equal scores the row
    that was asked for first ranks first: a conserved code gives way to a better one only.

    Parameters
    ----------
    s : the state the codes were drawn from
    codes : array of float64, shape (n, d), latent units
    scores : array of float64, shape (n,), finite, larger is better
    """
    xp = array_namespace(codes, scores)
    order = xp.argsort(-scores, stable=True)
    # Halves, in units of their range: no difference of finite scores overflows.
    half = scores / 2
    best = xp.max(half)
    spread = best - xp.min(half)
    silent = spread <= 0
    below = (half - best) / xp.where(silent, xp.ones_like(spread), spread)
    sd = xp.std(below)
    temperature = s.kt_multiplier * xp.where(silent, xp.ones_like(sd), sd)
    fitness = xp.exp(below / temperature)
    return replace(
        s,
        generation=s.generation + 1,
        given=s.given[:0],
        parents=xp.take(codes, order, axis=0),
        fitness=xp.take(fitness, order),
    )


class Genetic(AskTell[GeneticState]):
    """Ask and tell around `sample` and `update`; owns the random generator.

    `ask` and `tell` take turns. Each `ask` draws the same numbers, whatever was scored. The
    conserved codes, the first rows of a population, are shown and scored again.

    Parameters
    ----------
    d : int >= 1, latent dimensions
    rng : numpy.random.Generator
    popsize : int >= 2, codes a generation, the conserved ones included; 40 by default
    sigma : float > 0, spread of the first population, latent units
    initial : where it starts, latent units. None: around zero. Shape (d,): around this code.
        Shape (m, d): these codes are the first population, as they are and in this order
    mutation_rate : from 0 to 1, share of a child's numbers that mutate
    mutation_size : float >= 0, standard deviation of a mutation, latent units
    kt_multiplier : float > 0, temperature of selection, in standard deviations of the scores
    conserved : int >= 0 and < popsize, best codes that live on; 10, or a quarter of a
        smaller population, by default
    skew : from 0 to 1, share of a child's numbers that come from its first parent

    Raises
    ------
    ConfigError
        A setting is out of its range.
    DataError
        `initial` has the wrong shape or is not finite.
    """

    state_type: ClassVar = GeneticState
    keeps_codes: ClassVar = True
    popsize_follows_d: ClassVar = False

    def __init__(
        self,
        d: int,
        *,
        rng: np.random.Generator,
        popsize: int | None = None,
        sigma: float = 1.0,
        initial: ArrayLike | None = None,
        mutation_rate: float = 0.25,
        mutation_size: float = 0.75,
        kt_multiplier: float = 2.0,
        conserved: int | None = None,
        skew: float = 0.75,
    ) -> None:
        d = whole("d", d, at_least=1)
        n = whole("popsize", _POPSIZE if popsize is None else popsize, at_least=2)
        if conserved is None:
            conserved = min(_CONSERVED, n // 4)
        conserved = whole("conserved", conserved, at_least=0)
        if conserved >= n:
            raise ConfigError(f"conserved must be below popsize, {n}; got {conserved}")
        center, given = start_from(d, initial)
        state = GeneticState(
            generation=0,
            popsize=n,
            conserved=conserved,
            mutation_rate=between("mutation_rate", mutation_rate, 0, 1, what="a number"),
            mutation_size=between("mutation_size", mutation_size, 0, LARGEST, what="a number"),
            kt_multiplier=between("kt_multiplier", kt_multiplier, 1e-6, 1e6, what="a number"),
            skew=between("skew", skew, 0, 1, what="a number"),
            sigma=step(sigma),
            center=center,
            given=given,
            parents=np.zeros((0, d)),
            fitness=np.zeros(0),
        )
        super().__init__(state, rng=rng)

    def draws(self, s: GeneticState, rng: DrawSource) -> tuple[Any, ...]:
        """Draw z, pairs, first and mutate, as `sample` takes them."""
        n, d = s.popsize, s.given.shape[1]
        return (
            rng.standard_normal((n, d)),
            rng.random((2, n)),
            rng.random((n, d)),
            rng.random((n, d)),
        )

    def sample(self, s: GeneticState, *draws: Any) -> Codes:  # noqa: ANN401
        """Turn draws into codes, (n, d). Pure."""
        return sample(s, *draws)

    def update(self, s: GeneticState, codes: Codes, scores: Scores) -> GeneticState:
        """Return the state one generation on. Pure."""
        return update(s, codes, scores)

    @classmethod
    def _check(cls, state: GeneticState) -> None:
        d, m = rows_of(state.center), rows_of(state.parents)
        check_state_arrays(
            state,
            {
                "center": (d,),
                "given": (rows_of(state.given), d),
                "parents": (m, d),
                "fitness": (m,),
            },
        )
        check_numbers(
            state,
            {
                "generation": (0, np.inf),
                "popsize": (2, np.inf),
                "conserved": (0, state.popsize - 1),
                "mutation_rate": (0, 1),
                "mutation_size": (0, LARGEST),
                "kt_multiplier": (1e-6, 1e6),
                "skew": (0, 1),
            },
        )
