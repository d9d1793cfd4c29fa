"""One session as its figures and pages show it: numbers and pixels, computed once.

Knows the recording's reader and the array functions of `trajectories`. Knows nothing of
matplotlib, HTML or generators: whoever has the weights at hand gives a `Render`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from evolver.analysis.success_tests import ALPHA, Success, SuccessRule, success
from evolver.analysis.trajectories import (
    FloatArray,
    Ints,
    Trajectory,
    best_rows,
    count_psth,
    evenly,
    reference_trajectory,
    spike_psth,
    trajectory,
)
from evolver.errors import EvolverError, RecordingError
from evolver.experiments.unit_weights import UnitWeights, read_fitness
from evolver.seeds import stream
from evolver.types import Codes, Images

if TYPE_CHECKING:
    from evolver.recording import Recording, ThreadData

logger = logging.getLogger(__name__)

ImageArray: TypeAlias = NDArray[np.uint8]
"""(h, w, 3) sRGB."""
Render: TypeAlias = Callable[[str, Codes], Images]
"""(name of a thread, its codes (n, d)) -> images (n, h, w, 3); may raise `EvolverError`."""

BIN_MS = 10.0
FILM_FRAMES = 12
"""Generations shown in a film strip."""
TOP = 5
"""Images of a thread's last generation, and references, that are shown."""


NO_VERDICT = "its scores are of responses to other images"
"""Why a replay whose answers are not all of the very images has no verdict."""
LOST = "pixels lost"
"""The label of an image that is drawn grey."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoredImage:
    """One image and what it scored.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (h, w, 3)
    label : str, a reference's name; empty for an evolved image
    score, sem : float, NaN where unknown. Of an evolved image over its repeats in its one
        generation, of a reference over blocks
    n : int, blocks a reference was scored in; 0 for an evolved image
    """

    pixels: ImageArray
    label: str = ""
    score: float = float("nan")
    sem: float = float("nan")
    n: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class ThreadEvolution:
    """One thread; g generations were shown.

    Attributes
    ----------
    unit_label : str, what its fitness watches
    response_ms, baseline_ms : the fitness's windows, ms after onset; None where there is none
    block : ndarray of int64, shape (g,), the block each generation was shown in
    scores : Trajectory over generations, of the thread's images
    references : Trajectory over blocks, by this thread's fitness
    best_score : ndarray of float64, shape (g,), of the best image; NaN where none was scored
    film : ndarray of int64, shape (f,), the generations in the film strip
    best : tuple of f ScoredImage, the best image of each of those
    means : tuple of f arrays (h, w, 3), the image of their mean code; empty where `no_means`
    no_means : str, why there are none; else empty
    top : tuple of ScoredImage, the best images of the last scored generation, best first
    best_references : tuple of ScoredImage, by their mean score over blocks, best first
    psth : ndarray of float64, shape (g, t), spikes/s; None where no spikes were recorded
    reference_psth : ndarray of float64, shape (t,), spikes/s, over all references and blocks
    verdict : Success, late against early generations; its `reason` where there is none
    score_unit : str, what scores are counted in
    fitness : str, its kind in words, as 'rate' or 'cosine to a target, z'
    """

    name: str
    optimizer: str
    generator: str
    unit_label: str
    response_ms: tuple[float, float] | None
    baseline_ms: tuple[float, float] | None
    block: Ints
    scores: Trajectory
    references: Trajectory
    best_score: FloatArray
    film: Ints
    best: tuple[ScoredImage, ...]
    means: tuple[ImageArray, ...]
    no_means: str
    top: tuple[ScoredImage, ...]
    best_references: tuple[ScoredImage, ...]
    psth: FloatArray | None
    reference_psth: FloatArray | None
    verdict: Success
    score_unit: str = "spikes/s"
    fitness: str = "rate"

    @property
    def last(self) -> int | None:
        """The last generation with a score; None where nothing was scored."""
        filled = self.scores.filled
        return int(filled[-1]) if len(filled) else None

    @property
    def gain(self) -> float | None:
        """Mean of the last generation over the best reference's; None where that is not > 0.

        Of rates alone: no other score has a zero that a ratio could stand on.
        """
        if self.last is None or not self.best_references or self.fitness != "rate":
            return None
        reference = self.best_references[0].score
        return float(self.scores.mean[self.last]) / reference if reference > 0 else None


@dataclass(frozen=True, slots=True, eq=False)
class Evolution:
    """A session.

    Attributes
    ----------
    blocks : ndarray of int64, shape (b,)
    generation : ndarray of float64, shape (b,), how far the threads were when a block was
        shown, as the mean over threads: where its references stand beside their scores
    edges_ms : ndarray of float64, shape (t + 1,), of every PSTH, ms after onset
    on_ms : float, how long images stayed on; NaN where it changed between presentations
    one_fitness : bool, whether all threads share one, so that references have one trajectory
    budget : dict, part of the block's time -> ndarray of float64, shape (b,), seconds
    of_sets : blocks with images of sets, which no thread here has
    replay : str, of a replay what every figure says of it; else empty
    inexact : bool, whether it is one in which not every response is of the very image: then no
        thread has a verdict, and nothing an error, as few trials are repeated many times
    """

    name: str
    threads: tuple[ThreadEvolution, ...]
    blocks: Ints
    generation: FloatArray
    edges_ms: FloatArray
    on_ms: float
    one_fitness: bool
    budget: dict[str, FloatArray] = field(default_factory=dict[str, FloatArray])
    of_sets: frozenset[int] = frozenset()
    replay: str = ""
    inexact: bool = False

    @property
    def score_units(self) -> dict[str, list[int]]:
        """What scores are counted in, and the threads whose are, by number."""
        units: dict[str, list[int]] = {}
        for k, thread in enumerate(self.threads):
            units.setdefault(thread.score_unit, []).append(k)
        return units


class Watched(UnitWeights, frozen=True):
    """What of a recorded fitness is needed here; files may say more.

    `units` are rows of the unit table, `weights` what a spike/s of each adds to the score,
    windows are ms after onset. A thread that a damaged journal only half knows has no units.
    """

    response_ms: tuple[float, float] | None = None
    baseline_ms: tuple[float, float] | None = None
    late_ms: tuple[float, float] | None = None
    early_ms: tuple[float, float] | None = None
    kind: str = "rate"
    distance: str = "cosine"
    target: str | None = None
    target_sha256: str = ""
    others: tuple[int, ...] = ()
    others_weight: float = 1.0
    others_by: str = "mean"
    normalise: str = "none"
    minimise: bool = False

    @property
    def scored_ms(self) -> tuple[float, float] | None:
        """The window whose rate counts."""
        return self.late_ms if self.kind == "late-early" else self.response_ms

    @property
    def less_ms(self) -> tuple[float, float] | None:
        """The window whose rate is taken off."""
        return self.early_ms if self.kind == "late-early" else self.baseline_ms

    @property
    def words(self) -> str:
        """The kind, in words."""
        text = self.kind
        if self.kind == "target":
            place = self.target or "a target"
            is_file = bool(self.target_sha256)
            text = f"{self.distance} to {place.rpartition('/')[2] if is_file else place}"
        elif self.kind == "contrast":
            n = len(self.others)
            text = f"contrast with {n} other{'s' if n != 1 else ''} ({self.others_by}"
            text += (
                f", \N{MULTIPLICATION SIGN} {self.others_weight:g})"
                if self.others_weight != 1
                else ")"
            )
        text += ", z" if self.normalise == "references" else ""
        return f"{text}, minimised" if self.minimise else text


def read_evolution(
    recording: Recording,
    *,
    render: Render | None = None,
    rule: SuccessRule = "shuffle",
    alpha: float = ALPHA,
) -> Evolution:
    """Compute everything the figures show.

    Parameters
    ----------
    recording : an open recording; only read
    render : turns the mean codes of a thread into images; None where nobody can
    rule, alpha : what a success is judged by, as `success` takes them

    Raises
    ------
    RecordingError
        Where the file's tables contradict each other.
    """
    presentations = recording.presentations
    edges = _edges(recording)
    group = [_generations(recording, k) for k in range(len(recording.threads.evolving))]
    threads = tuple(
        _thread(recording, k, generation, edges, render, rule, alpha)
        for k, generation in enumerate(group)
    )
    if recording.is_inexact:
        threads = tuple(map(_without_errors, threads))
    on_ms = np.unique(presentations["on_ms"][presentations["on_ms"] > 0])
    blocks = recording.blocks
    return Evolution(
        name=recording.name,
        threads=threads,
        blocks=np.asarray(blocks["block"], dtype=np.int64),
        generation=_progress(np.asarray(blocks["block"], dtype=np.int64), threads),
        edges_ms=edges,
        on_ms=float(on_ms[0]) if len(on_ms) == 1 else float("nan"),
        one_fitness=one_fitness(recording.threads.evolving),
        budget={
            name: np.asarray(blocks[name], dtype=np.float64)
            for name in blocks.dtype.names or ()
            if name not in {"block", "time_ns"}
        },
        of_sets=_blocks_of_sets(recording),
        replay=recording.replay_line,
        inexact=recording.is_inexact,
    )


def _blocks_of_sets(recording: Recording) -> frozenset[int]:
    """Return the numbers of the blocks with images of sets."""
    sets = [k for k, thread in enumerate(recording.threads) if thread.is_set]
    table = recording.presentations
    return frozenset(table["block"][np.isin(table["thread"], sets)].tolist())


def _without_errors(thread: ThreadEvolution) -> ThreadEvolution:
    """Return a thread without standard errors and verdict."""

    def bare(images: tuple[ScoredImage, ...]) -> tuple[ScoredImage, ...]:
        return tuple(replace(image, sem=float("nan")) for image in images)

    return replace(
        thread,
        scores=_bare(thread.scores),
        references=_bare(thread.references),
        best=bare(thread.best),
        top=bare(thread.top),
        best_references=bare(thread.best_references),
        verdict=replace(thread.verdict, reason=NO_VERDICT),
    )


def _bare(means: Trajectory) -> Trajectory:
    return replace(means, sem=np.full_like(means.sem, np.nan))


def _progress(blocks: Ints, threads: Sequence[ThreadEvolution]) -> FloatArray:
    """Return the mean generation of the threads at each block, from 0."""
    begun = [np.searchsorted(np.sort(t.block[t.block >= 0]), blocks, "right") for t in threads]
    mean = np.mean(begun, axis=0) if begun else np.zeros(len(blocks))
    return np.maximum(np.asarray(mean, dtype=np.float64) - 1, 0)


def fitness_of(thread: ThreadData) -> Watched:
    """Return the units, weights and windows `thread` was scored by.

    Raises
    ------
    RecordingError
        Where the recording does not say them.
    """
    return read_fitness(thread, Watched)


def one_fitness(threads: Sequence[ThreadData]) -> bool:
    """Whether all threads are scored alike: the same units, weights, windows and kind."""
    fitnesses = [fitness_of(thread) for thread in threads]
    keys = {
        (
            tuple(sorted(zip(f.units, f.weights, strict=True))),
            f.scored_ms,
            f.less_ms,
            f.words,
            f.others,
            f.target_sha256,
        )
        for f in fitnesses
    }
    return len(keys) <= 1


def unit_label(fitness: Watched, units: NDArray[Any]) -> str:
    """Say which units a fitness watches: 'mini:fc6:0 (V4, channel 3)', '12 units, weighted'."""
    watched = [u for u, w in zip(fitness.units, fitness.weights, strict=True) if w]
    if not watched:
        return "no known unit"
    if len(watched) > 1 and fitness.kind == "target":
        return f"{len(watched)} units"
    if len(watched) > 1:
        equal = len(set(fitness.weights)) == 1
        return f"{len(watched)} units, {'averaged' if equal else 'weighted'}"
    if not 0 <= watched[0] < len(units):
        return f"unit {watched[0]}"
    row = units[watched[0]]
    name = str(row["label"]) or f"unit {watched[0]}"
    area = str(row["area"])
    where = f"{area}, channel {row['channel']}" if area else f"channel {row['channel']}"
    return f"{name} ({where})"


def _thread(
    recording: Recording,
    k: int,
    generation: Ints,
    edges: FloatArray,
    render: Render | None,
    rule: SuccessRule,
    alpha: float,
) -> ThreadEvolution:
    """Compute one thread; `generation`, (p,), is that of each presentation, -1 for none."""
    thread = recording.threads[k]
    fitness = fitness_of(thread)
    of = np.asarray(thread.generation, dtype=np.int64)
    # A damaged journal may lack one in the middle: generations keep their numbers.
    generations = int(max(of.max(initial=-1), generation.max(initial=-1))) + 1
    values = np.asarray(thread.score, dtype=np.float64)
    scores = trajectory(values, of, groups=generations)
    best = best_rows(values, of, groups=generations)
    film = evenly(scores.filled, at_most=FILM_FRAMES)
    means, no_means = _mean_images(thread, film, render)
    psth, reference_psth = _psths(recording, fitness, generation, generations, edges)
    block = np.full(generations, -1, dtype=np.int64)
    inside = generation >= 0
    block[generation[inside]] = recording.presentations["block"][inside]
    return ThreadEvolution(
        name=thread.name,
        optimizer=thread.optimizer,
        generator=thread.generator,
        unit_label=unit_label(fitness, recording.units),
        response_ms=fitness.scored_ms,
        baseline_ms=fitness.less_ms,
        score_unit=fitness.unit,
        fitness=fitness.words,
        block=block,
        scores=scores,
        references=reference_trajectory(recording.reference_scores[:, k]),
        best_score=np.where(best >= 0, values[best], np.nan) if len(values) else np.zeros(0),
        film=film,
        best=tuple(_picture(recording, thread, int(best[g])) for g in film),
        means=means,
        no_means=no_means,
        top=_top(recording, thread, scores),
        best_references=tuple(
            ScoredImage(*_pixels(recording, r.image_id, r.label), r.score, r.sem, r.n)
            for r in best_references(recording, k)
        ),
        psth=psth,
        reference_psth=reference_psth,
        verdict=success(
            values,
            of,
            rule=rule,
            alpha=alpha,
            # The same report of the same recording, whenever it is written.
            rng=stream(recording.seed, "report", "shuffles", thread.name),
        ),
    )


def _generations(recording: Recording, k: int) -> Ints:
    """Return the generation of thread k each valid showing belongs to, (p,); -1 for none."""
    presentations = recording.presentations
    mine = (presentations["thread"] == k) & (presentations["status"] == "ok")
    return np.where(mine, presentations["generation"], -1).astype(np.int64)


def _edges(recording: Recording) -> FloatArray:
    """Return the bins of every PSTH: `BIN_MS` wide from onset, or those of the rig's counts."""
    start, end = recording.window_ms
    first, last = np.ceil(start / BIN_MS), np.floor(end / BIN_MS)
    if _has_spikes(recording) and first < last:
        return np.arange(int(first), int(last) + 1, dtype=np.float64) * BIN_MS
    return recording.psth_edges_ms.astype(np.float64)


