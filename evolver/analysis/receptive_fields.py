"""Where on the screen units answer: maps over places, whether there is a field, and its shape.

Rows are presentations, (p, u), each at one place of a grid. Images differ in how strongly they
drive a unit, and so do sizes: within each image at each size (a stratum) the rate's mean is
taken off first, so that a place is compared with other places under the same image, also where
some showings were aborted. What is left is dealt anew within the strata to say whether places
matter at all: a unit without a field has no centre, however well a Gaussian fits its noise.

The statistic is the largest of the map's sums, above zero or below, each with its neighbours
by the binomial kernel 1-2-1 along rows and columns, in units of its own standard deviation: a
field is wider than a place of a useful grid, and one may suppress.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, sqrt
from typing import TYPE_CHECKING

import numpy as np

from evolver.analysis.across_runs import Interval
from evolver.analysis.quantities import finite_table
from evolver.errors import DataError
from evolver.gaussian_fields import Gaussian, fit_gaussian, refit_gaussian

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from evolver.types import Matrix, Responses, Vector

SD_ACROSS = 4.0
"""A field's width in standard deviations: two to each side."""
ALPHA = 0.01
PERMUTATIONS, BOOTSTRAPS = 1000, 200
_FEWEST_SHOWINGS = 20
_NARROWEST = 0.5  # standard deviation, steps of the grid: what is narrower, it cannot show
_FAILED = 0.1  # share of bootstrap samples without a Gaussian, above which there is no interval


