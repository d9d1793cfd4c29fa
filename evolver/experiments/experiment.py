"""One experiment: an evolution's courses, PSTHs and images, and where they came from.

Knows arrays and names. Whatever a source lacks is None, and `ExperimentThread.absent` says why.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from evolver.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from evolver.analysis.trajectories import FloatArray, Ints

RATE = "spikes/s"
LATENT_UNITS, DEGREES = "latent units", "degrees"
"""What steps along an axis are counted in."""
BEST_IMAGE, MEAN_CODE_IMAGE = "best", "mean_code"
"""Images of a thread's highest block: of the largest response, and of its mean code."""
MOST_BLOCKS, MOST_BINS, MOST_IMAGES, MOST_THREADS = 100_000, 100_000, 10_000_000, 16
MOST_AXES, MOST_STEPS, MOST_TRIALS = 200, 500, 100_000
"""Of a file of a stranger; axes of a thread, different steps and trials of an axis."""


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """One number a block.

    Attributes
    ----------
    mean : (b,) in the thread's `score_unit`; NaN where nothing was measured
    sem : (b,) standard errors of the mean; NaN where unknown
    """

    mean: FloatArray
    sem: FloatArray

    def __post_init__(self) -> None:
        if self.mean.ndim != 1 or self.sem.shape != self.mean.shape:
            raise DataError(
                f"mean and sem must be vectors of one length, a number a block; got "
                f"{self.mean.shape} and {self.sem.shape}"
            )

    def __len__(self) -> int:
        return len(self.mean)


