"""What changed over an evolution: scores, references, PSTHs and the test of success.

A *group* is what rows are averaged over: a generation, a block, or any other label from 0; rows
whose group is -1 belong to none. Responses are half open in time: a spike on a bin's or a
window's right edge belongs to what follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evolver.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FloatArray: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

MIN_GENERATIONS = 5
"""Fewer, and the paper's late pair, which starts at n - 3, shares one with the first pair."""
ALPHA = 0.01
"""A success has a smaller p, as in the paper's Fig. 4D; its Figs. 3, 4B, 4C and 5 take 0.05."""
SHUFFLES = 1999
"""Sessions with their images dealt anew: p comes in steps of 0.0005."""
_DEALT_AT_ONCE = 1_000_000

SuccessTest: TypeAlias = Literal["shuffled", "paper"]
"""What a success is judged by: images dealt anew to generations, or the paper's t-test."""


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """One number a group, with its error.

    Attributes
    ----------
    mean : ndarray of float64, shape (g,), units of the values; NaN where a group is empty
    sem : ndarray of float64, shape (g,), standard error of the mean (n - 1 in the variance);
        NaN where a group has fewer than two values
    n : ndarray of int64, shape (g,), finite values in the group
    """

    mean: FloatArray
    sem: FloatArray
    n: Ints

    def __len__(self) -> int:
        return len(self.mean)

    @property
    def filled(self) -> Ints:
        """Groups that have a value, ascending."""
        return np.flatnonzero(self.n > 0).astype(np.int64)


def trajectory(values: FloatArray, group: Ints, *, groups: int) -> Trajectory:
    """Mean and standard error of `values` in each group; NaN values are left out.

    Parameters
    ----------
    values : ndarray of float64, shape (n,); NaN where there is none (a dropped image)
    group : ndarray of int, shape (n,), 0 to `groups` - 1, or -1 for a row to leave out
    groups : int >= 0

    Raises
    ------
    DataError
        Where the shapes differ or a group is out of range.
    """
    values = np.asarray(values, dtype=np.float64)
    group = _check_groups(group, rows=values.shape, groups=groups)
    kept = (group >= 0) & np.isfinite(values)
    values, group = values[kept], group[kept]
    n = np.bincount(group, minlength=groups)
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 is the NaN that is promised
        mean = np.bincount(group, weights=values, minlength=groups) / n
        # Two passes: sums of squares lose everything where the mean is large.
        squares = np.bincount(group, weights=(values - mean[group]) ** 2, minlength=groups)
        sem = np.where(n > 1, np.sqrt(squares / (n - 1) / n), np.nan)
    return Trajectory(mean, sem, n.astype(np.int64))


