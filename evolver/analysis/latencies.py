"""When a response begins, when it peaks, and where its weight lies in time.

Of PSTHs in 1-ms bins if it is not said otherwise; a time is that of a bin's centre, so the
published numbers, which are bins' indices, are half a millisecond smaller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evolver.analysis.quantities import Quantity
from evolver.analysis.time_bins import bin_edges
from evolver.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from evolver.types import Matrix, Vector

BEFORE_MS = (0.0, 50.0)
"""Where nothing responds yet, as the paper's latencies have it."""
AFTER_MS = 50.0
"""From where peaks and weights are looked for."""
THRESHOLD_SDS = 2.0


@dataclass(frozen=True, slots=True)
class Latencies:
    """Times of one PSTH, ms after onset.

    Attributes
    ----------
    response : Quantity, first bin above the threshold
    peak : Quantity, highest bin after `after_ms`
    centre : Quantity, centre of mass of what is above the baseline after `after_ms`
    """

    response: Quantity
    peak: Quantity
    centre: Quantity


def latency_threshold(
    psths: ArrayLike,
    *,
    before_ms: tuple[float, float] = BEFORE_MS,
    sds: float = THRESHOLD_SDS,
    edges_ms: ArrayLike | None = None,
) -> Quantity:
    """Return the rate above which a thread responds: mean + 2 sd of the bins before it does.

    Parameters
    ----------
    psths : (b, t) of a thread's blocks, pooled; or (t,); spikes/s
    before_ms : the bins that count, by their centres
    sds : standard deviations (n in the variance, as published)
    edges_ms : (t + 1,); 1-ms bins from onset if not given
    """
    rates, centres = _psths(psths, edges_ms)
    before = rates[:, (centres >= before_ms[0]) & (centres < before_ms[1])]
    before = before[np.isfinite(before)]
    if len(before) < 2:
        return Quantity.undefined(
            f"{len(before)} bins from {before_ms[0]:g} to {before_ms[1]:g} ms; two are needed"
        )
    return Quantity(float(before.mean() + sds * before.std()))


def response_latency(
    psth: ArrayLike,
    threshold: float,
    *,
    after_ms: float = 0.0,
    edges_ms: ArrayLike | None = None,
) -> Quantity:
    """Return when a response begins: the first bin above the threshold, ms after onset.

    Parameters
    ----------
    psth : (t,) spikes/s
    threshold : spikes/s, as of `latency_threshold`. One bin in 40 of noise is above mean + 2 sd
    after_ms : bins count whose centre is later; published: all, those of noise among them
    edges_ms : (t + 1,); 1-ms bins from onset if not given

    Returns
    -------
    Quantity, ms; undefined where no bin is above it (published code: 0)
    """
    rates, centres = _psth(psth, edges_ms)
    above = np.flatnonzero((rates > threshold) & (centres >= after_ms))
    if not len(above):
        return Quantity.undefined(f"no bin is above {threshold:.4g} spikes/s")
    return Quantity(float(centres[above[0]]))


def peak_latency(
    psth: ArrayLike, *, after_ms: float = AFTER_MS, edges_ms: ArrayLike | None = None
) -> Quantity:
    """Return when a response is highest, after `after_ms`; the first of equal bins, ms.

    Parameters
    ----------
    psth : (t,) spikes/s
    edges_ms : (t + 1,); 1-ms bins from onset if not given
    """
    rates, centres = _psth(psth, edges_ms)
    later = np.flatnonzero((centres >= after_ms) & np.isfinite(rates))
    if not len(later):
        return Quantity.undefined(f"no bin after {after_ms:g} ms has a rate")
    if np.ptp(rates[later]) == 0:
        return Quantity.undefined(f"the rate is the same in every bin after {after_ms:g} ms")
    return Quantity(float(centres[later[int(np.argmax(rates[later]))]]))


def centre_of_mass(
    psth: ArrayLike,
    baseline: float = 0.0,
    *,
    after_ms: float = AFTER_MS,
    edges_ms: ArrayLike | None = None,
) -> Quantity:
    """Return the mean time of what is above the baseline: sum t (r - b)+ / sum (r - b)+, ms.

    Of a block's PSTH, or of the last block's less the first's.

    Parameters
    ----------
    psth : (t,) spikes/s
    baseline : spikes/s
    after_ms : bins count whose centre is later
    edges_ms : (t + 1,); 1-ms bins from onset if not given
    """
    rates, centres = _psth(psth, edges_ms)
    later = (centres >= after_ms) & np.isfinite(rates)
    weights = np.maximum(rates[later] - baseline, 0)
    if edges_ms is not None:
        weights *= np.diff(np.asarray(edges_ms, dtype=np.float64))[later]
    total = float(weights.sum())
    if total <= 0:
        return Quantity.undefined(f"nothing after {after_ms:g} ms is above {baseline:.4g}")
    return Quantity(float(centres[later] @ weights / total))


def latencies(
    psths: ArrayLike,
    *,
    before_ms: tuple[float, float] = BEFORE_MS,
    after_ms: float = AFTER_MS,
    sds: float = THRESHOLD_SDS,
    edges_ms: ArrayLike | None = None,
) -> list[Latencies]:
    """Return the times of every block of a thread; threshold and baseline are the thread's.

    Parameters
    ----------
    psths : (b, t) spikes/s
    before_ms, sds : of the threshold; the baseline is the mean of the same bins
    after_ms : from where peaks and centres are looked for
    edges_ms : (t + 1,); 1-ms bins from onset if not given
    """
    rates, _ = _psths(psths, edges_ms)
    threshold, base = (
        latency_threshold(rates, before_ms=before_ms, sds=s, edges_ms=edges_ms)
        for s in (sds, 0.0)
    )
    found: list[Latencies] = []
    for rate in rates:
        peak = peak_latency(rate, after_ms=after_ms, edges_ms=edges_ms)
        if not threshold.defined:
            found.append(Latencies(threshold, peak, threshold))
            continue
        response = response_latency(rate, threshold.value, edges_ms=edges_ms)
        centre = centre_of_mass(rate, base.value, after_ms=after_ms, edges_ms=edges_ms)
        found.append(Latencies(response, peak, centre))
    return found


def _psth(psth: ArrayLike, edges_ms: ArrayLike | None) -> tuple[Vector, Vector]:
    """Return rates and the centres of their bins, both (t,)."""
    rates = np.asarray(psth, dtype=np.float64)
    if rates.ndim != 1:
        raise DataError(f"psth must have shape (bins of time,); got {rates.shape}")
    edges = (
        bin_edges(len(rates)) if edges_ms is None else np.asarray(edges_ms, dtype=np.float64)
    )
    if edges.shape != (len(rates) + 1,):
        raise DataError(f"edges_ms must have shape ({len(rates) + 1},); got {edges.shape}")
    return rates, (edges[1:] + edges[:-1]) / 2


def _psths(psths: ArrayLike, edges_ms: ArrayLike | None) -> tuple[Matrix, Vector]:
    rates = np.atleast_2d(np.asarray(psths, dtype=np.float64))
    if rates.ndim != 2:
        raise DataError(f"psths must have shape (blocks, bins of time); got {rates.shape}")
    _, centres = _psth(np.zeros(rates.shape[1]), edges_ms)
    return rates, centres
