"""Tuning along a latent axis: responses to images at spaced steps from an evolved code.

Everything is of trials, not of means. A one-way analysis of variance says whether the unit is
tuned at all; a Gaussian on a base, a line and a Gaussian process say how, and the process's
curve which shape it has.

Wang & Ponce, Nature Neuroscience 2026, Fig. 6.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isnan, nan
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from scipy import optimize
from scipy.special import fdtrc  # pyright: ignore[reportUnknownVariableType]

from evolver.analysis.gaussian_process import Hyperparameter, ProcessFit, fit_process
from evolver.analysis.quantities import Quantity, vector_of
from evolver.analysis.tuning_shapes import ShapeRule, TuningShape, shape_of
from evolver.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from evolver.types import Vector

TUNED = 0.01
"""An axis tunes a unit where the analysis of variance has a smaller p."""
CURVE_POINTS, PROCESS_RESTARTS = 100, 10

LARGEST = 1e100
"""A response beyond it has a square, or a sum of squares, that is no number."""

_curve_fit = cast("Any", optimize).curve_fit


@dataclass(frozen=True, slots=True)
class OneWay:
    """One-way analysis of variance of trials over steps.

    Attributes
    ----------
    f, p : float; NaN where undefined
    between, within : int, degrees of freedom
    within_variance : float, of trials around their step's mean; NaN without repeats
    reason : str, why it is undefined; empty where it is not
    """

    f: float
    p: float
    between: int
    within: int
    within_variance: float
    reason: str = ""

    @property
    def tuned(self) -> bool:
        """Whether p is below `TUNED`; False where undefined."""
        return self.p < TUNED


@dataclass(frozen=True, slots=True)
class CurveFit:
    """A curve fitted to trials.

    Attributes
    ----------
    parameters : by name; of a Gaussian amplitude, centre, sd, base; of a line slope, intercept
    r2 : Quantity, 1 - var(residual) / var(response) over trials
    explained : Quantity, `r2` over the share that any function of the step could explain; may
        exceed 1, because that share is an estimate
    """

    parameters: dict[str, float]
    r2: Quantity
    explained: Quantity

    @property
    def reason(self) -> str:
        """Why there is no fit; empty where there is."""
        return self.r2.reason


@dataclass(frozen=True, slots=True, eq=False)
class Tuning:
    """How a unit is tuned along one axis.

    Attributes
    ----------
    steps : (k,) ascending; means, sems : (k,) of the trials at each, units of the responses
    anova : OneWay
    explainable : Quantity, share of the trials' variance that is not within steps
    gaussian, line, process : CurveFit; the process's parameters are constant, length, noise
    curve : ProcessFit, read at `CURVE_POINTS` places
    shape : TuningShape, of the process's curve
    peak : Quantity, where that curve is highest, latent units
    best_step : Quantity, the step with the largest mean
    best : str, "gaussian", "line" or "process": the largest r2; empty where none has one
    """

    steps: Vector
    means: Vector
    sems: Vector
    anova: OneWay
    explainable: Quantity
    gaussian: CurveFit
    line: CurveFit
    process: CurveFit
    curve: ProcessFit
    shape: TuningShape
    peak: Quantity
    best_step: Quantity
    best: str


def tuning(
    step: ArrayLike,
    response: ArrayLike,
    *,
    origin: ArrayLike | None = None,
    points: int = CURVE_POINTS,
    restarts: int = PROCESS_RESTARTS,
    shape: ShapeRule = "range",
    tolerance: float | None = None,
    rng: np.random.Generator | None = None,
) -> Tuning:
    """Fit and classify the tuning of one unit along one axis.

    Parameters
    ----------
    step : (n,) of each trial's image, latent units from the evolved code
    response : (n,) of each trial, spikes/s; NaN is left out
    origin : (m,) responses of trials at the evolved code itself, which an axis without a step
        of 0 borrows
    points : at which the process's curve is read, from the first step to the last
    restarts : of the process's fit
    shape, tolerance : as in `shape_of`
    rng : of the restarts; one that is the same for everyone if not given

    Raises
    ------
    DataError
        Shapes differ, or a step is not finite.
    """
    x, y = vector_of(step, "step"), vector_of(response, "response")
    if x.shape != y.shape or not np.isfinite(x).all():
        raise DataError(
            f"step must be finite, one for each response; got {len(x)} and {len(y)}"
        )
    if origin is not None and not (x == 0).any():
        borrowed = vector_of(origin, "origin")
        x, y = np.append(x, np.zeros(len(borrowed))), np.append(y, borrowed)
    x, y = x[np.isfinite(y)], y[np.isfinite(y)]
    steps, at, counts = np.unique(x, return_inverse=True, return_counts=True)
    if len(y) and float(np.abs(y).max()) > LARGEST:
        reason = f"a response is above {LARGEST:g}, whose square is no number"
        return _without_fits(steps, points, reason)
    means = np.bincount(at, weights=y, minlength=len(steps)) / counts
    squares = np.bincount(at, weights=(y - means[at]) ** 2, minlength=len(steps))
    with np.errstate(invalid="ignore", divide="ignore"):  # one trial has no error
        sems = np.where(counts > 1, np.sqrt(squares / (counts - 1) / counts), nan)
    anova = one_way(x, y)
    explainable = _explainable(y, anova)
    curve, at_steps = _process(x, y, steps, anova.within_variance, points, restarts, rng)
    fits = {
        "gaussian": _gaussian(x, y, steps, means, explainable),
        "line": _line(x, y, steps, explainable),
        "process": _unfitted(curve.reason)
        if curve.reason
        else _scored(
            y,
            at_steps[at],
            {"constant": curve.constant, "length": curve.length, "noise": curve.noise},
            explainable,
        ),
    }
    ranked = [name for name, fit in fits.items() if not fit.reason]
    peak = (
        Quantity(float(curve.x[int(np.argmax(curve.mean))]))
        if curve.defined
        else Quantity.undefined(curve.reason)
    )
    return Tuning(
        steps=steps,
        means=means,
        sems=sems,
        anova=anova,
        explainable=explainable,
        gaussian=fits["gaussian"],
        line=fits["line"],
        process=fits["process"],
        curve=curve,
        shape=(
            shape_of(curve.mean, rule=shape, tolerance=tolerance)
            if curve.defined
            else TuningShape(monotonic=False, unimodal=False, bell=False, reason=curve.reason)
        ),
        peak=peak,
        best_step=_best_step(steps, means),
        best=max(ranked, key=lambda name: fits[name].r2.value, default=""),
    )


def _best_step(steps: Vector, means: Vector) -> Quantity:
    if not len(steps):
        return Quantity.undefined("no trial has a response")
    if len(steps) > 1 and np.ptp(means) == 0:
        return Quantity.undefined("the means of all steps are equal")
    return Quantity(float(steps[int(np.argmax(means))]))


def _without_fits(steps: Vector, points: int, reason: str) -> Tuning:
    """Return tuning that is undefined altogether."""
    nothing, of_steps = np.full(points, nan), np.full(len(steps), nan)
    none, undefined = _unfitted(reason), Quantity.undefined(reason)
    return Tuning(
        steps=steps,
        means=of_steps,
        sems=of_steps,
        anova=OneWay(nan, nan, 0, 0, nan, reason),
        explainable=undefined,
        gaussian=none,
        line=none,
        process=none,
        curve=ProcessFit(nothing, nothing, nothing, nan, nan, nan, nan, reason),
        shape=TuningShape(monotonic=False, unimodal=False, bell=False, reason=reason),
        peak=undefined,
        best_step=undefined,
        best="",
    )


def one_way(step: ArrayLike, response: ArrayLike) -> OneWay:
    """Return the analysis of variance of trials over steps, a step being a category.

    With one factor, types 1, 2 and 3 are the same.

    Parameters
    ----------
    step, response : (n,) of each trial, finite
    """
    x, y = vector_of(step, "step"), vector_of(response, "response")
    if x.shape != y.shape or not np.isfinite(np.concatenate([x, y])).all():
        raise DataError(f"step and response must be finite, as many; got {len(x)}, {len(y)}")
    steps, at, counts = np.unique(x, return_inverse=True, return_counts=True)
    between, within = len(steps) - 1, len(y) - len(steps)
    if between < 1 or within < 1:
        reason = f"{len(y)} trials of {len(steps)} steps; two steps and a repeat are needed"
        return OneWay(nan, nan, max(between, 0), max(within, 0), nan, reason)
    means = np.bincount(at, weights=y) / counts
    inner = float(((y - means[at]) ** 2).sum()) / within
    outer = float((counts * (means - y.mean()) ** 2).sum()) / between
    if inner <= 1e-24 * max(float((y**2).max()), 1e-300):
        reason = "trials of the same step are all equal"
        return OneWay(nan, nan, between, within, inner, reason)
    f = outer / inner
    return OneWay(f, float(fdtrc(between, within, f)), between, within, inner)


def _explainable(y: Vector, anova: OneWay) -> Quantity:
    """Return the share of the trials' variance that steps may explain."""
    if isnan(anova.within_variance):
        return Quantity.undefined(anova.reason)
    variance = float(y.var(ddof=1))
    if variance <= 0:
        return Quantity.undefined("responses do not vary")
    explainable = 1 - anova.within_variance / variance
    if explainable <= 0:
        return Quantity.undefined("trials vary within steps as much as across them")
    return Quantity(explainable)


