"""Files and folders to experiments, whatever wrote them; what cannot be read is named.

A folder with `experiment.json` is one experiment; in any other folder, and in those below it,
recordings (.h5), archives (.npz that hold a list called ``meta``) and folders with
`experiment.json` are looked for. A session's folder with a journal that was not folded cannot
be read, and says how it can.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evolver.errors import DataError, EvolverError
from evolver.experiments.plain_layout import ARRAYS, DESCRIPTION, read_plain
from evolver.experiments.published_archive import META, archive_ids, read_archive
from evolver.journal.reader import SEGMENT_PATTERN
from evolver.numpy_files import opened_archive
from evolver.plain_text import one_line
from evolver.regular_files import PARSER_ERRORS, NotAFileError
from evolver.session_folder import JOURNAL, RECORDING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from evolver.experiments.experiment import Experiment
    from evolver.experiments.set_tuning import SetTunings

MOST_SOURCES = 100_000


@dataclass(frozen=True, slots=True)
class Source:
    """Something that experiments are read from.

    Attributes
    ----------
    path : the file or folder
    experiments : int, how many it says it holds; 0 where that cannot be read
    """

    path: Path
    experiments: int


@dataclass(frozen=True, slots=True)
class Unread:
    """Something that could not be read, and why.

    Attributes
    ----------
    where : str, the file or folder, and the experiment in it
    reason : str, in one line
    harmless : bool, whether nothing is wrong with it: it holds no evolution, or sets whose
        evolution is elsewhere
    """

    where: str
    reason: str
    harmless: bool = False


def find_sources(paths: Iterable[str | Path]) -> list[Source]:
    """Return what there is to be read, in the order of `paths`, folders sorted; each once.

    Raises
    ------
    DataError
        A path does not exist, or a folder holds nothing to be read.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        if not path.exists():
            raise DataError(f"{path} must be a file or a folder; there is none of that name")
        inside = [path] if _is_named(path) else list(_inside(path))
        if not inside:
            raise DataError(
                f"{path} must hold recordings (.h5), archives of experiments (.npz) or "
                f"folders with {DESCRIPTION}; it holds none"
            )
        for one in inside:
            found.setdefault(one.resolve(), one)
        if len(found) > MOST_SOURCES:
            raise DataError(f"at most {MOST_SOURCES} files are read at once; there are more")
    return [Source(path, _count(path)) for path in found.values()]


def read_experiments(sources: Iterable[Source | str | Path]) -> Iterator[Experiment | Unread]:
    """Yield every experiment of every source, and what could not be read in its place.

    Recordings of sets about an evolved code are tuning of the thread that evolved it, wherever
    among the sources each of them is. Sets that no thread got come last, as `Unread`.

    Parameters
    ----------
    sources : as `find_sources` returns them, or paths that it would take

    Raises
    ------
    DataError
        A path does not exist, or holds nothing to be read.
    """
    given = list(sources)
    paths = [one for one in given if not isinstance(one, Source)]
    there = [one.path for one in given if isinstance(one, Source)]
    there += [source.path for source in find_sources(paths)]
    tunings = _tunings(there)
    for path in there:
        for found in _read_source(path):
            if isinstance(found, Unread):
                # Of sets about evolved codes it is said below whether a thread got them.
                if not found.harmless or tunings is None or not tunings.has(path):
                    yield found
            elif found.session_id and tunings is not None:
                yield tunings.added_to(found)
            else:
                yield found
    if tunings is None:
        return
    for where, reason in tunings.failures.items():
        yield Unread(where, reason)
    for tuning, reason in tunings.left:
        yield Unread(tuning.source, reason, harmless=True)


def _tunings(paths: list[Path]) -> SetTunings | None:
    """Return the sets about evolved codes of all recordings; None where there are none."""
    recordings = [path for path in paths if path.suffix != ".npz" and not path.is_dir()]
    if not recordings:
        return None
    from evolver.experiments.set_tuning import SetTunings  # h5py loads slowly

    return SetTunings.of(recordings)


def _read_source(path: Path) -> Iterator[Experiment | Unread]:
    """Yield what a source holds, and why what of it cannot be read."""
    try:
        for found in _read(path):
            if isinstance(found, tuple):
                name, error = found
                yield Unread(f"{path}, {name}", _reason(error))
            else:
                yield found
    except EvolverError as error:
        yield Unread(str(path), _reason(error))
    except NotAFileError as error:
        yield Unread(str(path), _reason(error))
    except PARSER_ERRORS as error:
        yield Unread(str(path), f"{type(error).__name__}: {_reason(error)}")


def _read(path: Path) -> Iterator[Experiment | Unread | tuple[str, DataError]]:
    if _is_unfolded(path):
        raise DataError(
            f"its session has a {JOURNAL} and no {RECORDING}: it was killed, or still runs. "
            f"Once it has ended: evolver fold {shlex.quote(str(path))}"
        )
    if path.is_dir():
        yield read_plain(path)
    elif path.suffix == ".npz":
        yield from read_archive(path)
    else:
        from evolver.experiments.recordings import (  # h5py loads slowly
            NoEvolutionError,
            read_recording,
        )

        try:
            yield read_recording(path)
        except NoEvolutionError as error:
            yield Unread(str(path), _reason(error), harmless=True)


def _is_named(path: Path) -> bool:
    """Whether a path is a source by itself."""
    return not path.is_dir() or (path / DESCRIPTION).exists() or _is_unfolded(path)


def _is_unfolded(path: Path) -> bool:
    """Whether a folder is of a session whose journal nobody has folded."""
    inside = (path / JOURNAL).is_dir()
    journal, session = (path / JOURNAL, path) if inside else (path, path.parent)
    segments = any(journal.glob(SEGMENT_PATTERN)) if journal.is_dir() else False
    return segments and not any(session.glob("*.h5"))


def _inside(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        here = Path(place)
        if DESCRIPTION in files:
            folders.clear()
            yield here
            continue
        if _is_unfolded(here):
            folders[:] = [name for name in folders if name != JOURNAL]
            yield here
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.startswith("."):
                continue
            path = here / name
            if path.suffix == ".h5" or (
                path.suffix == ".npz" and name != ARRAYS and _is_archive(path)
            ):
                yield path


def _is_archive(path: Path) -> bool:
    """Whether an .npz that nobody named is of experiments; others' are passed by."""
    try:
        with opened_archive(path) as archive:
            return archive is not None and META in archive.names
    except (EvolverError, *PARSER_ERRORS):
        return False


def _count(path: Path) -> int:
    if path.is_dir() or path.suffix != ".npz":
        return 1
    try:
        return len(archive_ids(path))
    except (EvolverError, *PARSER_ERRORS):
        return 0


def _reason(error: BaseException) -> str:
    return one_line(str(error))[:500] or type(error).__name__
