"""Two threads of a session against each other: at the start, at the end, at their highest.

The published tests are t-tests of two blocks' images. Beside each stands the share of sessions
whose images are dealt anew to the two threads, block by block, with each thread's highest pair
picked again.

Wang & Ponce, Nature Neuroscience 2026.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from evolver.analysis.block_pairs import (
    MIN_BLOCKS,
    BlockSums,
    LastPair,
    block_sums,
    highest_pairs,
    rows_by_block,
    t_of_pairs,
)
from evolver.analysis.t_tests import TTest, t_test
from evolver.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from evolver.analysis.trajectories import FloatArray, Ints

THREAD_SHUFFLES = 999
_DEALT_AT_ONCE = 1_000_000


@dataclass(frozen=True, slots=True)
class ThreadTest:
    """One pair of blocks of the first thread against one of the second.

    Attributes
    ----------
    first_start, second_start : int, first of each pair's two blocks
    t_test : TTest, of the pairs' images, as published
    p : float, two-sided: the share of dealt sessions with an absolute t at least as large, this
        one among them; NaN where undefined
    """

    first_start: int
    second_start: int
    t_test: TTest
    p: float

    @property
    def reason(self) -> str:
        """Why there is no test; empty where there is."""
        return self.t_test.reason


@dataclass(frozen=True, slots=True)
class ThreadTests:
    """Two threads at their first pair, at their last, and each at its highest."""

    init: ThreadTest
    end: ThreadTest
    highest: ThreadTest


def compare_threads(
    first: tuple[ArrayLike, ArrayLike],
    second: tuple[ArrayLike, ArrayLike],
    *,
    last_pair: LastPair = "paper",
    shuffles: int = THREAD_SHUFFLES,
    rng: np.random.Generator | None = None,
) -> ThreadTests:
    """Test whether two threads of a session drive their unit alike.

    Parameters
    ----------
    first, second : (responses, block) of each thread's images, as `success` takes them; blocks
        have the same numbers in both
    last_pair : where the highest pair may begin at the latest
    shuffles : sessions dealt anew
    rng : deals the images; one that is the same for everyone if not given

    Returns
    -------
    ThreadTests, with reasons where a thread has fewer than `MIN_BLOCKS` blocks, or both have
        not as many

    Raises
    ------
    DataError
        Shapes differ, or images are to be dealt fewer than once.
    """
    if shuffles < 1:
        raise DataError(f"images must be dealt once at least; got shuffles={shuffles}")
    rows = [rows_by_block(*thread) for thread in (first, second)]
    counts = [np.bincount(blocks) for _, blocks in rows]
    lengths = [len(n) for n in counts]
    if lengths[0] != lengths[1] or lengths[0] < MIN_BLOCKS:
        reason = (
            f"the threads have {lengths[0]} and {lengths[1]} blocks with responses; as many of "
            f"both, and {MIN_BLOCKS}, are needed"
        )
        none = ThreadTest(-1, -1, TTest(nan, nan, nan, 0, 0, 0, reason), nan)
        return ThreadTests(none, none, none)
    centre = float(np.concatenate([values for values, _ in rows]).mean())
    own, other = (
        block_sums(values[None] - centre, n)
        for (values, _), n in zip(rows, counts, strict=True)
    )
    starts, observed = _three(own, other, last_pair)
    at_least = np.zeros(3, dtype=np.int64)
    for dealt in _dealt(rows, counts, centre, shuffles, rng or np.random.default_rng(0)):
        drawn = np.abs(_three(dealt[0], dealt[1], last_pair)[1])
        at_least += (drawn >= np.abs(observed) * (1 - 1e-9)).sum(axis=1)  # but for rounding
    p = (1 + at_least) / (1 + shuffles)
    init, end, highest = (
        _test(rows, (int(pair[0][0]), int(pair[1][0])), float(share))
        for pair, share in zip(starts, p, strict=True)
    )
    return ThreadTests(init, end, highest)


def _test(rows: list[tuple[FloatArray, Ints]], starts: tuple[int, int], p: float) -> ThreadTest:
    images = [
        values[(blocks >= start) & (blocks < start + 2)]
        for (values, blocks), start in zip(rows, starts, strict=True)
    ]
    test = t_test(images[0], images[1], paired=False)
    return ThreadTest(*starts, test, p if test.defined else nan)


def _three(
    first: BlockSums, second: BlockSums, last_pair: LastPair
) -> tuple[list[tuple[NDArray[np.intp], NDArray[np.intp]]], FloatArray]:
    """Return where the pairs of each test start, and t, (3, s), at init, end and highest."""
    sessions = len(first.sums)
    init = np.zeros(sessions, dtype=np.intp)
    end = np.full(sessions, len(first.n) - 2)
    highest = [highest_pairs(thread.means, last_pair) for thread in (first, second)]
    starts = [(init, init), (end, end), (highest[0], highest[1])]
    t = [t_of_pairs(first.pair(one), second.pair(other)) for one, other in starts]
    return starts, np.stack(t)


def _dealt(
    rows: list[tuple[FloatArray, Ints]],
    counts: list[NDArray[np.intp]],
    centre: float,
    shuffles: int,
    rng: np.random.Generator,
) -> Iterator[tuple[BlockSums, BlockSums]]:
    """Yield the sums of both threads, images dealt anew within each block."""
    values = np.concatenate([values for values, _ in rows]) - centre
    blocks = np.concatenate([blocks for _, blocks in rows])
    order = np.argsort(blocks, kind="stable")
    values, blocks = values[order], blocks[order]
    place = np.arange(len(values)) - np.searchsorted(blocks, blocks)
    to_first = place < counts[0][blocks]  # the first so many of each block, in a dealt order
    at_once = max(1, _DEALT_AT_ONCE // len(values))
    for begun in range(0, shuffles, at_once):
        keys = blocks + rng.random((min(at_once, shuffles - begun), len(values)))
        dealt = values[np.argsort(keys, axis=1)]
        yield (
            block_sums(dealt[:, to_first], counts[0]),
            block_sums(dealt[:, ~to_first], counts[1]),
        )
