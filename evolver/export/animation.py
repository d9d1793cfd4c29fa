"""A thread's best image of each generation, one after another, as an animated file.

Knows recordings and Pillow: WebP and PNG keep every pixel, GIF has 256 colours.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from evolver.errors import DataError
from evolver.recording import Recording, ThreadData
from evolver.whole_files import whole_file

ENDINGS = (".webp", ".png", ".gif")
_LAST_SHOWN = 5  # times as long as the others


@dataclass(frozen=True, slots=True)
class BestImages:
    """A thread's best image of each generation, as far as pixels are there."""

    image_ids: tuple[int, ...]
    replaced: tuple[int, ...]
    """Generations in which an image of a higher score has lost its pixels."""
    omitted: tuple[int, ...]
    """Generations with scores of which no image has its pixels."""


def best_images(recording: Recording, thread: ThreadData) -> BestImages:
    """Return the image of the highest score of each generation, of those that are not lost."""
    best: list[int] = []
    replaced: list[int] = []
    omitted: list[int] = []
    for generation in np.unique(thread.generation):
        at = np.flatnonzero((thread.generation == generation) & np.isfinite(thread.score))
        order = at[np.argsort(-thread.score[at], kind="stable")]
        lost = [recording.images.is_lost(int(k)) for k in thread.image_id[order]]
        if all(lost):
            omitted += [int(generation)] * bool(lost)
            continue
        first = order[lost.index(False)]
        best.append(int(thread.image_id[first]))
        if thread.score[first] < thread.score[order[0]]:
            replaced.append(int(generation))
    return BestImages(tuple(best), tuple(replaced), tuple(omitted))


def export_animation(
    recording: Recording,
    thread: ThreadData,
    path: Path,
    *,
    seconds: float = 0.2,
    scale: int = 1,
    overwrite: bool = False,
) -> BestImages:
    """Write the best image of each generation of a thread as one file; the last stays longer.

    Parameters
    ----------
    recording, thread : open, and of it
    path : .webp, .png or .gif
    seconds : that each is shown
    scale : pixels a side of the file for one of the image
    overwrite : replace one that is there

    Returns
    -------
    what is in it, and which generations have another image or none, because pixels are lost

    Raises
    ------
    DataError
        No generation has a score and an image, or the ending is another.
    FileExistsError
        It is there, and may not be replaced.
    OSError
        The file cannot be written.
    """
    if path.suffix not in ENDINGS:
        raise DataError(f"an animation must be called {', '.join(ENDINGS)}; got {path.name}")
    best = best_images(recording, thread)
    if not best.image_ids:
        raise DataError(
            f"thread {thread.name!r} must have a generation with scores and images; it has none"
        )
    frames = [Image.fromarray(recording.images[image_id]) for image_id in best.image_ids]
    size = (frames[0].width * scale, frames[0].height * scale)
    frames = [frame.resize(size, Image.Resampling.NEAREST) for frame in frames]
    shown_ms = max(1, round(seconds * 1000))
    durations = [*[shown_ms] * (len(frames) - 1), shown_ms * _LAST_SHOWN]
    how: dict[str, Any] = {"duration": durations, "loop": 0, "append_images": frames[1:]}
    if path.suffix == ".webp":
        how |= {"lossless": True, "minimize_size": False}
    with whole_file(path, overwrite=overwrite) as unfinished:
        frames[0].save(unfinished, path.suffix[1:].upper(), save_all=True, **how)
    return best
