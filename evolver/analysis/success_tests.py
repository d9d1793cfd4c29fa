"""Whether an evolution succeeded: late responses against early ones.

Blocks are numbered from 0. A pair of blocks is picked (the pair that begins at the highest
block mean, or the last), and compared with another by a two-sample t. The published rules take
that t-test's p. But a pair picked by its maximum is favoured by noise, which a t-test does not
know; so by default the picking is repeated on sessions whose images are dealt anew to blocks.

Wang & Ponce, Nature Neuroscience 2026, Fig. 4A.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, sqrt
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from evolver.analysis.block_pairs import (
    MIN_BLOCKS,
    LastPair,
    block_sums,
    highest_pairs,
    rows_by_block,
    t_of_pairs,
)
from evolver.analysis.quantities import check_choice, vector_of
from evolver.analysis.trajectories import trajectory
from evolver.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import ArrayLike, NDArray

    from evolver.analysis.trajectories import FloatArray

ALPHA = 0.01
"""A success has a smaller p, as in the paper's Fig. 4D; its Figs. 3, 4B, 4C and 5 take 0.05."""
SHUFFLES = 1999
"""Sessions with their images dealt anew, at least: p comes in steps of 0.0005."""
MOST_DEALINGS = 99_999
"""As many are dealt where p is so near to alpha that fewer do not say on which side it is."""
VERDICT_LEVEL = 0.999
"""Of the interval of p that must not hold alpha, before dealing ends."""
_DEALT_AT_ONCE = 1_000_000

SuccessRule: TypeAlias = Literal["shuffle", "maxinit", "endinit", "maxend"]
"""What p is: the share of sessions dealt anew, or that of one of the paper's t-tests."""
Pairs: TypeAlias = Literal["maxinit", "endinit", "maxend"]
"""Late pair and the pair it is compared with: the highest or the last against the first, or the
highest against the last, which asks whether responses fell again."""


@dataclass(frozen=True, slots=True)
class Success:
    """Late against early responses, and whether that is a success.

    Attributes
    ----------
    base, late : float, means of the two pairs, units of the responses; NaN where undefined
    first_base, first_late : int, first of the two blocks of each pair; -1 where undefined
    t : float, of a two-sample t-test with equal variances, late less base
    dof : int
    p_t : float, two-sided, of that test
    p : float, what the verdict stands on: `p_t` for the paper's rules; for "shuffle" the share
        of dealt sessions whose t is at least as large, this one among them
    dealings : int, how many were dealt or drawn; 0 for the paper's rules
    rule, pairs : how `p` was found, and which pairs were compared
    alpha : float, a success has a smaller `p`
    reason : str, why there is no test; empty where there is
    """

    base: float
    late: float
    first_base: int
    first_late: int
    t: float
    dof: int
    p_t: float
    p: float
    rule: SuccessRule
    pairs: Pairs
    alpha: float
    reason: str = ""
    dealings: int = 0

    @property
    def p_error(self) -> float:
        """Standard error of `p`, as it is counted in dealings; NaN where nothing was dealt."""
        if not self.dealings:
            return nan
        return sqrt(self.p * (1 - self.p) / (1 + self.dealings))

    @property
    def defined(self) -> bool:
        """Whether there is a test."""
        return not self.reason

    @property
    def success(self) -> bool:
        """Whether late is above the base, and `p` below `alpha`; False where undefined."""
        return self.p < self.alpha and self.t > 0


