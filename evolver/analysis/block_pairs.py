"""Pairs of consecutive blocks of many sessions at once: which are picked, and what they hold.

What tests of success and of two threads share. Sessions are rows; the images of a row are
sorted by block, and all sessions have the same number of images in each block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from evolver.analysis.quantities import vector_of
from evolver.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from evolver.analysis.trajectories import FloatArray, Ints

MIN_BLOCKS = 5
"""Fewer, and the paper's late pair, which starts at n - 3, shares one with the first pair."""

LastPair: TypeAlias = Literal["paper", "all"]
"""Where the highest pair may begin at the latest: at n - 3 or at n - 2, of n blocks."""


@dataclass(frozen=True, slots=True, eq=False)
class BlockSums:
    """Sums over the images of each block, of each session.

    Attributes
    ----------
    sums, squares : (s, b) of the responses and of their squares; 0 for a block without images
    n : (b,) int, images of each block
    """

    sums: FloatArray
    squares: FloatArray
    n: NDArray[np.intp]

    @property
    def means(self) -> FloatArray:
        """Block means, (s, b); NaN for a block without images."""
        with np.errstate(
            invalid="ignore", divide="ignore"
        ):  # 0 / 0 is the NaN that is promised
            return self.sums / self.n

    def pair(self, starts: NDArray[np.intp]) -> tuple[FloatArray, FloatArray, NDArray[np.intp]]:
        """Return sum, sum of squares and number of images, (s,), of the pair at each start."""
        row = np.arange(len(self.sums))
        total = self.sums[row, starts] + self.sums[row, starts + 1]
        squares = self.squares[row, starts] + self.squares[row, starts + 1]
        return total, squares, self.n[starts] + self.n[starts + 1]


def rows_by_block(responses: ArrayLike, block: ArrayLike) -> tuple[FloatArray, Ints]:
    """Return the finite responses that are of a block, sorted by block, and their blocks.

    Parameters
    ----------
    responses : (n,); NaN is left out
    block : (n,) int, from 0; -1 leaves a row out

    Raises
    ------
    DataError
        Shapes differ, or blocks are no integers from -1.
    """
    values, blocks = vector_of(responses, "responses"), np.asarray(block)
    if blocks.shape != values.shape or not (
        blocks.size == 0 or np.issubdtype(blocks.dtype, np.integer)
    ):
        raise DataError(
            f"block must be {values.shape} integers, one for each response; got "
            f"{blocks.shape} {blocks.dtype}"
        )
    blocks = blocks.astype(np.int64)
    if blocks.size and blocks.min() < -1:
        raise DataError(f"block must be 0 or more, or -1 for none; got {blocks.min()}")
    kept = np.isfinite(values) & (blocks >= 0)
    order = np.argsort(blocks[kept], kind="stable")
    return values[kept][order], blocks[kept][order]


def block_sums(sessions: FloatArray, n: NDArray[np.intp]) -> BlockSums:
    """Return the sums of each block: `sessions` (s, images), sorted by block; `n` (b,)."""
    sums = np.zeros((len(sessions), len(n)))
    squares = np.zeros_like(sums)
    filled = np.flatnonzero(n)
    starts = (np.cumsum(n) - n)[filled]
    sums[:, filled] = np.add.reduceat(sessions, starts, axis=1)
    squares[:, filled] = np.add.reduceat(sessions**2, starts, axis=1)
    return BlockSums(sums, squares, n)


def highest_pairs(means: FloatArray, last_pair: LastPair) -> NDArray[np.intp]:
    """Return where each session's highest pair starts, (s,); `means` is (s, blocks).

    At the block with the largest mean; the paper puts it back to n - 3 where it is n - 2 or
    later, and ``"all"`` to n - 2, so that there is a pair.
    """
    last = means.shape[1] - 2
    highest: NDArray[np.intp] = np.nanargmax(means, axis=1)
    highest[highest >= last] = last - 1 if last_pair == "paper" else last
    return highest


def t_of_pairs(
    first: tuple[FloatArray, FloatArray, NDArray[np.intp]],
    second: tuple[FloatArray, FloatArray, NDArray[np.intp]],
) -> FloatArray:
    """Return t with equal variances of two `BlockSums.pair`, (s,); 0 where undefined."""
    (sum_a, squares_a, n_a), (sum_b, squares_b, n_b) = first, second
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0: pairs without images
        within = squares_a + squares_b - sum_a**2 / n_a - sum_b**2 / n_b
        error = np.sqrt(np.maximum(within, 0) / (n_a + n_b - 2) * (1 / n_a + 1 / n_b))
        t: FloatArray = (sum_a / n_a - sum_b / n_b) / error
    t[np.isnan(t)] = 0.0
    return t
