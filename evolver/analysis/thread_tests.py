"""Two threads of a session against each other: at the start, at the end, at their highest.

The published tests are t-tests of two blocks' images. Beside each stands the share of sessions
whose images are dealt anew to the two threads, block by block, with each thread's highest pair
picked again; where block means alone are known, of sessions drawn of one course for
both.

Wang & Ponce, Nature Neuroscience 2026.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr  # pyright: ignore[reportUnknownVariableType]

from evolver.analysis.block_pairs import (
    MIN_BLOCKS,
    BlockSums,
    LastPair,
    block_sums,
    highest_pairs,
    rows_by_block,
    t_of_pairs,
)
from evolver.analysis.quantities import vector_of
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
        return _no_tests(reason)
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


def compare_thread_means(
    first: tuple[ArrayLike, ArrayLike],
    second: tuple[ArrayLike, ArrayLike],
    *,
    last_pair: LastPair = "paper",
    shuffles: int = THREAD_SHUFFLES,
    rng: np.random.Generator | None = None,
) -> ThreadTests:
    """As `compare_threads`, where only block means and their errors were published.

    t is z: the difference of two pairs' means over its error, half the root of the four squared
    sem; `dof` is 0, `n` and `m` are blocks. Instead of dealing images anew, sessions are drawn
    in which both threads have one course, their mean weighted by 1 / sem^2, and the errors that
    they have; each thread's highest pair is picked in each.

    Parameters
    ----------
    first, second : (mean, sem) of each thread's blocks, (b,) each; sem >= 0
    last_pair, shuffles, rng : as in `compare_threads`

    Raises
    ------
    DataError
        Shapes differ, a mean or a sem is not finite, or no session is to be drawn.
    """
    if shuffles < 1:
        raise DataError(f"sessions must be drawn once at least; got shuffles={shuffles}")
    means = [vector_of(mean, "mean") for mean, _ in (first, second)]
    sems = [vector_of(sem, "sem") for _, sem in (first, second)]
    for mean, sem in zip(means, sems, strict=True):
        if mean.shape != sem.shape:
            raise DataError(f"mean and sem must be as many; got {len(mean)} and {len(sem)}")
    lengths = len(means[0]), len(means[1])
    if lengths[0] != lengths[1] or lengths[0] < MIN_BLOCKS:
        return _no_tests(
            f"the threads have {lengths[0]} and {lengths[1]} blocks; as many of both, and "
            f"{MIN_BLOCKS}, are needed"
        )
    courses, errors = np.stack(means), np.stack(sems)
    if not (np.isfinite(courses) & (errors >= 0) & np.isfinite(errors)).all():
        raise DataError("means and sems must be finite, sem >= 0")
    starts, observed, differences = _three_z(courses[:, None], errors, last_pair)
    weights = 1 / errors**2 if (errors > 0).all() else np.ones_like(errors)
    common = (weights * courses).sum(axis=0) / weights.sum(axis=0)
    generator = rng or np.random.default_rng(0)
    noise = generator.standard_normal((2, shuffles, lengths[0])) * errors[:, None]
    drawn = np.abs(_three_z(common + noise, errors, last_pair)[1])
    p = (1 + (drawn >= np.abs(observed) * (1 - 1e-9)).sum(axis=1)) / (1 + shuffles)
    init, end, highest = (
        _test_of_means(
            errors,
            (int(starts[k][0][0]), int(starts[k][1][0])),
            (float(differences[k, 0]), float(observed[k, 0]), float(p[k])),
        )
        for k in range(3)
    )
    return ThreadTests(init, end, highest)


def _test_of_means(
    errors: FloatArray, starts: tuple[int, int], found: tuple[float, float, float]
) -> ThreadTest:
    """Return the test whose difference, z and share of drawn sessions are `found`."""
    difference, z, p = found
    pairs = [of[start : start + 2] for of, start in zip(errors, starts, strict=True)]
    if not np.any(pairs):
        reason = "no block of either pair has an error"
        return ThreadTest(*starts, TTest(difference, nan, nan, 0, 2, 2, reason), nan)
    return ThreadTest(*starts, TTest(difference, z, float(2 * ndtr(-abs(z))), 0, 2, 2), p)


def _no_tests(reason: str) -> ThreadTests:
    none = ThreadTest(-1, -1, TTest(nan, nan, nan, 0, 0, 0, reason), nan)
    return ThreadTests(none, none, none)


def _three_z(
    courses: FloatArray, errors: FloatArray, last_pair: LastPair
) -> tuple[list[tuple[NDArray[np.intp], NDArray[np.intp]]], FloatArray, FloatArray]:
    """Return where pairs start, z and differences, (3, s).

    `courses` is (2, s, blocks), `errors` (2, blocks).
    """
    starts = _starts(courses[0], courses[1], last_pair)
    sessions = courses.shape[1]
    row = np.arange(sessions, dtype=np.intp)
    difference, variance = np.zeros((3, sessions)), np.zeros((3, sessions))
    for i, pair in enumerate(starts):
        for k, sign in ((0, 1), (1, -1)):
            for at in (pair[k], pair[k] + 1):
                difference[i] += sign * courses[k, row, at] / 2
                variance[i] += errors[k, at] ** 2 / 4
    z = np.divide(
        difference, np.sqrt(variance), out=np.zeros_like(difference), where=variance > 0
    )
    return starts, z, difference


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
    starts = _starts(first.means, second.means, last_pair)
    t = [t_of_pairs(first.pair(one), second.pair(other)) for one, other in starts]
    return starts, np.stack(t)


def _starts(
    first: FloatArray, second: FloatArray, last_pair: LastPair
) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Return where both threads' pairs start at init, end and highest; block means (s, b)."""
    init = np.zeros(len(first), dtype=np.intp)
    end = np.full(len(first), first.shape[1] - 2)
    highest = [highest_pairs(means, last_pair) for means in (first, second)]
    return [(init, init), (end, end), (highest[0], highest[1])]


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
