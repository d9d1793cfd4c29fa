"""Networks without numbers, into which weights are put.

Modules fill themselves with random numbers when they are made, and then all are replaced. On
torch's `meta` device there are none; but some of its fills first import a compiler, which takes
seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_OF_NUMBERS = {
    "uniform_",
    "normal_",
    "trunc_normal_",
    "kaiming_uniform_",
    "kaiming_normal_",
    "xavier_uniform_",
    "xavier_normal_",
    "orthogonal_",
    "normalize",
}
"""What changes numbers alone, of `torch.Tensor`, `nn.init` and `nn.functional`."""


class _NoNumbers(TorchFunctionMode):
    """Leaves tensors as they are where they would be filled, or brought to a norm."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  whatever the function returns
        del types
        given = dict(kwargs or {})
        if getattr(func, "__name__", "") in _OF_NUMBERS:
            return args[0] if args else given["tensor"]
        return func(*args, **given)


@contextmanager
def without_numbers() -> Generator[None]:
    """Have modules made on the `meta` device, for `evolver.weights.read.fill`."""
    with torch.device("meta"), _NoNumbers():
        yield