def _unfitted(reason: str) -> CurveFit:
    nothing = Quantity.undefined(reason)
    return CurveFit({}, nothing, nothing)


def _scored(
    y: Vector, fitted: Vector, parameters: dict[str, float], explainable: Quantity
) -> CurveFit:
    r2 = 1 - float((y - fitted).var() / y.var())
    explained = Quantity(r2 / explainable.value) if explainable.defined else explainable
    return CurveFit(parameters, Quantity(r2), explained)


def _gaussian_curve(
    x: Vector, amplitude: float, centre: float, sd: float, base: float
) -> Vector:
    return amplitude * np.exp(-((x - centre) ** 2) / (2 * sd**2)) + base


def _gaussian(
    x: Vector, y: Vector, steps: Vector, means: Vector, explainable: Quantity
) -> CurveFit:
    """Fit a Gaussian on a base, by least squares within the paper's bounds.

    Its smallest sd, 0.01 latent units, is for the paper's axes, 0.8 long; a base below 0 has no
    place in rates, and neither has a unit whose every mean is 0 or less.
    """
    if len(steps) < 4:
        return _unfitted(f"{len(steps)} steps; four are needed for four parameters")
    if np.ptp(y) == 0 or means.max() <= 0:
        return _unfitted("responses do not vary" if np.ptp(y) == 0 else "no mean is above 0")
    width, highest = float(np.ptp(steps)), float(means.max())
    low = np.array([0.0, steps[0], 0.01, 0.0])
    high = np.array([1.25 * highest, steps[-1], max(2 * width, 0.02), highest])
    start = [np.ptp(means), steps[int(np.argmax(means))], width / 4, means.min()]
    try:
        fitted, _ = _curve_fit(
            _gaussian_curve, x, y, p0=np.clip(start, low, high), bounds=(low, high)
        )
    except (RuntimeError, ValueError, FloatingPointError, optimize.OptimizeWarning) as error:
        return _unfitted(f"no Gaussian was found: {error}")
    amplitude, centre, sd, base = (float(value) for value in fitted)
    parameters = {"amplitude": amplitude, "centre": centre, "sd": sd, "base": base}
    return _scored(y, _gaussian_curve(x, amplitude, centre, sd, base), parameters, explainable)


