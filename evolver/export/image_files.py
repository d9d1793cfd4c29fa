"""Every image of a recording as a PNG file, and an index of them.

Knows recordings and files.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from evolver.recording import Recording
from evolver.table_files import table_bytes
from evolver.whole_files import whole_folder

INDEX = "index.csv"
COLUMNS = (
    *("file", "image_id", "thread", "generation", "row", "score", "sem"),
    *("label", "is_reference", "height", "width", "sha256"),
)


_EARLIER = re.compile(
    r"(t\d+_.+_g\d{4,}_r\d{3,}|reference_\d{3,}_.+|image_\d{6,})\.png|" + re.escape(INDEX),
    re.DOTALL,
)
"""What an export makes, of any recording."""


def export_images(
    recording: Recording,
    folder: Path,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write every image whose pixels are there as a PNG file, and an index.

    The folder comes into its place when all are written, the index last, so that a folder that
    has one is whole. It has a row for each code, with the code's score, and for each image that
    none has, as references: an image that was proposed twice has one file and two rows. One
    whose pixels are lost has no file.

    Parameters
    ----------
    recording : open
    folder : made where it is missing
    overwrite : whether something may be in it; images and index of an earlier export are
        removed, all else stays
    progress : told how many are written, and of how many

    Returns
    -------
    how many files

    Raises
    ------
    RecordingError
        The recording is damaged.
    OSError
        A file cannot be written; ENOTEMPTY where the folder holds something and may not.
    """
    names = _file_names(recording)
    earlier = _EARLIER if overwrite else None
    with whole_folder(folder, earlier=earlier, last=INDEX) as made:
        rows: list[list[object]] = []
        for image_id, name in enumerate(names):
            file = "" if recording.images.is_lost(image_id) else name
            if file:
                Image.fromarray(recording.images[image_id]).save(made / file, "PNG")
            rows += _index_rows(recording, image_id, file)
            if progress is not None:
                progress(image_id + 1, len(names))
        (made / INDEX).write_bytes(table_bytes(".csv", COLUMNS, rows))
    return sum(not recording.images.is_lost(image_id) for image_id in range(len(names)))


def _index_rows(recording: Recording, image_id: int, file: str) -> list[list[object]]:
    """Return a row for each code that the image is of, or one."""
    height, width, _ = recording.images.shape_of(image_id)
    about = [
        str(recording.image_labels[image_id]),
        int(recording.image_is_reference[image_id]),
        *(height, width, str(recording.image_sha256[image_id])),
    ]
    rows: list[list[object]] = [
        [
            *(file, image_id, thread.name),
            *(int(thread.generation[at]), int(thread.row[at])),
            *(_number(thread.score[at]), _number(thread.sem[at])),
            *about,
        ]
        for thread in recording.threads
        for at in np.flatnonzero(thread.image_id == image_id)
    ]
    return rows or [[file, image_id, "", "", "", "", "", *about]]


def image_shapes(recording: Recording) -> list[tuple[int, int, int]]:
    """Return each image's shape; one whose pixels are lost counts as the first that is not."""
    images = recording.images
    shapes = [images.shape_of(image_id) for image_id in range(len(images))]
    known = next((shape for shape in shapes if 0 not in shape), (1, 1, 3))
    return [known if 0 in shape else shape for shape in shapes]


def file_name(text: str) -> str:
    """Return a text as a part of a file's name, on any system."""
    kept = "".join(c if c.isalnum() or c in "-_ " else "_" for c in text).strip()
    return os.fsencode(kept)[:100].decode(errors="ignore") or "unnamed"


def _file_names(recording: Recording) -> list[str]:
    """Return each image's, which say what it is: of its first code, or of a reference."""
    names = [f"image_{image_id:06d}.png" for image_id in range(len(recording.images))]
    for image_id in np.flatnonzero(recording.image_is_reference):
        label = file_name(str(recording.image_labels[image_id]))
        names[image_id] = f"reference_{image_id:03d}_{label}.png"
    for number, thread in reversed(list(enumerate(recording.threads))):
        for at in reversed(range(len(thread.codes))):
            place = (
                f"{file_name(thread.name)}_g{thread.generation[at]:04d}_r{thread.row[at]:03d}"
            )
            names[int(thread.image_id[at])] = f"t{number}_{place}.png"
    return names


def _number(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))