def _has_spikes(recording: Recording) -> bool:
    return bool((recording.presentations["form"] == "spikes").any())


def _psths(
    recording: Recording,
    fitness: Watched,
    generation: Ints,
    generations: int,
    edges: FloatArray,
) -> tuple[FloatArray | None, FloatArray | None]:
    """Return PSTHs, (g, t), and the references' PSTH, (t,); None where there are none."""
    weights = np.zeros(len(recording.units))
    weights[list(fitness.units)] = fitness.weights
    table = recording.presentations
    form = "spikes" if _has_spikes(recording) else "counts"
    usable = (table["form"] == form) & recording.psth_valid
    if not (usable.any() and weights.any() and len(edges) > 1):
        return None, None
    # References are one more group behind the generations.
    group = np.where(usable, generation, -1)
    group[usable & table["is_reference"] & (table["status"] == "ok")] = generations
    groups = generations + 1
    if form == "spikes":
        offsets, unit, time_ms = recording.all_spikes()
        rates = spike_psth(
            offsets, unit, time_ms, edges_ms=edges, group=group, groups=groups, weights=weights
        )
    else:
        used = np.flatnonzero(weights)
        counts: NDArray[np.integer[Any]] = cast("Any", recording.psth)[:, used]
        rates = count_psth(
            counts,
            edges_ms=edges,
            group=group,
            groups=groups,
            weights=weights[used],
        )
    reference = rates[generations]
    return rates[:generations], reference if np.isfinite(reference).all() else None


