"""The activation between two low-pass filters, in a tenth of the plain operations' time.

Knows tensors and filters. Knows nothing of layers, weights or images.

Upsampling by inserting zeros and filtering, then filtering and keeping every second sample,
are banded matrices along either axis, and they repeat: a few rows further down, the same block
acts on samples that much further down. So each is written as a product of one small matrix with
overlapping windows of the image, which is what a processor does best. No zero is inserted or
multiplied, no sample is made to be thrown away, and the images at the doubled rate, which are
most of the work, are made a few at a time and stay in the cache. A radial filter is a sum of
three or four separable ones (its singular vectors), exact to 1e-6 of the largest of them.

Slopes, in either direction, are of the same kind, so they cost as little; what is between the
filters is made again for them instead of being kept, which would take gigabytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, gcd, sqrt
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812  the name every torch user knows it by

from evolver.tensors import applied

Filter: TypeAlias = NDArray[np.float64]

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
    """A change of rate up and one down, along both axes, as bands.

    Along each axis it takes `size` samples, has `between` at the highest rate and gives `out`.
    Each step is a sum of terms, one band along rows and one along columns.
    """

    size: int
    between: int
    out: int
    ups: tuple[tuple[Band, Band], ...]
    downs: tuple[tuple[Band, Band], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Activation:
    """Filters of one layer, laid out for `filtered_activation`, and for its slope.

    `forward` takes the activation's factor, sqrt 2, into its filters; `clamp` is before it.
    """

    forward: Resampler
    transposed: Resampler
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
    ) -> Activation:
        """Lay filters out.

        Parameters
        ----------
        up_filter : (taps,); None where nothing is filtered
        down_filter : (taps,), or (taps, taps) when radial; likewise
        up, down : rates between and before, between and after
        before : zeros before the first sample at the highest rate; cut away when negative
        size, out : samples along an axis, before and after
        clamp : largest magnitude of an activation
        """
        rise = up * np.asarray([1.0] if up_filter is None else up_filter, np.float64)
        fall = separable(np.asarray([1.0] if down_filter is None else down_filter, np.float64))
        fall = [(sqrt(2) * rows, columns) for rows, columns in fall]
        between = (out - 1) * down + len(fall[0][0])

        # A transposed matrix of either kind is one of the other, its filter turned round.
        back = [(rows[::-1], columns[::-1]) for rows, columns in fall]
        return cls(
            Resampler(
                size,
                between,
                out,
                (_up_bands((rise, rise), up, before, device),),
                tuple(_down_bands(pair, down, 0, device) for pair in fall),
            ),
            Resampler(
                out,
                between,
                size,
                tuple(_up_bands(pair, down, len(fall[0][0]) - 1, device) for pair in back),
                (_down_bands((rise[::-1], rise[::-1]), up, before - len(rise) + 1, device),),
            ),
            clamp / sqrt(2),
        )


def separable(filter_: Filter) -> list[tuple[Filter, Filter]]:
    """Return filters (along rows, along columns) whose products sum to `filter_`."""
    if filter_.ndim == 1:
        return [(filter_, filter_)]
    left, values, right = np.linalg.svd(filter_)
    dropped = np.cumsum(values[::-1])[::-1]  # what is lost without this one and all after
    rank = max(1, int((dropped > _RANK_ERROR * values[0]).sum()))
    return [(values[k] * left[:, k], right[k]) for k in range(rank)]


def up_band(filter_: Filter, up: int, before: int, rows: int, device: torch.device) -> Band:
    """Return upsampling as a band: zeros between samples and `before` them, then filtering.

    The first sample is where the filter first lies wholly on the padded row.
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


def down_band(filter_: Filter, down: int, first: int, rows: int, device: torch.device) -> Band:
    """Return filtering and keeping every `down`-th sample as a band.

    Sample 0 is what the filter makes of samples `first` and on; outside there are zeros.
    """
    taps = len(filter_)
    matrix = np.zeros((rows, (rows - 1) * down + taps))
    for i in range(rows):
        matrix[i, i * down : i * down + taps] = filter_[::-1]
    return Band(_tensor(matrix, device), rows * down, first)


def _up_bands(
    pair: tuple[Filter, Filter], rate: int, zeros: int, device: torch.device
) -> tuple[Band, Band]:
    """Return upsampling by filters along rows and along columns."""
    rows, columns = (rate * ceil(samples / rate) for samples in (_UP_ROWS, _UP_COLUMNS))
    return (
        up_band(pair[0], rate, zeros, rows, device),
        up_band(pair[1], rate, zeros, columns, device),
    )


