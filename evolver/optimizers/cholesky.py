"""Cholesky CMA-ES with a factored covariance: O(n d k) a generation, k factors.

Suttorp, Hansen & Igel 2009, "Efficient covariance matrix update for variable metric evolution
strategies", as the field runs it: x_i = m + sigma z_i A with row vectors, C = A'A. Scores are
maximised, and only their ranks matter.

Knows arrays, and the random generator handed to it. Knows nothing of images, units, files or
clocks. `sample` and `update` are pure, written against the array API and free of branches on
array values, so that they run, and can be batched, on other array libraries than numpy.

The covariance is never stored (`_factored`), and neither is its path p_c: only v = p_c A^-1 is
ever needed, and it follows v <- (1 - c_c) v + gain z_w, and at an update
v <- v / sqrt(1 - c_1 + c_1 |v|^2). The trajectory is that of the dense recursion.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import index
from typing import TYPE_CHECKING, ClassVar, Self, SupportsIndex

import numpy as np
from array_api_compat import array_namespace

from evolver.checks import check_codes
from evolver.errors import ConfigError, DataError, OrderError
from evolver.optimizers._asked import check_told
from evolver.optimizers._factored import Factored, solve, stretched, times
from evolver.optimizers._strategy import Strategy, default_popsize, rank_weights
from evolver.types import Codes, Matrix, Scores, Vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_SMALLEST, _LARGEST = 1e-150, 1e150  # of sigma: squares of what it scales stay in float64


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
    xp = array_namespace(s.mean, codes, scores)
    weights = rank_weights(scores)
    mean = weights @ codes
    generation = s.generation + 1
    if s.given.shape[0]:
        return replace(s, generation=generation, mean=mean, given=s.given[:0])

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


class CholeskyCMA:
    """Ask/tell shell around `sample` and `update`; owns the random generator.

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
    update_every : int >= 1, generations from one covariance update to the next, or None for
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
        d = _whole("d", d, at_least=1)
        popsize = default_popsize(d) if popsize is None else popsize
        popsize = _whole("popsize", popsize, at_least=2)
        if update_every is not None:
            never = " or None (never)"
            update_every = _whole("update_every", update_every, at_least=1, otherwise=never)
        sigma = _step(sigma)
        mean, given = _start(d, initial)
        a = Factored.identity(d)
        self._state = CholeskyState(
            generation=0,
            popsize=popsize,
            update_every=update_every or 0,
            given=given,
            mean=mean,
            sigma=sigma,
            path_s=np.zeros(d),
            path_v=np.zeros(d),
            scale=a.scale,
            rows=a.rows,
            forward=a.forward,
            inverse=a.inverse,
        )
        self._rng = rng
        self._asked: Codes | None = None

    @classmethod
    def from_state(cls, state: CholeskyState, *, rng: np.random.Generator) -> Self:
        """Go on from a `state`, at the beginning of a generation.

        With `rng` in the state its stream had when `state` was read (before that
        generation's `ask`), everything that follows is the same bit for bit.

        Raises
        ------
        DataError
            The state's arrays do not fit one another or are not finite.
        """
        _check_state(state)
        self = cls.__new__(cls)
        self._state, self._rng, self._asked = state, rng, None
        return self

    @property
    def d(self) -> int:
        """Latent dimensions."""
        return len(self._state.mean)

    @property
    def popsize(self) -> int:
        """Codes drawn by one `ask`; a given first population has its own number."""
        return self._state.popsize

    @property
    def state(self) -> CholeskyState:
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
        s = self._state
        z = self._rng.standard_normal((s.popsize, self.d))
        if len(s.given):
            self._asked = s.given
            return s.given.copy()
        self._asked = sample(s, z)
        np.copyto(z, self._asked)  # the caller's copy, to do with as it likes
        return z

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
        scores : shape (n,), finite, larger is better. Only their ranks matter; equal scores
            share the weight of the ranks they hold together

        Raises
        ------
        OrderError
            Nothing was asked for.
        DataError
            Shapes are wrong, a value is not finite, too few codes are told, or a code is not
            one of those asked for (or is told twice). Nothing is learnt; `tell` may be called
            again.
        """
        asked, s = self._asked, self._state
        if asked is None:
            raise OrderError("ask() and tell() take turns: ask() for codes before tell()")
        told = np.asarray(codes, dtype=np.float64)
        values = np.asarray(scores, dtype=np.float64)
        check_told(told, values, asked=asked, at_least=1 if len(s.given) else 2)
        k = Strategy.cholesky(self.d, s.popsize)
        with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
            after = update(s, told, values, k)
        if not _fits(after):
            raise DataError(
                f"sigma and the scale of A must stay between {_SMALLEST:g} and {_LARGEST:g}; "
                f"generation {after.generation} takes sigma from {s.sigma:g} to "
                f"{after.sigma:g}, the scale from {s.scale:g} to {after.scale:g}: the search "
                "has diverged, or converged long ago. Start again from its mean"
            )
        self._state, self._asked = after, None


def _whole(name: str, value: object, *, at_least: int, otherwise: str = "") -> int:
    """Return `value` if it is a whole number, `at_least` or more; else raise `ConfigError`."""
    if isinstance(value, SupportsIndex) and not isinstance(value, bool):
        number = index(value)
        if number >= at_least:
            return number
    raise ConfigError(f"{name} must be a whole number >= {at_least}{otherwise}; got {value!r}")


def _step(sigma: object) -> float:
    """Return `sigma` if it is a step size; else raise `ConfigError`."""
    if isinstance(sigma, int | float) and not isinstance(sigma, bool):
        number = float(sigma)
        if _SMALLEST <= number <= _LARGEST:
            return number
    raise ConfigError(
        f"sigma must be a number > 0, latent units, between {_SMALLEST:g} and {_LARGEST:g}; "
        f"got {sigma!r}"
    )


def _start(d: int, initial: ArrayLike | None) -> tuple[Vector, Codes]:
    """Return the first mean, (d,), and the caller's first population, (m, d) or (0, d)."""
    if initial is None:
        return np.zeros(d), np.zeros((0, d))
    codes = np.array(initial, dtype=np.float64)
    if codes.shape not in {(d,), (len(np.atleast_1d(codes)), d)} or not codes.size:
        raise DataError(
            f"initial must have shape ({d},), where to start, or (m, {d}), the first "
            f"population, with m >= 1; got {codes.shape}"
        )
    check_codes(np.atleast_2d(codes), d=d)
    return (codes, np.zeros((0, d))) if codes.ndim == 1 else (codes.mean(axis=0), codes)


