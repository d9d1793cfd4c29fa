"""How sure a mean over paired runs is: whole units are drawn, each with all its seeds.

Knows arrays. A seed's start and noise are drawn for a unit alone, so seeds are nested in
units: the mean of a unit over its seeds varies by what units differ in and by what seeds differ
in, and a unit that is drawn whole brings both. Drawing its seeds once more would count them
twice (an interval of 95 % then covers 98 % where units are alike), and drawing pairs one by one
would take the seeds of a unit for so many units. With few units the ends of a bootstrap are too
near: those here are the expanded percentiles of Hesterberg (Am. Stat. 69, 2015).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.special import ndtr, stdtrit

from evolver.analysis.across_runs import FEWEST, LEVEL, RESAMPLES

if TYPE_CHECKING:
    from evolver.analysis.trajectories import FloatArray, Ints

MEDIANS = 2_000
"""Resamples of a median, which costs more than a mean."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number, where it lies, and what it rests on; NaN where that cannot be said."""

    value: float
    low: float
    high: float
    resolves: float  # half of the interval: about the smallest difference told from none
    pairs: int
    units: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """What one optimizer has of another's score, of the same units and seeds.

    A ratio is the geometric mean over pairs, and `resolves` the ratio above 1 that is half of
    its interval, sqrt(high / low). Where a score is not above 0 no ratio means anything: then
    it is the mean difference, in units of the scale.
    """

    kind: Literal["ratio", "difference"]
    estimate: Estimate


def mean_of(values: FloatArray, units: Ints, *, level: float = LEVEL) -> Estimate:
    """Return the mean over pairs, and its interval.

    Parameters
    ----------
    values : (n,) finite, a number of each pair
    units : (n,) the number of each pair's unit
    level : of the interval

    Returns
    -------
    Estimate; but for its value, NaN for fewer than `FEWEST` units
    """
    if not len(values):
        return _unsure(np.nan, 0, 0)
    _, index = np.unique(units, return_inverse=True)
    counts = np.bincount(index).astype(np.float64)
    u = len(counts)
    value = float(values.mean())
    if u < FEWEST:
        return _unsure(value, len(values), u)
    drawn = _drawn_units(u, RESAMPLES)
    means = (drawn @ np.bincount(index, weights=values)) / (drawn @ counts)
    low, high = np.quantile(means, _ends(u, level))
    return Estimate(value, float(low), float(high), float(high - low) / 2, len(values), u)


def median_of(values: FloatArray, units: Ints, *, level: float = LEVEL) -> Estimate:
    """Return the (lower) median over pairs, and its interval; numbers may be infinite.

    Parameters are those of `mean_of`. It says nothing of what it resolves.
    """
    if not len(values):
        return _unsure(np.nan, 0, 0)
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    value = float(ordered[(len(values) - 1) // 2])
    _, index = np.unique(units, return_inverse=True)
    u = int(index.max()) + 1
    if u < FEWEST:
        return _unsure(value, len(values), u)
    weights = _drawn_units(u, MEDIANS)[:, index[order]].cumsum(axis=1)
    middle = (weights >= weights[:, -1:] / 2).argmax(axis=1)
    ends = np.quantile(ordered[middle], _ends(u, level), method="nearest")
    return Estimate(value, float(ends[0]), float(ends[1]), np.nan, len(values), u)


def compare(
    scores: FloatArray, base: FloatArray, units: Ints, *, level: float = LEVEL
) -> Comparison:
    """Compare two optimizers' scores, (n,) each, pair by pair; NaN where one has none.

    Other parameters are those of `mean_of`.
    """
    both = np.isfinite(scores) & np.isfinite(base)
    a, b, of = scores[both], base[both], units[both]
    if not (a > 0).all() or not (b > 0).all():
        return Comparison("difference", mean_of(a - b, of, level=level))
    log = mean_of(np.log(a / b), of, level=level)
    value, low, high, resolves = np.exp([log.value, log.low, log.high, log.resolves]).tolist()
    return Comparison("ratio", Estimate(value, low, high, resolves, log.pairs, log.units))


def _unsure(value: float, pairs: int, units: int) -> Estimate:
    return Estimate(value, np.nan, np.nan, np.nan, pairs, units)


def _ends(units: int, level: float) -> tuple[float, float]:
    """Return the quantiles of the resampled that are the ends of an interval."""
    reach = (units / (units - 1)) ** 0.5 * stdtrit(units - 1, (1 + level) / 2)
    tail = float(ndtr(-reach))
    return tail, 1 - tail


@lru_cache(maxsize=8)
def _drawn_units(units: int, resamples: int) -> FloatArray:
    """Return how often each unit is drawn, (resamples, units): the same for everyone."""
    rng = np.random.default_rng(0)
    return rng.multinomial(units, np.full(units, 1 / units), resamples).astype(np.float64)