def _mean_images(
    thread: ThreadData, film: Ints, render: Render | None
) -> tuple[tuple[ImageArray, ...], str]:
    """Return the images of the mean codes of `film`'s generations, or why there are none."""
    if render is None:
        return (), "no generator was at hand to render them"
    if not len(film):
        return (), "nothing was scored"
    codes = np.stack([
        thread.codes[thread.generation == g].mean(axis=0, dtype=np.float64) for g in film
    ])
    try:
        return tuple(render(thread.name, codes)), ""
    except EvolverError as exc:
        return (), str(exc)


def _picture(recording: Recording, thread: ThreadData, row: int) -> ScoredImage:
    score, sem = float(thread.score[row]), float(thread.sem[row])
    return picture_of(recording, int(thread.image_id[row]), score=score, sem=sem)


def picture_of(
    recording: Recording, image_id: int, *, label: str = "", score: float, sem: float
) -> ScoredImage:
    """Return an image and what it scored; grey, and said so, where its pixels are lost."""
    pixels, label = _pixels(recording, image_id, label)
    return ScoredImage(pixels, label, score, sem)


def _pixels(recording: Recording, image_id: int, label: str = "") -> tuple[ImageArray, str]:
    """Return an image and its label; grey, and said so, where a damaged journal lost it."""
    try:
        return recording.images[image_id], label
    except RecordingError as exc:
        if not recording.images.is_lost(image_id):
            logger.warning("drawn in grey: %s", exc)
        return np.full((8, 8, 3), 127, dtype=np.uint8), LOST


