"""Gaussian-process regression in one dimension: Const * RBF + White, fitted by likelihood.

For curves of few points: a trajectory over blocks, responses along an axis. Hyperparameters
maximise the log marginal likelihood within bounds, from a start and from random restarts.
Repeated places are joined first, which changes nothing: their mean and their scatter around it
are all that the likelihood asks of them, and a covariance is as large as there are places.

Rasmussen & Williams 2006, chapters 2 and 5, whose equation numbers stand beside the lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log, nan, pi
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np
from scipy import linalg, optimize

from evolver.analysis.quantities import check_choice, vector_of
from evolver.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from evolver.types import Matrix, Vector

COURSE_LENGTH = (2.0, 1.0, 5.0)
"""Of a trajectory, blocks: where the fit starts, and its bounds."""
COURSE_JITTER = 1e-2
"""Added to the diagonal, in units of the standardised curve's variance."""
COURSE_RESTARTS = 3
COURSE_POINTS = 200
_WIDE = (1e-5, 1e5)
_algebra, _optimize = cast("Any", linalg), cast("Any", optimize)  # their arguments are open

NoiseUnits: TypeAlias = Literal["standardised", "paper"]
"""Of a trajectory's noise: in the standardised curve's units, or left in raw ones."""


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """Where the fit of a hyperparameter starts, and its bounds; equal bounds fix it."""

    start: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class ProcessFit:
    """A fitted process, read at some places.

    Attributes
    ----------
    x : (k,) where it is read
    mean : (k,) of the curve, units of y; NaN where undefined
    sd : (k,) of the curve, without the noise
    constant, length, noise : float, fitted: variance of the curve, its length in units of x,
        variance of the noise; variances in units of y squared
    log_likelihood : float, marginal, of y as it was fitted
    reason : str, why there is no fit; empty where there is
    """

    x: Vector
    mean: Vector
    sd: Vector
    constant: float
    length: float
    noise: float
    log_likelihood: float
    reason: str = ""

    @property
    def defined(self) -> bool:
        """Whether there is a fit."""
        return not self.reason


def fit_process(
    x: ArrayLike,
    y: ArrayLike,
    *,
    at: ArrayLike,
    constant: Hyperparameter,
    length: Hyperparameter,
    noise: Hyperparameter,
    jitter: float = 0.0,
    standardised: bool = False,
    restarts: int = 0,
    rng: np.random.Generator | None = None,
) -> ProcessFit:
    """Fit y = f(x) + noise, f a process of mean 0 with covariance Const * RBF.

    Parameters
    ----------
    x, y : (n,) finite; x may repeat
    at : (k,) where the curve is read
    constant, length, noise : starts and bounds; of y in the units in which it is fitted
    jitter : added to the diagonal beside the noise, and not fitted
    standardised : y is fitted less its mean, over its standard deviation (n in the variance)
    restarts : fits more, from places drawn in the bounds, on a logarithmic scale
    rng : of the restarts; one that is the same for everyone if not given

    Returns
    -------
    ProcessFit, with a `reason` where there are fewer than two points, or `standardised` y is
        constant

    Raises
    ------
    DataError
        Arrays do not fit or are not finite, or a bound is not positive.
    """
    places, values, read = vector_of(x, "x"), vector_of(y, "y"), vector_of(at, "at")
    if places.shape != values.shape or not np.isfinite(np.concatenate([places, values])).all():
        raise DataError(
            f"x and y must be finite, of one length; got {len(places)}, {len(values)}"
        )
    parameters = (constant, length, noise)
    if not all(0 < p.low <= p.start <= p.high < inf for p in parameters):
        raise DataError(f"bounds must be positive, with the start between; got {parameters}")
    if len(values) < 2:
        return _no_fit(read, f"{len(values)} points; two are needed")
    centre, scale = 0.0, 1.0
    if standardised:
        centre, scale = float(values.mean()), float(values.std())
        if scale <= 1e-12 * max(abs(centre), 1e-300):
            return _no_fit(read, f"all {len(values)} values are equal")
    data = _joined(places, (values - centre) / scale)
    bounds = np.log([(p.low, p.high) for p in parameters])
    starts = [np.log([p.start for p in parameters])]
    generator = rng or np.random.default_rng(0)
    starts += [generator.uniform(bounds[:, 0], bounds[:, 1]) for _ in range(restarts)]
    best, lowest = starts[0], inf
    for start in starts:
        found = _optimize.minimize(
            _negative_log_likelihood,
            start,
            args=(data, jitter),
            method="L-BFGS-B",
            jac=True,
            bounds=[(float(low), float(high)) for low, high in bounds],
        )
        if float(found.fun) < lowest:
            best, lowest = np.asarray(found.x, dtype=np.float64), float(found.fun)
    if not np.isfinite(lowest):
        return _no_fit(read, "no hyperparameter within the bounds gives a covariance")
    mean, variance = _read(best, data, jitter, read)
    fitted = np.exp(best)
    return ProcessFit(
        x=read,
        mean=centre + scale * mean,
        sd=scale * np.sqrt(np.maximum(variance, 0)),
        constant=float(fitted[0]) * scale**2,
        length=float(fitted[1]),
        noise=float(fitted[2]) * scale**2,
        log_likelihood=-lowest,
    )


