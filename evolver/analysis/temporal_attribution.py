"""Which part of the response an evolution raised: its highest block's PSTH less its first's.

Wang & Ponce, Nature Neuroscience 2026, Extended Data Fig. 4B. The published error of the
difference averages one block's squared sem and the other's squared mean; here it is that of a
difference of two independent means.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from evolver.analysis.quantities import Quantity, check_choice
from evolver.analysis.t_tests import TTest, t_tests
from evolver.analysis.time_bins import RESPONSE_MS, time_binned, window_mean
from evolver.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from evolver.types import Matrix, Vector

LEAST_SHARE = 0.05
"""Of the sum of absolute changes; where they add up to less, its parts are no shares."""

DifferenceError: TypeAlias = Literal["independent", "paper"]


@dataclass(frozen=True, slots=True, eq=False)
class Attribution:
    """What each bin of time adds to the rise of an evolution.

    Attributes
    ----------
    edges_ms : (k + 1,) of the bins, ms after onset
    share : (k,) of the sum of differences; NaN where undefined
    share_sem : (k,) of `share`, the sum taken as given; NaN where undefined or without a sem
    difference : (k,) spikes/s, of the highest block less the first
    difference_sem : (k,) spikes/s; NaN without a sem
    highest : int, the block
    total : Quantity, sum of differences over bins, spikes/s; undefined where shares are
    """

    edges_ms: Vector
    share: Vector
    share_sem: Vector
    difference: Vector
    difference_sem: Vector
    highest: int
    total: Quantity

    @property
    def reason(self) -> str:
        """Why there are no shares; empty where there are."""
        return self.total.reason


def attribution(
    psth: ArrayLike,
    sem: ArrayLike | None = None,
    *,
    width_ms: float = 10.0,
    response_ms: tuple[float, float] = RESPONSE_MS,
    least_share: float = LEAST_SHARE,
    error: DifferenceError = "independent",
    edges_ms: ArrayLike | None = None,
) -> Attribution:
    """Attribute an evolution's rise to bins of time.

    The sem of a bin is the mean of the sems in it: an upper bound, reached where neighbouring
    milliseconds vary together, as they do once a PSTH is smoothed.

    Parameters
    ----------
    psth : (b, t) of each block, spikes/s
    sem : (b, t) its standard errors
    width_ms : of the bins; published: 5, 10, 20, 25 and 50
    response_ms : window whose rate says which block is the highest
    least_share : shares are undefined where the differences add up to a smaller part of the
        sum of their absolute values
    error : "paper" keeps the published slip, sqrt((sem_max^2 + mean_first^2) / 2)
    edges_ms : (t + 1,); 1-ms bins from onset if not given

    Raises
    ------
    DataError
        Arrays do not fit.
    """
    check_choice(error, DifferenceError, "error")
    rates = np.asarray(psth, dtype=np.float64)
    if rates.ndim != 2:
        raise DataError(f"psth must have shape (blocks, bins of time); got {rates.shape}")
    errors = np.full(rates.shape, nan) if sem is None else np.asarray(sem, dtype=np.float64)
    if errors.shape != rates.shape:
        raise DataError(f"sem must have psth's shape, {rates.shape}; got {errors.shape}")
    binned, wide = time_binned(rates, width_ms, edges_ms=edges_ms)
    binned_sem, _ = time_binned(errors, width_ms, edges_ms=edges_ms)
    levels = window_mean(rates, response_ms, edges_ms=edges_ms)
    nothing = np.full(binned.shape[1], nan)
    if not np.isfinite(levels).any():
        total = Quantity.undefined("no block has a response")
        return Attribution(wide, nothing, nothing, nothing, nothing, -1, total)
    highest = int(np.nanargmax(levels))
    difference = binned[highest] - binned[0]
    other = binned[0] if error == "paper" else binned_sem[0]
    squares = binned_sem[highest] ** 2 + other**2
    difference_sem = np.sqrt(squares / 2 if error == "paper" else squares)
    total = _total(difference, highest, least_share)
    return Attribution(
        edges_ms=wide,
        share=difference / total.value,
        share_sem=difference_sem / abs(total.value),
        difference=difference,
        difference_sem=difference_sem,
        highest=highest,
        total=total,
    )


def shares_of(attributions: Sequence[Attribution]) -> Matrix:
    """Return shares of many evolutions, (e, k), as for `population_mean`; (0, 0) of none.

    Rows are NaN where shares are undefined.

    Raises
    ------
    DataError
        Their bins differ.
    """
    if len({a.edges_ms.tobytes() for a in attributions}) > 1:
        raise DataError("attributions must have the same bins of time")
    if not attributions:
        return np.zeros((0, 0))
    return np.stack([a.share for a in attributions])


def compare_attributions(
    first: Sequence[Attribution], second: Sequence[Attribution]
) -> list[TTest]:
    """Test whether two threads' rises lie in the same bins: an unpaired t of each bin.

    Each thread has its own successes, so experiments are no pairs. `marks` says which of the
    tests stay significant.

    Parameters
    ----------
    first, second : of any number of evolutions, in the same bins; where one is empty, every
        test is undefined

    Raises
    ------
    DataError
        Their bins differ.
    """
    shares = shares_of([*first, *second])
    return t_tests(shares[: len(first)], shares[len(first) :], paired=False)


def _total(difference: Vector, highest: int, least_share: float) -> Quantity:
    if highest == 0:
        return Quantity.undefined("the first block is the highest")
    if not np.isfinite(difference).all():
        return Quantity.undefined("a bin of the first or of the highest block has no rate")
    total, absolute = float(difference.sum()), float(np.abs(difference).sum())
    if absolute == 0 or abs(total) < least_share * absolute:
        return Quantity.undefined(
            f"differences add up to {total:.3g} spikes/s, less than {least_share:g} of their "
            f"absolute sum, {absolute:.3g}"
        )
    return Quantity(total)
