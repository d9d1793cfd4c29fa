"""Products of a batch with a matrix in which a row's result does not depend on its place.

Knows tensors. Knows nothing of networks or images.

A library multiplies a few rows at once, and what is left over with other instructions, which
add in another order: of eight rows, processors without AVX-512 round the last two unlike the
first six (measured, of MKL's AVX2 kernels), so that a row's result depends on its place. Which
shapes do so is asked of the machine, once for each: a batch of equal rows must come out as
equal rows, and the same from any number of threads. Where it does, the order of adding is the
same, whatever the numbers are, and the batch is multiplied as it is; else its rows one by one,
each from memory of the same alignment. Convolutions need nothing: measured, they come out alike
at every place of a batch.
"""
# pyright: basic

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F  # noqa: N812  the name every torch user knows it by
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_ALIGNMENT = 64  # bytes, of what torch allocates
_THREADS = (1, 2, 4, 8)
_alike: dict[tuple[object, ...], bool] = {}
"""By shape of a product: whether equal rows come out equal at every place."""
_PRODUCTS = frozenset(
    {F.linear, torch.matmul, torch.mm, torch.Tensor.matmul, torch.Tensor.mm}
    | {torch.Tensor.__matmul__}
)


def row_by_row(device: torch.device, rows: int) -> AbstractContextManager[Any]:
    """Return a context in which products of a batch of `rows` are alike at every place.

    Of products written in Python, `linear`, `matmul` and ``@``; what TorchScript has compiled
    is left as it is. On other devices than a processor, and for one row, nothing changes.

    Parameters
    ----------
    device : where the batch is
    rows : how many rows, or images, the first factor of such a product has
    """
    if device.type != "cpu" or rows == 1:
        return nullcontext()
    return _RowByRow(rows)


class _RowByRow(TorchFunctionMode):
    def __init__(self, rows: int) -> None:
        super().__init__()
        self._rows = rows

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  whatever the function returns
        kwargs = kwargs or {}
        if func not in _PRODUCTS or len(args) < 2 or not self._is_batch(*args[:2]):
            return func(*args, **kwargs)
        batch, *others = args
        if _come_out_alike(func, batch, others, kwargs):
            return func(*args, **kwargs)
        # Cloned: every row then begins where memory is aligned.
        return torch.cat([func(row.clone(), *others, **kwargs) for row in batch.split(1)])

    def _is_batch(self, left: Any, right: Any) -> bool:  # noqa: ANN401  tensors or not
        return left.dim() >= 2 and len(left) == self._rows and right.dim() <= 2


def _come_out_alike(
    func: Callable[..., Any],
    batch: torch.Tensor,
    others: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> bool:
    """Whether a product gives a row the same result at every place of the batch.

    Only the order in which products are added can differ, and it follows from shapes, strides,
    alignment and the number of threads.
    """
    matrix = others[0]
    aligned = batch.data_ptr() % _ALIGNMENT == matrix.data_ptr() % _ALIGNMENT == 0
    if not (aligned and batch.is_contiguous() and batch.is_floating_point()):
        return False
    key = (
        func,
        batch.dtype,
        tuple(batch.shape),
        tuple(matrix.shape),
        matrix.stride(),
        len(others) + len(kwargs),
    )
    if key not in _alike:
        if 2 * int(torch.count_nonzero(matrix)) < matrix.numel():
            return False  # too few numbers are added to see in which order
        rng = torch.Generator().manual_seed(0)
        row = torch.randn(batch[:1].shape, generator=rng, dtype=batch.dtype)
        equal_rows = row.expand_as(batch).contiguous()
        before = torch.get_num_threads()
        try:
            outs: list[torch.Tensor] = []
            for threads in _THREADS:
                torch.set_num_threads(threads)
                outs.append(func(equal_rows, *others, **kwargs))
        finally:
            torch.set_num_threads(before)
        _alike[key] = all(bool((out == outs[0][:1]).all()) for out in outs)
    return _alike[key]
