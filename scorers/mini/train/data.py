"""Scenes by the ten thousand, rendered by several processes, the same for every number of them.

Knows the scenes and the seeds. Knows nothing of networks.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from evolver.seeds import stream
from evolver.types import Images
from scorers.mini import scenes

_PART = 1000

Scenes = tuple[Images, NDArray[np.int64], NDArray[np.float64]]
"""Images (n, 64, 64, 3), labels (n,), factors (n, 64)."""


def _part(seed: int, name: str, index: int, n: int, classes: tuple[str, ...]) -> Scenes:
    return scenes.sample_scenes(n, rng=stream(seed, "scenes", name, index), classes=classes)


def make(
    n: int,
    *,
    seed: int,
    name: str,
    classes: tuple[str, ...] = scenes.CLASSES,
    processes: int = 2,
) -> Scenes:
    """Render n scenes of the set `name`; each set and seed has scenes of its own."""
    sizes = [min(_PART, n - start) for start in range(0, n, _PART)]
    jobs = [(seed, name, index, size, classes) for index, size in enumerate(sizes)]
    if processes == 1 or len(jobs) == 1:
        parts = [_part(*job) for job in jobs]
    else:
        # Spawned, not forked: a fork of a process that already runs torch's threads can hang.
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            parts = list(pool.map(_part, *zip(*jobs, strict=True)))
    images, labels, factors = zip(*parts, strict=True)
    return np.concatenate(images), np.concatenate(labels), np.concatenate(factors)
