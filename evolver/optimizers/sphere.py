"""Spherical CMA: codes of one norm, at angles that narrow on schedule.

Wang & Ponce 2022 (GECCO), "High-performance evolutionary algorithms for online neuron
control": samples are the exponential map, at a base on the sphere, of normal draws in its
tangent plane; the base moves past their rank-weighted mean along the great circle through it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import pi, sqrt
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from array_api_compat import array_namespace

from evolver.errors import ConfigError
from evolver.optimizers.arguments import (
    SMALLEST,
    between,
    check_numbers,
    population,
    whole,
)
from evolver.optimizers.ask_tell import AskTell
from evolver.optimizers.ranks import rank_weights
from evolver.optimizers.sphere_geometry import (
    NEVER,
    at_least,
    check_on_sphere,
    projected,
    squared,
    start_on_sphere,
)
from evolver.types import Codes, Scores, Vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_RADIUS = 300 / 64  # of the sphere, in units of sqrt(d): 300 at 4096 dimensions


@dataclass(frozen=True, slots=True, eq=False)
class SphereState:
    """All there is to know between generations; `SphereCMA.from_state` goes on from it."""

    generation: int  # generations learnt from
    age: int  # t, populations drawn around a base so far, the next one included; 0 for none
    popsize: int  # n, samples drawn a generation
    planned: int  # generations of the whole run, which the 'exp' schedule spans
    parents: int  # samples that the mean is made of; 0 for the better half
    inverse: int  # 1 for the schedule 'inv', 0 for 'exp'
    with_base: int  # 1 where the base is asked for with its samples
    widest: float  # angle of the first samples, degrees ('exp')
    narrowest: float  # angle of the last, degrees ('exp')
    turn: float  # t of the slerp: 1 goes to the mean, more goes past it
    radius: float  # R, latent units
    given: Codes  # (m, d) the caller's first population while it is due, (0, d) after
    base: Vector  # (d,) x, of norm R; not yet used while age is 0


def angle(s: SphereState) -> float:
    """Return the angle between the base and its samples in this generation, degrees."""
    if s.inverse:
        return 15 + 1 / (0.0017 * s.age + 0.0146)
    done = min(1.0, (s.age - 1) / max(1, s.planned - 1))
    return s.widest * (s.narrowest / s.widest) ** done


def sample(s: SphereState, z: Codes) -> Codes:
    """Turn standard normal draws, (n, d), into codes of norm R, (n, d). Pure.

    Uniform on the sphere before there is a base; around it, then: exp_x(mu_t U), where U is z
    in the tangent plane at x.
    """
    xp = array_namespace(z, s.base)
    if not s.age:
        lengths = xp.sqrt(squared(z))
        return z * (s.radius / at_least(lengths, SMALLEST))[:, None]
    axis = s.base / s.radius
    along = z @ axis
    # |U|^2 = |z|^2 - (z.x)^2, so that U itself need not be formed
    lengths = xp.sqrt(at_least(squared(z) - along * along, 0.0))
    turned = lengths * (angle(s) * pi / 180 / sqrt(z.shape[1]))
    out = s.radius * xp.sin(turned) / at_least(lengths, SMALLEST)
    codes = z * out[:, None]
    codes += (s.radius * xp.cos(turned) - out * along)[:, None] * axis
    return codes


def update(s: SphereState, codes: Codes, scores: Scores) -> SphereState:
    """Return the state one generation on. Pure: no draw, no I/O, arguments untouched.

    x <- slerp(x, m, turn), where m is the rank-weighted mean of the samples, projected to the
    sphere: past it, if `turn` is more than 1. Weights follow the number of scored samples and
    share among ties. The first base is m itself. A mean of no length (scores that are tied
    on opposite points) gives way to the best sample.

    Parameters
    ----------
    s : the state the codes were drawn from
    codes : array of float64, shape (n, d), latent units; any rows of `sample`, in any order.
        The base itself is not among them: its score is the experimenter's
    scores : array of float64, shape (n,), finite, larger is better
    """
    xp = array_namespace(s.base, codes, scores)
    n = codes.shape[0]
    parents = max(1, s.parents * n // s.popsize) if s.parents else None
    mean = rank_weights(scores, parents) @ codes
    best = codes[xp.argmax(scores), ...]
    far = xp.sqrt(xp.sum(mean * mean)) > NEVER * s.radius
    mean = projected(xp.where(far, mean, best), s.radius)
    if s.age:
        axis = s.base / s.radius
        toward = mean / s.radius
        cosine = xp.sum(toward * axis)
        across = toward - cosine * axis
        sine = xp.sqrt(xp.sum(across * across))
        turned = s.turn * xp.atan2(sine, cosine)
        ahead = across / at_least(sine, SMALLEST)
        moved = projected(xp.cos(turned) * axis + xp.sin(turned) * ahead, s.radius)
    else:
        moved = mean
    return replace(s, generation=s.generation + 1, age=s.age + 1, given=s.given[:0], base=moved)


class SphereCMA(AskTell[SphereState]):
    """Ask and tell around `sample` and `update`; owns the random generator.

    `ask` and `tell` take turns. Each `ask` draws once, by ``rng.standard_normal((n, d))`` and
    nothing else, so the position of the random stream follows from the number of generations.
    The first population is n points at random on the sphere; from then on the base is asked
    for with n samples around it, as its first row, and its score, which shows how the search
    goes, is not learnt from.

    Parameters
    ----------
    d : int >= 2, latent dimensions
    rng : numpy.random.Generator
    popsize : int >= 2, samples a generation; 4 + floor(3 log2 d) by default
    initial : where the search starts, latent units. None: anywhere on the sphere. Shape (d,):
        in the direction of this code. Shape (m, d): these codes are the first population, as
        they are and in this order; their mean, weighted by rank and brought to the sphere, is
        the first base
    generations : int >= 1, length of the run that the schedule 'exp' is made for; past it the
        angle stays
    schedule : 'exp', from the first of `angles` to the second geometrically over the run, or
        'inv', 15 + 1 / (0.0017 t + 0.0146) degrees in generation t
    radius : float > 0, norm of the codes, latent units; 300 at 4096 dimensions, and in
        proportion to sqrt(d) by default
    turn : float > 0, how far the base moves, of the way to the samples' mean
    angles : widest and narrowest angle of 'exp', degrees
    parents : int >= 1, best samples that make the mean; the better half by default, 20 of 40
    base : whether the base is asked for with its samples

    Raises
    ------
    ConfigError
        A setting is out of its range.
    DataError
        `initial` has the wrong shape, is not finite, or has a code of norm zero.
    """

    state_type: ClassVar = SphereState
    usual_radius: ClassVar = _RADIUS

    def __init__(
        self,
        d: int,
        *,
        rng: np.random.Generator,
        popsize: int | None = None,
        initial: ArrayLike | None = None,
        generations: int = 75,
        schedule: Literal["exp", "inv"] = "exp",
        radius: float | None = None,
        turn: float = 1.5,
        angles: tuple[float, float] = (50.0, 7.33),
        parents: int | None = None,
        base: bool = True,
    ) -> None:
        d = whole("d", d, at_least=2)
        if schedule not in {"exp", "inv"}:
            raise ConfigError(f"schedule must be 'exp' or 'inv'; got {schedule!r}")
        if np.shape(angles) != (2,):
            raise ConfigError(f"angles must be two, widest and narrowest; got {angles!r}")
        if base not in (True, False):
            raise ConfigError(f"base must be true or false; got {base!r}")
        radius, where, given, around = start_on_sphere(d, initial, radius, default=_RADIUS)
        degrees = "degrees > 0,"
        state = SphereState(
            generation=0,
            age=int(around),
            popsize=population(d, popsize),
            planned=whole("generations", generations, at_least=1),
            parents=0 if parents is None else whole("parents", parents, at_least=1),
            inverse=int(schedule == "inv"),
            with_base=int(base),
            widest=between("angles[0]", angles[0], 1e-6, 180, what=degrees),
            narrowest=between("angles[1]", angles[1], 1e-6, 180, what=degrees),
            turn=between("turn", turn, 1e-3, 100, what="a number > 0,"),
            radius=radius,
            given=given,
            base=where,
        )
        super().__init__(state, rng=rng)

    def sample(self, s: SphereState, *draws: Codes) -> Codes:
        """Turn draws into codes, (n, d), without the base. Pure."""
        return sample(s, *draws)

    def update(self, s: SphereState, codes: Codes, scores: Scores) -> SphereState:
        """Return the state one generation on. Pure."""
        return update(s, codes, scores)

    def head(self, s: SphereState) -> Codes | None:
        """Return the base, (1, d), where it is asked for with its samples."""
        shown = s.with_base and s.age and not s.given.shape[-2]
        return s.base[..., None, :] if shown else None

    def passed_over(self, s: SphereState, rows: NDArray[np.intp]) -> int:
        """Return 1 where the base is told and not learnt from.

        Where one sample alone was scored beside it, the base competes with it.
        """
        return int(self.head(s) is not None and rows[0] == 0 and len(rows) > 2)

    def _next(self) -> tuple[Codes, Codes]:
        return self._next_in_blocks(self.head(self._state))

    @classmethod
    def _check(cls, state: SphereState) -> None:
        check_numbers(
            state,
            {
                "generation": (0, np.inf),
                "age": (0, np.inf),
                "popsize": (2, np.inf),
                "planned": (1, np.inf),
                "parents": (0, np.inf),
                "inverse": (0, 1),
                "with_base": (0, 1),
                "widest": (1e-6, 180),
                "narrowest": (1e-6, 180),
                "turn": (1e-3, 100),
                "radius": (1e-100, 1e100),
            },
        )
        check_on_sphere(state)
