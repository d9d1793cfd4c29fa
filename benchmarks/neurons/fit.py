"""Fits model neurons to the published experiments: the numbers of `scorers/neuron/sites.py`."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false
# scipy leaves the types of these open.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import least_squares

from benchmarks.neurons.experiments import BASELINE_MS, IMAGES, THREADS, Array, Experiment
from evolver import seeds
from evolver.errors import ConfigError
from evolver.optimizers import CholeskyCMA
from scorers.neuron import NeuronConfig
from scorers.neuron.settings import SPREADS, drawn

_MS = np.arange(200) + 0.5
_ON_MS = 100.0
_LATE = 11  # generations
_COURSE = ("latency_ms", "rise_ms", "transient_ms", "sustained", "decay_ms")
_LOWEST = np.array([25.0, 4.0, 4.0, 0.0, 5.0])
_HIGHEST = np.array([160.0, 120.0, 200.0, 1.0, 100.0])
_STARTS = (
    (50.0, 30.0, 30.0, 0.3, 30.0),
    (85.0, 40.0, 60.0, 0.3, 40.0),
    (45.0, 15.0, 20.0, 0.2, 20.0),
    (60.0, 80.0, 60.0, 0.4, 40.0),
)
_SHOWINGS = sum(IMAGES) + 20  # a generation, of both threads, with their references
_REPEATS = 6  # populations drawn for each simulated session's drives


def time_course(values: Array, on_ms: float = _ON_MS) -> Array:
    """Return time courses, (k, 200), of latency, rise, transient, sustained, decay, (k, 5)."""
    latency, rise, transient, sustained, decay = values.T[:, :, None]
    since = np.maximum(_MS - latency, 0)
    risen = np.minimum(since / rise, 1)
    level = sustained + (1 - sustained) * np.exp(-np.maximum(since - rise, 0) / transient)
    gone = np.exp(-np.maximum(since - on_ms, 0) / decay)
    return risen**2 * (3 - 2 * risen) * level * gone


def fit_time_course(psth: Array) -> tuple[Array, float]:
    """Return the five numbers that fit a PSTH, (200,), and the variance they explain."""

    def predicted(free: Array) -> tuple[Array, Array]:
        values = _LOWEST + (_HIGHEST - _LOWEST) / (1 + np.exp(-free))
        course = gaussian_filter1d(time_course(values[None])[0], 2.0, truncate=3)
        design = np.stack([np.ones(200), course], axis=1)
        weights, *_ = np.linalg.lstsq(design, psth, rcond=None)
        return values, design @ weights

    fits = []
    for start in _STARTS:
        share = (np.array(start) - _LOWEST) / (_HIGHEST - _LOWEST)
        free = np.log(share / (1 - share))
        fits.append(least_squares(lambda v: predicted(v)[1] - psth, free, max_nfev=300))
    values, curve = predicted(min(fits, key=lambda fit: fit.cost).x)
    return values, float(1 - np.var(psth - curve) / np.var(psth))


def fit_time_courses(experiments: Sequence[Experiment]) -> NeuronConfig:
    """Return settings with an area's time courses, of texture threads that are fitted well."""
    fits = [fit_time_course(e.psth[0, -_LATE:].mean(axis=0)) for e in experiments]
    good = np.array([values for values, explained in fits if explained > 0.8])
    spreads = np.percentile(good, [10, 50, 90], axis=0).T
    latency, rise, transient, sustained, decay = map(_rounded, spreads)
    return NeuronConfig(
        latency_ms=latency,
        rise_ms=rise,
        transient_ms=transient,
        sustained=sustained,
        decay_ms=decay,
    )


def centre_ms(psth: Array) -> float:
    """Return the centre of mass of what a PSTH, (200,), has above baseline after 50 ms."""
    above = np.maximum(psth[50:] - psth[slice(*BASELINE_MS)].mean(), 0)
    return float((above * _MS[50:]).sum() / above.sum())


def fit_contrast(experiments: Sequence[Experiment]) -> float:
    """Return the latency of a halving of contrast, ms.

    The object threads of the built-in generators have half the contrast of the texture ones,
    as BigGAN's have of DeePSim's; their responses come later by this much.
    """
    late = [e.psth[:, -_LATE:].mean(axis=1) for e in experiments]
    return float(
        np.median([centre_ms(object_) - centre_ms(texture) for texture, object_ in late])
    )