def _down_bands(
    pair: tuple[Filter, Filter], rate: int, first: int, device: torch.device
) -> tuple[Band, Band]:
    """Return decimation by filters along rows and along columns."""
    return (
        down_band(pair[0], rate, first, _DOWN_ROWS, device),
        down_band(pair[1], rate, first, _DOWN_COLUMNS, device),
    )


def _tensor(matrix: Filter, device: torch.device) -> torch.Tensor:
    return torch.as_tensor(matrix.astype(np.float32)).to(device)


def filtered_activation(x: torch.Tensor, plan: Activation) -> torch.Tensor:
    """Upsample, LeakyReLU(0.2) times sqrt 2, clamp, downsample.

    Differentiable once, in either direction.

    Parameters
    ----------
    x : (n, c, h, w) float32

    Returns
    -------
    (n, c, h', w') float32
    """
    return applied(_FilteredActivation, x, plan)


class _FilteredActivation(torch.autograd.Function):
    @staticmethod
    def forward(x: torch.Tensor, plan: Activation) -> torch.Tensor:
        def steps(work: _Work, part: torch.Tensor, out: torch.Tensor) -> None:
            F.leaky_relu_(work.up(part), 0.2).clamp_(-plan.clamp, plan.clamp)
            work.down(out)

        return _by_parts(steps, plan.forward, (plan.forward,), x)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:  # noqa: ANN401, ARG004
        x, ctx.plan = inputs
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,  # noqa: ANN401
        *grad_outputs: Any,  # noqa: ANN401
    ) -> tuple[torch.Tensor, None]:
        """Return the transposed derivative at x, applied to a slope of the output."""
        plan: Activation = ctx.plan

        def steps(
            at: _Work, along: _Work, part: torch.Tensor, slope: torch.Tensor, out: torch.Tensor
        ) -> None:
            at.up(part)
            along.up(slope)
            along.images(len(out)).mul_(_slope(at.images(len(out)), plan.clamp))
            along.down(out)

        (x,) = ctx.saved_tensors
        plans = (plan.forward, plan.transposed)
        return _by_parts(steps, plan.transposed, plans, x, grad_outputs[0]), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> torch.Tensor:  # noqa: ANN401
        """Return the derivative at x, applied to a change of the input."""
        plan: Activation = ctx.plan

        def steps(
            at: _Work, along: _Work, part: torch.Tensor, change: torch.Tensor, out: torch.Tensor
        ) -> None:
            at.up(part)
            along.up(change)
            along.images(len(out)).mul_(_slope(at.images(len(out)), plan.clamp))
            along.down(out)

        (x,) = ctx.saved_tensors
        plans = (plan.forward, plan.forward)
        return _by_parts(steps, plan.forward, plans, x, tangents[0])


def _slope(fine: torch.Tensor, clamp: float) -> torch.Tensor:
    """Return the derivative of LeakyReLU and clamp."""
    slope = torch.where(fine > 0, 1.0, 0.2)
    return slope.masked_fill_((fine > clamp) | (fine < -5 * clamp), 0.0)


