"""The reference images that every block shows: rendered, or drawn from a folder.

Knows the built-in world's scenes, and what a folder may hold beside images; how one is read is
known to `images`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evolver import seeds
from evolver.config.tables import ReferencesTable
from evolver.errors import ConfigError, DataError
from evolver.setup.images import IMAGE_SUFFIXES, read_image


@dataclass(frozen=True, slots=True, eq=False)
class References:
    """The images shown in every block beside the evolving ones."""

    images: tuple[NDArray[np.uint8], ...]  # each (h, w, 3)
    labels: tuple[str, ...]


def build_references(table: ReferencesTable, *, seed: int) -> References:
    """Return the session's reference images: rendered, or drawn from a folder.

    Raises
    ------
    ConfigError
        The folder does not exist, or has fewer images than are asked for.
    DataError
        Files that were drawn are no images, or too large; each is named.
    """
    if table.count == 0:
        return References((), ())
    return images_from(
        table.source,
        table.count,
        grey=table.grey,
        rng=seeds.stream(seed, "references"),
        keys=("references.source", "references.count"),
    )


def images_from(
    source: str,
    count: int | None,
    *,
    grey: int,
    rng: np.random.Generator,
    keys: tuple[str, str],
) -> References:
    """Return images, and what each is called: rendered, or drawn from a folder.

    Parameters
    ----------
    source : "builtin", or a folder
    count : how many; None: all of the folder
    grey : behind transparent pixels
    rng : of what is drawn
    keys : of the session file, that say where from and how many

    Raises
    ------
    ConfigError, DataError
        as `build_references`
    """
    if source == "builtin":
        from scorers.mini import scenes

        images, classes, _ = scenes.sample_scenes(count or 1, rng=rng)
        return References(tuple(images), tuple(scenes.CLASSES[int(i)] for i in classes))
    try:
        folder = Path(source).expanduser()
    except RuntimeError as exc:  # nobody's home
        raise ConfigError(f"{keys[0]}: {source!r} cannot be found: {exc}") from exc
    if not folder.is_dir():
        raise ConfigError(
            f"{keys[0]}: must be 'builtin' or a folder of PNG or JPEG files; "
            f"{source!r} is not a folder"
        )
    files = usable_images(folder, keys[0])
    if not files:
        raise ConfigError(f"{keys[0]}: {folder} must hold PNG or JPEG files; none is there")
    if count is not None and len(files) < count:
        raise ConfigError(
            f"{keys[1]}: must be at most the number of PNG and JPEG files in {folder}, "
            f"{len(files)}; found {count}"
        )
    picked = files
    if count is not None:
        shuffled = rng.permutation(len(files))
        picked = [files[i] for i in sorted(int(i) for i in shuffled[:count])]
    pixels: list[NDArray[np.uint8]] = []
    problems: list[str] = []
    for path in picked:
        try:
            pixels.append(read_image(path, grey=grey))
        except DataError as exc:
            problems.append(_printable(str(exc)))
    if problems:
        raise DataError(f"{keys[0].removesuffix('.source')}: " + "\n  ".join(problems))
    labels = dict(zip(files, _labels(files), strict=True))
    return References(tuple(pixels), tuple(labels[path] for path in picked))


def usable_images(folder: Path, key: str) -> list[Path]:
    """Return the image files of a folder, sorted; not what systems leave beside them.

    Raises
    ------
    ConfigError
        It is no folder that can be read; `key` of the session file names it.
    """
    try:
        there = sorted(folder.iterdir(), key=os.fsencode)
    except OSError as exc:
        raise ConfigError(
            f"{key}: {folder} must be a folder that can be read; {exc.strerror}"
        ) from exc
    return [
        path
        for path in there
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not path.name.startswith(".")  # '._a.png' is macOS' note beside 'a.png'
        and path.is_file()
    ]


def _labels(files: Sequence[Path]) -> tuple[str, ...]:
    """Return a label for each file: its name, with its ending where two differ only in that."""
    stems = Counter(path.stem for path in files)
    return tuple(_printable(p.stem if stems[p.stem] == 1 else p.name) for p in files)


def _printable(name: str) -> str:
    """Return a file name as text that can be written and read: other bytes by their numbers."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )
