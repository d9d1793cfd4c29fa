"""A layout that any laboratory can write: a folder with JSON, arrays, and images if it likes.

::

    my-experiment/
        experiment.json
        arrays.npz
        best-0.png          as experiment.json names them

``experiment.json`` says ``"format": "evolver experiment 1"``, ``id``, perhaps ``animal``,
``area``, ``unit``, ``date``, and ``threads``: a list of objects with ``name``, ``generator``,
perhaps ``score_unit`` (spikes/s if not given) and ``best`` and ``mean_code``, PNG files of the
highest block's best image and of its mean code's.

``arrays.npz`` holds, of thread k from 0, either one number an image,

    k/response (n,), k/block (n,) whole numbers from 0

or one a block, and, where they are known,

    k/mean (b,), k/sem (b,), k/images (b,)      how many images each block has
    k/references (b,), k/references_sem (b,)
    k/psth (b, t), k/psth_sem (b, t)            spikes/s

and `psth_edges_ms` (t + 1,), ms after onset; 1-ms bins from onset without it.

Trials along latent axes through a thread's evolved code: in ``experiment.json`` the thread has
``axes``, a list of objects with ``name``, perhaps ``half`` ("class", "noise") and
``eigenvector`` (its number in the generator's metric, from 0), and ``arrays.npz`` has of each

    k/tuning/NAME/step (n,), k/tuning/NAME/response (n,)      a number a trial
    k/tuning/origin (m,)                        responses to the evolved code's own image

Axes without a step of 0 borrow the trials of the last, or, without it, those at 0 of others.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import TYPE_CHECKING, Annotated

import msgspec
import numpy as np
from msgspec import Meta, Struct

from evolver.analysis.axis_tuning import LARGEST
from evolver.analysis.time_bins import bin_edges
from evolver.analysis.trajectories import trajectory
from evolver.errors import DataError
from evolver.experiments.experiment import (
    BEST_IMAGE,
    MEAN_CODE_IMAGE,
    MOST_AXES,
    MOST_BINS,
    MOST_BLOCKS,
    MOST_IMAGES,
    MOST_STEPS,
    MOST_THREADS,
    MOST_TRIALS,
    RATE,
    AxisTrials,
    Course,
    Experiment,
    ExperimentThread,
    ImageResponses,
    Psth,
    TuningTrials,
)
from evolver.numpy_files import opened_archive
from evolver.regular_files import NotAFileError, read_regular
from evolver.setup.images import read_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from evolver.analysis.trajectories import FloatArray
    from evolver.numpy_files import NumpyArchive

DESCRIPTION, ARRAYS = "experiment.json", "arrays.npz"
FORMAT = "evolver experiment 1"
EDGES, ORIGIN = "psth_edges_ms", "tuning/origin"
_PARTS = (
    "response", "block", "mean", "sem", "images", "references", "references_sem", "psth",
    "psth_sem",
)  # fmt: skip
_AXIS_PARTS = ("step", "response")
_AXIS_NAME = re.compile(r"[A-Za-z0-9._-]{1,40}")
_MOST_TEXT = 1 << 20


class _Axis(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    half: str = ""
    eigenvector: Annotated[int, Meta(ge=0)] | None = None


class _Thread(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    generator: str
    score_unit: str = RATE
    best: str = ""
    mean_code: str = ""
    axes: list[_Axis] = []


class _Description(Struct, frozen=True, forbid_unknown_fields=True):
    format: str
    id: str
    threads: list[_Thread]
    animal: str = ""
    area: str = ""
    unit: str = ""
    date: str = ""


def read_plain(folder: Path) -> Experiment:
    """Return the experiment in a folder.

    Raises
    ------
    DataError
        Something is missing, of another shape, or not known. The text says which.
    OSError
        A file cannot be opened.
    """
    said = _description(folder / DESCRIPTION)
    try:
        with opened_archive(folder / ARRAYS) as archive:
            if archive is None:
                raise DataError(f"{folder / ARRAYS} must be an archive, as numpy.savez writes")
            threads = _threads(said, archive, folder)
    except FileNotFoundError as error:
        raise DataError(f"{folder} must hold {ARRAYS} beside {DESCRIPTION}") from error
    return Experiment(
        id=said.id,
        animal=said.animal,
        area=said.area,
        unit=said.unit,
        date=said.date,
        source=str(folder),
        reader="plain layout",
        threads=threads,
    )


def _description(path: Path) -> _Description:
    try:
        text = read_regular(path, at_most=_MOST_TEXT)
        if text.startswith(codecs.BOM_UTF8):
            raise DataError(f"{path} must begin with {{; it begins with a byte order mark")
        said = msgspec.json.decode(text, type=_Description)
        json.loads(text, object_pairs_hook=_once)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise DataError(f"{path} must describe an experiment: {error}") from error
    except _TwiceError as error:
        raise DataError(f"{path} must say each thing once; twice: {error}") from error
    except NotAFileError as error:
        raise DataError(f"{path}: {error}") from error
    if said.format != FORMAT:
        raise DataError(f"{path} must have the format {FORMAT!r}; it has {said.format!r}")
    if not 1 <= len(said.threads) <= MOST_THREADS:
        raise DataError(
            f"{path} must have 1 to {MOST_THREADS} threads; it has {len(said.threads)}"
        )
    if not said.id.strip():
        raise DataError(f"{path} must have an id that is not empty")
    for thread in said.threads:
        names = [axis.name for axis in thread.axes]
        if len(names) > MOST_AXES or len(set(names)) < len(names):
            raise DataError(
                f"{path}: thread {thread.name!r} must have at most {MOST_AXES} axes, each of "
                f"another name; it has {len(names)}"
            )
        for name in names:
            if not _AXIS_NAME.fullmatch(name):
                raise DataError(
                    f"{path}: an axis must be called by 1 to 40 of the letters A to Z, a to z, "
                    f"0 to 9, '.', '_' and '-'; got {name!r}"
                )
    return said


class _TwiceError(Exception):
    """An object of JSON has a name twice, of which a parser takes either."""


def _once(pairs: list[tuple[str, object]]) -> None:
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise _TwiceError(repr(twice))


def _known_arrays(said: _Description) -> set[str]:
    """Return the arrays that a description may have beside it."""
    parts = [
        [
            *_PARTS,
            ORIGIN,
            *(_axis_part(axis, part) for axis in one.axes for part in _AXIS_PARTS),
        ]
        for one in said.threads
    ]
    return {f"{k}/{part}" for k in range(len(parts)) for part in parts[k]} | {EDGES}


def _axis_part(axis: _Axis, part: str) -> str:
    return f"tuning/{axis.name}/{part}"


def _threads(
    said: _Description, archive: NumpyArchive, folder: Path
) -> tuple[ExperimentThread, ...]:
    unknown = sorted(set(archive.names) - _known_arrays(said))
    if unknown:
        raise DataError(
            f"{folder / ARRAYS} must hold arrays of the layout alone; unknown: "
            f"{', '.join(unknown[:5])}. Of thread 0 they are called "
            f"{', '.join(f'0/{part}' for part in _PARTS)}; of an axis that {DESCRIPTION} names "
            "0/tuning/NAME/step and 0/tuning/NAME/response"
        )
    edges = None
    if EDGES in archive.names:
        edges = archive.read(EDGES, fits=lambda s: len(s) == 1 and 2 <= s[0] <= MOST_BINS)
    return tuple(
        _thread(_Arrays(archive, k, folder), thread, edges)
        for k, thread in enumerate(said.threads)
    )


class _Arrays:
    """The arrays of one thread."""

    def __init__(self, archive: NumpyArchive, k: int, folder: Path) -> None:
        self._archive, self._k, self.folder = archive, k, folder

    def named(self, part: str, *, most: int = MOST_BLOCKS, axes: int = 1) -> FloatArray | None:
        """Return a part, float64; None where the archive lacks it."""
        name = f"{self._k}/{part}"
        if name not in self._archive.names:
            return None

        def fits(shape: tuple[int, ...]) -> bool:
            return len(shape) == axes and 0 < shape[0] <= most and max(shape) <= most

        values = self._archive.read(name, fits=fits).astype(np.float64)
        if (np.abs(values) > LARGEST).any():
            raise DataError(f"{self.where(part)} must not have numbers beyond {LARGEST:g}")
        return values

    def whole(self, part: str, *, most: int = MOST_BLOCKS) -> NDArray[np.int64] | None:
        """Return a part that must be whole numbers from 0."""
        values = self.named(part, most=most)
        if values is None:
            return None
        if not ((values >= 0) & (values == np.floor(values)) & (values <= MOST_IMAGES)).all():
            raise DataError(f"{self.where(part)} must be whole numbers from 0")
        return values.astype(np.int64)

    def where(self, part: str) -> str:
        """Return what a part is called in errors."""
        return f"{self.folder / ARRAYS}:{self._k}/{part}"


def _thread(arrays: _Arrays, said: _Thread, edges: FloatArray | None) -> ExperimentThread:
    absent: dict[str, str] = dict.fromkeys(
        ("references", "psth", "images", "single", "tuning", "best", "mean_code"),
        "the folder does not hold it",
    )
    single, counts = _single(arrays), arrays.whole("images")
    mean, sem = arrays.named("mean"), arrays.named("sem")
    if single is not None:
        groups = int(single.block.max()) + 1
        if (begins := int(single.block.min())) > 0:
            raise DataError(f"{arrays.where('block')} must begin at 0; it begins at {begins}")
        if groups > MOST_BLOCKS:
            raise DataError(f"{arrays.where('block')} must be below {MOST_BLOCKS}")
        course = trajectory(single.response, single.block, groups=groups)
        if mean is not None or sem is not None or counts is not None:
            raise DataError(
                f"{arrays.where('response')} says what mean, sem and images are; leave those "
                "out, or it"
            )
        mean, sem, counts = course.mean, course.sem, course.n
    if mean is None:
        raise DataError(
            f"{arrays.where('mean')} must be there, or response and block of every image"
        )
    sem = np.full(len(mean), np.nan) if sem is None else sem
    _check_sems(arrays, "sem", sem)
    pictures: dict[str, NDArray[np.uint8]] = {}
    for part, name in ((BEST_IMAGE, said.best), (MEAN_CODE_IMAGE, said.mean_code)):
        if name:
            pictures[part] = read_image(_beside(arrays.folder, name))
    return ExperimentThread(
        name=said.name,
        generator=said.generator,
        score_unit=said.score_unit,
        course=Course(mean, sem),
        references=_references(arrays),
        images=counts,
        psth=_psth(arrays, edges),
        single=single,
        tuning=_tuning(arrays, said.axes),
        pictures=pictures,
        absent=absent,
    )


def _tuning(arrays: _Arrays, axes: list[_Axis]) -> TuningTrials | None:
    origin = arrays.named(ORIGIN, most=MOST_TRIALS)
    if not axes:
        if origin is not None:
            raise DataError(
                f"{arrays.where(ORIGIN)} is of no use without axes: name them in {DESCRIPTION}"
            )
        return None
    trials: list[AxisTrials] = []
    for axis in axes:
        step, response = (
            arrays.named(_axis_part(axis, part), most=MOST_TRIALS) for part in _AXIS_PARTS
        )
        if step is None or response is None:
            lacks = _AXIS_PARTS[step is not None]
            raise DataError(
                f"{arrays.where(_axis_part(axis, lacks))} must be there: {DESCRIPTION} names "
                f"the axis {axis.name!r}"
            )
        if (different := len(np.unique(step))) > MOST_STEPS:
            raise DataError(
                f"{arrays.where(_axis_part(axis, 'step'))} must have at most {MOST_STEPS} "
                f"different steps; it has {different}"
            )
        eigenvector = -1 if axis.eigenvector is None else axis.eigenvector
        try:
            trials.append(AxisTrials(axis.name, axis.half, eigenvector, step, response))
        except DataError as error:
            raise DataError(f"{arrays.folder / ARRAYS}: {error}") from error
    return TuningTrials(tuple(trials), origin)


def _single(arrays: _Arrays) -> ImageResponses | None:
    response = arrays.named("response", most=MOST_IMAGES)
    block = arrays.whole("block", most=MOST_IMAGES)
    if (response is None) != (block is None):
        lacks = "response" if response is None else "block"
        raise DataError(f"{arrays.where(lacks)} must be there: of every image both")
    return None if response is None or block is None else ImageResponses(response, block)


def _references(arrays: _Arrays) -> Course | None:
    mean, sem = arrays.named("references"), arrays.named("references_sem")
    if mean is None:
        return None
    sem = np.full(len(mean), np.nan) if sem is None else sem
    _check_sems(arrays, "references_sem", sem)
    return Course(mean, sem)


def _psth(arrays: _Arrays, edges: FloatArray | None) -> Psth | None:
    mean, sem = (
        arrays.named(part, most=max(MOST_BINS, MOST_BLOCKS), axes=2)
        for part in ("psth", "psth_sem")
    )
    if mean is None:
        return None
    sem = np.full(mean.shape, np.nan) if sem is None else sem
    _check_sems(arrays, "psth_sem", sem)
    try:
        return Psth(mean, sem, bin_edges(mean.shape[1]) if edges is None else edges)
    except DataError as error:
        raise DataError(f"{arrays.where('psth')}: {error}") from error


def _check_sems(arrays: _Arrays, part: str, sem: FloatArray) -> None:
    if (sem < 0).any():
        raise DataError(f"{arrays.where(part)} must not be negative: it is a standard error")


def _beside(folder: Path, name: str) -> Path:
    """Return the path of an image's file, which must lie in the folder."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{folder / DESCRIPTION} must name images in its folder; got {name!r}")
    return path
