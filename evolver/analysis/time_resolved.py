"""When latents can be decoded: a decoder refitted in each window of time, and when it rises.

Brain2GAN (Dado et al. 2024): windows of 10 ms over 300 ms from 100 ms before onset, the same
decoder refitted on each window's mean rates, of each site and of all; a sigmoid through what
comes, a + b / (1 + exp(-k (t - t0))). t0 has an interval here, of resampled test images, and a
course that does not rise has none, with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from math import nan
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from scipy import optimize, special

from evolver.analysis.decoding_responses import response_scale
from evolver.analysis.latent_metrics import mean_correlation
from evolver.analysis.quantities import finite_table, vector_of
from evolver.analysis.site_occlusion import site_members
from evolver.analysis.time_bins import bin_edges, window_mean
from evolver.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from evolver.analysis.decoding import Decoder
    from evolver.analysis.latent_metrics import LatentMeasure
    from evolver.types import Codes, Matrix, Vector

WIDTH_MS = 10.0
ALL_SITES = "all"
"""The course of all channels together."""
LEAST_EXPLAINED = 0.5
"""Share of a course's variance that its sigmoid must explain; of noise in 30 windows it is 0.07
(median), 0.24 in one course of twenty."""
_FEWEST = 6  # windows: four parameters, and something to tell that they fit
_optimize, _special = cast("Any", optimize), cast("Any", special)  # their arguments are open


@dataclass(frozen=True, slots=True, eq=False)
class DecodedCourse:
    """What one site's channels give, window by window.

    Attributes
    ----------
    site : str
    channels : int
    edges_ms : (w + 1,) float64, of the windows, after onset
    decoded : (w, m, d) float64, latents of the test images in each window
    """

    site: str
    channels: int
    edges_ms: Vector
    decoded: NDArray[np.float64]

    @property
    def centres_ms(self) -> Vector:
        """Middle of each window, (w,)."""
        return (self.edges_ms[1:] + self.edges_ms[:-1]) / 2

    def scores(self, latents: ArrayLike, measure: LatentMeasure = mean_correlation) -> Vector:
        """Return a measure of each window, (w,); NaN where it is undefined.

        Parameters
        ----------
        latents : (m, d) true ones of the test images
        measure : of true and decoded latents
        """
        x = finite_table(latents, "latents")
        return np.array([measure(x, decoded).value for decoded in self.decoded])


@dataclass(frozen=True, slots=True)
class SigmoidRise:
    """A sigmoid through a course: low + height / (1 + exp(-steepness (t - t0))).

    Attributes
    ----------
    t0_ms : float, half way up; NaN where the course does not rise
    low_ms, high_ms : float, interval of t0 over resampled images; NaN without resampling
    low, height : float, in the course's units
    steepness : float, 1 / ms
    explained : float, share of the course's variance; NaN where it has none
    resamplings, failed : int, of images; those that did not rise, which the interval leaves out
    reason : str, why there is no t0, or no interval; empty where both are as asked for
    """

    t0_ms: float
    low_ms: float
    high_ms: float
    low: float
    height: float
    steepness: float
    explained: float
    resamplings: int = 0
    failed: int = 0
    reason: str = ""


def decoded_courses(
    decoder: Decoder,
    training: tuple[ArrayLike, ArrayLike],
    test: tuple[ArrayLike, ArrayLike],
    sites: Sequence[str] | None = None,
    *,
    width_ms: float = WIDTH_MS,
    edges_ms: ArrayLike | None = None,
) -> list[DecodedCourse]:
    """Refit a decoder in each window of time, for each site and for all channels.

    Rates are z-scored by the training presentations of each window.

    Parameters
    ----------
    decoder : what is fitted
    training : PSTHs, (n, c, t) spikes/s, and latents, (n, d)
    test : the same of the test images, (m, c, t) and (m, d)
    sites : (c,) the site of each channel; only all channels if not given
    width_ms : of a window, a multiple of the bins there are; windows do not overlap
    edges_ms : (t + 1,) ascending; 1-ms bins from onset if not given

    Returns
    -------
    one a site, in the order in which they first come, and then `ALL_SITES`
    """
    rates, x = _psths(training[0], "training"), finite_table(training[1], "training latents")
    shown, true = _psths(test[0], "test"), finite_table(test[1], "test latents")
    channels, bins = rates.shape[1:]
    if shown.shape[1:] != (channels, bins) or len(true) != len(shown):
        raise DataError(
            f"test must be (m, {channels}, {bins}) and m latents, as training is; got "
            f"{shown.shape} and {true.shape}"
        )
    edges = bin_edges(bins) if edges_ms is None else vector_of(edges_ms, "edges_ms")
    windows = _windows(edges, bins, width_ms)
    members = _sites(sites, channels)
    decoded = {site: np.empty((len(windows) - 1, len(true), x.shape[1])) for site in members}
    for i, (low, high) in enumerate(pairwise(windows.tolist())):
        first, last = np.searchsorted(edges, [low - 1e-6, high - 1e-6])
        inside, at = slice(first, last), edges[first : last + 1]
        responses, tested = (
            window_mean(psths[..., inside], (low, high), edges_ms=at)
            for psths in (rates, shown)
        )
        scale = response_scale(responses)
        responses, tested = scale.scores(responses), scale.scores(tested)
        for site, rows in members.items():
            fit = decoder.fit(responses[:, rows], x)
            decoded[site][i] = fit.predict(tested[:, rows])
    return [
        DecodedCourse(site, int(rows.sum()), windows, decoded[site])
        for site, rows in members.items()
    ]


def fit_rise(
    times_ms: ArrayLike, scores: ArrayLike, *, least_explained: float = LEAST_EXPLAINED
) -> SigmoidRise:
    """Put a sigmoid through a course.

    Least squares, from the best of a grid of t0 and steepness. t0 lies within the windows, and
    the rise, from 12 to 88 % in 4 / steepness ms, takes a fifth of a window at the least and
    the whole course at the most.

    Parameters
    ----------
    times_ms : (w,) ascending, the windows' centres
    scores : (w,); NaN is left out
    least_explained : of the variance, or there is no rise
    """
    times, values = vector_of(times_ms, "times_ms"), vector_of(scores, "scores")
    if len(times) != len(values) or not (np.diff(times) > 0).all():
        raise DataError(
            f"times_ms must ascend, one a score; got {len(times)} and {len(values)} scores"
        )
    kept = np.isfinite(values)
    t, y = times[kept], values[kept]
    if len(t) < _FEWEST:
        return _no_rise(f"{len(t)} windows have a score; {_FEWEST} are needed")
    total = float(((y - y.mean()) ** 2).sum())
    if np.ptp(y) <= 1e-12 * np.abs(y).max():
        return _no_rise("the course is flat")
    span, step = float(t[-1] - t[0]), float(np.diff(t).min())
    ks = np.geomspace(4 / span, 20 / step, 12)
    t0, k, explained = _best_start(t, y, ks)
    if explained < least_explained / 2:  # the best of the grid is not so far from the best
        return replace(_no_rise(_little(explained, least_explained)), explained=explained)

    def residual(at: Vector) -> Vector:
        shape = _special.expit(at[3] * (t - at[2]))
        return np.asarray(at[0] + at[1] * shape - y, dtype=np.float64)

    shape = _special.expit(k * (t - t0))
    shape, tall = shape - shape.mean(), 1e-9 * float(np.ptp(y))
    height = max(float(shape @ y / max(float(shape @ shape), 1e-12)), tall)
    start = np.array([float(y.min()), height, t0, k])
    bounds = ([-np.inf, 0, t[0], ks[0]], [np.inf, np.inf, t[-1], ks[-1]])
    start[2:] = np.clip(start[2:], bounds[0][2:], bounds[1][2:])
    scale = [np.ptp(y), np.ptp(y), step, k]
    fit = _optimize.least_squares(residual, start, bounds=bounds, x_scale=scale)
    low, height, t0, k = (float(value) for value in fit.x)
    explained = 1 - 2 * float(fit.cost) / total
    reason = ""
    if height <= 1e-6 * np.ptp(y) or explained < least_explained:
        reason = _little(explained, least_explained)
    elif min(t0 - t[0], t[-1] - t0) < step / 2:
        reason = f"the rise is at the end of what was recorded, {t0:.0f} ms"
    elif not fit.success:
        reason = f"the sigmoid was not fitted: {fit.message}"
    if reason:
        return replace(_no_rise(reason), explained=explained)
    return SigmoidRise(t0, nan, nan, low, height, k, explained)


def course_rise(
    course: DecodedCourse,
    latents: ArrayLike,
    *,
    rng: np.random.Generator,
    measure: LatentMeasure = mean_correlation,
    resamplings: int = 200,
    level: float = 0.95,
    least_explained: float = LEAST_EXPLAINED,
) -> SigmoidRise:
    """Say when a course rises, with the interval of t0 over test images drawn with replacement.

    Decoders are not fitted again: the interval is of the images, not of the training.

    Parameters
    ----------
    course : of `decoded_courses`
    latents : (m, d) true ones of its test images
    rng : of the resampling
    measure : of true and decoded latents
    resamplings : none leaves the interval out
    level : of the interval
    least_explained : as `fit_rise` takes it

    Returns
    -------
    SigmoidRise; without an interval, and with the reason, where more than half of the
        resamplings do not rise
    """
    x = finite_table(latents, "latents")
    if resamplings < 0 or not 0 < level < 1:
        raise DataError(
            f"resamplings must be 0 or more, level in (0, 1); got {resamplings}, {level}"
        )
    rise = fit_rise(
        course.centres_ms, course.scores(x, measure), least_explained=least_explained
    )
    if rise.reason or not resamplings:
        return rise
    drawn = np.empty(resamplings)
    for i in range(resamplings):
        rows = rng.integers(0, len(x), len(x))
        again = replace(course, decoded=course.decoded[:, rows])
        drawn[i] = fit_rise(
            course.centres_ms, again.scores(x[rows], measure), least_explained=least_explained
        ).t0_ms
    risen = drawn[np.isfinite(drawn)]
    failed = resamplings - len(risen)
    if failed > resamplings / 2:
        return replace(
            rise,
            resamplings=resamplings,
            failed=failed,
            reason=f"no interval: {failed} of {resamplings} resamplings do not rise",
        )
    low, high = np.quantile(risen, [(1 - level) / 2, (1 + level) / 2])
    return replace(
        rise, low_ms=float(low), high_ms=float(high), resamplings=resamplings, failed=failed
    )


def _best_start(t: Vector, y: Vector, ks: Vector) -> tuple[float, float, float]:
    """Return t0 and steepness of the grid's best rising sigmoid, and what it explains."""
    places = np.linspace(float(t[0]), float(t[-1]), 3 * len(t))
    t0s, steepness = np.repeat(places, len(ks)), np.tile(ks, len(places))
    shapes: Matrix = _special.expit(steepness[:, None] * (t - t0s[:, None]))
    shapes = shapes - shapes.mean(axis=1, keepdims=True)
    sizes = np.linalg.norm(shapes, axis=1)
    agreement = (shapes @ (y - y.mean())) / np.where(sizes > 1e-9, sizes, np.inf)
    best = int(agreement.argmax())
    explained = max(float(agreement[best]), 0.0) ** 2 / float(((y - y.mean()) ** 2).sum())
    return float(t0s[best]), float(steepness[best]), explained