def fit_adaptation(
    experiments: Sequence[Experiment], showings: float | None = None
) -> tuple[float, float]:
    """Return depth and presentations of adaptation from the references' decline.

    Parameters
    ----------
    experiments : published
    showings : its time constant; without it, it is fitted, which takes many sites
    """
    curves: list[Array] = []
    for e in experiments:
        evoked = e.reference.mean(axis=0) - np.median(e.psth[:, :, slice(*BASELINE_MS)])
        if evoked.mean() >= 8 and len(evoked) >= 8:
            row = np.full(16, np.nan)
            row[: len(evoked)] = evoked[:16] / evoked[3:].mean()
            curves.append(row)
    decline = np.nanmedian(curves, axis=0)

    def predicted(free: Array) -> Array:
        depth, scale = free[:2]
        constant = showings or free[2]
        trace, out = 0.0, list[float]()
        for _ in decline:
            trace *= np.exp(-_SHOWINGS / constant)
            out.append(scale * (1 - depth * (1 - 2**-trace)))
            trace += 1
        return np.array(out)

    n = 2 if showings else 3
    fit = least_squares(
        lambda free: predicted(free) - decline,
        np.array([0.2, 1.0, 180.0])[:n],
        bounds=(np.array([0, 0.5, 10])[:n], np.array([1, 2, 2000])[:n]),
    )
    return float(fit.x[0]), float(showings or fit.x[2])


def fit_dead_time(experiments: Sequence[Experiment]) -> float:
    """Return the dead time, ms: how much less PSTHs scatter at their peak than before it.

    A smoothed PSTH's squared sem over its mean is (1 - rate * dead)^2 times a constant, of the
    smoothing and of the number of trials, which drops out of the ratio.
    """
    found: list[float] = []
    for e in experiments:
        if e.psth_sem is None:
            continue
        mean = e.psth[0].mean(axis=0)
        before, peak = slice(*BASELINE_MS), int(mean.argmax())
        scatter = (e.psth_sem[0] ** 2).mean(axis=0) / np.maximum(mean, 0.1)
        rate, base = mean[peak] / 1000, mean[before].mean() / 1000
        if base < 0.005 or rate < 0.1:  # spikes/ms
            continue
        q = np.sqrt(scatter[peak] / scatter[before].mean())
        found.append((1 - q) / (rate - q * base))
    return float(np.median(found))


def fit_drift(experiments: Sequence[Experiment]) -> float:
    """Return the standard deviation of the slow gain.

    It is read from the references' covariance between one generation and the next.
    """
    found = []
    for e in experiments:
        one = e.reference.mean(axis=0)
        change = one / one.mean() - 1
        found.append(np.sqrt(max(float(np.mean(change[1:] * change[:-1])), 0.0)))
    return float(np.median(found))


def fit_rates(
    experiments: Sequence[Experiment],
    simulated: Sequence[Experiment],
    known: NeuronConfig,
    *,
    generations: int = 80,
) -> tuple[NeuronConfig, float]:
    """Return settings whose rates match the published ones, given all the others.

    Parameters
    ----------
    experiments : published, of one area
    simulated : of that area; their drives are used, not their rates
    known : the other settings
    generations : of the search

    Returns
    -------
    settings : NeuronConfig
    loss : sum of squared log ratios of the measures' 10, 50, 90 % (the outer ones by half)
    """
    base = [np.median(e.psth[:, :, slice(*BASELINE_MS)].mean(axis=-1)) for e in experiments]
    baseline = np.maximum(np.percentile(base, [10, 50, 90]), 0.5)
    evoked = [np.median(e.reference) - b for e, b in zip(experiments, base, strict=True)]
    peak = np.maximum(np.percentile(evoked, [10, 50, 90]), 1.0)
    known = replace(known, baseline_hz=_rounded(baseline), peak_hz=_rounded(peak))
    wanted = _rate_quantiles([_rates(e.mean, e.sem, e.reference) for e in experiments])
    normal = seeds.stream(1, "neuron fit").standard_normal((len(simulated), _REPEATS, 9))
    noise = seeds.stream(2, "neuron fit").standard_normal((len(simulated), _REPEATS, 2, 100))

    def loss(free: Array) -> float:
        try:
            settings = _settings(free, known)
        except ConfigError:
            return 100.0
        rows = []
        for e, draws, errors in zip(simulated, normal, noise, strict=True):
            rows += _predicted(e, settings, draws, errors)
        return _distance(_rate_quantiles(rows), wanted)

    start = np.array([1.0, 0.5, 0, 0, 0, 0, 0, -1])
    search = CholeskyCMA(
        len(start), rng=seeds.stream(3, "neuron fit"), sigma=0.7, popsize=16, initial=start
    )
    best, lowest = start, np.inf
    for _ in range(generations):
        codes = search.ask()
        losses = np.array([loss(code) for code in codes])
        search.tell(codes, -losses)
        if losses.min() < lowest:
            best, lowest = codes[losses.argmin()].copy(), float(losses.min())
    return _settings(best, known), lowest


