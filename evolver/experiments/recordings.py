"""Our recordings as experiments: a thread's generations are its blocks.

Scores are those the session had; PSTHs are the spikes, or the rig's counts, of the units that a
thread's fitness weighs, over every showing of its images that gave a response.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from evolver import recording as recordings
from evolver.analysis.image_similarity import prototypes
from evolver.analysis.trajectories import spike_psth, trajectory
from evolver.errors import RecordingError
from evolver.experiments.experiment import (
    BEST_IMAGE,
    MEAN_CODE_IMAGE,
    MOST_BINS,
    Course,
    Experiment,
    ExperimentThread,
    ImageResponses,
    Psth,
)
from evolver.experiments.unit_weights import read_unit_weights
from evolver.journal.records import REPLAY_OF
from evolver.recording.strangers import said_as_recording

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from evolver.analysis.trajectories import FloatArray, Ints
    from evolver.experiments.unit_weights import UnitWeights
    from evolver.recording import Recording, ThreadData

_BIN_MS = 1.0
_SHOWINGS_AT_ONCE = 2048
_NO_MEAN_CODE = "a recording holds codes; images of mean codes need the generator"


class NoEvolutionError(RecordingError):
    """A session showed sets of fixed images alone."""


def read_recording(path: Path) -> Experiment:
    """Return a recording as an experiment.

    Raises
    ------
    NoEvolutionError
        No thread evolves.
    RecordingError
        It cannot be read, or its tables contradict each other.
    """
    with recordings.read(path) as opened, said_as_recording(path):
        threads = opened.threads.evolving
        if not threads:
            raise NoEvolutionError(
                f"an experiment must have a thread that evolves; this session showed "
                f"{'sets' if len(opened.threads) > 1 else 'the set'} "
                f"{', '.join(opened.threads.names)} alone. 'evolver decode' and 'evolver rf' "
                "read those"
            )
        units = len(opened.units)
        fitnesses = [read_unit_weights(thread, units=units) for thread in threads]
        weights = np.zeros((len(threads), units))
        for row, fitness in zip(weights, fitnesses, strict=True):
            row[list(fitness.units)] = fitness.weights
        watched = np.flatnonzero(weights.any(axis=0))
        area = _joined(str(opened.units[u]["area"]) for u in watched)
        return Experiment(
            # No animal answered a replay: it is in no population of animals.
            # Many sessions have the name that the session file gave all of them.
            id=f"{opened.name} {opened.created[:19].replace('T', ' ')}",
            animal="",
            area=f"{REPLAY_OF if opened.is_replay else ''}{area}",
            unit=_joined(str(opened.units[u]["label"]) for u in watched),
            date=opened.created[:10],
            source=str(path),
            reader="recording",
            session_id=opened.session_id,
            threads=tuple(
                _thread(opened, k, fitness, weights[k]) for k, fitness in enumerate(fitnesses)
            ),
        )


def _joined(texts: Any) -> str:  # noqa: ANN401  any iterable of texts
    """Return different texts in one, three at most."""
    found = list(dict.fromkeys(text for text in texts if text))
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return ", ".join(found[:3]) + more


def _thread(
    opened: Recording, k: int, fitness: UnitWeights, weights: FloatArray
) -> ExperimentThread:
    thread, table = opened.threads[k], opened.presentations
    score = np.asarray(thread.score, dtype=np.float64)
    generation = np.asarray(thread.generation, dtype=np.int64)
    # Of a session that was stopped inside a generation, that one has no score.
    scored = np.isfinite(score)
    blocks = int(generation[scored].max(initial=-1)) + 1
    if not blocks:
        raise RecordingError(
            f"thread {thread.name!r} must have a score; the session was stopped before it had"
        )
    kept = generation < blocks
    course = trajectory(score[kept], generation[kept], groups=blocks)
    mine = (table["thread"] == k) & (table["status"] == "ok")
    shown_in = np.where(mine & (table["generation"] < blocks), table["generation"], -1)
    absent = {MEAN_CODE_IMAGE: _NO_MEAN_CODE}
    psth, why = _psth(opened, shown_in.astype(np.int64), blocks, weights)
    if psth is None:
        absent["psth"] = why
    pictures, why = _pictures(opened, thread, score[kept], generation[kept])
    if not pictures:
        absent[BEST_IMAGE] = why
    references = _references(opened, k, shown_in.astype(np.int64), blocks)
    if references is None:
        absent["references"] = "the session showed none"
    return ExperimentThread(
        name=thread.name,
        generator=thread.generator,
        score_unit=fitness.unit,
        units=fitness.labels(opened.units),
        course=Course(course.mean, course.sem),
        references=references,
        images=course.n,
        psth=psth,
        single=ImageResponses(score[kept], generation[kept]),
        pictures=pictures,
        absent=absent,
    )


def _references(opened: Recording, k: int, shown_in: Ints, blocks: int) -> Course | None:
    """Return the references' mean in each generation.

    References may be shown in blocks of their own: those count for the generation before.
    """
    scores = opened.reference_scores
    if not scores.size or not np.isfinite(scores[:, k]).any():
        return None
    begun = np.full(blocks, np.iinfo(np.int64).max)
    inside = shown_in >= 0
    np.minimum.at(begun, shown_in[inside], opened.presentations["block"][inside])
    numbers = np.asarray(opened.blocks["block"], dtype=np.int64)[: len(scores)]
    of = np.maximum(
        np.searchsorted(np.minimum.accumulate(begun[::-1])[::-1], numbers, "right"), 1
    )
    group = np.repeat(of - 1, scores.shape[2])
    course = trajectory(scores[: len(numbers), k].ravel(), group, groups=blocks)
    return Course(course.mean, course.sem)


def _psth(
    opened: Recording, shown_in: Ints, blocks: int, weights: FloatArray
) -> tuple[Psth | None, str]:
    table = opened.presentations
    valid = opened.psth_valid
    has_spikes = bool((table["form"] == "spikes").any())
    form = "spikes" if has_spikes else "counts"
    rows = np.flatnonzero((shown_in >= 0) & valid & (table["form"] == form))
    if not weights.any():
        return None, "the thread's fitness weighs no unit"
    if not len(rows):
        return None, "the rig sent rates, no spikes and no counts"
    edges = _edges(opened, has_spikes=has_spikes)
    if not 2 <= len(edges) <= MOST_BINS:
        return None, f"responses lie in {len(edges) - 1} bins"
    showings = _Showings(opened, edges, weights, has_spikes=has_spikes)
    sums, squares = np.zeros((2, blocks, len(edges) - 1))
    n = np.bincount(shown_in[rows], minlength=blocks).astype(np.float64)
    # Twice over the showings, as sums of squares lose everything where the mean is large.
    for add in (sums, squares):
        with np.errstate(invalid="ignore"):  # 0 / 0 where a generation has no response
            mean = sums / n[:, None]
        for part in np.array_split(rows, -(-len(rows) // _SHOWINGS_AT_ONCE)):
            rates = showings.rates(part)
            values = rates if add is sums else (rates - mean[shown_in[part]]) ** 2
            np.add.at(add, shown_in[part], values)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(n[:, None] > 0, sums / n[:, None], np.nan)
        variance = squares / (n - 1)[:, None] / n[:, None]
        sem = np.where(n[:, None] > 1, np.sqrt(np.maximum(variance, 0)), np.nan)
    return Psth(mean, sem, edges), ""


def _edges(opened: Recording, *, has_spikes: bool) -> FloatArray:
    """Return bins of a millisecond inside the recorded window, or those of the rig's counts."""
    start, end = opened.window_ms
    if has_spikes and np.ceil(start) < np.floor(end):
        return np.arange(np.ceil(start), np.floor(end) + 1, _BIN_MS, dtype=np.float64)
    return np.asarray(opened.psth_edges_ms, dtype=np.float64)


