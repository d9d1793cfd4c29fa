"""What a generation of an optimizer costs: seconds and memory of ask + tell.

Knows optimizers, a clock and this process's memory. One process an optimizer: memory first,
alone; then generations that alternate with Cholesky's, so that what disturbs one disturbs the
other. Times are CPU seconds of all threads: what else the machine does is left out. Scores are
the first coordinate plus noise, made outside the timed parts.
"""

from __future__ import annotations

import gc
import re
import tracemalloc
from pathlib import Path
from statistics import fmean, median
from time import process_time
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from benchmarks.optimizers.contestants import BASELINE, Contestant, find_contestants
from benchmarks.optimizers.named import own_failures
from evolver.lab_code import error_text
from evolver.optimizers.within_axes import make_axes

if TYPE_CHECKING:
    from benchmarks.optimizers.contestants import AskAndTell
    from evolver.types import Scores

WARM_UP, GENERATIONS = 2, 30
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Cost(msgspec.Struct, frozen=True):
    """Of one generation."""

    optimizer: str
    d: int
    popsize: int
    median_s: float
    mean_s: float
    beside_s: float  # median of Cholesky's generations in the same process
    median_ratio: float  # to Cholesky in the same process
    mean_ratio: float
    peak_bytes: int | None  # held at most, libraries' code apart; None where it cannot be read
    failed: str = ""


def measure_cost(
    contestant: Contestant, d: int, popsize: int, norm: float, *, axes: int | None = None
) -> Cost:
    """Measure one optimizer; call it in a process of its own.

    Parameters
    ----------
    contestant, d, popsize, norm : as `Contestant.make` takes them
    axes : along how many axes it searches: any, as what they are costs nothing
    """
    peak: int | None = None
    ours: list[float] = []
    theirs: list[float] = []
    failures: list[BaseException] = []
    with own_failures(failures.append):  # anybody's code
        peak = _memory(contestant, d, popsize, norm, axes)
        ours, theirs = _alternate(contestant, d, popsize, norm, axes)
    if failures:
        failed = error_text(failures[0])
        return Cost(contestant.label, d, popsize, 0.0, 0.0, 0.0, 0.0, 0.0, None, failed)
    return Cost(
        contestant.label,
        d,
        popsize,
        median(ours),
        fmean(ours),
        median(theirs),
        median(ours) / median(theirs),
        fmean(ours) / fmean(theirs),
        peak,
    )


def _make(
    contestant: Contestant, d: int, popsize: int, norm: float, axes: int | None = None
) -> AskAndTell:
    along = None
    if axes is not None:
        drawn = np.random.default_rng(2).standard_normal((d, min(axes, d)))
        along = make_axes(np.linalg.qr(drawn)[0].T)
    return contestant.make(
        d,
        rng=np.random.default_rng(0),
        popsize=popsize,
        initial=None,
        norm=norm,
        generations=WARM_UP + GENERATIONS,
        axes=along,
    )


def _step(optimizer: AskAndTell, rng: np.random.Generator) -> float:
    """Do one generation; return the seconds of ask + tell."""
    start = process_time()
    codes = optimizer.ask()
    asked = process_time() - start
    scores: Scores = codes[:, 0] + rng.standard_normal(len(codes))
    start = process_time()
    optimizer.tell(codes, scores)
    return asked + process_time() - start


def _alternate(
    contestant: Contestant, d: int, popsize: int, norm: float, axes: int | None
) -> tuple[list[float], list[float]]:
    (baseline,) = find_contestants([BASELINE])
    pair = [_make(contestant, d, popsize, norm, axes), _make(baseline, d, popsize, norm)]
    rngs = [np.random.default_rng(1) for _ in pair]
    seconds: tuple[list[float], list[float]] = ([], [])
    for generation in range(WARM_UP + GENERATIONS):
        turns = list(zip(pair, rngs, seconds, strict=True))
        # In turn the first: whoever comes second finds the processor warm.
        for optimizer, rng, taken in turns if generation % 2 else reversed(turns):
            taken.append(_step(optimizer, rng))
    return seconds[0][WARM_UP:], seconds[1][WARM_UP:]


def _memory(
    contestant: Contestant, d: int, popsize: int, norm: float, axes: int | None
) -> int | None:
    """Return how many bytes are held at most over a dozen generations; None: unknown.

    By how much the process grows, which what it had freed before may hide; or what Python and
    numpy allocate, which misses what other libraries do by themselves: whichever is more.
    """
    rng = np.random.default_rng(1)
    # What is imported on first use is not counted.
    small = _make(contestant, 8, popsize, norm, axes)
    for _ in range(2):
        _step(small, rng)
    gc.collect()  # or what others left behind is given back meanwhile, and hides the growth

    def play() -> None:
        optimizer = _make(contestant, d, popsize, norm, axes)
        for _ in range(12):
            _step(optimizer, rng)

    try:
        before = _resident("RssAnon")
        _CLEAR.write_text("5")  # the peak, VmHWM, starts anew
        play()
        # Pages of files, which a busy machine takes away at any time, are no memory of its own.
        grown = _resident("VmHWM") - _resident("RssFile") - before
    except OSError:
        return None
    tracemalloc.start()
    try:
        play()
        return max(grown, tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


def _resident(name: str) -> int:
    line = re.search(rf"{name}:\s+(\d+) kB", _STATUS.read_text())
    if line is None:
        raise OSError(f"no {name} in {_STATUS}")
    return int(line[1]) * 1024