def success(
    responses: ArrayLike,
    block: ArrayLike,
    *,
    rule: SuccessRule = "shuffle",
    pairs: Pairs | None = None,
    last_pair: LastPair = "paper",
    alpha: float = ALPHA,
    shuffles: int = SHUFFLES,
    rng: np.random.Generator | None = None,
) -> Success:
    """Test whether responses rose over an evolution.

    The highest pair starts at the block m with the largest mean. The paper puts m back to
    n - 3 where m >= n - 2, so it never uses the last block; ``last_pair="all"`` puts it back to
    n - 2, the last full pair. Where the maximum is among the first two blocks, as in the paper,
    the pairs overlap and t is small: no success.

    Of sessions without any change, rule "maxinit" calls success in 2.6 to 5.5 % at p < 0.01 and
    in 10 to 18 % at 0.05, more the more blocks (20 to 80). With "shuffle" the pair is picked
    again in sessions whose images are dealt anew to blocks of the same sizes, and p is the
    share of those whose t is at least as large, this session's own among them: with nothing but
    noise, it is below `alpha` in that share of sessions. It asks whether blocks differ; a
    response that drifts for other reasons differs too, which references tell.

    p is counted, so it has an error, `Success.p_error`. There are `shuffles` sessions, and
    while the `VERDICT_LEVEL` interval of p (Wilson's) holds `alpha`, twice as many, up to
    `MOST_DEALINGS`: another `rng` turns the verdict only where p is within about 0.001 of 0.01.

    The statistic is t, not the difference of the pairs' means: a pair that is highest by a
    large, noisy response has a small one.

    Parameters
    ----------
    responses : (n,) one an image, any unit; NaN is left out
    block : (n,) int, from 0; -1 leaves a row out
    rule : "shuffle", or "maxinit", "endinit", "maxend" for the paper's t-tests
    pairs : which pairs are compared when dealing anew, "maxinit" if not given; a paper's rule
        has its own
    last_pair : where the highest pair may begin at the latest
    shuffles : int >= 1, dealings at least
    rng : deals the images; one that is the same for everyone if not given

    Returns
    -------
    Success, with a `reason` where there are fewer than `MIN_BLOCKS` blocks, or where the
        responses within both pairs are equal, so that t has no error to divide by

    Raises
    ------
    DataError
        Shapes differ, blocks are no integers, or images are to be dealt fewer than once.
    """
    _check_words(rule, pairs, last_pair)
    values, blocks = rows_by_block(responses, block)
    compared: Pairs
    if rule == "shuffle":
        compared = pairs or "maxinit"
        if shuffles < 1:
            raise DataError(f"rule 'shuffle' needs at least one shuffle; got {shuffles}")
    elif pairs in {None, rule}:
        compared = rule
    else:
        raise DataError(f"rule {rule!r} compares its own pairs; got pairs={pairs!r}")
    n = np.bincount(blocks)
    if len(n) < MIN_BLOCKS:
        return _no_test(
            rule, compared, alpha, f"{len(n)} blocks with responses; {MIN_BLOCKS} are needed"
        )
    means = trajectory(values, blocks, groups=len(n)).mean
    late, base = (
        int(starts[0]) for starts in _starts(means[None], pairs=compared, last_pair=last_pair)
    )
    a = values[(blocks >= late) & (blocks < late + 2)]
    b = values[(blocks >= base) & (blocks < base + 2)]
    dof = len(a) + len(b) - 2
    if not (len(a) and len(b) and dof > 0):
        reason = f"the pairs have {len(a)} and {len(b)} responses; each needs one, both three"
        return _no_test(rule, compared, alpha, reason)
    if np.ptp(a) == 0 and np.ptp(b) == 0:
        reason = "responses do not vary within either pair of blocks"
        return _no_test(rule, compared, alpha, reason)
    # Here, not above: loading it takes longer than computing a report does.
    from scipy.special import stdtr  # pyright: ignore[reportUnknownVariableType]

    centred = values - values.mean()  # sums of squares lose nothing
    t = float(_pair_t(centred[None], n, pairs=compared, last_pair=last_pair)[0])
    p_t = float(2 * stdtr(dof, -abs(t)))
    p, dealings = p_t, 0
    if rule == "shuffle":
        generator = rng or np.random.default_rng(0)

        def at_least(dealings: int) -> int:
            large = 0
            for dealt in _dealt(centred, dealings, generator):
                drawn = _pair_t(dealt, n, pairs=compared, last_pair=last_pair)
                large += int((drawn >= t - 1e-9 * abs(t)).sum())  # equal but for rounding
            return large

        p, dealings = _counted_p(at_least, alpha, shuffles)
    return Success(
        base=float(b.mean()),
        late=float(a.mean()),
        first_base=base,
        first_late=late,
        t=t,
        dof=dof,
        p_t=p_t,
        p=p,
        rule=rule,
        pairs=compared,
        alpha=alpha,
        dealings=dealings,
    )