def _little(explained: float, asked: float) -> str:
    return (
        f"no rise: a sigmoid explains {max(explained, 0):.0%} of the course; {asked:.0%} is "
        "asked for"
    )


def _no_rise(reason: str) -> SigmoidRise:
    return SigmoidRise(nan, nan, nan, nan, nan, nan, nan, reason=reason)


def _windows(edges: Vector, bins: int, width_ms: float) -> Vector:
    """Return the windows' edges, (w + 1,); a last one that would not be full is left out."""
    if edges.shape != (bins + 1,) or not (np.diff(edges) > 0).all() or not width_ms > 0:
        raise DataError(
            f"edges_ms must be {bins + 1} ascending times, and width_ms above 0; got "
            f"{edges.shape} and {width_ms}"
        )
    count = int(np.floor((edges[-1] - edges[0]) / width_ms + 1e-9))
    if count < 1:
        raise DataError(
            f"width_ms must fit into {edges[0]:g} to {edges[-1]:g} ms once; got {width_ms:g}"
        )
    return edges[0] + width_ms * np.arange(count + 1)


def _sites(sites: Sequence[str] | None, channels: int) -> dict[str, NDArray[np.bool_]]:
    """Return which channels, (c,), are of each site, and of all."""
    members = {} if sites is None else site_members(sites, channels)
    if ALL_SITES in members:
        raise DataError(f"no site may be named {ALL_SITES!r}")
    members[ALL_SITES] = np.ones(channels, dtype=np.bool_)
    return members


def _psths(psths: ArrayLike, name: str) -> Codes:
    rates = np.asarray(psths)
    if rates.ndim != 3 or not rates.size:
        raise DataError(
            f"{name} PSTHs must be (presentations, channels, bins); got {rates.shape}"
        )
    return rates