class _Showings:
    """Weighted rates of presentations, in bins of time."""

    def __init__(
        self, opened: Recording, edges: FloatArray, weights: FloatArray, *, has_spikes: bool
    ) -> None:
        self._opened, self._edges, self._weights = opened, edges, weights
        self._spikes = opened.all_spikes() if has_spikes else None

    def rates(self, rows: NDArray[np.intp]) -> FloatArray:
        """Return those of some rows, ascending, (k, t), spikes/s."""
        begin, end = int(rows[0]), int(rows[-1]) + 1
        if self._spikes is None:
            used = np.flatnonzero(self._weights)
            counts: NDArray[Any] = cast("Any", self._opened.psth)[begin:end, used]
            weighed = np.einsum(
                "put,u->pt", counts[rows - begin].astype(np.float64), self._weights[used]
            )
            return np.asarray(weighed / (np.diff(self._edges) / 1000), dtype=np.float64)
        offsets, unit, time_ms = self._spikes
        first, last = int(offsets[begin]), int(offsets[end])
        group = np.full(end - begin, -1, dtype=np.int64)
        group[rows - begin] = np.arange(len(rows))
        return spike_psth(
            offsets[begin : end + 1] - first,
            unit[first:last],
            time_ms[first:last],
            edges_ms=self._edges,
            group=group,
            groups=len(rows),
            weights=self._weights,
        )


def _pictures(
    opened: Recording, thread: ThreadData, score: FloatArray, generation: Ints
) -> tuple[dict[str, NDArray[np.uint8]], str]:
    """Return the best image of the highest generation, or why there is none."""
    found = prototypes(score, generation, np.zeros((len(score), 1)))
    if found.best_row < 0:
        return {}, found.reason
    row = int(np.flatnonzero(thread.generation < generation.max() + 1)[found.best_row])
    try:
        return {BEST_IMAGE: opened.images[int(thread.image_id[row])]}, ""
    except RecordingError as error:
        return {}, str(error)
