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
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
from msgspec import Struct

from evolver.analysis.time_bins import bin_edges
from evolver.analysis.trajectories import trajectory
from evolver.errors import DataError
from evolver.experiments.experiment import (
    BEST_IMAGE,
    MEAN_CODE_IMAGE,
    MOST_BINS,
    MOST_BLOCKS,
    MOST_IMAGES,
    MOST_THREADS,
    RATE,
    Course,
    Experiment,
    ExperimentThread,
    ImageResponses,
    Psth,
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
EDGES = "psth_edges_ms"
_PARTS = (
    "response", "block", "mean", "sem", "images", "references", "references_sem", "psth",
    "psth_sem",
)  # fmt: skip
_MOST_TEXT = 1 << 20


class _Thread(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    generator: str
    score_unit: str = RATE
    best: str = ""
    mean_code: str = ""


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
        said = msgspec.json.decode(read_regular(path, at_most=_MOST_TEXT), type=_Description)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise DataError(f"{path} must describe an experiment: {error}") from error
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
    return said


def _threads(
    said: _Description, archive: NumpyArchive, folder: Path
) -> tuple[ExperimentThread, ...]:
    known = {f"{k}/{part}" for k in range(len(said.threads)) for part in _PARTS} | {EDGES}
    unknown = sorted(set(archive.names) - known)
    if unknown:
        raise DataError(
            f"{folder / ARRAYS} must hold arrays of the layout alone; unknown: "
            f"{', '.join(unknown[:5])}. Of thread 0 they are called "
            f"{', '.join(f'0/{part}' for part in _PARTS)}"
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
        if np.isinf(values).any():
            raise DataError(f"{self.where(part)} must not be infinite")
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
        ("references", "psth", "images", "single", "best", "mean_code"),
        "the folder does not hold it",
    )
    single, counts = _single(arrays), arrays.whole("images")
    mean, sem = arrays.named("mean"), arrays.named("sem")
    if single is not None:
        groups = int(single.block.max()) + 1
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
        pictures=pictures,
        absent=absent,
    )


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
