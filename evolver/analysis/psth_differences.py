"""How far apart two threads of a session drive their unit: their highest blocks' PSTHs.

Wang & Ponce, Nature Neuroscience 2026, Fig. 3: PSTHs over the session's highest block mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from evolver.analysis.populations import normaliser
from evolver.analysis.quantities import Quantity
from evolver.analysis.time_bins import RESPONSE_MS, bin_edges, window_mean
from evolver.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from evolver.types import Vector

BOXCAR_MS = 25.0
"""Of the paper's smoothed variant."""


@dataclass(frozen=True, slots=True)
class PsthDifference:
    """How two PSTHs differ in a window; all but `correlation` in units of `scale`.

    Attributes
    ----------
    mae, mse : float, mean absolute and mean squared difference over the window's bins
    level : float, absolute difference of the two window means
    correlation : Quantity, Pearson over bins
    scale : Quantity, spikes/s that both were divided by
    blocks : the two blocks
    """

    mae: float
    mse: float
    level: float
    correlation: Quantity
    scale: Quantity
    blocks: tuple[int, int]

    @property
    def reason(self) -> str:
        """Why there is no difference; empty where there is."""
        return self.scale.reason


def psth_difference(
    first: ArrayLike,
    second: ArrayLike,
    *,
    window_ms: tuple[float, float] = RESPONSE_MS,
    boxcar_ms: float = 0.0,
    edges_ms: ArrayLike | None = None,
) -> PsthDifference:
    """Compare the PSTHs of two threads' highest blocks.

    Parameters
    ----------
    first, second : (b, t) and (c, t), of each block, spikes/s
    window_ms : that is compared, and whose mean says which block is the highest
    boxcar_ms : running mean, of the window's bins that it fits into; published: none, and 25
    edges_ms : (t + 1,) equal bins; 1-ms bins from onset if not given

    Raises
    ------
    DataError
        Arrays do not fit, or the running mean is longer than the window.
    """
    threads = [np.asarray(psth, dtype=np.float64) for psth in (first, second)]
    if any(t.ndim != 2 for t in threads) or threads[0].shape[1] != threads[1].shape[1]:
        raise DataError(
            f"both must have shape (blocks, t) with one t; got {threads[0].shape} and "
            f"{threads[1].shape}"
        )
    bins = threads[0].shape[1]
    edges = bin_edges(bins) if edges_ms is None else np.asarray(edges_ms, dtype=np.float64)
    levels = [window_mean(psth, window_ms, edges_ms=edges) for psth in threads]
    scale = normaliser(*levels)
    if not all(np.isfinite(level).any() for level in levels):
        scale = Quantity.undefined("a thread has no block with a response")
    if not scale.defined:
        return PsthDifference(nan, nan, nan, scale, scale, (-1, -1))
    blocks = int(np.nanargmax(levels[0])), int(np.nanargmax(levels[1]))
    start, end = (int(np.argmin(np.abs(edges - at))) for at in window_ms)
    curves = [
        _running_mean(psth[block, start:end] / scale.value, boxcar_ms, edges)
        for psth, block in zip(threads, blocks, strict=True)
    ]
    difference = curves[0] - curves[1]
    means = [float(level[block]) for level, block in zip(levels, blocks, strict=True)]
    return PsthDifference(
        mae=float(np.abs(difference).mean()),
        mse=float((difference**2).mean()),
        level=abs(means[0] - means[1]) / scale.value,
        correlation=_correlation(*curves),
        scale=scale,
        blocks=blocks,
    )


def _running_mean(curve: Vector, boxcar_ms: float, edges: Vector) -> Vector:
    if not boxcar_ms:
        return curve
    bins = round(boxcar_ms / float(edges[1] - edges[0]))
    if not 1 <= bins <= len(curve):
        raise DataError(
            f"boxcar_ms must be 1 to {len(curve)} bins of the window; got {boxcar_ms:g} ms"
        )
    return np.convolve(curve, np.ones(bins) / bins, mode="valid")


def _correlation(a: Vector, b: Vector) -> Quantity:
    if len(a) < 2:
        return Quantity.undefined(f"{len(a)} bins in the window")
    if not (np.ptp(a) > 0 and np.ptp(b) > 0):
        return Quantity.undefined("a PSTH is the same in every bin of the window")
    return Quantity(float(np.corrcoef(a, b)[0, 1]))
