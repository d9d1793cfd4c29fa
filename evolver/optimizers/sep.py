"""Separable CMA-ES: a diagonal covariance, so O(n d) time and O(d) memory.

Ros & Hansen 2008, "A simple modification in CMA-ES achieving linear time and space
complexity". Equation numbers are those of Hansen's tutorial, arXiv:1604.00772.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from array_api_compat import array_namespace

from evolver.errors import DataError
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
from evolver.optimizers.ranks import Strategy, rank_weights
from evolver.types import Codes, Scores, Vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True, eq=False)
class SepState:
    """All there is to know between generations; `SepCMA.from_state` goes on from it."""

    generation: int  # generations learnt from
    steps: int  # of them, those whose codes were draws around the mean
    popsize: int  # n, codes drawn a generation
    given: Codes  # (m, d) the caller's first population while it is due, (0, d) after
    mean: Vector  # (d,) latent units
    sigma: float  # > 0, latent units
    var: Vector  # (d,) > 0, the diagonal of C
    path_s: Vector  # (d,) step-size path
    path_c: Vector  # (d,) covariance path


def sample(s: SepState, z: Codes) -> Codes:
    """Turn standard normal draws, (n, d), into codes m + sigma sqrt(var) z, (n, d). Pure."""
    xp = array_namespace(z, s.mean)
    codes = z * (s.sigma * xp.sqrt(s.var))
    codes += s.mean  # in place: the array is new
    return codes


def update(s: SepState, codes: Codes, scores: Scores, k: Strategy) -> SepState:
    """Return the state one generation on. Pure: no draw, no I/O, arguments untouched.

    Weights follow the number of scored codes and share among ties (`rank_weights`), and the
    gains of the paths use them as they are, mu_eff = 1 / sum w^2: neither dropped codes nor
    ties shrink or stretch the paths. From the caller's first population only the mean is
    learnt: its codes are no draws around m.

    Parameters
    ----------
    s : the state the codes were drawn from
    codes : array of float64, shape (n, d), latent units; any rows of `sample`, in any order
    scores : array of float64, shape (n,), finite, larger is better
    k : Strategy for (d, popsize)
    """
    xp = array_namespace(s.mean, codes, scores)
    d = s.mean.shape[0]
    weights = rank_weights(scores)
    mean = weights @ codes
    if s.given.shape[0]:
        return replace(s, generation=s.generation + 1, mean=mean, given=s.given[:0])

    y = codes - s.mean
    y *= y  # in place: the array is new, and (n, d) is the largest thing here
    spread = (weights @ y) / s.sigma**2
    move = (mean - s.mean) / s.sigma  # eq. 41
    mu_eff = 1 / xp.sum(weights**2)
    steps = s.steps + 1
    gain_s = xp.sqrt(k.c_s * (2 - k.c_s) * mu_eff)
    path_s = (1 - k.c_s) * s.path_s + gain_s * move / xp.sqrt(s.var)  # eq. 43
    length = xp.sqrt(xp.sum(path_s**2))
    expected = sqrt(1 - (1 - k.c_s) ** (2 * (steps + 1))) * k.chi
    h = xp.astype(length / expected < 1.4 + 2 / (d + 1), y.dtype)  # 0 stalls path_c
    gain_c = xp.sqrt(k.c_c * (2 - k.c_c) * mu_eff)
    path_c = (1 - k.c_c) * s.path_c + h * gain_c * move  # eq. 45
    keep = 1 - k.c_mu - k.c_1 * (1 - (1 - h) * k.c_c * (2 - k.c_c))
    return replace(
        s,
        generation=s.generation + 1,
        steps=steps,
        mean=mean,  # eq. 42
        sigma=s.sigma * xp.exp(k.c_s / k.d_s * (length / k.chi - 1)),  # eq. 44
        var=keep * s.var + k.c_1 * path_c**2 + k.c_mu * spread,  # eq. 47
        path_s=path_s,
        path_c=path_c,
    )


class SepCMA(AskTell[SepState]):
    """Ask and tell around `sample` and `update`; owns the random generator.

    `ask` and `tell` take turns. Each `ask` draws once, by ``rng.standard_normal((n, d))`` and
    nothing else, so the position of the random stream follows from the number of generations.

    Parameters
    ----------
    d : int >= 1, latent dimensions
    rng : numpy.random.Generator
    popsize : int >= 2, codes a generation; 4 + floor(3 log2 d) by default
    sigma : float > 0, first step size, latent units
    initial : where the search starts, latent units. None: at zero. Shape (d,): at this code;
        the first population is drawn around it. Shape (m, d): these codes are the first
        population, as they are and in this order; their mean, weighted by rank, is where the
        search goes on from

    Raises
    ------
    ConfigError
        `d`, `popsize` or `sigma` is out of its range.
    DataError
        `initial` has the wrong shape or is not finite.
    """

    state_type: ClassVar = SepState

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
        popsize = population(d, popsize)
        sigma = step(sigma)
        mean, given = start_from(d, initial)
        state = SepState(
            generation=0,
            steps=0,
            popsize=popsize,
            given=given,
            mean=mean,
            sigma=sigma,
            var=np.ones(d),
            path_s=np.zeros(d),
            path_c=np.zeros(d),
        )
        super().__init__(state, rng=rng)

    def sample(self, s: SepState, *draws: Codes) -> Codes:
        """Turn draws into codes, (n, d). Pure."""
        return sample(s, *draws)

    def update(self, s: SepState, codes: Codes, scores: Scores) -> SepState:
        """Return the state one generation on. Pure."""
        return update(s, codes, scores, Strategy.separable(s.mean.shape[0], s.popsize))

    def _next(self) -> tuple[Codes, Codes]:
        return self._next_in_blocks()

    def _check_after(self, before: SepState, after: SepState) -> None:
        if not _fits(after):
            raise DataError(
                f"sigma and the square roots of C must stay between {SMALLEST:g} and "
                f"{LARGEST:g}; generation {after.generation} takes sigma from "
                f"{before.sigma:g} to {after.sigma:g}, C to {after.var.min():g} .. "
                f"{after.var.max():g}: the search has diverged, or converged long ago. Start "
                "again from its mean"
            )

    @classmethod
    def _check(cls, state: SepState) -> None:
        d = rows_of(state.mean)
        vectors = dict.fromkeys(("mean", "var", "path_s", "path_c"), (d,))
        check_state_arrays(state, vectors | {"given": (rows_of(state.given), d)})
        check_numbers(
            state,
            {
                "generation": (0, np.inf),
                "steps": (0, np.inf),
                "popsize": (2, np.inf),
                "sigma": (SMALLEST, LARGEST),
            },
        )
        if not _fits(state):
            raise DataError(
                f"var of the state must be between {SMALLEST**2:g} and {LARGEST**2:g}; got "
                f"{state.var.min():g} .. {state.var.max():g}. Pass a state as it was saved"
            )


def _fits(s: SepState) -> bool:
    low, high = float(s.var.min()), float(s.var.max())
    return SMALLEST <= s.sigma <= LARGEST and low >= SMALLEST**2 and high <= LARGEST**2
