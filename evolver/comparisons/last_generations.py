"""Low-level statistics of what evolutions ended with, of each generator.

As published: the images of every session's last generation (91 units x 40 images), their
luminance, contrast and spectrum; means over images, tests over sessions, each of which has the
mean of its images. Knows recordings and arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from evolver import recording
from evolver.analysis.image_statistics import image_statistics, join_statistics
from evolver.analysis.rank_tests import RankTest, rank_sum, signed_rank
from evolver.comparisons.sources import squares
from evolver.errors import ConfigError, DataError
from evolver.session_folder import RECORDING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from evolver.analysis.image_statistics import ImageStatistics
    from evolver.types import Images, Scores

MEASURES = ("luminance", "contrast", "slope")
"""Those that are a number an image, and are tested."""
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
    """

    generator: str
    sessions: tuple[str, ...]
    session: NDArray[np.intp]
    statistics: ImageStatistics
    examples: Images

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
    paths: Sequence[Path],
    *,
    size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[LastGenerations]:
    """Measure the last generation of every thread, by generator.

    Parameters
    ----------
    paths : recordings; of two of one session the first
    size : pixels a side that all images are brought to, so that cycles per image are the same;
        None: those of the smallest
    progress : told how many recordings are read, of how many

    Raises
    ------
    RecordingError
        A file is no recording, or is damaged.
    DataError
        There is no thread, or none has a generation with scores.
    """
    paths, smallest = _distinct(paths)
    if not smallest:
        raise DataError("there must be a thread that draws images; got none")
    side = size or smallest
    if side > smallest:
        raise ConfigError(
            f"images must be brought to {smallest} pixels a side at most, the smallest's: "
            f"enlarged, their spectrum would be that of the enlarging; got {side}"
        )
    measured: dict[str, list[_Measured]] = {}
    for k, path in enumerate(paths):
        for generator, one in _measured(path, side):
            measured.setdefault(generator, []).append(one)
        if progress is not None:
            progress(k + 1, len(paths))
    if not measured:
        raise DataError("there must be a thread with a generation that was scored; got none")
    return [_joined(generator, own) for generator, own in measured.items()]


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


def _distinct(paths: Sequence[Path]) -> tuple[list[Path], int]:
    """Return one recording of each session, and the smallest size of a thread's images."""
    of_session: dict[str, Path] = {}
    sizes: list[int] = []
    for path in paths:
        with recording.read(path) as opened:
            of_session.setdefault(opened.session_id or str(path), path)
            sizes += [thread.image_size for thread in opened.threads]
    return list(of_session.values()), min(sizes, default=0)


def _measured(path: Path, side: int) -> Iterator[tuple[str, _Measured]]:
    """Yield every thread that has a last generation, after its generator's name."""
    with recording.read(path) as opened:
        for thread in opened.threads:
            scored = np.isfinite(thread.score)
            if not scored.any():
                continue
            last = thread.generation == thread.generation[scored].max()
            kept = [
                k
                for k in np.flatnonzero(last)
                if not opened.images.is_lost(int(thread.image_id[k]))
            ]
            if not kept:
                continue
            score = thread.score[kept]
            images = squares([opened.images[int(k)] for k in thread.image_id[kept]], side)
            highest = images[int(np.where(np.isfinite(score), score, -np.inf).argmax())]
            yield thread.generator, _Measured(str(path), image_statistics(images), highest)


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
    )
