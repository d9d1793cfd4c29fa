"""What `evolver.analysis` says of one experiment and its threads.

The paper's windows are the defaults, and every one may be another. What is undefined says why;
nothing is raised for an experiment that lacks something.

Wang & Ponce, Nature Neuroscience 2026.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from evolver.analysis.image_similarity import (
    Similarity,
    evolution_similarity,
    pixel_correlation,
    structural_similarity,
)
from evolver.analysis.latencies import (
    Latencies,
    latencies,
    latency_threshold,
    response_latency,
)
from evolver.analysis.populations import (
    FEWEST_BLOCKS,
    FEWEST_IMAGES,
    ROBUST_SDS,
    Validity,
    kept_blocks,
    normaliser,
    validity,
)
from evolver.analysis.psth_differences import PsthDifference, psth_difference
from evolver.analysis.quantities import Quantity
from evolver.analysis.success_rates import RATE_LEVEL, ShareInterval
from evolver.analysis.success_tests import (
    ALPHA,
    SHUFFLES,
    Success,
    SuccessRule,
    success,
    success_of_means,
)
from evolver.analysis.temporal_attribution import Attribution, DifferenceError, attribution
from evolver.analysis.thread_tests import (
    THREAD_SHUFFLES,
    ThreadTests,
    compare_thread_means,
    compare_threads,
)
from evolver.analysis.time_bins import BASELINE_MS, RESPONSE_MS, window_mean
from evolver.analysis.time_constants import (
    PUBLISHED_THRESHOLD,
    TimeConstant,
    time_constant,
    time_constants,
)
from evolver.errors import DataError
from evolver.experiments.axis_summaries import AxisSummary, axis_summaries
from evolver.experiments.experiment import (
    Course,
    Experiment,
    ExperimentThread,
    ImageResponses,
    Psth,
)
from evolver.seeds import stream

if TYPE_CHECKING:
    from evolver.analysis.block_pairs import LastPair
    from evolver.analysis.populations import BaselineSd, PopulationError
    from evolver.analysis.trajectories import FloatArray
    from evolver.analysis.tuning_shapes import ShapeRule
    from evolver.experiments.masks import ExperimentLook
    from evolver.types import Matrix

TimeSpan: TypeAlias = tuple[float, float]
"""From and to, ms after onset."""
Among: TypeAlias = Literal["any", "both", "all"]
"""Experiments of which populations are made: with a success in any thread, in both, or all."""

WINDOW_MS: TimeSpan = (0.0, 200.0)
EARLY_MS: TimeSpan = (50.0, 100.0)
LATE_MS: TimeSpan = (100.0, 200.0)
LATENCY_FROM_MS = 25.0
SHORTEST_BIN_MS = 0.1


@dataclass(frozen=True, slots=True)
class AnalysisSettings:
    """How experiments are analysed; times in ms after onset.

    Attributes
    ----------
    rule, alpha, last_pair, shuffles : of success, as `success` takes them
    window_ms : of PSTHs that is looked at
    response_ms : its mean rate says which block's PSTH is the highest
    baseline_ms : before the response; its jumps make an experiment invalid
    early_ms, late_ms : parts of the response that a rise is attributed to
    bin_ms : of the response's bins of time
    threshold : share of the maximum of time constants
    latency_from_ms : no response begins earlier; published: 0, where noise may pass for one
    fewest_images, fewest_blocks, robust_sds : of experiments and blocks that count
    baseline_sd : whose robust sd steps of the baseline are counted in
    among : experiments of which populations are made
    interval, level : of success rates
    error : of means over experiments
    attribution_error : of the difference of two PSTHs
    shape : rule of a tuning curve's shape
    seed : of the images that are dealt anew, and of restarts of fits
    """

    rule: SuccessRule = "shuffle"
    alpha: float = ALPHA
    last_pair: LastPair = "paper"
    shuffles: int = SHUFFLES
    window_ms: TimeSpan = WINDOW_MS
    response_ms: TimeSpan = RESPONSE_MS
    baseline_ms: TimeSpan = BASELINE_MS
    early_ms: TimeSpan = EARLY_MS
    late_ms: TimeSpan = LATE_MS
    bin_ms: float = 10.0
    threshold: float = PUBLISHED_THRESHOLD
    latency_from_ms: float = LATENCY_FROM_MS
    fewest_images: int = FEWEST_IMAGES
    fewest_blocks: int = FEWEST_BLOCKS
    robust_sds: float = ROBUST_SDS
    baseline_sd: BaselineSd = "steps"
    among: Among = "any"
    interval: ShareInterval = "wilson"
    level: float = RATE_LEVEL
    error: PopulationError = "sample"
    attribution_error: DifferenceError = "independent"
    shape: ShapeRule = "range"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("window_ms", "response_ms", "baseline_ms", "early_ms", "late_ms"):
            start, end = getattr(self, name)
            if not (np.isfinite([start, end]).all() and start < end):
                raise DataError(f"{name} must end after it begins; got {start:g} to {end:g}")
        if not 0 < self.alpha < 1:
            raise DataError(f"alpha must lie between 0 and 1; got {self.alpha}")
        if not (0 < self.threshold < 1 and self.shuffles > 0):
            raise DataError(
                "the threshold must lie between 0 and 1, and shuffles be above 0; got "
                f"{self.threshold:g} and {self.shuffles}"
            )
        if not SHORTEST_BIN_MS <= self.bin_ms < np.inf:
            raise DataError(
                f"bins of time must have {SHORTEST_BIN_MS:g} ms at least; got {self.bin_ms:g}"
            )

    def with_rule(self, rule: SuccessRule) -> AnalysisSettings:
        """With another rule of success."""
        return replace(self, rule=rule)

    @property
    def as_published(self) -> AnalysisSettings:
        """With the habits of the published code, right or not."""
        return replace(
            self,
            rule="maxinit",
            last_pair="paper",
            interval="paper",
            error="paper",
            attribution_error="paper",
            shape="paper",
            latency_from_ms=0.0,
        )


@dataclass(frozen=True, slots=True, eq=False)
class ThreadSummary:
    """What is said of one evolution; b is its number of blocks that are kept.

    Attributes
    ----------
    thread : ExperimentThread, with the blocks that are kept
    success : late against early responses
    first, last, highest : Quantity, means of blocks, in the thread's `score_unit`
    highest_block : int; -1 where there is none
    ratio : Quantity, last over first; of rates alone
    constant : Quantity, blocks until a share of the rise
    constants : every variant of it in use
    latencies : of the highest block's PSTH, ms
    psth_peak : int, block whose PSTH is the highest in the response window; -1 if none
    attribution : of the rise to bins of time; None where there is none, as `early` says
    early, late : Quantity, shares of the rise
    axes : its tuning along latent axes
    """

    thread: ExperimentThread
    success: Success
    first: Quantity
    last: Quantity
    highest: Quantity
    highest_block: int
    ratio: Quantity
    constant: Quantity
    constants: tuple[TimeConstant, ...]
    latencies: Latencies
    psth_peak: int
    attribution: Attribution | None
    early: Quantity
    late: Quantity
    axes: tuple[AxisSummary, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ExperimentSummary:
    """What is said of one experiment.

    Attributes
    ----------
    experiment : with the blocks that are kept
    threads : in its order
    dropped : int, blocks that are not kept
    valid : whether it counts in populations, with reasons
    unchecked : str, what could not be checked; empty where all could
    scale : Quantity, the one number that rates are divided by, spikes/s
    difference : of the first two threads' PSTHs; None where there is none
    no_difference : str, why there is none
    comparison : of the first two threads' responses; None where there is none
    no_comparison : str, why there is none
    similarity : of their images, by every prototype and measure
    no_similarity : str, why there is none
    look : where its unit looks; None where that was not asked for, or as `no_look` says
    no_look : str, why there is none, of what was asked for
    """

    experiment: Experiment
    threads: tuple[ThreadSummary, ...]
    dropped: int
    valid: Validity
    unchecked: str
    scale: Quantity
    difference: PsthDifference | None
    no_difference: str
    comparison: ThreadTests | None
    no_comparison: str
    similarity: tuple[Similarity, ...]
    no_similarity: str
    look: ExperimentLook | None = None
    no_look: str = ""

    @property
    def generators(self) -> tuple[str, ...]:
        """Of its threads."""
        return tuple(one.thread.generator for one in self.threads)


def with_look(summary: ExperimentSummary, look: ExperimentLook | str) -> ExperimentSummary:
    """Return a summary that says where the unit looks, or why that is not known.

    The prototypes that were drawn for it are compared, too.
    """
    if isinstance(look, str):
        return replace(summary, no_look=look)
    similarity = look.similarity or summary.similarity
    reason = "" if similarity else summary.no_similarity
    return replace(summary, look=look, similarity=similarity, no_similarity=reason)


def summarise(
    experiment: Experiment, settings: AnalysisSettings | None = None
) -> ExperimentSummary:
    """Return what there is to be said of an experiment.

    Parameters
    ----------
    experiment : of any source
    settings : the defaults if not given
    """
    settings = settings or AnalysisSettings()
    kept, dropped = kept_part(experiment, settings)
    threads = tuple(_thread_summary(kept.id, one, settings) for one in kept.threads)
    valid, unchecked = _validity(kept, settings)
    rates = [one.course.mean for one in kept.threads if one.is_rate]
    difference, no_difference = _difference(kept, settings)
    comparison, no_comparison = _comparison(kept, settings)
    similarity, no_similarity = _similarity(kept)
    return ExperimentSummary(
        experiment=kept,
        threads=threads,
        dropped=dropped,
        valid=valid,
        unchecked=unchecked,
        scale=normaliser(*rates) if rates else Quantity.undefined("scores are no rates"),
        difference=difference,
        no_difference=no_difference,
        comparison=comparison,
        no_comparison=no_comparison,
        similarity=similarity,
        no_similarity=no_similarity,
    )


def kept_part(experiment: Experiment, settings: AnalysisSettings) -> tuple[Experiment, int]:
    """Return an experiment without a last block of few images, and how many blocks that is.

    Of sessions whose blocks have fewer than `fewest_images` each, half of a usual block is few.
    """
    counts = [thread.images for thread in experiment.threads]
    known = [count for count in counts if count is not None and len(count)]
    lengths = {len(thread.course) for thread in experiment.threads}
    if not known or len(lengths) != 1:
        return _cut_to_window(experiment, settings), 0
    usual = min(float(np.median(count)) for count in known)
    fewest = min(settings.fewest_images, max(1, int(usual / 2)))
    blocks = kept_blocks(np.stack(known), fewest=fewest)
    (length,) = lengths
    if blocks == length or blocks == 0:
        return _cut_to_window(experiment, settings), 0
    threads = tuple(_first_blocks(thread, blocks) for thread in experiment.threads)
    return _cut_to_window(replace(experiment, threads=threads), settings), length - blocks


def _first_blocks(thread: ExperimentThread, blocks: int) -> ExperimentThread:
    def course(of: Course) -> Course:
        return Course(of.mean[:blocks], of.sem[:blocks])

    psth, single = thread.psth, thread.single
    if psth is not None:
        psth = Psth(psth.mean[:blocks], psth.sem[:blocks], psth.edges_ms)
    if single is not None:
        inside = single.block < blocks
        single = ImageResponses(single.response[inside], single.block[inside])
    return replace(
        thread,
        course=course(thread.course),
        references=None if thread.references is None else course(thread.references),
        images=None if thread.images is None else thread.images[:blocks],
        psth=psth,
        single=single,
    )


def _cut_to_window(experiment: Experiment, settings: AnalysisSettings) -> Experiment:
    """Leave of PSTHs the bins that lie in the window."""
    start, end = settings.window_ms

    def cut(thread: ExperimentThread) -> ExperimentThread:
        psth = thread.psth
        if psth is None:
            return thread
        inside = (psth.edges_ms[:-1] >= start - 1e-6) & (psth.edges_ms[1:] <= end + 1e-6)
        bins = np.flatnonzero(inside)
        if not len(bins):
            reason = f"no bin of it lies in {start:g} to {end:g} ms"
            return replace(thread, psth=None, absent={**thread.absent, "psth": reason})
        kept = slice(int(bins[0]), int(bins[-1]) + 1)
        edges = psth.edges_ms[kept.start : kept.stop + 1]
        return replace(thread, psth=Psth(psth.mean[:, kept], psth.sem[:, kept], edges))

    return replace(experiment, threads=tuple(cut(thread) for thread in experiment.threads))


def _or_reason(compute: Callable[[], Quantity]) -> Quantity:
    """Return what a function computes, or that the arrays do not fit it."""
    try:
        return compute()
    except DataError as error:
        return Quantity.undefined(str(error))


def _thread_summary(
    experiment: str, thread: ExperimentThread, settings: AnalysisSettings
) -> ThreadSummary:
    mean = thread.course.mean
    filled = np.flatnonzero(np.isfinite(mean))
    none = Quantity.undefined("no block has a response")
    highest = int(np.nanargmax(mean)) if len(filled) else -1
    first = Quantity(float(mean[0])) if len(filled) and filled[0] == 0 else none
    if len(filled) and filled[0] != 0:
        first = Quantity.undefined("the first block has no response")
    last = Quantity(float(mean[filled[-1]])) if len(filled) else none
    constants, baseline = _time_constants(experiment, thread, settings)
    peak, found, early, late = _attribution(thread, settings)
    return ThreadSummary(
        thread=thread,
        success=_success(experiment, thread, settings),
        first=first,
        last=last,
        highest=Quantity(float(mean[highest])) if highest >= 0 else none,
        highest_block=highest,
        ratio=_ratio(thread, first, last),
        constant=_or_reason(
            lambda: time_constant(mean, baseline=baseline, threshold=settings.threshold)
        ),
        constants=constants,
        latencies=_latencies(thread, peak, settings),
        psth_peak=peak,
        attribution=found,
        early=early,
        late=late,
        axes=axis_summaries(experiment, thread, shape=settings.shape, seed=settings.seed),
    )


def _success(experiment: str, thread: ExperimentThread, settings: AnalysisSettings) -> Success:
    # The same verdict whenever and beside whatever else an experiment is analysed.
    rng = stream(settings.seed, "analyze", "shuffles", experiment, thread.name)
    rule, alpha, last_pair = settings.rule, settings.alpha, settings.last_pair
    if thread.single is not None:
        return success(
            thread.single.response,
            thread.single.block,
            rule=rule,
            last_pair=last_pair,
            alpha=alpha,
            shuffles=settings.shuffles,
            rng=rng,
        )
    nan = float("nan")
    pairs = "maxinit" if rule == "shuffle" else rule
    finite = np.isfinite(thread.course.mean)
    if not (finite.all() and np.isfinite(thread.course.sem).all()):
        reason = (
            "responses of single images, or a mean and a sem of every block, are needed"
            if len(finite)
            else "no block has a response"
        )
        return Success(nan, nan, -1, -1, nan, 0, nan, nan, rule, pairs, alpha, reason)
    return success_of_means(
        thread.course.mean,
        thread.course.sem,
        rule=rule,
        last_pair=last_pair,
        alpha=alpha,
        shuffles=settings.shuffles,
        rng=rng,
    )


def _ratio(thread: ExperimentThread, first: Quantity, last: Quantity) -> Quantity:
    if not thread.is_rate:
        return Quantity.undefined(f"{thread.score_unit} has no zero that a ratio could have")
    for value in (first, last):
        if not value.defined:
            return value
    if first.value <= 0:
        return Quantity.undefined(f"the first block's mean is {first.value:g}, not above 0")
    return Quantity(last.value / first.value)


def _time_constants(
    experiment: str, thread: ExperimentThread, settings: AnalysisSettings
) -> tuple[tuple[TimeConstant, ...], float]:
    """Return every variant, and the rate before responses begin; NaN where unknown."""
    baseline = float("nan")
    if thread.psth is not None and thread.is_rate:
        before = _windowed(thread.psth, settings.baseline_ms)
        if before is not None and np.isfinite(before).any():
            baseline = float(np.nanmean(before))
    rng = stream(settings.seed, "analyze", "smooth", experiment, thread.name)
    try:
        table = time_constants(
            thread.course.mean, thread.course.sem, baseline=baseline, rng=rng
        )
    except DataError:
        return (), baseline
    return tuple(table), baseline


def _windowed(psth: Psth, window_ms: TimeSpan) -> Matrix | None:
    """Return the mean rates of a window, (b,); None where it is not on the bins."""
    try:
        return window_mean(psth.mean, window_ms, edges_ms=psth.edges_ms)
    except DataError:
        return None


def _attribution(
    thread: ExperimentThread, settings: AnalysisSettings
) -> tuple[int, Attribution | None, Quantity, Quantity]:
    """Return the highest block, the attribution, and its early and its late share."""
    psth = thread.psth
    if psth is None:
        none = Quantity.undefined(thread.why_not("psth"))
        return -1, None, none, none
    try:
        found = attribution(
            psth.mean,
            psth.sem,
            width_ms=settings.bin_ms,
            response_ms=settings.response_ms,
            error=settings.attribution_error,
            edges_ms=psth.edges_ms,
        )
    except DataError as error:
        none = Quantity.undefined(str(error))
        return -1, None, none, none
    early, late = (
        _or_reason(lambda window=window: share_between(found, window))
        for window in (settings.early_ms, settings.late_ms)
    )
    return found.highest, found, early, late


def share_between(found: Attribution, window_ms: TimeSpan) -> Quantity:
    """Return which share of a rise lies in a window, which must begin and end on bins."""
    if found.reason:
        return Quantity.undefined(found.reason)
    edges = found.edges_ms
    start, end = (int(np.argmin(np.abs(edges - at))) for at in window_ms)
    if not np.allclose(edges[[start, end]], window_ms, atol=1e-6) or start >= end:
        raise DataError(
            f"a part of the response must begin and end on bins of {edges[0]:g} to "
            f"{edges[-1]:g} ms, {edges[1] - edges[0]:g} ms wide; got {window_ms}"
        )
    return Quantity(float(found.share[start:end].sum()))


def _latencies(thread: ExperimentThread, peak: int, settings: AnalysisSettings) -> Latencies:
    psth = thread.psth
    if psth is None or peak < 0:
        none = Quantity.undefined(
            thread.why_not("psth") if psth is None else "no block has the highest PSTH"
        )
        return Latencies(none, none, none)
    try:
        found = latencies(psth.mean, edges_ms=psth.edges_ms)[peak]
        threshold = latency_threshold(psth.mean, edges_ms=psth.edges_ms)
        if not threshold.defined:
            return found
        begins = response_latency(
            psth.mean[peak],
            threshold.value,
            after_ms=settings.latency_from_ms,
            edges_ms=psth.edges_ms,
        )
    except DataError as error:
        none = Quantity.undefined(str(error))
        return Latencies(none, none, none)
    return replace(found, response=begins)


def _validity(experiment: Experiment, settings: AnalysisSettings) -> tuple[Validity, str]:
    """Return whether an experiment counts, and what could not be checked."""
    baselines: list[FloatArray] = []
    for thread in experiment.threads:
        psth = thread.psth
        before = None if psth is None else _windowed(psth, settings.baseline_ms)
        if before is not None and len(before) == experiment.blocks:
            baselines.append(before)
    unchecked = ""
    if len(baselines) < len(experiment.threads):
        unchecked = "jumps of the baseline: a thread has no PSTH there"
        baseline = np.zeros(experiment.blocks)  # does not jump
    else:
        baseline = np.mean(baselines, axis=0)
    names = [thread.generator for thread in experiment.threads]
    own = (names[0], names[-1])
    found = validity(
        own,
        baseline,
        fewest_blocks=settings.fewest_blocks,
        robust_sds=settings.robust_sds,
        baseline_sd=settings.baseline_sd,
        wanted=own,  # which two generators are compared is the population's to say
    )
    return found, unchecked


def _difference(
    experiment: Experiment, settings: AnalysisSettings
) -> tuple[PsthDifference | None, str]:
    if len(experiment.threads) < 2:
        return None, "the session has one thread"
    first, second = experiment.threads[:2]
    if first.psth is None or second.psth is None:
        return None, (first if first.psth is None else second).why_not("psth")
    if not np.array_equal(first.psth.edges_ms, second.psth.edges_ms):
        return None, "the threads' PSTHs have other bins"
    try:
        found = psth_difference(
            first.psth.mean,
            second.psth.mean,
            window_ms=settings.response_ms,
            edges_ms=first.psth.edges_ms,
        )
    except DataError as error:
        return None, str(error)
    return (None, found.reason) if found.reason else (found, "")


def _comparison(
    experiment: Experiment, settings: AnalysisSettings
) -> tuple[ThreadTests | None, str]:
    if len(experiment.threads) < 2:
        return None, "the session has one thread"
    first, second = experiment.threads[:2]
    if first.score_unit != second.score_unit:
        return None, f"scores are in {first.score_unit} and in {second.score_unit}"
    rng = stream(settings.seed, "analyze", "threads", experiment.id)
    shuffles = min(settings.shuffles, THREAD_SHUFFLES)
    if first.single is not None and second.single is not None:
        tests = compare_threads(
            (first.single.response, first.single.block),
            (second.single.response, second.single.block),
            last_pair=settings.last_pair,
            shuffles=shuffles,
            rng=rng,
        )
    else:
        courses = first.course, second.course
        if not all(np.isfinite([one.mean, one.sem]).all() for one in courses):
            return None, (
                "responses of single images, or a mean and a sem of every block, are needed"
            )
        tests = compare_thread_means(
            *((one.mean, one.sem) for one in courses),
            last_pair=settings.last_pair,
            shuffles=shuffles,
            rng=rng,
        )
    return tests, ""


def _similarity(experiment: Experiment) -> tuple[tuple[Similarity, ...], str]:
    if len(experiment.threads) < 2:
        return (), "the session has one thread"
    first, second = experiment.threads[:2]
    shared = [name for name in first.pictures if name in second.pictures]
    if not shared:
        lacking = second if first.pictures else first
        return (), lacking.why_not("best")
    sizes = {of.pictures[name].shape for of in (first, second) for name in shared}
    if len(sizes) > 1:
        return (), f"images have different sizes: {sorted(sizes)}"
    measures = {"pixel_r": pixel_correlation, "ssim": structural_similarity}
    return tuple(evolution_similarity(first.pictures, second.pictures, measures)), ""