@dataclass(frozen=True, slots=True, eq=False)
class Psth:
    """Peri-stimulus time histograms of every block.

    Attributes
    ----------
    mean, sem : (b, t) spikes/s; NaN where nothing was measured, or the error is unknown
    edges_ms : (t + 1,) of the bins, ms after onset, ascending
    """

    mean: FloatArray
    sem: FloatArray
    edges_ms: FloatArray

    def __post_init__(self) -> None:
        bins = len(self.edges_ms) - 1
        if self.mean.ndim != 2 or self.mean.shape != self.sem.shape:
            raise DataError(
                f"a PSTH must have mean and sem of shape (blocks, bins); got "
                f"{self.mean.shape} and {self.sem.shape}"
            )
        if self.mean.shape[1] != bins or bins < 1 or not (np.diff(self.edges_ms) > 0).all():
            raise DataError(
                f"a PSTH of {self.mean.shape[1]} bins needs {self.mean.shape[1] + 1} ascending "
                f"edges; got {len(self.edges_ms)}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class ImageResponses:
    """What each image of a thread gave.

    Attributes
    ----------
    response : (n,) in the thread's `score_unit`; NaN where there is none
    block : (n,) int64, from 0
    """

    response: FloatArray
    block: Ints

    def __post_init__(self) -> None:
        if self.response.ndim != 1 or self.block.shape != self.response.shape:
            raise DataError(
                f"responses and block must be vectors of one length, a number an image; got "
                f"{self.response.shape} and {self.block.shape}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class AxisTrials:
    """Responses to images at spaced steps along one latent axis, from a thread's evolved code.

    Attributes
    ----------
    name : what the source calls the axis
    half : the part of the code that it lies in, as "class" or "noise"; empty where in all of it
    eigenvector : int, its number in the generator's metric, from 0; -1 where it has none
    step : (n,) of each trial's image, in `step_unit`; finite
    response : (n,) of each trial, in `response_unit`; NaN where there is none
    origin : (m,) responses to the evolved code's own image, shown with this axis; None where
        those of the thread are borrowed
    family : with axes of which family it may be counted: "circles", "components"; empty where
        steps are straight, along eigenvectors or whatever the source has
    step_unit : `LATENT_UNITS` or `DEGREES`
    response_unit : empty: the thread's `score_unit`
    """

    name: str
    half: str
    eigenvector: int
    step: FloatArray
    response: FloatArray
    origin: FloatArray | None = None
    family: str = ""
    step_unit: str = LATENT_UNITS
    response_unit: str = ""

    def __post_init__(self) -> None:
        if self.step.ndim != 1 or self.response.shape != self.step.shape:
            raise DataError(
                f"step and response of axis {self.name!r} must be vectors of one length, a "
                f"number a trial; got {self.step.shape} and {self.response.shape}"
            )
        if not np.isfinite(self.step).all():
            raise DataError(f"every step of axis {self.name!r} must be finite")


@dataclass(frozen=True, slots=True, eq=False)
class TuningTrials:
    """Trials along latent axes through the code that a thread evolved.

    Attributes
    ----------
    axes : in the source's order, each of another name
    shown_at_origin : (m,) responses to the evolved code's own image, where the source has them
        apart from the axes
    sources : files that the trials are in, where they are not in the evolution's
    """

    axes: tuple[AxisTrials, ...]
    shown_at_origin: FloatArray | None = None
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [axis.name for axis in self.axes]
        if len(set(names)) < len(names):
            raise DataError(f"axes must have different names; got {', '.join(names)}")

    @property
    def origin(self) -> FloatArray:
        """Responses that axes without a step of 0 borrow, (m,).

        Those to the evolved code's own image; where the source has none apart, those that the
        axes have at 0, whose image it is.
        """
        if self.shown_at_origin is not None:
            return self.shown_at_origin
        return np.concatenate([
            np.zeros(0),
            *(axis.response[axis.step == 0] for axis in self.axes),
        ])


@dataclass(frozen=True, slots=True, eq=False)
class ExperimentThread:
    """One evolution of an experiment; b is its number of blocks.

    Attributes
    ----------
    name : what the source calls it
    generator : whose codes evolved
    score_unit : what `course` is counted in; PSTHs are in spikes/s
    units : labels of the units that its score weighs, sorted; empty where the source has none
    course : of its own images
    references : Course of the reference images beside them
    images : (b,) int64, how many images with a response each block has
    psth : of its own images
    single : responses of single images, with their blocks
    tuning : trials along latent axes through its evolved code
    pictures : (h, w, 3) uint8 images of the highest block, by `BEST_IMAGE`, `MEAN_CODE_IMAGE`
    absent : why there is no ``references``, ``images``, ``psth``, ``single``, ``tuning``,
        ``best`` or ``mean_code``, by that name
    """

    name: str
    generator: str
    score_unit: str
    course: Course
    units: tuple[str, ...] = ()
    references: Course | None = None
    images: Ints | None = None
    psth: Psth | None = None
    single: ImageResponses | None = None
    tuning: TuningTrials | None = None
    pictures: Mapping[str, NDArray[np.uint8]] = field(
        default_factory=dict[str, "NDArray[np.uint8]"]
    )
    absent: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        blocks = len(self.course)
        lengths = {
            "references": None if self.references is None else len(self.references),
            "images": None if self.images is None else len(self.images),
            "psth": None if self.psth is None else len(self.psth.mean),
        }
        for name, length in lengths.items():
            if length is not None and length != blocks:
                raise DataError(
                    f"{name} of thread {self.name!r} must have its {blocks} blocks; it has "
                    f"{length}"
                )
        if self.single is not None and self.single.block.size:
            last = int(self.single.block.max())
            if last >= blocks or int(self.single.block.min()) < 0:
                raise DataError(
                    f"blocks of single images of thread {self.name!r} must be 0 to "
                    f"{blocks - 1}; the largest is {last}"
                )

    @property
    def is_rate(self) -> bool:
        """Whether the course is in spikes/s, as PSTHs are."""
        return self.score_unit == RATE

    def why_not(self, part: str) -> str:
        """Return why a part is absent."""
        return self.absent.get(part, f"there is no {part}")


@dataclass(frozen=True, slots=True, eq=False)
class Experiment:
    """One session.

    Attributes
    ----------
    id : str, its name in tables
    animal, area, unit, date : str; empty where unknown
    source : str, the file or folder it was read from
    reader : str, what kind of source that is, in words
    threads : its evolutions, in the source's order; all have the same number of blocks or not
    session_id : str, that all copies of a recording share; empty where a source has none
    """

    id: str
    animal: str
    area: str
    unit: str
    date: str
    source: str
    reader: str
    threads: tuple[ExperimentThread, ...]
    session_id: str = ""

    @property
    def blocks(self) -> int:
        """Of its longest thread."""
        return max((len(thread.course) for thread in self.threads), default=0)