def _line(x: Vector, y: Vector, steps: Vector, explainable: Quantity) -> CurveFit:
    if len(steps) < 2 or np.ptp(y) == 0:
        return _unfitted(
            f"{len(steps)} steps; two are needed" if len(steps) < 2 else "responses do not vary"
        )
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    intercept = float(y.mean() - slope * x.mean())
    parameters = {"slope": slope, "intercept": intercept}
    return _scored(y, slope * x + intercept, parameters, explainable)


def _process(
    x: Vector,
    y: Vector,
    steps: Vector,
    within: float,
    points: int,
    restarts: int,
    rng: np.random.Generator | None,
) -> tuple[ProcessFit, Vector]:
    """Fit the process; return it read from the first step to the last, and at the steps."""
    variance = float(y.var()) if len(y) else 0.0
    reason = ""
    if len(steps) < 2:
        reason = f"{len(steps)} steps; two are needed"
    elif variance <= 1e-24 * float((y**2).max()):
        reason = "responses do not vary"
    if reason:
        nothing = np.full(points, nan)
        none = ProcessFit(nothing, nothing, nothing, nan, nan, nan, nan, reason)
        return none, np.full(len(steps), nan)
    noise = (
        within if within > 1e-9 * variance else variance if isnan(within) else 1e-9 * variance
    )
    length = float(np.ptp(steps)) / 10
    grid: Vector = np.linspace(float(steps[0]), float(steps[-1]), points)
    fit = fit_process(
        x,
        y,
        at=np.concatenate([grid, steps]),
        constant=Hyperparameter(variance, variance * 1e-2, variance * 1e2),
        length=Hyperparameter(length, min(1e-2, length), max(1e2, length)),
        noise=Hyperparameter(0.1 * noise, 1e-2 * noise, 10 * noise),
        restarts=restarts,
        rng=rng,
    )
    curve = replace(fit, x=grid, mean=fit.mean[:points], sd=fit.sd[:points])
    return curve, fit.mean[points:]
