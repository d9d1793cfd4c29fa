"""A search among codes of one norm that learns from the ranks of a whole population.

Of a linear unit, a population's ranks hold 37.5 of 40 images' worth of information if every
rank weighs, the worst ones negatively (zero-sum normal scores), and half of it if only the
better half does. So each population gives an estimate of the direction in which scores rise,
and the base is, brought to the sphere, the sum of all estimates so far: the step to the next
base falls as 1 / sqrt(t), with no schedule that must know how long the run will be. Samples
come in pairs, across the base from each other, so that what falls off on either side of it
cancels. They lie at an angle in proportion to the step, and the ratio of the two follows the
share of samples that score above their base: rarely, under little noise, so the samples draw
closer; often, under much, so they spread out until they differ by more than the noise, and
steps grow with them.

Samples in pairs are Brockhoff et al.'s (2010). Normal scores as weights are locally most
powerful for shifts of a normal variable (Hajek & Sidak 1967); the rule of success is in the
manner of Rechenberg's (1973), for an angle.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from array_api_compat import array_namespace

from evolver.optimizers.arguments import (
    SMALLEST,
    check_numbers,
    population,
    whole,
)
from evolver.optimizers.ask_tell import AskTell, DrawSource
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
    from numpy.typing import ArrayLike

_RADIUS = 7.0  # of the sphere, in units of sqrt(d): 448 at 4096 dimensions
_SLOWING = 0.3  # of the step, by what a population without noise would tell
_SHARE = 0.12  # samples above their base, at which the angle stays
_PACE, _MOST = 0.15, 3.0  # of the reach: as a log, for no such sample; and the most, in these
_NEAREST, _START, _FARTHEST = 2.5, 4.5, 6.0  # samples' distances, in steps of the base
_TIED = 1e-6  # weights smaller than this, together, are rounding errors


@dataclass(frozen=True, slots=True, eq=False)
class RankSphereState:
    """All there is to know between generations; `RankSphere.from_state` goes on from it."""

    generation: int  # generations learnt from
    age: int  # t, directions the base is the sum of; 0 while there is no base
    popsize: int  # n, codes drawn a generation, the base among them
    radius: float  # R, latent units
    reach: float  # distance of samples from the base over its next step, tangents of angles
    given: Codes  # (m, d) the caller's first population while it is due, (0, d) after
    base: Vector  # (d,) x, of norm R; not yet used while age is 0


def gain(s: RankSphereState) -> float:
    """Return k, the tangent of the angle by which the base will turn.

    The sum of t unit directions, each at right angles to the sum before it, grows as sqrt(t):
    k = 1 / sqrt(t). Those without noise have a part in common, whose squared length is n / d,
    and their sum grows faster. Where samples are far out, noise is large and early directions
    were poor ones: later steps are longer, as the reach is.
    """
    t = s.age
    out = s.reach / _START
    longer = (out + 1 + abs(out - 1)) / 2  # the larger of 1 and out, of floats and of tensors
    return longer / sqrt(t + _SLOWING * t * t * s.popsize / s.base.shape[-1])


def sample(s: RankSphereState, z: Codes) -> Codes:
    """Turn standard normal draws, ((n + 1) // 2, d), into codes of norm R, (n, d). Pure.

    Uniform on the sphere before there is a base, every point and the one across from it. Then
    the base itself, and samples at one angle from it, in the directions of the draws at right
    angles to it and in the opposite ones. The last of them is alone where n is even.
    """
    xp = array_namespace(z, s.base)
    if not s.age:
        uniform = z * (s.radius / at_least(xp.sqrt(squared(z)), SMALLEST))[:, None]
        return xp.concat([uniform, -uniform])[: s.popsize, :]
    z = z[: s.popsize // 2, :]
    axis = s.base / s.radius
    along = z @ axis
    # Of the part at right angles, |u|^2 = |z|^2 - (z.x)^2: u itself need not be formed.
    lengths = xp.sqrt(at_least(squared(z) - along * along, 0.0))
    tangent = s.reach * gain(s)
    cosine = 1 / (1 + tangent * tangent) ** 0.5
    out = s.radius * tangent * cosine / at_least(lengths, SMALLEST)
    aside = z * out[:, None]
    aside -= (out * along)[:, None] * axis
    middle = s.radius * cosine * axis
    return xp.concat([s.base[None, :], middle + aside, middle - aside])[: s.popsize, :]


def update(s: RankSphereState, codes: Codes, scores: Scores) -> RankSphereState:
    """Return the state one generation on. Pure: no draw, no I/O, arguments untouched.

    With u_i the direction from the base x to sample i, of length 1, and w_i the zero-sum
    normal score of its rank, g = sum w_i u_i / sqrt(sum w_i^2) and x <- x + k g, brought to
    the sphere. The first base is the direction of sum w_i x_i; of the caller's population,
    whose codes are no draws, that of its mean as CMA-ES weighs it.

    Parameters
    ----------
    s : the state the codes were drawn from
    codes : array of float64, shape (n, d), latent units; any rows of `sample`, in any order,
        with the base among them or not: without it, the angle stays
    scores : array of float64, shape (n,), finite, larger is better
    """
    xp = array_namespace(s.base, codes, scores)
    after = replace(s, generation=s.generation + 1, age=s.age + 1, given=s.given[:0])
    if not s.age:
        weights = rank_weights(scores) if s.given.shape[0] else normal_scores(scores)
        toward = weights @ codes
        far = xp.sqrt(xp.sum(toward * toward)) > NEVER * s.radius
        toward = xp.where(far, toward, codes[xp.argmax(scores), ...])
        return replace(after, base=projected(toward, s.radius))

    axis, k = s.base / s.radius, gain(s)
    tangent = s.reach * k
    cosine = 1 / (1 + tangent * tangent) ** 0.5
    along = codes @ axis
    sampled = along < s.radius * (1 + cosine) / 2  # half way to the base
    among = xp.astype(sampled, scores.dtype)
    count = at_least(xp.sum(among), 1.0)

    weights = normal_scores(scores) * among
    weights = weights - among * (xp.sum(weights) / count)
    size = at_least(xp.sqrt(xp.sum(weights * weights)), _TIED)
    # All samples are as far from the axis: R sin, of which their directions are made.
    shares = weights / size / (s.radius * tangent * cosine)
    ahead = shares @ codes - (shares @ along) * axis

    of_base = xp.max(xp.where(sampled, -xp.inf, scores))
    above = xp.astype(scores > of_base, among.dtype) + xp.astype(scores >= of_base, among.dtype)
    share = xp.sum(above * among) / (2 * count)
    base_scored = xp.any(~sampled)
    change = xp.where(base_scored, _PACE * xp.clip(share / _SHARE - 1, max=_MOST), 0.0)
    reach = xp.clip(s.reach * xp.exp(change), _NEAREST, _FARTHEST)
    return replace(after, base=projected(axis + k * ahead, s.radius), reach=reach)


@lru_cache(maxsize=256)
def _summed_normal_scores(n: int) -> Vector:
    """Return the sums of the worst 0, 1, ... n normal scores, shape (n + 1,)."""
    normal = NormalDist()
    scores = np.array([normal.inv_cdf((i + 0.5) / n) for i in range(n)])
    summed = np.concatenate([np.zeros(1), np.cumsum(scores)])
    # Equal read from either end, and 0 at both, to the last bit.
    return (summed + summed[::-1]) / 2 - summed[-1] / 2


def normal_scores(scores: Scores) -> Vector:
    """Return what a normal variable of these ranks would be on average, (n,), of sum 0.

    The quantile (rank - 1/2) / n; equal scores share the mean of the ranks they hold.
    """
    xp = array_namespace(scores)
    n = int(scores.shape[0])
    summed = xp.asarray(_summed_normal_scores(n), dtype=scores.dtype, device=scores.device)
    ascending = xp.sort(scores)
    worse = xp.searchsorted(ascending, scores, side="left")
    not_better = xp.searchsorted(ascending, scores, side="right")
    return (xp.take(summed, not_better) - xp.take(summed, worse)) / (not_better - worse)


class RankSphere(AskTell[RankSphereState]):
    """Ask and tell around `sample` and `update`; owns the random generator.

    `ask` and `tell` take turns. Each `ask` draws once, by ``rng.standard_normal((m, d))``, m
    half of n rounded up, and nothing else, so the position of the random stream follows from
    the number of generations. The first population is n points at random on the sphere, in
    pairs across its centre; from then on it is the base, in its first row, and n - 1 samples
    around it. The base is the search's best guess: where the
    noise is large, take it, and not the code that happened to score most.

    Nothing needs to be set but, for a generator whose codes have other norms, `radius`.

    Parameters
    ----------
    d : int >= 2, latent dimensions
    rng : numpy.random.Generator
    popsize : int >= 3, codes a generation, the base among them; 4 + floor(3 log2 d) by default
    initial : where the search starts, latent units. None: anywhere on the sphere. Shape (d,):
        in the direction of this code. Shape (m, d): these codes are the first population, as
        they are and in this order; their mean, weighted by rank and brought to the sphere, is
        the first base
    radius : float > 0, norm of the codes, latent units; 448 at 4096 dimensions, and in
        proportion to sqrt(d) by default

    Raises
    ------
    ConfigError
        `d`, `popsize` or `radius` is out of its range.
    DataError
        `initial` has the wrong shape, is not finite, or has a code of norm zero.
    """

    state_type: ClassVar = RankSphereState
    usual_radius: ClassVar = _RADIUS

    def __init__(
        self,
        d: int,
        *,
        rng: np.random.Generator,
        popsize: int | None = None,
        initial: ArrayLike | None = None,
        radius: float | None = None,
    ) -> None:
        d = whole("d", d, at_least=2)
        radius, where, given, around = start_on_sphere(d, initial, radius, default=_RADIUS)
        state = RankSphereState(
            generation=0,
            age=int(around),
            popsize=population(d, popsize, at_least=3),
            radius=radius,
            reach=_START,
            given=given,
            base=where,
        )
        super().__init__(state, rng=rng)

    def draws(self, s: RankSphereState, rng: DrawSource) -> tuple[Any, ...]:
        """Draw z, ((n + 1) // 2, d): the other half of the samples are across from these."""
        return (rng.standard_normal(((s.popsize + 1) // 2, s.base.shape[-1])),)

    def sample(self, s: RankSphereState, *draws: Codes) -> Codes:
        """Turn draws into codes, (n, d). Pure."""
        return sample(s, *draws)

    def update(self, s: RankSphereState, codes: Codes, scores: Scores) -> RankSphereState:
        """Return the state one generation on. Pure."""
        return update(s, codes, scores)

    @classmethod
    def _check(cls, state: RankSphereState) -> None:
        check_numbers(
            state,
            {
                "generation": (0, np.inf),
                "age": (0, np.inf),
                "popsize": (3, np.inf),
                "radius": (1e-100, 1e100),
                "reach": (_NEAREST, _FARTHEST),
            },
        )
        check_on_sphere(state)