@dataclass(frozen=True, slots=True, eq=False)
class PlaceShowings:
    """Where each presentation was, and what of.

    Attributes
    ----------
    row, column : (p,) int, place in the grid
    rows_deg, columns_deg : where those are, up and right of fixation, rising in equal steps
    image : (p,) int
    size : (p,) int, which of `sizes_deg`
    sizes_deg : (s,) rising
    """

    row: NDArray[np.int64]
    column: NDArray[np.int64]
    rows_deg: Vector
    columns_deg: Vector
    image: NDArray[np.int64]
    size: NDArray[np.int64]
    sizes_deg: Vector

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the grid."""
        return len(self.rows_deg), len(self.columns_deg)

    @property
    def place(self) -> NDArray[np.int64]:
        """(p,) row-major."""
        return self.row * len(self.columns_deg) + self.column

    @property
    def stratum(self) -> NDArray[np.int64]:
        """(p,) one number an image and size."""
        return self.image * len(self.sizes_deg) + self.size


@dataclass(frozen=True, slots=True, eq=False)
class PlaceMap:
    """What a unit answers at each place.

    Attributes
    ----------
    mean : (rows, columns) float64, spikes/s, as if every image and size had been shown equally
        often at each; NaN where nothing was
    sem : (rows, columns), of the showings about that; NaN below two
    showings : (rows, columns) int
    """

    mean: Matrix
    sem: Matrix
    showings: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class ReceptiveField:
    """One unit's.

    Attributes
    ----------
    map : PlaceMap, of all sizes together
    p : how often chance makes places differ as much, by permutation, of rises and falls alike;
        NaN where it cannot be told
    gaussian : rows are degrees up, columns degrees right; None where there is no field
    x_deg, y_deg : centre, right of and above fixation; intervals by showings drawn again
    width_deg : two standard deviations to each side, the geometric mean of the two axes: the
        longer of two is too long where noise alone makes them differ
    reason : why there is no field; empty where there is one
    warning : what to know of it all the same
    """

    map: PlaceMap
    p: float
    gaussian: Gaussian | None
    x_deg: Interval
    y_deg: Interval
    width_deg: Interval
    reason: str = ""
    warning: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class SizeTuning:
    """What a unit answers to each size.

    Attributes
    ----------
    mean, sem : (s,) spikes/s, as if every image had been shown equally often; NaN where there
        is none
    showings : (s,) int
    """

    mean: Vector
    sem: Vector
    showings: NDArray[np.int64]


def _no_news(_done: int) -> None:
    pass


def place_map(rates: ArrayLike, showings: PlaceShowings) -> PlaceMap:
    """Return one unit's map.

    Parameters
    ----------
    rates : (p,) spikes/s, finite
    showings : of these presentations
    """
    table = _checked(np.asarray(rates, dtype=np.float64)[:, None], showings)
    left, whole = _without_strata(table, showings.stratum)
    counts = np.bincount(showings.place, minlength=np.prod(showings.shape)).astype(np.int64)
    return _map(left[:, 0], float(whole[0]), showings, counts)


def receptive_fields(
    rates: ArrayLike,
    showings: PlaceShowings,
    *,
    rng: np.random.Generator,
    alpha: float = ALPHA,
    permutations: int = PERMUTATIONS,
    bootstraps: int = BOOTSTRAPS,
    update: Callable[[int], None] = _no_news,
) -> list[ReceptiveField]:
    """Return each unit's map, and its field where there is one.

    Parameters
    ----------
    rates : (p, u) spikes/s, finite
    showings : of these presentations
    rng : deals them anew, and draws them again
    alpha : a field's p is below it
    permutations, bootstraps : how often; 0 bootstraps give no intervals
    update : told how many units are done

    Returns
    -------
    list of u

    Raises
    ------
    DataError
        Arrays do not fit each other, or are not finite.
    """
    table = _checked(rates, showings)
    left, whole = _without_strata(table, showings.stratum)
    place, shape = showings.place, showings.shape
    counts = np.bincount(place, minlength=shape[0] * shape[1]).astype(np.int64)
    reason = _why_none(counts, len(table))
    p = np.full(table.shape[1], nan)
    if not reason:
        p = place_p(left, showings, permutations=permutations, rng=rng)
    seed = int(rng.integers(2**63))  # of all alike: no unit depends on its company
    fields: list[ReceptiveField] = []
    for unit in range(table.shape[1]):
        mapped = _map(left[:, unit], float(whole[unit]), showings, counts)
        why = reason
        if not why and not p[unit] < alpha:
            why = f"no field: places differ no more than by chance, p = {p[unit]:.2g}"
        fit = None
        if not why:
            fit, why = _fit(mapped, showings)
        if fit is None:
            none = Interval(nan, nan, nan)
            fields.append(
                ReceptiveField(mapped, float(p[unit]), None, none, none, none, reason=why)
            )
        else:
            again = np.random.default_rng(seed)
            drawn = _drawn(left[:, unit], showings, counts, fit, bootstraps, again)
            fields.append(_field(mapped, float(p[unit]), fit, drawn, showings))
        update(unit + 1)
    return fields


def place_p(
    left: Matrix, showings: PlaceShowings, *, permutations: int, rng: np.random.Generator
) -> Vector:
    """Return how often chance is as far from 0 at some place and its neighbours, (u,).

    Parameters
    ----------
    left : (p, u) rates less their stratum's mean
    showings : of these presentations
    permutations : how often they are dealt anew within their strata
    rng : Generator
    """
    place, stratum, shape = showings.place, showings.stratum, showings.shape
    order = np.argsort(place, kind="stable")
    places, starts = np.unique(place[order], return_index=True)
    counts = np.bincount(place, minlength=shape[0] * shape[1]).reshape(shape)
    noise = np.sqrt(_smoothed(counts.astype(np.float64)[..., None], squared=True))

    def largest(rows: Matrix) -> Vector:
        sums = np.zeros((shape[0] * shape[1], rows.shape[1]))
        sums[places] = np.add.reduceat(rows[order], starts, axis=0)
        smooth = _smoothed(sums.reshape(*shape, -1))
        return np.abs(smooth[noise[..., 0] > 0] / noise[noise > 0][:, None]).max(axis=0)

    by_stratum = np.argsort(stratum, kind="stable")
    observed = largest(left) * (1 - 1e-9)  # equal but for the order of sums
    above = np.zeros(left.shape[1])
    dealt = np.empty(len(left), dtype=np.int64)
    for _ in range(permutations):
        dealt[by_stratum] = np.lexsort((rng.random(len(left)), stratum))
        above += largest(left[dealt]) >= observed
    return (1 + above) / (1 + permutations)


def size_tuning(
    rates: ArrayLike, showings: PlaceShowings, gaussian: Gaussian | None = None
) -> SizeTuning:
    """Return what one unit answers to each size, at the places within its field.

    Parameters
    ----------
    rates : (p,) spikes/s, finite
    showings : of these presentations
    gaussian : its field; places within a standard deviation of its centre count, or the
        nearest. None: all places
    """
    table = _checked(np.asarray(rates, dtype=np.float64)[:, None], showings)[:, 0]
    inside = np.ones(len(table), dtype=bool)
    if gaussian is not None:
        up, right = showings.rows_deg[showings.row], showings.columns_deg[showings.column]
        height = (gaussian.at(up, right) - gaussian.base) / gaussian.amplitude
        inside = height >= min(np.exp(-0.5), float(height.max()))
    size, n = showings.size[inside], len(showings.sizes_deg)
    left, whole = _without_strata(table[inside][:, None], showings.image[inside])
    counts = np.bincount(size, minlength=n).astype(np.int64)
    mean, sem = _means(left[:, 0], size, counts)
    return SizeTuning(mean + float(whole[0]), sem, counts)


# ------------------------------------------------------------------ inside


def _checked(rates: ArrayLike, showings: PlaceShowings) -> Responses:
    table = finite_table(rates, "rates")
    p, (rows, columns) = len(table), showings.shape
    if not p:
        raise DataError("there must be a showing to tell anything of; got none")
    bounds = (
        ("row", showings.row, rows),
        ("column", showings.column, columns),
        ("size", showings.size, len(showings.sizes_deg)),
        ("image", showings.image, 2**31),
    )
    for name, values, n in bounds:
        if values.shape != (p,) or not 0 <= values.min() <= values.max() < n:
            raise DataError(
                f"{name} must be ({p},), one per presentation, from 0 to {n - 1}; got "
                f"{values.shape}"
            )
    return table


def _without_strata(table: Matrix, stratum: NDArray[np.int64]) -> tuple[Matrix, Vector]:
    """Return rates less their stratum's mean, (p, u), and the mean over strata, (u,)."""
    names, inverse = np.unique(stratum, return_inverse=True)
    of: NDArray[np.int64] = inverse
    sums = np.zeros((len(names), table.shape[1]))
    np.add.at(sums, of, table)
    means = sums / np.bincount(of)[:, None]
    whole: Vector = means.mean(axis=0)
    return table - means[of], whole


