"""What changed over an evolution: scores, references and PSTHs.

A *group* is what rows are averaged over: a generation, a block, or any other label from 0; rows
whose group is -1 belong to none. Responses are half open in time: a spike on a bin's or a
window's right edge belongs to what follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evolver.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

FloatArray: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]


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
