"""PSTHs in windows and bins: rates of a window, trajectories of every bin of time.

A PSTH has 1-ms bins from onset if it is not said otherwise, in spikes/s. Windows are half open.
Defaults are the paper's: responses from 50 to 200 ms, a baseline from 0 to 45 ms.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from evolver.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from evolver.types import Matrix, Vector

RESPONSE_MS, BASELINE_MS = (50.0, 200.0), (0.0, 45.0)
BIN_WIDTHS_MS = (5.0, 10.0, 20.0, 25.0, 50.0)
"""In which the paper bins time; its Fig. 5C has 10."""


def bin_edges(bins: int, *, bin_ms: float = 1.0, start_ms: float = 0.0) -> Vector:
    """Return the edges of equal bins, (bins + 1,), ms after onset."""
    return start_ms + bin_ms * np.arange(bins + 1, dtype=np.float64)


def window_mean(
    psth: ArrayLike,
    window_ms: tuple[float, float] = RESPONSE_MS,
    *,
    edges_ms: ArrayLike | None = None,
) -> Matrix:
    """Return the mean rate of a window.

    Parameters
    ----------
    psth : (..., t) spikes/s
    window_ms : from and to, on edges of bins
    edges_ms : (t + 1,) ascending; 1-ms bins from onset if not given

    Returns
    -------
    (...) float64; NaN where a bin of the window is

    Raises
    ------
    DataError
        The window begins or ends within a bin, or is none.
    """
    rates, edges = _rates(psth, edges_ms)
    inside = _bins_of(edges, window_ms)
    widths = np.diff(edges)[inside]
    return np.asarray(rates[..., inside] @ widths / widths.sum(), dtype=np.float64)


def time_binned(
    psth: ArrayLike,
    width_ms: float = 10.0,
    *,
    edges_ms: ArrayLike | None = None,
) -> tuple[Matrix, Vector]:
    """Return a PSTH in wider bins: of each block's, a trajectory in every bin of time.

    Bins do not overlap and begin where the PSTH does; a last one that would not be full is
    left out.

    Parameters
    ----------
    psth : (..., t) spikes/s
    width_ms : a multiple of the bins there are
    edges_ms : (t + 1,) ascending; 1-ms bins from onset if not given

    Returns
    -------
    rates : (..., k) spikes/s, mean over the bin
    edges_ms : (k + 1,)
    """
    rates, edges = _rates(psth, edges_ms)
    if not width_ms > 0:
        raise DataError(f"width_ms must be above 0; got {width_ms}")
    k = int(np.floor((edges[-1] - edges[0]) / width_ms + 1e-9))
    if k < 1:
        raise DataError(
            f"width_ms must fit into {edges[0]:g} to {edges[-1]:g} ms once; got {width_ms:g}"
        )
    wide = edges[0] + width_ms * np.arange(k + 1)
    binned = [
        window_mean(rates, (float(low), float(high)), edges_ms=edges)
        for low, high in pairwise(wide)
    ]
    return np.stack(binned, axis=-1), wide


def _rates(psth: ArrayLike, edges_ms: ArrayLike | None) -> tuple[Matrix, Vector]:
    rates = np.asarray(psth, dtype=np.float64)
    if rates.ndim < 1 or not rates.shape[-1]:
        raise DataError(f"psth must have shape (..., bins of time); got {rates.shape}")
    bins = rates.shape[-1]
    edges = bin_edges(bins) if edges_ms is None else np.asarray(edges_ms, dtype=np.float64)
    if edges.shape != (bins + 1,) or not (np.diff(edges) > 0).all():
        raise DataError(f"edges_ms must be {bins + 1} ascending times; got {edges.shape}")
    return rates, edges


def _bins_of(edges: Vector, window_ms: tuple[float, float]) -> slice:
    start, end = (int(np.argmin(np.abs(edges - at))) for at in window_ms)
    if not start < end or not np.allclose(edges[[start, end]], window_ms, atol=1e-6):
        raise DataError(
            f"a window must lie on edges of bins, {edges[0]:g} to {edges[-1]:g} ms, and end "
            f"after it begins; got {window_ms}"
        )
    return slice(start, end)
