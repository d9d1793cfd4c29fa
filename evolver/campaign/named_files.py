"""What is in the files that a session file names, as digests: a task is due where it changes.

Knows session files and paths. Weights have digests of their own (`task.WeightDigests`).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from evolver.config.axes_table import FIRST_LAYER, METRIC
from evolver.errors import ConfigError, WeightsError
from evolver.generators.initial import file_of_codes
from evolver.regular_files import expanded
from evolver.setup.references import usable_images
from evolver.setup.search_axes import option_files
from evolver.weights.file_bytes import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evolver.config.tables import Config

_LARGEST = 1 << 44
_UNREAD = "cannot be read"
"""In the place of a digest: the task's session says why, and harms no other task."""


class FileDigests:
    """The digests of the files that session files name, each found once.

    What a name stands for is read when it is first asked for, and not again by this object.
    """

    def __init__(self) -> None:
        self._known: dict[Path, str] = {}

    def __call__(self, settings: Config) -> dict[str, str]:
        """Return them by the place of their names: of sets, threads, references and targets."""
        return {name: self._of(path) for name, path in _named(settings)}

    def _of(self, path: Path) -> str:
        place = path.absolute()
        if place not in self._known:
            self._known[place] = _folder(place) if place.is_dir() else _file(place)
        return self._known[place]


def _named(settings: Config) -> Iterator[tuple[str, Path]]:
    """Yield the files and folders that a session file names, and where."""
    for table in settings.sets:
        if table.images not in {None, "builtin"}:
            yield f"images of set {table.name}", expanded(str(table.images))
        if table.around is not None:
            yield f"recording of set {table.name}", expanded(table.around.recording)
        elif (path := file_of_codes(table.codes)) is not None:
            yield f"codes of set {table.name}", path
    for thread in settings.threads:
        if (path := file_of_codes(thread.initial)) is not None:
            yield f"codes of thread {thread.name}", path
        if thread.axes is not None and thread.axes.source not in {FIRST_LAYER, METRIC}:
            yield f"axes {thread.name}", expanded(thread.axes.source)
        for k, (key, name) in enumerate(option_files(thread.optimizer_options)):
            if (path := expanded(name)).is_file():  # else it is a word: 'first-layer', 'scaled'
                yield f"{key} {k} of thread {thread.name}", path
    if settings.references.source != "builtin" and settings.references.count:
        yield "references", expanded(settings.references.source)
    for k, table in enumerate(settings.all_threads):
        if (target := settings.fitness_of(k).target_file) is not None:
            yield f"target of {table.name}", expanded(target)


def _file(path: Path) -> str:
    try:
        return digest_of(path, at_most=_LARGEST)
    except WeightsError:
        return _UNREAD


def _folder(path: Path) -> str:
    """Return one digest of a folder's images and what they are called, in their order."""
    try:
        files = usable_images(path, "images")
    except ConfigError:
        return _UNREAD
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}\0{_file(file)}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
