"""Separable natural evolution strategies: a step of its own in each dimension, O(n d).

Schaul, Glasmachers & Schmidhuber 2011, "High dimensions and heavy tails for natural evolution
strategies" (GECCO), section 3 and its table of settings; Wierstra et al. 2014 (JMLR 15, 949)
has the same algorithm as number 6. Codes are m + sigma s, s standard normal; the natural
gradients, by utilities u that follow ranks alone, are sum u_i s_i of the mean and
sum u_i (s_i^2 - 1) of the steps' logarithm.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log, sqrt
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from array_api_compat import array_namespace

from evolver.errors import DataError
from evolver.optimizers.arguments import (
    LARGEST,
    SMALLEST,
    between,
    check_numbers,
    check_state_arrays,
    population,
    rows_of,
    start_from,
    step,
    whole,
)
from evolver.optimizers.ask_tell import AskTell
from evolver.optimizers.ranks import rank_weights
from evolver.types import Codes, Scores, Vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_MEAN_RATES = 1e-3, 10.0
_STEP_RATES = 0.0, 1.0  # none at all: steps that stay


@dataclass(frozen=True, slots=True, eq=False)
class SnesState:
    """All there is to know between generations; `SNES.from_state` goes on from it."""

    generation: int  # generations learnt from
    popsize: int  # n, codes drawn a generation
    eta_mu: float  # learning rate of the mean
    eta_sigma: float  # learning rate of the steps' logarithms
    given: Codes  # (m, d) the caller's first population while it is due, (0, d) after
    mean: Vector  # (d,) latent units
    sigma: Vector  # (d,) > 0, step of each dimension, latent units


def sample(s: SnesState, z: Codes) -> Codes:
    """Turn standard normal draws, (n, d), into codes m + sigma z, (n, d). Pure."""
    codes = z * s.sigma
    codes += s.mean  # in place: the array is new
    return codes


def utilities(scores: Scores) -> Any:  # noqa: ANN401  any array-API library
    """Return the utility of each score by its rank, (n,), of sum 0; the best has the most.

    max(0, ln(n / 2 + 1) - ln(rank)), brought to sum 1, less 1 / n each. Equal scores share the
    mean of the ranks they hold.
    """
    n = scores.shape[0]
    return rank_weights(scores, n / 2 + 0.5) - 1 / n


def update(s: SnesState, codes: Codes, scores: Scores) -> SnesState:
    """Return the state one generation on. Pure: no draw, no I/O, arguments untouched.

    Utilities follow the number of scored codes. Their sum is 0, so that sum u_i (s_i^2 - 1) is
    sum u_i s_i^2. Where all scores are equal all utilities are 0, and nothing moves. From the
    caller's first population only the mean is learnt, as CMA-ES weighs it: its codes are no
    draws around m.

    Parameters
    ----------
    s : the state the codes were drawn from
    codes : array of float64, shape (n, d), latent units; any rows of `sample`, in any order
    scores : array of float64, shape (n,), finite, larger is better
    """
    xp = array_namespace(s.mean, codes, scores)
    if s.given.shape[0]:
        mean = rank_weights(scores) @ codes
        return replace(s, generation=s.generation + 1, mean=mean, given=s.given[:0])

    u = utilities(scores)
    off = codes - s.mean
    move = u @ off
    off *= off  # in place: the array is new, and (n, d) is the largest thing here
    spread = (u @ off) / s.sigma**2
    return replace(
        s,
        generation=s.generation + 1,
        mean=s.mean + s.eta_mu * move,
        sigma=s.sigma * xp.exp(s.eta_sigma / 2 * spread),
    )


class SNES(AskTell[SnesState]):
    """Ask and tell around `sample` and `update`; owns the random generator.

    `ask` and `tell` take turns. Each `ask` draws once, by ``rng.standard_normal((n, d))`` and
    nothing else, so the position of the random stream follows from the number of generations.
    The mean is the search's best guess: where the noise is large, take it, and not the code
    that happened to score most.

    Parameters
    ----------
    d : int >= 1, latent dimensions
    rng : numpy.random.Generator
    popsize : int >= 2, codes a generation; 4 + floor(3 log2 d) by default
    sigma : float > 0, first step of all dimensions, latent units
    initial : where the search starts, latent units. None: at zero. Shape (d,): at this code;
        the first population is drawn around it. Shape (m, d): these codes are the first
        population, as they are and in this order; their mean, weighted by rank, is where the
        search goes on from
    eta_mu : float, 0.001 to 10, learning rate of the mean
    eta_sigma : float, 0 to 1, learning rate of the steps; (3 + ln d) / (5 sqrt(d)) by default

    Raises
    ------
    ConfigError
        A setting is out of its range.
    DataError
        `initial` has the wrong shape or is not finite.
    """

    state_type: ClassVar = SnesState

    def __init__(
        self,
        d: int,
        *,
        rng: np.random.Generator,
        popsize: int | None = None,
        sigma: float = 3.0,
        initial: ArrayLike | None = None,
        eta_mu: float = 1.0,
        eta_sigma: float | None = None,
    ) -> None:
        d = whole("d", d, at_least=1)
        usual = (3 + log(d)) / (5 * sqrt(d))
        rate = usual if eta_sigma is None else eta_sigma
        mean, given = start_from(d, initial)
        state = SnesState(
            generation=0,
            popsize=population(d, popsize),
            eta_mu=between("eta_mu", eta_mu, *_MEAN_RATES, what="a number"),
            eta_sigma=between("eta_sigma", rate, *_STEP_RATES, what="a number"),
            given=given,
            mean=mean,
            sigma=np.full(d, step(sigma)),
        )
        super().__init__(state, rng=rng)

    def sample(self, s: SnesState, *draws: Codes) -> Codes:
        """Turn draws into codes, (n, d). Pure."""
        return sample(s, *draws)

    def update(self, s: SnesState, codes: Codes, scores: Scores) -> SnesState:
        """Return the state one generation on. Pure."""
        return update(s, codes, scores)

    def _next(self) -> tuple[Codes, Codes]:
        return self._next_in_blocks()

    def _check_after(self, before: SnesState, after: SnesState) -> None:
        if not _fits(after):
            raise DataError(
                f"sigma must stay between {SMALLEST:g} and {LARGEST:g} in each dimension; "
                f"generation {after.generation} takes it from {_range(before)} to "
                f"{_range(after)}: the search has diverged, or converged long ago. Start again "
                "from its mean"
            )

    @classmethod
    def _check(cls, state: SnesState) -> None:
        d = rows_of(state.mean)
        shapes = {"mean": (d,), "sigma": (d,), "given": (rows_of(state.given), d)}
        check_state_arrays(state, shapes)
        check_numbers(
            state,
            {
                "generation": (0, np.inf),
                "popsize": (2, np.inf),
                "eta_mu": _MEAN_RATES,
                "eta_sigma": _STEP_RATES,
            },
        )
        if not _fits(state):
            raise DataError(
                f"sigma of the state must be between {SMALLEST:g} and {LARGEST:g}; got "
                f"{_range(state)}. Pass a state as it was saved"
            )


def _fits(s: SnesState) -> bool:
    return float(s.sigma.min()) >= SMALLEST and float(s.sigma.max()) <= LARGEST


def _range(s: SnesState) -> str:
    return f"{s.sigma.min():g} .. {s.sigma.max():g}"
