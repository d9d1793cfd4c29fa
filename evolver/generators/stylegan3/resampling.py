"""The activation between two low-pass filters, in a tenth of the plain operations' time.

Knows tensors and filters. Knows nothing of layers, weights or images.

Upsampling by inserting zeros and filtering, then filtering and keeping every second sample,
are banded matrices along either axis, and they repeat: a few rows further down, the same block
acts on samples that much further down. So each is written as a product of one small matrix with
overlapping windows of the image, which is what a processor does best. No zero is inserted or
multiplied, no sample is made to be thrown away, and the images at the doubled rate, which are
most of the work, are made a few at a time and stay in the cache. A radial filter is a sum of
three or four separable ones (its singular vectors), exact to 1e-6 of the largest of them.
"""
# pyright: basic

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F  # noqa: N812  the name every torch user knows it by

if TYPE_CHECKING:
    from collections.abc import Sequence

_UP_ROWS, _UP_COLUMNS = 16, 32  # samples that one block makes; measured, see the benchmark
_DOWN_ROWS, _DOWN_COLUMNS = 8, 16
_CACHE = 1 << 20  # numbers at the doubled rate that are made at once, on a processor
_MEMORY = 1 << 26  # likewise on an accelerator, where launching costs more than memory
_RANK_ERROR = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """A banded matrix that repeats: block b makes samples ``b * rows`` and on.

    It makes them from samples ``b * hop + offset`` and on; `matrix` is (rows, window).
    """

    matrix: torch.Tensor
    hop: int
    offset: int

    @property
    def rows(self) -> int:
        """Samples that one block makes."""
        return self.matrix.shape[0]

    @property
    def window(self) -> int:
        """Samples that one block reads."""
        return self.matrix.shape[1]


@dataclass(frozen=True, slots=True, eq=False)
class Resampler:
    """Filters of one layer, laid out for `filtered_activation`.

    Along each axis a layer takes `size` samples, has `between` at the doubled rate and gives
    `out`. The last two bands have one block a term of the downsampling filter.
    """

    size: int
    between: int
    out: int
    up_rows: Band
    up_columns: Band
    down_rows: tuple[Band, ...]
    down_columns: tuple[Band, ...]
    clamp: float

    @classmethod
    def make(
        cls,
        up_filter: NDArray[np.floating] | None,
        down_filter: NDArray[np.floating] | None,
        *,
        up: int,
        down: int,
        before: int,
        size: int,
        out: int,
        clamp: float,
        device: torch.device,
    ) -> Resampler:
        """Lay filters out.

        Parameters
        ----------
        up_filter : (taps,); None where nothing is filtered
        down_filter : (taps,), or (taps, taps) when radial; likewise
        up, down : rates between and before, between and after
        before : zeros before the first sample at the doubled rate; cut away when negative
        size, out : samples along an axis, before and after
        clamp : largest magnitude of an activation
        """
        gain = up * np.asarray([1.0] if up_filter is None else up_filter, np.float64)
        terms = separable(np.asarray([1.0] if down_filter is None else down_filter, np.float64))
        taps = len(terms[0][0])

        def ups(rows: int) -> Band:
            return up_band(gain, up, before, rows, device)

        def downs(filters: Sequence[NDArray[np.float64]], rows: int) -> tuple[Band, ...]:
            return tuple(down_band(f, down, rows, device) for f in filters)

        return cls(
            size,
            (out - 1) * down + taps,
            out,
            ups(up * ceil(_UP_ROWS / up)),
            ups(up * ceil(_UP_COLUMNS / up)),
            downs([sqrt(2) * rows for rows, _ in terms], _DOWN_ROWS),
            downs([columns for _, columns in terms], _DOWN_COLUMNS),
            clamp / sqrt(2),
        )


def separable(filter_: NDArray[np.float64]) -> list[tuple[NDArray[np.float64], ...]]:
    """Return filters (along rows, along columns) whose products sum to `filter_`."""
    if filter_.ndim == 1:
        return [(filter_, filter_)]
    left, values, right = np.linalg.svd(filter_)
    dropped = np.cumsum(values[::-1])[::-1]  # what is lost without this one and all after
    rank = max(1, int((dropped > _RANK_ERROR * values[0]).sum()))
    return [(values[k] * left[:, k], right[k]) for k in range(rank)]


