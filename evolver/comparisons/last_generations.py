"""Low-level statistics of what evolutions ended with, of each generator.

As published: the images of every session's last generation (91 units x 40 images), their
luminance, contrast and spectrum; means over images, tests over sessions, each of which has the
mean of its images. Knows recordings and arrays.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import nan
from typing import TYPE_CHECKING, Any

import numpy as np

from evolver import recording
from evolver.analysis.image_statistics import (
    ImageStatistics,
    image_statistics,
    join_statistics,
)
from evolver.analysis.rank_tests import RankTest, rank_sum, signed_rank
from evolver.comparisons.sources import squares
from evolver.errors import ConfigError, DataError
from evolver.session_folder import RECORDING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from evolver.recording.thread_data import ThreadData
    from evolver.types import Images, Scores

MEASURES = ("luminance", "contrast", "slope")
"""Those that are a number an image, and are tested."""
_STATISTICS = tuple(field.name for field in fields(ImageStatistics))
_OF_IMAGES = (*(n for n in _STATISTICS if n != "frequencies"), "thread", "generation", "image")
_EXAMPLES = 6


@dataclass(frozen=True, slots=True, eq=False)
class LastGenerations:
    """The images that evolutions through one generator ended with.

    Attributes
    ----------
    generator : str
    sessions : (s,) paths of the recordings that have such a thread
    session : (n,) which of them each image is of
    statistics : of the n images
    examples : (k, h, h, 3) uint8, of some sessions the image that scored highest
    places : (n, 3) of each image the number of its thread, its generation and its own number,
        as the recording counts them
    """

    generator: str
    sessions: tuple[str, ...]
    session: NDArray[np.intp]
    statistics: ImageStatistics
    examples: Images
    places: NDArray[np.int64]

    def means(self, measure: str) -> dict[str, float]:
        """Return the mean over each session's images of one of `MEASURES`.

        Images without a value, as the slope of one of a single colour, are left out; NaN for
        a session that has no other.
        """
        values: Scores = getattr(self.statistics, measure)
        found: dict[str, float] = {}
        for k, name in enumerate(self.sessions):
            own = values[(self.session == k) & np.isfinite(values)]
            found[name] = float(own.mean()) if len(own) else float("nan")
        return found


@dataclass(frozen=True, slots=True)
class MeasureTest:
    """A measure of two generators.

    Attributes
    ----------
    measure : one of `MEASURES`
    paired : whether by sessions that have both; else of sessions apart
    test : whether the first is above
    """

    measure: str
    paired: bool
    test: RankTest


def find_recordings(places: Sequence[Path]) -> list[Path]:
    """Return recordings, and those in folders at any depth, each once.

    Raises
    ------
    ConfigError
        There is nothing at a place, or no recording in a folder.
    """
    found: dict[Path, None] = {}
    for place in places:
        if place.is_dir():
            inside = sorted(place.rglob(RECORDING))
            if not inside:
                raise ConfigError(
                    f"{place} must hold recordings, files called {RECORDING}; it has none. A "
                    "campaign keeps them with 'campaign run --keep-recordings'"
                )
            found.update(dict.fromkeys(inside))
        elif place.is_file():
            found[place] = None
        else:
            raise ConfigError(f"{place} must be a recording or a folder; there is none")
    return list(found)


def read_last_generations(
    paths: Sequence[Path], *, size: int | None = None
) -> list[LastGenerations]:
    """Measure the last generation of every thread, by generator.

    Parameters
    ----------
    paths : recordings; of two of one session the first
    size : pixels a side that all images are brought to; None: those of the smallest

    Raises
    ------
    RecordingError
        A file is no recording, or is damaged.
    DataError
        There is no thread, or none has a generation with scores.
    ConfigError
        `size` is larger than that.
    """
    sources, side = sessions_in(paths, size=size)
    return join_recordings([(s.path, *measure_recording(s.path, side)) for s in sources])


@dataclass(frozen=True, slots=True)
class SessionRecording:
    """The recording of a session.

    Attributes
    ----------
    path : Path
    identity : what says that a file is this one still: its session, bytes and time
    """

    path: Path
    identity: tuple[str, int, int]


def sessions_in(
    paths: Sequence[Path], *, size: int | None = None
) -> tuple[list[SessionRecording], int]:
    """Return one recording of each session, and what their images are brought to.

    Parameters
    ----------
    paths : recordings; of two of one session the first
    size : pixels a side, so that cycles per image are the same; None: those of the smallest

    Raises
    ------
    RecordingError, DataError, ConfigError
        As `read_last_generations`.
    """
    of_session: dict[str, SessionRecording] = {}
    sizes: list[int] = []
    for path in paths:
        with recording.read(path) as opened:
            session = opened.session_id or str(path)
            sizes += [thread.image_size for thread in opened.threads]
        status = path.stat()
        identity = session, status.st_size, status.st_mtime_ns
        of_session.setdefault(session, SessionRecording(path, identity))
    if not sizes:
        raise DataError("there must be a thread that draws images; got none")
    smallest = min(sizes)
    side = size or smallest
    if side > smallest:
        raise ConfigError(
            f"images must be brought to {smallest} pixels a side at most, the smallest's: "
            f"enlarged, their spectrum would be that of the enlarging; got {side}"
        )
    return list(of_session.values()), side


def measure_recording(path: Path, side: int) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """Measure the last generation of every thread of a recording that has one with scores.

    Parameters
    ----------
    path : of the recording
    side : pixels that images are brought to

    Returns
    -------
    arrays : one row an image: the fields of `ImageStatistics`, ``thread``, ``generation`` and
        ``image`` (its number in the recording); ``best``, (threads, side, side, 3) uint8
    names : the generator of each of these threads
    """
    names: list[str] = []
    best: list[NDArray[np.uint8]] = []
    parts: list[dict[str, NDArray[Any]]] = []
    with recording.read(path) as opened:
        for k, thread in enumerate(opened.threads):
            rows = _last_rows(thread, opened)
            if not len(rows):
                continue
            score = thread.score[rows]
            images = squares([opened.images[int(i)] for i in thread.image_id[rows]], side)
            best.append(images[int(np.where(np.isfinite(score), score, -np.inf).argmax())])
            measured = image_statistics(images)
            parts.append({
                **{name: getattr(measured, name) for name in _STATISTICS},
                "thread": np.full(len(rows), k),
                "generation": thread.generation[rows],
                "image": thread.image_id[rows],
            })
            names.append(thread.generator)
    if not parts:
        return {}, ()
    arrays = {
        name: np.concatenate([part[name] for part in parts])
        for name in parts[0]
        if name != "frequencies"
    }
    frequencies = parts[0]["frequencies"]
    return {**arrays, "frequencies": frequencies, "best": np.stack(best)}, tuple(names)


def join_recordings(
    measured: Iterable[tuple[Path, Mapping[str, NDArray[Any]], tuple[str, ...]]],
) -> list[LastGenerations]:
    """Put what was measured together, by generator.

    Parameters
    ----------
    measured : of each recording its path and what `measure_recording` returns

    Raises
    ------
    DataError
        None has a generation with scores.
    """
    threads: dict[str, list[_Measured]] = {}
    for path, arrays, generators in measured:
        numbers = list(dict.fromkeys(arrays["thread"].tolist())) if generators else []
        for k, (number, generator) in enumerate(zip(numbers, generators, strict=True)):
            rows = arrays["thread"] == number
            own = {name: arrays[name][rows] for name in _OF_IMAGES}
            statistics = ImageStatistics(
                frequencies=arrays["frequencies"],
                **{name: own[name] for name in _STATISTICS if name != "frequencies"},
            )
            places = np.stack([own[name] for name in ("thread", "generation", "image")], axis=1)
            threads.setdefault(generator, []).append(
                _Measured(str(path), statistics, arrays["best"][k], places)
            )
    if not threads:
        raise DataError("there must be a thread with a generation that was scored; got none")
    return [_joined(generator, own) for generator, own in threads.items()]


def compare_measures(first: LastGenerations, second: LastGenerations) -> list[MeasureTest]:
    """Test each measure: by pairs where sessions have both generators, else apart."""
    tests: list[MeasureTest] = []
    for measure in MEASURES:
        a, b = first.means(measure), second.means(measure)
        both = [k for k in a if k in b and np.isfinite(a[k]) and np.isfinite(b[k])]
        if len(both) == 1:
            test = RankTest(nan, nan, nan, 1, "one pair")
        elif both:
            test = signed_rank([a[k] for k in both], [b[k] for k in both])
        else:
            test = rank_sum(*([x for x in m.values() if np.isfinite(x)] for m in (a, b)))
        tests.append(MeasureTest(measure, bool(both), test))
    return tests


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """A thread's last generation."""

    session: str
    statistics: ImageStatistics
    best: NDArray[np.uint8]
    places: NDArray[np.int64]


def _last_rows(thread: ThreadData, opened: recording.Recording) -> NDArray[np.intp]:
    """Return the rows of a thread's last generation that has scores, images that are there."""
    scored = np.isfinite(thread.score)
    if not scored.any():
        return np.empty(0, np.intp)
    last = np.flatnonzero(thread.generation == thread.generation[scored].max())
    there = [not opened.images.is_lost(int(thread.image_id[k])) for k in last]
    return last[np.array(there, bool)]


def _joined(generator: str, threads: Sequence[_Measured]) -> LastGenerations:
    """Put a generator's threads one after another."""
    names = tuple(dict.fromkeys(thread.session for thread in threads))
    session = [
        np.full(len(thread.statistics.luminance), names.index(thread.session))
        for thread in threads
    ]
    picked = np.linspace(0, len(threads) - 1, min(_EXAMPLES, len(threads))).round()
    return LastGenerations(
        generator,
        names,
        np.concatenate(session),
        join_statistics([thread.statistics for thread in threads]),
        np.stack([threads[int(i)].best for i in picked]),
        np.concatenate([thread.places for thread in threads]),
    )
