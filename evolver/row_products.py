"""Products of a batch with a matrix, one row of the batch at a time, on a processor.

Knows tensors. Knows nothing of networks or images.

A library multiplies a few rows at once, and what is left over with other instructions, which
add in another order: of eight rows, processors without AVX-512 round the last two unlike the
first six (measured, of MKL's AVX2 kernels), so that a row's result depends on its place. Rows
that are multiplied one by one, each from memory of the same alignment, go one way.
Convolutions need nothing: measured, they come out alike at every place of a batch.
"""
# pyright: basic

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F  # noqa: N812  the name every torch user knows it by
from torch.overrides import TorchFunctionMode

from evolver import torch_forks  # noqa: F401  for forked processes, from here on

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_PRODUCTS = frozenset(
    {F.linear, torch.matmul, torch.mm, torch.Tensor.matmul, torch.Tensor.mm}
    | {torch.Tensor.__matmul__}
)


def row_by_row(device: torch.device, rows: int) -> AbstractContextManager[Any]:
    """Return a context in which a batch of `rows` is multiplied a row at a time.

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
        # Cloned: every row then begins where memory is aligned.
        return torch.cat([func(row.clone(), *others, **kwargs) for row in batch.split(1)])

    def _is_batch(self, left: Any, right: Any) -> bool:  # noqa: ANN401  tensors or not
        return left.dim() >= 2 and len(left) == self._rows and right.dim() <= 2
