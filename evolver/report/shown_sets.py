"""Sets of fixed images in a report: which images drove the units, and which did not.

Knows the recording's reader; the figure is drawn by `pictures`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evolver.analysis.trajectories import trajectory
from evolver.report import words
from evolver.report.evolution import ScoredImage, fitness_of, picture_of, unit_label

if TYPE_CHECKING:
    from evolver.recording import Recording, ThreadData

SHOWN = 6
"""Images drawn at each end of a set."""


@dataclass(frozen=True, slots=True, eq=False)
class ShownSet:
    """One set, as far as it was shown.

    Attributes
    ----------
    name : of the set
    mean, sem : of the images' mean scores, in `unit`
    watched : the units that are averaged, in words
    strongest, weakest : images by their mean score over places, sizes and repeats; `sem` over
        showings, NaN of one
    """

    name: str
    mean: float
    sem: float
    unit: str
    watched: str
    strongest: tuple[ScoredImage, ...]
    weakest: tuple[ScoredImage, ...]


def read_sets(recording: Recording) -> tuple[ShownSet, ...]:
    """Return every set of a recording.

    Raises
    ------
    RecordingError
        Where the file's tables contradict each other.
    """
    return tuple(_shown(recording, thread) for thread in recording.threads.sets)


def _shown(recording: Recording, thread: ThreadData) -> ShownSet:
    info, fitness = thread.set_info, fitness_of(thread)
    labels = () if info is None else info.labels
    scores = np.asarray(thread.score, dtype=np.float64)
    ids, of = np.unique(thread.image_id, return_inverse=True)
    by_image = trajectory(scores, of.astype(np.int64), groups=len(ids))
    filled = by_image.filled
    order = filled[np.argsort(-by_image.mean[filled], kind="stable")]
    means = by_image.mean[filled]

    def picture(at: int) -> ScoredImage:
        rows = np.flatnonzero(of == at)
        number = int(thread.codes[rows[0], 0]) if labels else -1
        label = labels[number] if 0 <= number < len(labels) else ""
        return picture_of(
            recording,
            int(ids[at]),
            label=label,
            score=float(by_image.mean[at]),
            sem=float(by_image.sem[at]),
        )

    half = min(SHOWN, (len(order) + 1) // 2)
    ends = order[:half], order[half:][-half:][::-1]
    return ShownSet(
        name=thread.name,
        mean=float(means.mean()) if len(means) else float("nan"),
        sem=float(means.std(ddof=1) / np.sqrt(len(means))) if len(means) > 1 else float("nan"),
        unit=fitness.unit,
        watched=unit_label(fitness, recording.units),
        strongest=tuple(picture(int(at)) for at in ends[0]),
        weakest=tuple(picture(int(at)) for at in ends[1]),
    )


def caption(sets: tuple[ShownSet, ...]) -> str:
    """Return the words below the figure of the sets' images."""
    names = words.joined([s.name for s in sets])
    watched = words.joined(sorted({s.watched for s in sets}))
    units = words.joined(sorted({s.unit for s in sets}))
    return (
        f"Images of {names}, from which nothing learnt: above, those with the largest mean "
        f"response of {watched} over all showings of the image, below, those with the "
        f"smallest, in {units} (± sem over showings, where an image was shown repeatedly). "
        "The largest of many noisy means are flattered by the noise."
    )
