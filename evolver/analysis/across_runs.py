"""What many runs say together: means with intervals, and levels of a factor compared in pairs.

Every interval is over the runs, or over the pairs, that are handed in, each counted as a draw
of its own; how many there were is part of every answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.special import stdtrit

from evolver.analysis.trajectories import FloatArray, Ints
from evolver.errors import DataError

RESAMPLES, LEVEL = 10_000, 0.95
FEWEST = 5
"""Draws under which no bootstrap interval is given: it would be the range of a few numbers."""
_DRAWN_AT_ONCE = 4_000_000

Statistic: TypeAlias = Callable[[FloatArray], FloatArray]
"""Of means, (k, resamples), to (resamples,)."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A number and where it lies with 95 % confidence; NaN where that cannot be said."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class MeanCourse:
    """The mean of many courses, with the interval of the mean; all (g,), NaN where unknown."""

    mean: FloatArray
    low: FloatArray
    high: FloatArray
    n: Ints


def mean_course(values: FloatArray) -> MeanCourse:
    """Return the mean over runs at every generation, and its 95 % interval by Student's t.

    Parameters
    ----------
    values : ndarray of float64, shape (runs, g); NaN where a run has no value
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2:
        raise DataError(f"values must have shape (runs, generations); got {values.shape}")
    filled = np.isfinite(values)
    n = filled.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 is the NaN that is promised
        mean = np.where(filled, values, 0).sum(axis=0) / n
        squares = np.where(filled, (values - mean) ** 2, 0).sum(axis=0)
        sem = np.where(n > 1, np.sqrt(squares / (n - 1) / n), np.nan)
    half = stdtrit(np.maximum(n - 1, 1), (1 + LEVEL) / 2) * sem
    return MeanCourse(mean, mean - half, mean + half, n.astype(np.int64))


def paired_rows(levels: Ints, factor: int, first: int, second: int) -> Ints:
    """Return which runs differ in one factor alone.

    Parameters
    ----------
    levels : ndarray of int, shape (runs, factors), the number of each run's level
    factor : the column that is compared
    first, second : two of its levels

    Returns
    -------
    ndarray of int64, shape (pairs, 2): runs of the first level beside runs of the second with
    which all other factors agree. Where one combination was run more than once, runs are paired
    in their order and those left over have no pair
    """
    levels = np.asarray(levels)
    if levels.ndim != 2 or not 0 <= factor < levels.shape[1]:
        raise DataError(
            f"levels must have shape (runs, factors) with factor {factor} among them; got "
            f"{levels.shape}"
        )
    others = np.delete(levels, factor, axis=1)
    left, right = (np.flatnonzero(levels[:, factor] == level) for level in (first, second))
    waiting: dict[bytes, list[int]] = {}
    for row in right[::-1]:
        waiting.setdefault(others[row].tobytes(), []).append(int(row))
    pairs = [
        (int(row), partners.pop())
        for row in left
        if (partners := waiting.get(others[row].tobytes()))
    ]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def bootstrap(
    values: FloatArray, statistic: Statistic, *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Return a statistic of means over draws, and its percentile interval.

    Parameters
    ----------
    values : (k, n): k numbers of each draw, resampled together
    statistic : function of means, (k, resamples), to (resamples,)
    resamples : how many
    seed : of the resampling: the same draws for everyone

    Returns
    -------
    Interval; its ends are NaN for fewer than `FEWEST` draws, and where a resample is undefined
    """
    n = values.shape[1]
    value = float(statistic(values.mean(axis=1, keepdims=True))[0])
    if n < FEWEST:
        return Interval(value, np.nan, np.nan)
    resampled = statistic(resampled_means(values, resamples=resamples, seed=seed))
    tail = (1 - LEVEL) / 2
    ends = np.quantile(resampled, [tail, 1 - tail])
    return Interval(value, float(ends[0]), float(ends[1]))


def mean_intervals(
    values: FloatArray, *, resamples: int = RESAMPLES, seed: int = 0
) -> list[Interval]:
    """Return the mean of each row of (k, n), and its percentile interval; as `bootstrap`."""
    means = values.mean(axis=1) if values.shape[1] else np.full(len(values), np.nan)
    if values.shape[1] < FEWEST:
        return [Interval(float(mean), np.nan, np.nan) for mean in means]
    tail = (1 - LEVEL) / 2
    drawn = resampled_means(values, resamples=resamples, seed=seed)
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=1)
    return [Interval(*map(float, row)) for row in zip(means, low, high, strict=True)]


def resampled_means(values: FloatArray, *, resamples: int, seed: int) -> FloatArray:
    """Return means over draws with replacement, (k, resamples), of values (k, n)."""
    n = values.shape[1]
    rng = np.random.default_rng(seed)
    at_once = max(_DRAWN_AT_ONCE // n, 1)
    parts: list[FloatArray] = []
    for begin in range(0, resamples, at_once):
        drawn = rng.integers(0, n, (min(at_once, resamples - begin), n))
        parts.append(np.stack([row[drawn].mean(axis=1) for row in values]))
    return np.concatenate(parts, axis=1)