def _top(
    recording: Recording, thread: ThreadData, scores: Trajectory
) -> tuple[ScoredImage, ...]:
    if not len(scores.filled):
        return ()
    rows = np.flatnonzero((thread.generation == scores.filled[-1]) & np.isfinite(thread.score))
    order = rows[np.argsort(-thread.score[rows], kind="stable")][:TOP]
    return tuple(_picture(recording, thread, int(row)) for row in order)


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference image's score by one thread's fitness: mean and sem over `n` blocks."""

    image_id: int
    label: str
    score: float
    sem: float
    n: int


def best_references(recording: Recording, k: int) -> tuple[Reference, ...]:
    """Return the `TOP` references with the highest mean over blocks, by thread k's fitness."""
    scores = recording.reference_scores[:, k]  # (b, r)
    ids = recording.reference_image_id  # (b, r)
    images, of = np.unique(ids, return_inverse=True)
    over_blocks = trajectory(
        scores.ravel(), np.where(ids < 0, -1, of.reshape(ids.shape)).ravel(), groups=len(images)
    )
    filled = over_blocks.filled
    order = filled[np.argsort(-over_blocks.mean[filled], kind="stable")][:TOP]
    return tuple(
        Reference(
            image_id=int(images[i]),
            label=str(recording.image_labels[int(images[i])]),
            score=float(over_blocks.mean[i]),
            sem=float(over_blocks.sem[i]),
            n=int(over_blocks.n[i]),
        )
        for i in order
    )