def _settings(free: Array, known: NeuronConfig) -> NeuronConfig:
    share = 1 / (1 + np.exp(-free))
    untuned = 0.9 * share[1]
    saturation = 1.1 + 1.9 * share[4]
    return replace(
        known,
        peak_hz=_rounded(np.exp(free[0]) * np.array(known.peak_hz)),
        untuned=_rounded([untuned * share[2], untuned, untuned + (0.95 - untuned) * share[3]]),
        saturation=_rounded([
            1.05 + (saturation - 1.05) * share[5],
            saturation,
            saturation * (1 + share[6]),
        ]),
        gain_sd=round(float(0.5 * share[7]), 3),
    )


def _predicted(
    e: Experiment, settings: NeuronConfig, normal: Array, noise: Array
) -> list[dict[str, float]]:
    """Return what is measured of neurons with these draws, (r, 9), that see an experiment."""
    values = {
        name: drawn(getattr(settings, name), bounds, normal[:, k])
        for k, (name, bounds) in enumerate(SPREADS.items())
    }
    course = time_course(np.stack([values[name] for name in _COURSE], axis=1))
    share = course[:, 50:].mean(axis=1)[:, None]
    fall = np.log(values["saturation"] / (values["saturation"] - 1))[:, None]

    def rates(drive: NDArray[np.float64]) -> Array:
        x = values["untuned"][:, None] * (1 - drive) + drive
        x = settings.knee * np.logaddexp(0, x / settings.knee)
        response = values["saturation"][:, None] * -np.expm1(-x * fall)
        return values["baseline_hz"][:, None] + values["peak_hz"][:, None] * share * response

    left = 1 - settings.adaptation * (1 - 2**-1.5)  # of references, in most blocks
    base = values["baseline_hz"]
    if e.reference_drives is None:
        raise ValueError("a simulated experiment must have the drives of its references")
    reference = base + left * (rates(e.reference_drives).mean(axis=1) - base)
    n_generations = len(e.drives[0])
    mean, sem = np.empty((2, 2, len(normal), n_generations))
    for k, n in enumerate(IMAGES):
        for g, drive in enumerate(e.drives[k]):
            rate = rates(drive)
            average = rate.mean(axis=1)
            counted = average / 0.15 * (1 - average * settings.dead_ms / 1000) ** 2
            trial = counted + settings.gain_sd**2 * (rate**2).mean(axis=1)
            mean[k, :, g] = average + noise[:, k, g] * np.sqrt(trial / n)
            sem[k, :, g] = np.sqrt((trial + rate.var(axis=1, ddof=1)) / n)
    mean = np.maximum(mean, 0.05)
    shown = np.broadcast_to(reference[None, :, None], mean.shape)
    return [_rates(mean[:, r], sem[:, r], shown[:, r]) for r in range(len(normal))]


def _rates(mean: Array, sem: Array, reference: Array) -> dict[str, float]:
    out = {"reference": float(np.median(reference))}
    for k, name in enumerate(THREADS):
        out[f"{name} first"] = mean[k, 0]
        out[f"{name} rise"] = mean[k].max() / mean[k, 0]
        out[f"{name} sem"] = float(np.median(sem[k] / mean[k]))
    return out


def _rate_quantiles(rows: Sequence[dict[str, float]]) -> Array:
    return np.percentile([list(row.values()) for row in rows], [10, 50, 90], axis=0)


def _distance(found: Array, wanted: Array) -> float:
    weights = np.array([0.5, 1.0, 0.5])[:, None]
    return float((weights * np.log(found / wanted) ** 2).sum())


def _rounded(values: Sequence[float] | Array) -> tuple[float, float, float]:
    """Return three numbers with three digits each, in order."""
    low, middle, high = sorted(float(f"{value:.3g}") for value in values)
    return low, middle, high