def success_of_means(
    mean: ArrayLike,
    sem: ArrayLike,
    *,
    rule: SuccessRule = "shuffle",
    pairs: Pairs | None = None,
    last_pair: LastPair = "paper",
    alpha: float = ALPHA,
    shuffles: int = SHUFFLES,
    rng: np.random.Generator | None = None,
) -> Success:
    """As `success`, where only block means and their errors were published.

    t is z: the difference of two pairs' means over its error, sqrt of the sum of squared sem of
    the four blocks, halved; blocks of a pair count alike. Instead of dealing images anew,
    "shuffle" draws sessions of one true mean whose blocks have the sem that they have, and
    picks the pair in each. That is sharper than the data where a sem comes from few images.

    Parameters
    ----------
    mean, sem : (b,) of each block; b >= `MIN_BLOCKS`; sem >= 0
    rule, pairs, last_pair, alpha, shuffles, rng : as in `success`; `dof` is 0

    Raises
    ------
    DataError
        Shapes differ, or a mean or a sem is not finite.
    """
    _check_words(rule, pairs, last_pair)
    means, sems = vector_of(mean, "mean"), vector_of(sem, "sem")
    if means.shape != sems.shape or not (np.isfinite(means) & (sems >= 0)).all():
        raise DataError(
            f"mean and sem must be finite vectors of one length, sem >= 0; got {means.shape} "
            f"and {sems.shape}"
        )
    if rule == "shuffle" and shuffles < 1:
        raise DataError(f"rule 'shuffle' needs at least one shuffle; got {shuffles}")
    compared: Pairs = (pairs or "maxinit") if rule == "shuffle" else rule
    if len(means) < MIN_BLOCKS:
        return _no_test(rule, compared, alpha, f"{len(means)} blocks; {MIN_BLOCKS} are needed")
    late, base = (
        int(starts[0]) for starts in _starts(means[None], pairs=compared, last_pair=last_pair)
    )
    if not sems[[late, late + 1, base, base + 1]].any():
        return _no_test(rule, compared, alpha, "no block of either pair has an error")
    from scipy.special import ndtr  # pyright: ignore[reportUnknownVariableType]

    z = float(_pair_z(means[None], sems, pairs=compared, last_pair=last_pair)[0])
    p_z = float(2 * ndtr(-abs(z)))
    p, dealings = p_z, 0
    if rule == "shuffle":
        generator = rng or np.random.default_rng(0)

        def at_least(dealings: int) -> int:
            large, at_once = 0, max(1, _DEALT_AT_ONCE // len(means))
            for begun in range(0, dealings, at_once):
                rows = min(at_once, dealings - begun)
                drawn = generator.standard_normal((rows, len(means))) * sems
                drawn_z = _pair_z(drawn, sems, pairs=compared, last_pair=last_pair)
                large += int((drawn_z >= z).sum())
            return large

        p, dealings = _counted_p(at_least, alpha, shuffles)
    return Success(
        base=float(means[base : base + 2].mean()),
        late=float(means[late : late + 2].mean()),
        first_base=base,
        first_late=late,
        t=z,
        dof=0,
        p_t=p_z,
        p=p,
        rule=rule,
        pairs=compared,
        alpha=alpha,
        dealings=dealings,
    )


def _counted_p(at_least: Callable[[int], int], alpha: float, fewest: int) -> tuple[float, int]:
    """Return p, and of how many dealings: so many that they tell whether it is below alpha.

    Parameters
    ----------
    at_least : deals so many sessions; returns how many of them have as large a statistic
    alpha : that p is compared with
    fewest : dealings
    """
    from evolver.analysis.success_rates import share  # loads scipy, slowly

    large, dealings = at_least(fewest), fewest
    while dealings < MOST_DEALINGS:
        near = share(large + 1, dealings + 1, level=VERDICT_LEVEL)
        if not near.low <= alpha <= near.high:
            break
        more = min(dealings + 1, MOST_DEALINGS - dealings)
        large, dealings = large + at_least(more), dealings + more
    return (1 + large) / (1 + dealings), dealings


def _check_words(rule: SuccessRule, pairs: Pairs | None, last_pair: LastPair) -> None:
    check_choice(rule, SuccessRule, "rule")
    check_choice(pairs or "maxinit", Pairs, "pairs")
    check_choice(last_pair, LastPair, "last_pair")


def _no_test(rule: SuccessRule, pairs: Pairs, alpha: float, reason: str) -> Success:
    return Success(nan, nan, -1, -1, nan, 0, nan, nan, rule, pairs, alpha, reason)


def _starts(
    means: FloatArray, *, pairs: Pairs, last_pair: LastPair
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return where each session's late pair and base start, (s,); `means` is (s, blocks)."""
    end = np.full(len(means), means.shape[1] - 2)
    first = np.zeros(len(means), dtype=np.intp)
    if pairs == "endinit":
        return end, first
    return highest_pairs(means, last_pair), first if pairs == "maxinit" else end


def _dealt(values: FloatArray, shuffles: int, rng: np.random.Generator) -> Iterator[FloatArray]:
    """Yield the values in `shuffles` random orders, (s, n) at a time."""
    at_once = max(1, _DEALT_AT_ONCE // len(values))
    for begun in range(0, shuffles, at_once):
        rows = min(at_once, shuffles - begun)
        yield rng.permuted(np.broadcast_to(values, (rows, len(values))), axis=1)


def _pair_t(
    sessions: FloatArray, n: NDArray[np.intp], *, pairs: Pairs, last_pair: LastPair
) -> FloatArray:
    """Return t of the late pair against its base in each session, (s,); 0 where undefined.

    `sessions` is (s, images), sorted by block; `n` (b,) says how many each of them has.
    """
    of = block_sums(sessions, n)
    late, base = _starts(of.means, pairs=pairs, last_pair=last_pair)
    return t_of_pairs(of.pair(late), of.pair(base))


def _pair_z(
    sessions: FloatArray, sems: FloatArray, *, pairs: Pairs, last_pair: LastPair
) -> FloatArray:
    """Return z of the late pair against its base, (s,), of block means (s, b); 0 if undefined.

    A block that both pairs share cancels, in the difference and in its error.
    """
    late, base = _starts(sessions, pairs=pairs, last_pair=last_pair)
    row = np.arange(len(sessions))
    difference = sessions[row, late] + sessions[row, late + 1]
    difference = (difference - sessions[row, base] - sessions[row, base + 1]) / 2
    weights = np.zeros_like(sessions)
    for start, sign in ((late, 1), (base, -1)):
        weights[row, start] += sign / 2
        weights[row, start + 1] += sign / 2
    error = np.sqrt(weights**2 @ sems**2)
    z = np.divide(difference, error, out=np.zeros(len(sessions)), where=error > 0)
    return z.astype(np.float64)
