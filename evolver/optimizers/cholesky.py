"""Cholesky CMA-ES with a factored covariance: O(n d k) a generation, k factors.

Suttorp, Hansen & Igel 2009, "Efficient covariance matrix update for variable metric evolution
strategies", as the field runs it: x_i = m + sigma z_i A with row vectors, C = A'A.

The covariance is never stored (`low_rank`), and neither is its path p_c: only v = p_c A^-1 is
ever needed, and it follows v <- (1 - c_c) v + gain z_w, and at an update
v <- v / sqrt(1 - c_1 + c_1 |v|^2). The trajectory is that of the dense recursion.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

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
from evolver.optimizers.low_rank import Factored, solve, stretched, times
from evolver.optimizers.ranks import Strategy, rank_weights
from evolver.types import Codes, Matrix, Scores, Vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True, eq=False)
class CholeskyState:
    """All there is to know between generations; `CholeskyCMA.from_state` goes on from it."""

    generation: int  # generations learnt from
    popsize: int  # n, codes drawn a generation
    update_every: int  # generations from one covariance update to the next; 0 is never
    given: Codes  # (m, d) the caller's first population while it is due, (0, d) after
    mean: Vector  # (d,) m, latent units
    sigma: float  # > 0, latent units
    path_s: Vector  # (d,) p_s, step-size path
    path_v: Vector  # (d,) v, covariance path in the coordinates of z
    scale: float  # s, and with V, T and U the matrix A = s (I + V'TV)
    rows: Matrix  # (k, d) V
    forward: Matrix  # (k, k) T
    inverse: Matrix  # (k, k) U, for A^-1 = (I - V'UV) / s

    @property
    def a(self) -> Factored:
        """The matrix A, factored; C = A'A is the covariance."""
        return Factored(self.scale, self.rows, self.forward, self.inverse)


C = TypeVar("C", bound=CholeskyState)


def sample(s: CholeskyState, z: Codes) -> Codes:
    """Turn standard normal draws, (n, d), into codes m + sigma z A, (n, d). Pure."""
    codes = times(z, s.a, s.sigma)
    codes += s.mean  # in place: the array is new
    return codes


def update(s: CholeskyState, codes: Codes, scores: Scores, k: Strategy) -> CholeskyState:
    """Return the state one generation on. Pure: no draw, no I/O, arguments untouched.

    The step is read from the codes alone, as z_w = ((sum_i w_i x_i) - m) A^-1 / sigma: no
    draws need be kept, and any subset of a generation can be learnt from. Weights follow the
    number of scored codes and share among ties (`rank_weights`); the gains of the paths use
    the weights as they are, mu_eff = 1 / sum w^2, so that neither dropped codes nor tied
    scores shrink or stretch the paths, and with them sigma. From the caller's first
    population only the mean is learnt: its codes are no draws around m.

    Parameters
    ----------
    s : the state the codes were drawn from
    codes : array of float64, shape (n, d), latent units; any rows of `sample`, in any order
    scores : array of float64, shape (n,), finite, larger is better
    k : Strategy for (d, popsize)
    """
    weights = rank_weights(scores)
    mean = weights @ codes
    if s.given.shape[0]:
        return replace(s, generation=s.generation + 1, mean=mean, given=s.given[:0])
    return moved(s, mean, weights, k)


def moved(s: C, mean: Vector, weights: Vector, k: Strategy) -> C:
    """Return the state after a move to `mean`, the sum of codes times `weights`. Pure."""
    xp = array_namespace(s.mean, mean, weights)
    generation = s.generation + 1
    z_w = solve((mean - s.mean) / s.sigma, s.a)
    mu_eff = 1 / xp.sum(weights**2)
    path_s = (1 - k.c_s) * s.path_s + xp.sqrt(k.c_s * (2 - k.c_s) * mu_eff) * z_w
    path_v = (1 - k.c_c) * s.path_v + xp.sqrt(k.c_c * (2 - k.c_c) * mu_eff) * z_w
    length = xp.sqrt(xp.sum(path_s**2))
    a = s.a
    if s.update_every and generation % s.update_every == 0:
        a, path_v = stretched(a, path_v, k.c_1)
    return replace(
        s,
        generation=generation,
        mean=mean,
        sigma=s.sigma * xp.exp(k.c_s / k.d_s * (length / k.chi - 1)),
        path_s=path_s,
        path_v=path_v,
        scale=a.scale,
        rows=a.rows,
        forward=a.forward,
        inverse=a.inverse,
    )


