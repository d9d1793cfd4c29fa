"""A thread's best image of each generation, one after another, as an animated file.

Knows recordings and Pillow: WebP and PNG keep every pixel, GIF has 256 colours.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from evolver.errors import DataError
from evolver.recording import Recording, ThreadData
from evolver.whole_files import write_whole

ENDINGS = (".webp", ".png", ".gif")
_LAST_SHOWN = 5  # times as long as the others


def best_images(recording: Recording, thread: ThreadData) -> list[int]:
    """Return the image of the highest score of each generation, where it is not lost."""
    best: list[int] = []
    for generation in np.unique(thread.generation):
        at = np.flatnonzero((thread.generation == generation) & np.isfinite(thread.score))
        order = at[np.argsort(-thread.score[at], kind="stable")]
        there = [int(k) for k in thread.image_id[order] if not recording.images.is_lost(int(k))]
        best += there[:1]
    return best


def export_animation(
    recording: Recording,
    thread: ThreadData,
    path: Path,
    *,
    seconds: float = 0.2,
    scale: int = 1,
) -> int:
    """Write the best image of each generation of a thread as one file; the last stays longer.

    Parameters
    ----------
    recording, thread : open, and of it
    path : .webp, .png or .gif
    seconds : that each is shown
    scale : pixels a side of the file for one of the image

    Returns
    -------
    how many images there are in it

    Raises
    ------
    DataError
        No generation has a score and an image, or the ending is another.
    OSError
        The file cannot be written.
    """
    if path.suffix not in ENDINGS:
        raise DataError(f"an animation must be called {', '.join(ENDINGS)}; got {path.name}")
    ids = best_images(recording, thread)
    if not ids:
        raise DataError(
            f"thread {thread.name!r} must have a generation with scores and images; it has none"
        )
    frames = [Image.fromarray(recording.images[image_id]) for image_id in ids]
    size = (frames[0].width * scale, frames[0].height * scale)
    frames = [frame.resize(size, Image.Resampling.NEAREST) for frame in frames]
    shown_ms = max(1, round(seconds * 1000))
    durations = [*[shown_ms] * (len(frames) - 1), shown_ms * _LAST_SHOWN]
    how: dict[str, Any] = {"duration": durations, "loop": 0, "append_images": frames[1:]}
    if path.suffix == ".webp":
        how |= {"lossless": True, "minimize_size": False}
    content = io.BytesIO()
    frames[0].save(content, path.suffix[1:].upper(), save_all=True, **how)
    write_whole(path, content.getvalue())
    return len(frames)