def _means(
    left: Vector, group: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[Vector, Vector]:
    """Return mean and standard error by group; NaN where there is none."""
    n = len(counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(group, left, minlength=n) / counts
        squares = np.bincount(group, (left - mean[group]) ** 2, minlength=n)
        sem = np.sqrt(squares / (counts - 1) / counts)
    return np.where(counts > 0, mean, nan), np.where(counts > 1, sem, nan)


def _map(
    left: Vector, whole: float, showings: PlaceShowings, counts: NDArray[np.int64]
) -> PlaceMap:
    mean, sem = _means(left, showings.place, counts)
    shape = showings.shape
    return PlaceMap((mean + whole).reshape(shape), sem.reshape(shape), counts.reshape(shape))


def _why_none(counts: NDArray[np.int64], showings: int) -> str:
    """Say why nothing can be told of any unit's field; empty where something can."""
    if (counts > 0).sum() < 2:
        return f"a field needs two places or more; {(counts > 0).sum()} was shown"
    if showings < _FEWEST_SHOWINGS:
        return f"a field needs {_FEWEST_SHOWINGS} showings or more; there are {showings}"
    return ""


def _smoothed(values: NDArray[np.float64], *, squared: bool = False) -> NDArray[np.float64]:
    """Return (rows, columns, u) summed with neighbours by 1-2-1; `squared`: its squares."""
    side = 0.25 if squared else 0.5
    for axis in (0, 1):
        if values.shape[axis] < 3:
            continue
        padded = np.pad(values, [(1, 1) if k == axis else (0, 0) for k in range(3)])
        before, after = (
            np.take(padded, range(first, first + values.shape[axis]), axis=axis)
            for first in (0, 2)
        )
        values = values + side * (before + after)
    return values


def _fit(mapped: PlaceMap, showings: PlaceShowings) -> tuple[Gaussian | None, str]:
    if min(showings.shape) < 3:
        return None, (
            "places matter, and a Gaussian needs three rows and columns or more to be fitted; "
            f"there are {showings.shape[0]} x {showings.shape[1]}"
        )
    fit = fit_gaussian(
        np.nan_to_num(mapped.mean),
        rows=showings.rows_deg,
        columns=showings.columns_deg,
        weights=mapped.showings / mapped.showings.max(),
        narrowest=_NARROWEST,
    )
    means = mapped.mean[np.isfinite(mapped.mean)]
    usual = float(np.median(means))
    if usual - means.min() > means.max() - usual:
        return None, "places matter, and responses fall at some: a field that suppresses"
    if fit is None:
        return None, "places matter, and no Gaussian fits how"
    extent = max(np.ptp(showings.rows_deg), np.ptp(showings.columns_deg))
    if max(fit.sd_row, fit.sd_column) > extent:
        return None, (
            f"places matter, and the field is wider than the grid ({extent:g}°): it has no "
            "centre on it"
        )
    return fit, ""


def _drawn(
    left: Vector,
    showings: PlaceShowings,
    counts: NDArray[np.int64],
    fit: Gaussian,
    bootstraps: int,
    rng: np.random.Generator,
) -> list[Gaussian | None]:
    """Return the Gaussians of showings drawn again, as many at each place as there were."""
    place, shape = showings.place, showings.shape
    order = np.argsort(place, kind="stable")
    sorted_left, of = left[order], place[order]
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])[of]
    weights = (counts / counts.max()).reshape(shape)
    drawn: list[Gaussian | None] = []
    for _ in range(bootstraps):
        rows = first + (rng.random(len(of)) * counts[of]).astype(np.int64)
        sums = np.bincount(of, sorted_left[rows], minlength=len(counts))
        mean = np.divide(sums, counts, out=np.zeros(len(counts)), where=counts > 0)
        drawn.append(
            refit_gaussian(
                mean.reshape(shape),
                fit,
                rows=showings.rows_deg,
                columns=showings.columns_deg,
                weights=weights,
                narrowest=_NARROWEST,
            )
        )
    return drawn