def _fits(s: CholeskyState) -> bool:
    return _SMALLEST <= s.sigma <= _LARGEST and _SMALLEST <= s.scale <= _LARGEST


def _check_state(s: CholeskyState) -> None:
    """Raise `DataError` unless the arrays of a state fit one another and are finite."""
    d, k = len(np.atleast_1d(s.mean)), len(np.atleast_1d(s.rows))
    shapes = {
        "mean": (d,),
        "path_s": (d,),
        "path_v": (d,),
        "given": (len(np.atleast_1d(s.given)), d),
        "rows": (k, d),
        "forward": (k, k),
        "inverse": (k, k),
    }
    for name, shape in shapes.items():
        array = getattr(s, name)
        if array.shape != shape or array.dtype != np.float64 or not np.isfinite(array).all():
            raise DataError(
                f"{name} of the state must be float64, finite and of shape {shape}; got "
                f"{array.dtype} {array.shape}. Pass a state as it was saved"
            )
    if not _fits(s):
        raise DataError(
            f"sigma and scale of the state must be between {_SMALLEST:g} and {_LARGEST:g}; got "
            f"{s.sigma}, {s.scale}"
        )
    if s.generation < 0 or s.popsize < 2 or s.update_every < 0:
        raise DataError(
            "generation, popsize and update_every of the state must be >= 0, 2 and 0; got "
            f"{s.generation}, {s.popsize}, {s.update_every}"
        )
