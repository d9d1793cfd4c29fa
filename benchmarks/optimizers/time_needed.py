"""How long runs will take, by a rate that is measured on the spot.

Knows stages and a clock. Drawing and scoring take most of it; what optimizers themselves need
is measured by `cost` and not counted.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.optimizers.run import stage_of
from benchmarks.optimizers.worlds import layer_of

if TYPE_CHECKING:
    from benchmarks.optimizers.outcomes import Spec
    from benchmarks.optimizers.worlds import Stage

_IMAGES, _ROUNDS = 32, 2


def expected_s(specs: Sequence[Spec], device: str) -> float:
    """Return the seconds that one process needs for drawing and scoring.

    One unit of each world and layer is timed.
    """
    rates: dict[tuple[str, str], float] = {}
    total = 0.0
    for spec in specs:
        key = spec.world, layer_of(spec.unit)
        if key not in rates:
            rates[key] = seconds_an_image(stage_of(spec, device))
        # A generation's codes and their mean.
        total += rates[key] * spec.generations * (spec.popsize + 1)
    return total


def seconds_an_image(stage: Stage) -> float:
    """Return what an image takes, the quickest of a few rounds."""
    codes = np.random.default_rng(0).standard_normal((_IMAGES, stage.d))
    stage.clean(codes[:1])
    taken: list[float] = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        stage.clean(codes)
        taken.append((time.perf_counter() - start) / _IMAGES)
    return min(taken)


def time_words(seconds: float, workers: int) -> str:
    """Say what is to be expected of so many processes."""
    minutes = round(seconds / workers / 60)
    hours, rest = divmod(minutes, 60)
    length = f"{hours} h {rest} min" if hours else f"{max(rest, 1)} min"
    processes = "1 process" if workers == 1 else f"{workers} processes"
    return (
        f"About {length} of drawing and scoring in {processes}, by a rate measured now; the "
        "optimizers' own time comes on top"
    )
