"""How many blocks an evolution takes to come near its highest response.

Not an exponential's constant: the first block above a share of the maximum, or how many blocks
are below it. Which curve, what is subtracted and which share are all in use; `time_constants`
is the table of all of them.

Wang & Ponce, Nature Neuroscience 2026, Fig. 4D: block means less the first block's, 0.8 of the
maximum, first block above.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from evolver.analysis.gaussian_process import NoiseUnits, smooth_course
from evolver.analysis.quantities import Quantity, check_choice, vector_of
from evolver.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

PUBLISHED_THRESHOLD, EXPONENTIAL_THRESHOLD = 0.8, 0.632
"""Shares of the maximum; the second is what an exponential reaches after its constant."""

CourseBase: TypeAlias = Literal["first", "zero", "baseline"]
"""What a curve is less: its first block, nothing, or the rate before responses begin."""
ConstantStatistic: TypeAlias = Literal["first_above", "blocks_below"]
ConstantCurve: TypeAlias = Literal["means", "smooth"]


@dataclass(frozen=True, slots=True)
class TimeConstant:
    """One way of saying how long an evolution takes.

    Attributes
    ----------
    curve : block means, or those of a Gaussian process read at the blocks
    base : what is subtracted
    threshold : share of the maximum
    statistic : first block above, or number of blocks below
    blocks : Quantity, in blocks; undefined where the curve is never above its base
    """

    curve: ConstantCurve
    base: CourseBase
    threshold: float
    statistic: ConstantStatistic
    blocks: Quantity


def time_constant(
    course: ArrayLike,
    *,
    base: CourseBase = "first",
    baseline: float | None = None,
    threshold: float = PUBLISHED_THRESHOLD,
    statistic: ConstantStatistic = "first_above",
) -> Quantity:
    """Return the first block above a share of the maximum, or how many blocks are below it.

    Parameters
    ----------
    course : (b,) of block means, any unit; blocks that are NaN are neither above nor below
    base : what is subtracted first
    baseline : mean rate before responses (published: 0 to 45 ms), for ``base="baseline"``
    threshold : share of the maximum, between 0 and 1
    statistic : "first_above" counts from block 0; "blocks_below" counts blocks below the level

    Returns
    -------
    Quantity, blocks; undefined where the curve is never above its base (published code: 0)

    Raises
    ------
    DataError
        The threshold is not between 0 and 1, or the baseline is missing.
    """
    values = vector_of(course, "course")
    check_choice(base, CourseBase, "base")
    check_choice(statistic, ConstantStatistic, "statistic")
    if not 0 < threshold < 1:
        raise DataError(f"threshold must lie between 0 and 1; got {threshold}")
    if base == "baseline" and baseline is None:
        raise DataError("base 'baseline' needs the mean rate before responses; got none")
    finite = np.isfinite(values)
    if not finite.any():
        return Quantity.undefined(f"none of {len(values)} blocks has a mean")
    if base == "first" and not finite[0]:
        return Quantity.undefined("the first block has no mean")
    less = {"first": float(values[0]), "zero": 0.0, "baseline": float(baseline or 0)}[base]
    if not np.isfinite(less):
        return Quantity.undefined("there is no baseline")
    risen = values - less
    highest = float(risen[finite].max())
    if highest <= 0:
        return Quantity.undefined("no block is above the base")
    level = threshold * highest
    if statistic == "blocks_below":
        return Quantity(float((risen < level).sum()))
    return Quantity(float(np.argmax(risen > level)))


def time_constants(
    mean: ArrayLike,
    sem: ArrayLike,
    *,
    baseline: float,
    thresholds: tuple[float, ...] = (PUBLISHED_THRESHOLD, EXPONENTIAL_THRESHOLD),
    noise_units: NoiseUnits = "standardised",
    rng: np.random.Generator | None = None,
) -> list[TimeConstant]:
    """Return one evolution's time constant by every variant in use.

    Parameters
    ----------
    mean, sem : (b,) of each block, spikes/s
    baseline : mean rate before responses, spikes/s
    thresholds : shares of the maximum
    noise_units, rng : of `smooth_course`

    Returns
    -------
    2 curves x 3 bases x thresholds x 2 statistics, in that order; of a curve that cannot be
        smoothed, the reason is the process's
    """
    means = vector_of(mean, "mean")
    smoothed = smooth_course(means, sem, noise_units=noise_units, rng=rng)
    curves: tuple[ConstantCurve, ...] = ("means", "smooth")
    bases: tuple[CourseBase, ...] = ("zero", "baseline", "first")
    statistics: tuple[ConstantStatistic, ...] = ("first_above", "blocks_below")
    table: list[TimeConstant] = []
    for curve, base, threshold, statistic in product(curves, bases, thresholds, statistics):
        if curve == "smooth" and not smoothed.defined:
            blocks = Quantity.undefined(smoothed.reason)
        else:
            blocks = time_constant(
                means if curve == "means" else smoothed.mean,
                base=base,
                baseline=baseline,
                threshold=threshold,
                statistic=statistic,
            )
        table.append(TimeConstant(curve, base, threshold, statistic, blocks))
    return table
