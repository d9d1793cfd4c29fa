"""How well images' features predict units, and which layer of a network each is most like.

Correlations over images that no fit has seen, raw and over what noise leaves of a perfect
prediction's; the best layer of each unit, and shares of them by area, as Güçlü & van Gerven
2015 (J. Neurosci. 35, 10005) draw them, a unit's opacity 1 - p.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtr  # pyright: ignore[reportUnknownVariableType]

from evolver.analysis.success_rates import share
from evolver.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from evolver.analysis.success_rates import CountedShare
    from evolver.types import Vector


@dataclass(frozen=True, slots=True, eq=False)
class EncodingScores:
    """Predictions against measurements, a number a response.

    Attributes
    ----------
    r : (m,) Pearson's correlation over images; NaN where either does not vary
    over_ceiling : (m,) r / sqrt(reliability); NaN without a reliability above 0
    p : (m,) of a correlation as high without any, one-sided; NaN where r is
    n : int, images
    """

    r: Vector
    over_ceiling: Vector
    p: Vector
    n: int


@dataclass(frozen=True, slots=True, eq=False)
class LayerAssignment:
    """The layer whose features predict each unit best.

    Attributes
    ----------
    layers : names, first to last
    areas : names, in the order of their first unit
    best : (m,) index of a unit's layer; -1 where no layer has a correlation
    r : (m,) of that layer, p : (m,) of that one alone; NaN without one
    p_of_best : (m,) p times the number of layers, at most 1: that any of so many is as high
    shares : by area, one a layer: how many of the area's units with a layer are its
    """

    layers: tuple[str, ...]
    areas: tuple[Hashable, ...]
    best: NDArray[np.intp]
    r: Vector
    p: Vector
    p_of_best: Vector
    shares: dict[Hashable, tuple[CountedShare, ...]]

    @property
    def opacity(self) -> Vector:
        """How opaque a unit is drawn, (m,): 1 - p, as published; 0 without a layer."""
        return np.nan_to_num(1 - self.p, nan=0.0)


def encoding_scores(
    predicted: ArrayLike, measured: ArrayLike, *, reliability: ArrayLike | None = None
) -> EncodingScores:
    """Correlate predictions with measurements over images that no fit has seen.

    Parameters
    ----------
    predicted, measured : (n, m), finite, n images at least 3; published: 100
    reliability : (m,) of the measurements, as split halves of their repeats have it; a perfect
        prediction correlates with them by its root

    Raises
    ------
    DataError
        The arrays do not fit, or are not finite.
    """
    a = np.asarray(predicted, dtype=np.float64)
    b = np.asarray(measured, dtype=np.float64)
    if a.ndim != 2 or a.shape != b.shape or len(a) < 3:
        raise DataError(
            "predicted and measured must be of the same images, 3 at least, and units; got "
            f"{a.shape} and {b.shape}"
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise DataError("predicted and measured must be finite")
    n, m = a.shape
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    scale: Vector = np.sqrt((a**2).sum(axis=0)) * np.sqrt((b**2).sum(axis=0))
    # What is constant but for the mean's rounding does not vary.
    varies = (np.ptp(a, axis=0) > 0) & (np.ptp(b, axis=0) > 0)
    r = (a * b).sum(axis=0) / np.where(varies, scale, np.nan)
    r = np.clip(r, -1.0, 1.0)
    with np.errstate(divide="ignore"):
        p = stdtr(n - 2, -r * np.sqrt((n - 2) / (1 - r**2)))
    ceiling = np.full(m, np.nan)
    if reliability is not None:
        given = np.asarray(reliability, dtype=np.float64)
        if given.shape != (m,):
            raise DataError(f"reliability must be ({m},), one a unit; got {given.shape}")
        ceiling = np.sqrt(np.where(given > 0, given, np.nan))
    return EncodingScores(r, r / ceiling, p, n)


def assign_layers(
    scores: Sequence[EncodingScores], layers: Sequence[str], areas: Sequence[Hashable]
) -> LayerAssignment:
    """Return the layer that predicts each unit best, and shares of layers by area.

    Parameters
    ----------
    scores : of each layer, of the same units and images
    layers : their names, first to last
    areas : (m,) of the units

    Raises
    ------
    DataError
        They are not of the same units.
    """
    m = len(areas)
    if not scores or len(scores) != len(layers) or any(len(s.r) != m for s in scores):
        raise DataError(
            f"each layer must have a score of each unit; got {len(layers)} layers, {m} units, "
            f"scores of {[len(s.r) for s in scores]}"
        )
    r = np.stack([s.r for s in scores])
    best = np.where(np.isnan(r), -np.inf, r).argmax(axis=0)
    at = best, np.arange(m)
    p = np.stack([s.p for s in scores])[at]
    some = ~np.isnan(r).all(axis=0)
    names = tuple(dict.fromkeys(areas))
    shares: dict[Hashable, tuple[CountedShare, ...]] = {}
    for area in names:
        of_area = best[np.array([a == area for a in areas]) & some]
        shares[area] = tuple(
            share(int((of_area == layer).sum()), len(of_area)) for layer in range(len(layers))
        )
    return LayerAssignment(
        tuple(layers),
        names,
        np.where(some, best, -1),
        r[at],
        p,
        np.minimum(1.0, p * len(layers)),
        shares,
    )