def _by_parts(
    steps: Any,  # noqa: ANN401  one of those above
    last: Resampler,
    plans: tuple[Resampler, ...],
    *inputs: torch.Tensor,
) -> torch.Tensor:
    """Do the steps for a few channels at a time, with one room to work in for each plan."""
    n, c = inputs[0].shape[:2]
    flat = [x.reshape(n * c, *x.shape[2:]) for x in inputs]
    out = inputs[0].new_empty(n * c, last.out, last.out)
    limit = _CACHE if out.device.type == "cpu" else _MEMORY
    step = min(max(1, limit // last.between**2), n * c)
    works = [_Work(plan, step, out) for plan in plans]
    for start in range(0, n * c, step):
        some = slice(start, start + step)
        steps(*works, *(x[some] for x in flat), out[some])
    return out.view(n, c, last.out, last.out)


class _Work:
    """Room for a few images at the highest rate, used again for the next few.

    Images lie below one another, each with as many rows as whole blocks make or read, so that
    the windows of all blocks of all images are equally far apart: one batched product does them
    all. The rows between two images are zeros wherever a window reads them.
    """

    def __init__(self, plan: Resampler, count: int, like: torch.Tensor) -> None:
        self.plan = plan
        up, down = plan.ups[0][0], plan.downs[0][0]
        self.top, self.fine_top = max(0, -up.offset), max(0, -down.offset)
        read = (plan.between - 1) // up.rows * up.hop + up.window
        reach = (plan.out - 1) * (down.hop // down.rows) + down.offset
        reach += down.window - (down.rows - 1) * (down.hop // down.rows)
        rows = max(
            plan.between + self.fine_top,
            reach,
            -(-read // up.hop) * up.rows,
            (self.top + plan.size) // up.hop * up.rows,
            -(-plan.out // down.rows) * down.hop,
        )
        whole = up.rows * down.hop // gcd(up.rows, down.hop)
        rows = -(-rows // whole) * whole
        self.blocks, self.down_blocks = rows // up.rows, rows // down.hop
        self.coarse_rows, self.fine_rows = self.blocks * up.hop, rows
        wide, slack = plan.between, up.window + down.window + abs(down.offset)
        self.coarse = like.new_zeros(count * self.coarse_rows, plan.size)
        self.wide = like.new_zeros(count * self.coarse_rows + slack, wide)
        self.fine = like.new_zeros(self.fine_top + count * rows + slack, wide)
        self.short = like.new_empty(count * self.down_blocks, down.rows, wide)
        self.narrow = like.new_empty(count * self.down_blocks * down.rows, plan.out)

    def images(self, count: int) -> torch.Tensor:
        """Return the images at the highest rate, (c, between, between)."""
        rows = self.fine[self.fine_top :][: count * self.fine_rows]
        return rows.view(count, self.fine_rows, -1)[:, : self.plan.between]

    def up(self, x: torch.Tensor) -> torch.Tensor:
        """Make x, (c, h, w), at the highest rate; return its `images`."""
        count = len(x)
        band = self.plan.ups[0][0]
        rows = x[:, max(0, band.offset) :][:, : self.coarse_rows - self.top]
        coarse = self.coarse[: count * self.coarse_rows]
        coarse.view(count, self.coarse_rows, -1)[:, self.top : self.top + rows.shape[1]] = rows
        fine = self.fine[self.fine_top :][: count * self.fine_rows]
        blocks = fine.view(count * self.blocks, band.rows, -1)
        for k, (rows_band, columns_band) in enumerate(self.plan.ups):
            _columns(coarse, columns_band, self.wide[: len(coarse)], add=False)
            _rows(self.wide, rows_band, blocks, add=k > 0)
        fine.view(count, self.fine_rows, -1)[:, self.plan.between :] = 0
        return self.images(count)

    def down(self, out: torch.Tensor) -> None:
        """Write what `up` made, filtered and decimated, to out, (c, h', w')."""
        count = len(out)
        short = self.short[: count * self.down_blocks]
        narrow = self.narrow[: short.shape[0] * short.shape[1]]
        for k, (rows, columns) in enumerate(self.plan.downs):
            _rows(self.fine[max(0, rows.offset) :], rows, short, add=False)
            _columns(short.view(len(narrow), -1), columns, narrow, add=k > 0)
        out.copy_(narrow.view(count, -1, self.plan.out)[:, : self.plan.out])


def _rows(x: torch.Tensor, band: Band, out: torch.Tensor, *, add: bool) -> None:
    """Write (or add) a band along rows of x, (r, w), to out, (blocks, rows, w)."""
    width, first = x.shape[1], x.storage_offset()
    shape = (len(out), band.window, width)
    windows = x.as_strided(shape, (band.hop * width, width, 1), first)
    matrix = band.matrix.expand(len(out), -1, -1)
    if add:
        torch.baddbmm(out, matrix, windows, out=out)
    else:
        torch.bmm(matrix, windows, out=out)


def _columns(x: torch.Tensor, band: Band, out: torch.Tensor, *, add: bool) -> None:
    """Write (or add) a band along columns of x, (r, w), to out, (r, w')."""
    for b, start in enumerate(range(0, out.shape[1], band.rows)):
        target = out[:, start : start + band.rows]
        first = b * band.hop + band.offset
        low, high = max(first, 0), min(first + band.window, x.shape[1])
        if high <= low:  # wholly on the zeros outside
            if not add:
                target.zero_()
            continue
        matrix = band.matrix[: target.shape[1], low - first : high - first].T
        if add:
            torch.addmm(target, x[:, low:high], matrix, out=target)
        else:
            torch.mm(x[:, low:high], matrix, out=target)