def smooth_course(
    mean: ArrayLike,
    sem: ArrayLike,
    *,
    at: ArrayLike | None = None,
    noise_units: NoiseUnits = "standardised",
    length: tuple[float, float, float] = COURSE_LENGTH,
    jitter: float = COURSE_JITTER,
    restarts: int = COURSE_RESTARTS,
    rng: np.random.Generator | None = None,
) -> ProcessFit:
    """Smooth a trajectory: its block means by a Gaussian process over blocks 0 ... B - 1.

    The noise starts at the square of the mean sem; the curve is standardised, and so is the
    noise. The published code standardises the curve alone (``noise_units="paper"``): noise and
    constant start, and have their bounds, in raw units.

    Parameters
    ----------
    mean, sem : (b,) of each block; blocks whose mean is NaN are left out, and a NaN sem
    at : (k,) blocks at which it is read; every block if not given (`course_points` for 200)
    length : of the RBF, blocks: start and bounds
    jitter, restarts, rng : as in `fit_process`
    """
    check_choice(noise_units, NoiseUnits, "noise_units")
    means, sems = vector_of(mean, "mean"), vector_of(sem, "sem")
    if means.shape != sems.shape:
        raise DataError(f"mean and sem must be as many; got {len(means)} and {len(sems)}")
    blocks = np.arange(len(means), dtype=np.float64)
    read = blocks if at is None else vector_of(at, "at")
    filled = np.isfinite(means)
    errors = sems[filled & np.isfinite(sems)]
    noise = float(errors.mean()) ** 2 if len(errors) else 0.0
    sd = float(means[filled].std()) if filled.any() else 0.0
    constant, noises = Hyperparameter(1.0, *_WIDE), _WIDE
    if noise_units == "paper" and sd > 0:
        highest = max(float(means[filled].max()), 0.0) + 0.01
        constant = Hyperparameter(min(max(sd, 0.01), highest), 0.01, highest)
        noises = (0.01, max(sd**2, 0.01))
    elif sd > 0:
        noise /= sd**2
    return fit_process(
        blocks[filled],
        means[filled],
        at=read,
        constant=constant,
        length=Hyperparameter(*length),
        noise=Hyperparameter(float(np.clip(noise, *noises)), *noises),
        jitter=jitter,
        standardised=True,
        restarts=restarts,
        rng=rng,
    )


def course_points(blocks: int, *, points: int = COURSE_POINTS) -> Vector:
    """Return places, (points,), evenly from the first block to the last."""
    return np.linspace(0, max(blocks - 1, 0), points)


def _no_fit(at: Vector, reason: str) -> ProcessFit:
    nothing = np.full(len(at), nan)
    return ProcessFit(at, nothing, nothing.copy(), nan, nan, nan, nan, reason)


@dataclass(frozen=True, slots=True, eq=False)
class _Data:
    """Values joined by place: their means, how many, and their squares around the means."""

    places: Vector
    squared: Matrix
    means: Vector
    counts: Vector
    scatter: float


def _joined(x: Vector, z: Vector) -> _Data:
    places, at, counts = np.unique(x, return_inverse=True, return_counts=True)
    means = np.bincount(at, weights=z) / counts
    scatter = float(((z - means[at]) ** 2).sum())
    squared = (places[:, None] - places[None, :]) ** 2
    return _Data(places, squared, means, counts.astype(np.float64), scatter)


def _covariance(log_parameters: Vector, squared: Matrix) -> Matrix:
    constant, length = np.exp(log_parameters[:2])
    return constant * np.exp(-0.5 * squared / length**2)


def _negative_log_likelihood(
    log_parameters: Vector, data: _Data, jitter: float
) -> tuple[float, Vector]:
    """Return -log p(z | x), eq. 5.8, and its slope over the logarithms, eq. 5.9."""
    curve = _covariance(log_parameters, data.squared)
    length, noise = np.exp(log_parameters[1:])
    variance = float(noise) + jitter
    k, repeats = len(data.means), float(data.counts.sum()) - len(data.means)
    try:
        lower = _algebra.cholesky(curve + np.diag(variance / data.counts), lower=True)
    except linalg.LinAlgError:
        return inf, np.zeros(3)
    weights: Vector = _algebra.cho_solve((lower, True), data.means)
    inverse: Matrix = _algebra.cho_solve((lower, True), np.eye(k))
    outer = np.outer(weights, weights) - inverse
    value = 0.5 * float(data.means @ weights) + float(np.log(np.diag(lower)).sum())
    value += 0.5 * (repeats * log(variance) + data.scatter / variance)
    value += 0.5 * (float(np.log(data.counts).sum()) + (k + repeats) * log(2 * pi))
    by_variance = float((np.diag(outer) / data.counts).sum())
    by_variance += data.scatter / variance**2 - repeats / variance
    slope = np.array([
        (outer * curve).sum(),
        (outer * curve * data.squared / length**2).sum(),
        noise * by_variance,
    ])
    return value, -0.5 * slope


def _read(
    log_parameters: Vector, data: _Data, jitter: float, at: Vector
) -> tuple[Vector, Vector]:
    """Return mean and variance of the curve at some places, eq. 2.25 and 2.26."""
    variance = float(np.exp(log_parameters[2])) + jitter
    covariance = _covariance(log_parameters, data.squared) + np.diag(variance / data.counts)
    lower = _algebra.cholesky(covariance, lower=True)
    across = _covariance(log_parameters, (at[:, None] - data.places[None, :]) ** 2)
    mean: Vector = across @ _algebra.cho_solve((lower, True), data.means)
    solved: Matrix = _algebra.solve_triangular(lower, across.T, lower=True)
    return mean, float(np.exp(log_parameters[0])) - (solved**2).sum(axis=0)