def _width(fit: Gaussian) -> float:
    return SD_ACROSS * sqrt(fit.sd_row * fit.sd_column)


def _field(
    mapped: PlaceMap,
    p: float,
    fit: Gaussian,
    drawn: list[Gaussian | None],
    showings: PlaceShowings,
) -> ReceptiveField:
    fitted = [other for other in drawn if other is not None]
    warnings: list[str] = []
    failed = len(drawn) - len(fitted)
    if drawn and failed > _FAILED * len(drawn):
        warnings.append(f"no intervals: no Gaussian fits {failed} of {len(drawn)} resamplings")
        fitted = []

    def interval(value: float, values: list[float]) -> Interval:
        if not values:
            return Interval(value, nan, nan)
        low, high = np.percentile(values, (2.5, 97.5))
        return Interval(value, float(low), float(high))

    x = interval(fit.column, [other.column for other in fitted])
    y = interval(fit.row, [other.row for other in fitted])
    grid = ((x, showings.columns_deg), (y, showings.rows_deg))
    if any(not at[0] < centre.value < at[-1] for centre, at in grid):
        warnings.append("the centre is at the grid's edge: the field may go on beyond it")
    elif any(centre.low < at[0] or centre.high > at[-1] for centre, at in grid):
        warnings.append("the centre is hardly known: its interval goes beyond the grid")
    extent = max(np.ptp(at) for _, at in grid)
    if SD_ACROSS * max(fit.sd_row, fit.sd_column) > extent:
        warnings.append(f"the field is wider than the grid ({extent:g}°): its width is a guess")
    return ReceptiveField(
        mapped,
        p,
        fit,
        x,
        y,
        interval(_width(fit), [_width(other) for other in fitted]),
        warning="; ".join(warnings),
    )
