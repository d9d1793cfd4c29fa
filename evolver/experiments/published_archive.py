"""The archive in which published experiments are handed out: block means and PSTHs.

``meta`` is a JSON list, one object an experiment. ``ID/trajectory`` is (blocks, 8): of the
first thread mean, mean - sem, mean + sem, the same of the second, and the mean of the
references shown with each; spikes/s from 50 to 200 ms. ``ID/psth`` is (2, blocks, 2, t): of
each thread mean and sem, spikes/s, in 1-ms bins from onset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
from msgspec import Struct

from evolver.analysis.time_bins import bin_edges
from evolver.errors import DataError
from evolver.experiments.experiment import (
    MOST_BINS,
    MOST_BLOCKS,
    RATE,
    Course,
    Experiment,
    ExperimentThread,
    Psth,
)
from evolver.numpy_files import opened_archive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from evolver.analysis.trajectories import FloatArray
    from evolver.numpy_files import NumpyArchive

META = "meta"
_MOST_TEXT = 16 << 20
_COLUMNS = 8
_GENERATORS = {"fc6": "DeePSim", "BigGAN": "BigGAN", "BigGAN_class": "BigGAN"}
_ABSENT = {
    "images": "the archive has block means, not images",
    "single": "the archive has block means, not images",
    "best": "the archive has no images",
    "mean_code": "the archive has no images",
}


class _Entry(Struct, frozen=True):
    """What is needed of an experiment's entry; files say more."""

    id: str
    thread0_space: str
    thread1_space: str
    animal: str = ""
    unit: str = ""
    area: str = ""
    date: str = ""


def archive_ids(path: Path) -> list[str]:
    """Return the names of an archive's experiments.

    Raises
    ------
    DataError
        It is no such archive.
    """
    with opened_archive(path) as archive:
        return [entry.id for entry in _entries(archive, path)]


def read_archive(path: Path) -> Iterator[Experiment | tuple[str, DataError]]:
    """Yield every experiment, or its name and why it cannot be read.

    Raises
    ------
    DataError
        The file is no such archive.
    OSError
        It cannot be opened.
    """
    with opened_archive(path) as archive:
        for entry in _entries(archive, path):
            if archive is None:
                return
            try:
                yield _experiment(archive, entry, path)
            except DataError as error:
                yield entry.id, error


def _entries(archive: NumpyArchive | None, path: Path) -> list[_Entry]:
    if archive is None or META not in archive.names:
        raise DataError(
            f"{path} must be an archive of experiments, with a list of them called {META!r}; "
            "for another laboratory's arrays see the plain layout in the guide"
        )
    text = archive.read(META, fits=lambda shape: shape == (), text=True)
    if text.nbytes > _MOST_TEXT:
        raise DataError(f"{path}:{META} must have at most {_MOST_TEXT >> 20} MiB")
    try:
        entries = msgspec.json.decode(str(text[()]), type=list[_Entry])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise DataError(
            f"{path}:{META} must be a JSON list with id, thread0_space and thread1_space of "
            f"each experiment; it is not: {error}"
        ) from error
    names = [entry.id for entry in entries]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path}:{META} must name each experiment once; twice: {twice[:3]}")
    return entries


def _experiment(archive: NumpyArchive, entry: _Entry, path: Path) -> Experiment:
    names = (f"{entry.id}/trajectory", f"{entry.id}/psth")
    missing = [name for name in names if name not in archive.names]
    if missing:
        raise DataError(f"{path} must hold {' and '.join(missing)}, which {META} speaks of")
    columns = archive.read(
        names[0],
        fits=lambda s: len(s) == 2 and 0 < s[0] <= MOST_BLOCKS and s[1] == _COLUMNS,
    ).astype(np.float64)
    blocks = len(columns)
    rates = archive.read(
        names[1],
        fits=lambda s: len(s) == 4 and s[:3] == (2, blocks, 2) and 0 < s[3] <= MOST_BINS,
    ).astype(np.float64)
    if not (np.isfinite(columns).all() and np.isfinite(rates).all()):
        raise DataError(f"{path}:{entry.id} must be finite; it has values that are not")
    spaces = (entry.thread0_space, entry.thread1_space)
    return Experiment(
        id=entry.id,
        animal=entry.animal,
        area=entry.area,
        unit=entry.unit,
        date=entry.date,
        source=str(path),
        reader="published archive",
        threads=tuple(_thread(k, spaces[k], columns, rates[k]) for k in (0, 1)),
    )


def _thread(k: int, space: str, columns: FloatArray, rates: FloatArray) -> ExperimentThread:
    mean, low, high = columns[:, 3 * k : 3 * k + 3].T
    if (high < low).any():
        raise DataError("mean + sem must not be below mean - sem; it is in a block")
    references = columns[:, 6 + k]
    return ExperimentThread(
        name=space,
        generator=_GENERATORS.get(space, space),
        score_unit=RATE,
        course=Course(mean, (high - low) / 2),
        references=Course(references, np.full_like(references, np.nan)),
        psth=Psth(rates[:, 0], rates[:, 1], bin_edges(rates.shape[2])),
        absent=_ABSENT,
    )