def up_band(
    filter_: NDArray[np.float64], up: int, before: int, rows: int, device: torch.device
) -> Band:
    """Return upsampling as a band: out[j] = sum over m of x[m] f[j - before - up m].

    The filter's taps reach back, as those of a convolution do, and the output starts where the
    filter first lies wholly on the padded row.
    """
    taps = len(filter_)
    flipped = filter_[::-1]
    offset = ceil(-before / up)
    window = (rows - 1 - before + taps - 1) // up - offset + 1
    matrix = np.zeros((rows, window))
    for j in range(rows):
        for m in range(window):
            k = up * (m + offset) + before - j
            if 0 <= k < taps:
                matrix[j, m] = flipped[k]
    return Band(_tensor(matrix, device), rows // up, offset)


def down_band(filter_: NDArray[np.float64], down: int, rows: int, device: torch.device) -> Band:
    """Return filtering and keeping every `down`-th sample as a band."""
    taps = len(filter_)
    matrix = np.zeros((rows, (rows - 1) * down + taps))
    for i in range(rows):
        matrix[i, i * down : i * down + taps] = filter_[::-1]
    return Band(_tensor(matrix, device), rows * down, 0)


def _tensor(matrix: NDArray[np.float64], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(matrix.astype(np.float32)).to(device)


def filtered_activation(x: torch.Tensor, plan: Resampler) -> torch.Tensor:
    """Upsample, LeakyReLU(0.2) times sqrt 2, clamp, downsample.

    Parameters
    ----------
    x : (n, c, h, w) float32

    Returns
    -------
    (n, c, h', w') float32
    """
    n, c, size, _ = x.shape
    flat = x.reshape(n * c, size, size)
    out = x.new_empty(n * c, plan.out, plan.out)
    limit = _CACHE if x.device.type == "cpu" else _MEMORY
    step = max(1, limit // plan.between**2)
    work = _Work(plan, min(step, n * c), x)
    for start in range(0, n * c, step):
        part = flat[start : start + step]
        fine = work.up(part)
        F.leaky_relu_(fine, 0.2).clamp_(-plan.clamp, plan.clamp)
        work.down(out[start : start + step])
    return out.view(n, c, plan.out, plan.out)


class _Work:
    """Room for a few images at the doubled rate, used again for the next few.

    Images lie below one another, each with as many rows as whole blocks make or read, so that
    the windows of all blocks of all images are equally far apart: one batched product does them
    all. Rows past an image's last belong to no sample and are cut off at the end; those before
    its first and after its last are zeros, and stay so.
    """

    def __init__(self, plan: Resampler, count: int, like: torch.Tensor) -> None:
        self.plan = plan
        up, down = plan.up_rows, plan.down_rows[0]
        read = (plan.between - 1) // up.rows * up.hop + up.window
        blocks = max(-(-plan.between // up.rows), -(-read // up.hop))
        down_blocks = max(
            -(-plan.out // down.rows),
            -(-plan.between // down.hop),
            -(-blocks * up.rows // down.hop),
        )
        blocks = down_blocks * down.hop // up.rows
        self.blocks, self.down_blocks = blocks, down_blocks
        self.top = max(0, -up.offset)
        self.coarse_rows, self.fine_rows = blocks * up.hop, blocks * up.rows
        self.coarse = like.new_zeros(count * self.coarse_rows, plan.size)
        self.wide = like.new_zeros(count * self.coarse_rows + up.window, plan.between)
        self.fine = like.new_zeros(count * self.fine_rows + down.window, plan.between)
        terms = len(plan.down_rows)
        self.short = like.new_empty(terms, count * down_blocks, down.rows, plan.between)
        self.narrow = like.new_empty(count * down_blocks * down.rows, plan.out)

    def up(self, x: torch.Tensor) -> torch.Tensor:
        """Return x, (c, h, w), at the doubled rate: rows of all images, one below another."""
        count, band = len(x), self.plan.up_rows
        rows = x[:, max(0, band.offset) :][:, : self.coarse_rows - self.top]
        coarse = self.coarse[: count * self.coarse_rows]
        coarse.view(count, self.coarse_rows, -1)[:, self.top : self.top + rows.shape[1]] = rows
        wide = self.wide[: count * self.coarse_rows]
        _columns(coarse, self.plan.up_columns, wide, add=False)
        fine = self.fine[: count * self.fine_rows]
        _rows(self.wide, band, fine.view(count * self.blocks, band.rows, -1))
        return fine

    def down(self, out: torch.Tensor) -> None:
        """Write what `up` made, filtered and decimated, to out, (c, h', w')."""
        count = len(out)
        for k, (rows, columns) in enumerate(
            zip(self.plan.down_rows, self.plan.down_columns, strict=True)
        ):
            short = self.short[k, : count * self.down_blocks]
            _rows(self.fine, rows, short)
            narrow = self.narrow[: short.shape[0] * short.shape[1]]
            _columns(short.view(len(narrow), -1), columns, narrow, add=k > 0)
        out.copy_(narrow.view(count, -1, self.plan.out)[:, : self.plan.out])


def _rows(x: torch.Tensor, band: Band, out: torch.Tensor) -> None:
    """Write a band along rows of x, (r, w), to out, (blocks, rows, w)."""
    width = x.shape[1]
    windows = x.as_strided((len(out), band.window, width), (band.hop * width, width, 1))
    torch.bmm(band.matrix.expand(len(out), -1, -1), windows, out=out)


def _columns(x: torch.Tensor, band: Band, out: torch.Tensor, *, add: bool) -> None:
    """Write (or add) a band along columns of x, (r, w), to out, (r, w')."""
    for b, start in enumerate(range(0, out.shape[1], band.rows)):
        target = out[:, start : start + band.rows]
        first = b * band.hop + band.offset
        low, high = max(first, 0), min(first + band.window, x.shape[1])
        matrix = band.matrix[: target.shape[1], low - first : high - first].T
        if add:
            torch.addmm(target, x[:, low:high], matrix, out=target)
        else:
            torch.mm(x[:, low:high], matrix, out=target)