def reference_trajectory(scores: FloatArray) -> Trajectory:
    """Mean and standard error over a block's references, for every block.

    Parameters
    ----------
    scores : ndarray of float64, shape (b, r), by one thread's fitness; NaN where missing
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2:
        raise DataError(f"scores must have shape (blocks, references); got {scores.shape}")
    blocks = np.repeat(np.arange(len(scores)), scores.shape[1])
    return trajectory(scores.ravel(), blocks, groups=len(scores))


def pooled(at: FloatArray, mean: FloatArray, sem: FloatArray) -> tuple[FloatArray, ...]:
    """Join the means that stand at one place: the mean of them, and its standard error.

    Parameters
    ----------
    at : ndarray of float64, shape (b,), where each stands: the generation it was shown at
    mean, sem : ndarray of float64, shape (b,); NaN where there is none

    Returns
    -------
    at, mean, sem : ndarray of float64, shape (p,), places ascending. The error is that of
        independent means, sqrt(sum sem^2) / n, over those that have one
    """
    places, group = np.unique(at, return_inverse=True)
    n = np.bincount(group, weights=np.isfinite(mean), minlength=len(places))
    with_sem = np.bincount(group, weights=np.isfinite(sem), minlength=len(places))
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 is the NaN that is promised
        sums = np.bincount(group, weights=np.nan_to_num(mean), minlength=len(places))
        squares = np.bincount(group, weights=np.nan_to_num(sem) ** 2, minlength=len(places))
        return places.astype(np.float64), sums / n, np.sqrt(squares) / with_sem


def best_rows(scores: FloatArray, group: Ints, *, groups: int) -> Ints:
    """Return the row with the largest score of each group, shape (groups,); -1 where none.

    The earliest of equal scores wins, so that silent units give the same row everywhere.
    """
    scores = np.asarray(scores, dtype=np.float64)
    group = _check_groups(group, rows=scores.shape, groups=groups)
    kept = np.flatnonzero((group >= 0) & np.isfinite(scores))
    best = np.full(groups, -1, dtype=np.int64)
    # Ascending score, later rows first among equals: the last one written is the best.
    order = kept[np.lexsort((-kept, scores[kept]))]
    best[group[order]] = order
    return best


def spike_psth(
    offsets: Ints,
    unit: NDArray[np.integer[Any]],
    time_ms: NDArray[np.floating[Any]],
    *,
    edges_ms: FloatArray,
    group: Ints,
    groups: int,
    weights: FloatArray,
) -> FloatArray:
    """Peri-stimulus time histogram of each group, from spike times.

    Parameters
    ----------
    offsets : ndarray of int, shape (p + 1,); presentation i has the spikes
        offsets[i] to offsets[i + 1] - 1
    unit : ndarray of int, shape (k,), column of `weights` each spike belongs to
    time_ms : ndarray, shape (k,), ms after onset
    edges_ms : ndarray of float64, shape (t + 1,), ascending, ms after onset
    group : ndarray of int, shape (p,), the group of each presentation, -1 for none
    groups : int
    weights : ndarray of float64, shape (u,), what one spike of each unit counts

    Returns
    -------
    ndarray of float64, shape (groups, t), weighted spikes/s, mean over the group's
        presentations; NaN for a group without presentations, 0 for a silent one
    """
    edges = _check_edges(edges_ms)
    group = _check_groups(group, rows=(len(offsets) - 1,), groups=groups)
    bins = len(edges) - 1
    at = np.searchsorted(edges, np.asarray(time_ms, dtype=np.float64), side="right") - 1
    of = np.repeat(group, np.diff(offsets))
    kept = (of >= 0) & (at >= 0) & (at < bins)
    flat = of[kept] * bins + at[kept]
    sums = np.bincount(flat, weights=weights[unit[kept]], minlength=groups * bins)
    return _as_rates(sums.astype(np.float64).reshape(groups, bins), group, edges)


def count_psth(
    counts: NDArray[np.integer[Any]],
    *,
    edges_ms: FloatArray,
    group: Ints,
    groups: int,
    weights: FloatArray,
) -> FloatArray:
    """Like `spike_psth`, from counts a bin: (p, u, t), for rigs that send no spike times."""
    edges = _check_edges(edges_ms)
    if counts.ndim != 3 or counts.shape[1:] != (len(weights), len(edges) - 1):
        raise DataError(
            f"counts must have shape (presentations, {len(weights)}, {len(edges) - 1}): one "
            f"column a unit, one bin between two edges; got {counts.shape}"
        )
    group = _check_groups(group, rows=(len(counts),), groups=groups)
    sums = np.zeros((groups, len(edges) - 1))
    used = np.flatnonzero(weights)  # a session watches one unit of hundreds; read no others
    for g in range(groups):
        sums[g] = weights[used] @ counts[group == g][:, used].sum(axis=0, dtype=np.float64)
    return _as_rates(sums, group, edges)


def smooth(psth: FloatArray, *, edges_ms: FloatArray, sigma_ms: float) -> FloatArray:
    """Gaussian smoothing along time, shape (…, t), the same shape out; sigma 0 changes nothing.

    Weights are renormalised at the ends, so that a flat PSTH stays flat.
    """
    if not sigma_ms >= 0:
        raise DataError(f"sigma_ms must be at least 0; got {sigma_ms}")
    edges = _check_edges(edges_ms)
    if sigma_ms == 0:
        return psth.copy()
    centres = (edges[1:] + edges[:-1]) / 2
    kernel = np.exp(-0.5 * ((centres[:, None] - centres[None, :]) / sigma_ms) ** 2)
    kernel *= np.diff(edges)[:, None]  # unequal bins stand for unequal stretches of time
    return psth @ (kernel / kernel.sum(axis=0))


@dataclass(frozen=True, slots=True)
class Change:
    """Late against early responses, and whether that is a success.

    Attributes
    ----------
    early, late : float, means, units of the scores
    first_late : int, first of the two late generations
    t : float, of a two-sample t-test with equal variances
    dof : int
    p_t : float, two-sided, of that test
    p : float, what the verdict stands on: with `verdict` "shuffled" the share of shuffled
        sessions whose t is at least as large, with "paper" `p_t`
    verdict : how `p` was found
    alpha : float, a success has a smaller `p`
    """

    early: float
    late: float
    first_late: int
    t: float
    dof: int
    p_t: float
    p: float
    verdict: SuccessTest
    alpha: float

    @property
    def success(self) -> bool:
        """Whether the evolution succeeded: late above early, and `p` below `alpha`."""
        return self.p < self.alpha and self.t > 0


def change(
    scores: FloatArray,
    generation: Ints,
    *,
    late: Literal["max", "end"] = "max",
    rule: Literal["paper", "all"] = "paper",
    verdict: SuccessTest = "shuffled",
    alpha: float = ALPHA,
    shuffles: int = SHUFFLES,
    rng: np.random.Generator | None = None,
) -> Change | None:
    """Test two late generations against the first two (Wang & Ponce 2026, 'maxinit').

    With ``late="max"`` the late pair starts at the generation m of the largest mean; with
    ``"end"`` it is the last pair. The paper's rule puts m back to n - 3 where m >= n - 2, so it
    never uses the last generation; ``rule="all"`` puts it back to n - 2, the last full pair.
    Where the maximum is among the first two, as in the paper, the pairs overlap and t is
    small: no success.

    A pair picked by its maximum is favoured by noise, and a t-test does not know that it was
    picked: of sessions without any change, the paper's verdict calls success in 2.5 to 5 % at
    p < 0.01 (``verdict="paper"`` keeps it). By default the pair is picked again in every one of
    `shuffles` sessions whose images are dealt anew to generations of the same sizes, and p is
    the share of those whose t is at least as large, this session's own among them: with nothing
    but noise, it is below `alpha` in that share of sessions. It asks whether generations
    differ; a response that drifts for other reasons differs too, which references tell.

    Parameters
    ----------
    scores : ndarray of float64, shape (n,), one an image; NaN is left out
    generation : ndarray of int, shape (n,), from 0
    shuffles : int >= 1
    rng : numpy Generator, deals the images; "paper" needs none

    Returns
    -------
    Change, or None where there are fewer than `MIN_GENERATIONS` scored generations, or where
        all scores in both pairs are equal, so that t is undefined

    Raises
    ------
    DataError
        Where images are to be dealt without `rng`, or fewer than once.
    """
    if verdict == "shuffled" and (rng is None or shuffles < 1):
        raise DataError(
            "the verdict 'shuffled' needs a random generator and at least one shuffle; got "
            f"rng={rng} and shuffles={shuffles}"
        )
    finite = np.isfinite(scores)
    order = np.argsort(generation[finite], kind="stable")
    scores, generation = scores[finite][order], generation[finite][order]
    n = np.bincount(generation)
    if len(n) < MIN_GENERATIONS:
        return None
    means = trajectory(scores, generation, groups=len(n)).mean
    m = int(_late_pairs(means[None], late=late, rule=rule)[0])
    a = scores[(generation >= m) & (generation < m + 2)]
    b = scores[generation < 2]
    dof = len(a) + len(b) - 2
    if not (len(a) and len(b) and dof > 0) or (np.ptp(a) == 0 and np.ptp(b) == 0):
        return None
    # Here, not above: loading it takes longer than computing a report does.
    from scipy.special import stdtr  # pyright: ignore[reportUnknownVariableType]

    values = scores - scores.mean()  # sums of squares lose nothing
    t = float(_late_t(values[None], n, late=late, rule=rule)[0])
    p_t = float(2 * stdtr(dof, -abs(t)))
    p = p_t
    if verdict == "shuffled" and rng is not None:
        at_least = 0
        for dealt in _dealt(values, shuffles, rng):
            drawn = _late_t(dealt, n, late=late, rule=rule)
            at_least += int((drawn >= t - 1e-9 * abs(t)).sum())  # equal but for rounding
        p = (1 + at_least) / (1 + shuffles)
    return Change(
        early=float(b.mean()),
        late=float(a.mean()),
        first_late=m,
        t=t,
        dof=dof,
        p_t=p_t,
        p=p,
        verdict=verdict,
        alpha=alpha,
    )


def _late_pairs(
    means: FloatArray, *, late: Literal["max", "end"], rule: Literal["paper", "all"]
) -> NDArray[np.intp]:
    """Return where the late pair of each session starts, (s,); `means` is (s, generations)."""
    last = means.shape[1] - 2
    if late == "end":
        return np.full(len(means), last)
    start: NDArray[np.intp] = np.nanargmax(means, axis=1)
    start[start >= last] = last - 1 if rule == "paper" else last
    return start


def _dealt(values: FloatArray, shuffles: int, rng: np.random.Generator) -> Iterator[FloatArray]:
    """Yield the values in `shuffles` random orders, (s, n) at a time."""
    at_once = max(1, _DEALT_AT_ONCE // len(values))
    for begun in range(0, shuffles, at_once):
        rows = min(at_once, shuffles - begun)
        yield rng.permuted(np.broadcast_to(values, (rows, len(values))), axis=1)


def _late_t(
    sessions: FloatArray,
    n: NDArray[np.intp],
    *,
    late: Literal["max", "end"],
    rule: Literal["paper", "all"],
) -> FloatArray:
    """Return t of late against early in each session, (s,); 0 where it is undefined.

    `sessions` is (s, images), sorted by generation; `n` (g,) says how many each of them has.
    """
    sums = np.zeros((len(sessions), len(n)))
    squares = np.zeros_like(sums)
    filled = np.flatnonzero(n)
    starts = (np.cumsum(n) - n)[filled]
    sums[:, filled] = np.add.reduceat(sessions, starts, axis=1)
    squares[:, filled] = np.add.reduceat(sessions**2, starts, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0: a generation without images
        m = _late_pairs(sums / n, late=late, rule=rule)
        row = np.arange(len(sessions))
        n_a, n_b = n[m] + n[m + 1], n[0] + n[1]
        sum_a, sum_b = sums[row, m] + sums[row, m + 1], sums[:, :2].sum(axis=1)
        both = squares[row, m] + squares[row, m + 1] + squares[:, :2].sum(axis=1)
        within = np.maximum(both - sum_a**2 / n_a - sum_b**2 / n_b, 0)
        error = np.sqrt(within / (n_a + n_b - 2) * (1 / n_a + 1 / n_b))
        t: FloatArray = (sum_a / n_a - sum_b / n_b) / error
    t[np.isnan(t)] = 0.0
    return t


def evenly(candidates: Ints, *, at_most: int) -> Ints:
    """Pick `at_most` of `candidates`, evenly spaced, always with the first and the last."""
    if len(candidates) <= at_most:
        return candidates
    picked = np.linspace(0, len(candidates) - 1, at_most).round().astype(np.int64)
    return candidates[picked]


def _as_rates(sums: FloatArray, group: Ints, edges_ms: FloatArray) -> FloatArray:
    """Turn weighted counts, (g, t), into spikes/s a presentation."""
    n = np.bincount(group[group >= 0], minlength=len(sums)).astype(np.float64)
    n[n == 0] = np.nan
    return sums / n[:, None] / (np.diff(edges_ms) / 1000)


def _check_edges(edges_ms: FloatArray) -> FloatArray:
    edges = np.asarray(edges_ms, dtype=np.float64)
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise DataError(f"edges_ms must be two or more ascending times, ms; got {edges}")
    return edges


def _check_groups(group: Ints, *, rows: Sequence[int], groups: int) -> Ints:
    group = np.asarray(group, dtype=np.int64)
    if group.shape != tuple(rows):
        raise DataError(f"group must have shape {tuple(rows)}, one a row; got {group.shape}")
    if group.size and not (group.min() >= -1 and group.max() < groups):
        raise DataError(
            f"group must lie between -1 and {groups - 1}; got {group.min()} to {group.max()}"
        )
    return group