class CholeskyCMA(AskTell[CholeskyState]):
    """Ask and tell around `sample` and `update`; owns the random generator.

    `ask` and `tell` take turns. Each `ask` draws once, by ``rng.standard_normal((n, d))`` and
    nothing else, so the position of the random stream follows from the number of generations.

    Parameters
    ----------
    d : int >= 1, latent dimensions
    rng : numpy.random.Generator
    popsize : int >= 2, codes a generation; 4 + floor(3 log2 d) by default
    sigma : float > 0, first step size, latent units; users take 3 at 4096 dimensions and 0.2
        at BigGAN's 256
    initial : where the search starts, latent units. None: at zero. Shape (d,): at this code;
        the first population is drawn around it. Shape (m, d): these codes are the first
        population, as they are and in this order (m need not be popsize; the draw is made and
        left unused); their mean, weighted by rank, is where the search goes on from
    update_every : int >= 1, generations from one covariance update to the next; None or 0 for
        an isotropic search whose covariance never changes

    Raises
    ------
    ConfigError
        `d`, `popsize`, `sigma` or `update_every` is out of its range.
    DataError
        `initial` has the wrong shape or is not finite.
    """

    state_type: ClassVar = CholeskyState

    def __init__(
        self,
        d: int,
        *,
        rng: np.random.Generator,
        popsize: int | None = None,
        sigma: float = 3.0,
        initial: ArrayLike | None = None,
        update_every: int | None = 10,
    ) -> None:
        d = whole("d", d, at_least=1)
        mean, given = start_from(d, initial)
        fields = new_fields(d, mean, popsize=popsize, sigma=sigma, update_every=update_every)
        super().__init__(CholeskyState(given=given, **fields), rng=rng)

    def sample(self, s: CholeskyState, *draws: Codes) -> Codes:
        """Turn draws into codes, (n, d). Pure."""
        return sample(s, *draws)

    def update(self, s: CholeskyState, codes: Codes, scores: Scores) -> CholeskyState:
        """Return the state one generation on. Pure."""
        return update(s, codes, scores, Strategy.cholesky(s.mean.shape[0], s.popsize))

    def _next(self) -> tuple[Codes, Codes]:
        return self._next_in_blocks()

    def _check_after(self, before: CholeskyState, after: CholeskyState) -> None:
        check_step(before, after)

    @classmethod
    def _check(cls, state: CholeskyState) -> None:
        d = rows_of(state.mean)
        check_state_arrays(state, {"given": (rows_of(state.given), d)})
        check_core(state)


def new_fields(
    d: int, mean: Vector, *, popsize: int | None, sigma: float, update_every: int | None
) -> dict[str, Any]:
    """Return the fields, but `given`, of a state that has learnt nothing yet.

    Raises
    ------
    ConfigError
        `popsize`, `sigma` or `update_every` is out of its range.
    """
    popsize = population(d, popsize)
    if update_every is not None:
        never = " (0: never)"
        update_every = whole("update_every", update_every, at_least=0, otherwise=never)
    a = Factored.identity(d)
    return {
        "generation": 0,
        "popsize": popsize,
        "update_every": update_every or 0,
        "mean": mean,
        "sigma": step(sigma),
        "path_s": np.zeros(d),
        "path_v": np.zeros(d),
        "scale": a.scale,
        "rows": a.rows,
        "forward": a.forward,
        "inverse": a.inverse,
    }


def check_step(before: CholeskyState, after: CholeskyState) -> None:
    """Raise `DataError` where sigma, or the scale of A, has left what float64 can square."""
    if not _fits(after):
        raise DataError(
            f"sigma and the scale of A must stay between {SMALLEST:g} and {LARGEST:g}; "
            f"generation {after.generation} takes sigma from {before.sigma:g} to "
            f"{after.sigma:g}, the scale from {before.scale:g} to {after.scale:g}: the search "
            "has diverged, or converged long ago. Start again from its mean"
        )


def check_core(s: CholeskyState) -> None:
    """Raise `DataError` unless all but `given` fit one another and are finite."""
    d, k = rows_of(s.mean), rows_of(s.rows)
    check_state_arrays(
        s,
        {
            "mean": (d,),
            "path_s": (d,),
            "path_v": (d,),
            "rows": (k, d),
            "forward": (k, k),
            "inverse": (k, k),
        },
    )
    if not _fits(s):
        raise DataError(
            f"sigma and scale of the state must be between {SMALLEST:g} and {LARGEST:g}; got "
            f"{s.sigma}, {s.scale}"
        )
    check_numbers(
        s,
        {"generation": (0, np.inf), "popsize": (2, np.inf), "update_every": (0, np.inf)},
    )


def _fits(s: CholeskyState) -> bool:
    return SMALLEST <= s.sigma <= LARGEST and SMALLEST <= s.scale <= LARGEST
