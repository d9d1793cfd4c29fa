"""torch, typed: the few calls whose types torch leaves open, each behind a name with types.

Knows tensors. Knows nothing of networks, files or images. Generators, weights and scorers call
these instead of torch's own, so that their code is checked strictly.
"""
# pyright: basic, reportCallIssue=false
# That is what this file is for: torch types these calls as unknown, or leaves them out.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

_M = TypeVar("_M", bound=torch.nn.Module)


def submodules(net: torch.nn.Module) -> list[tuple[str, Any]]:
    """Return a module's parts with their names, itself first, called ""."""
    return list(net.named_modules())


def vector_norm(
    x: torch.Tensor, *, dim: int | None = None, keepdim: bool = False
) -> torch.Tensor:
    """Return Euclidean lengths along `dim`, or of all numbers together when None."""
    return torch.linalg.vector_norm(x, dim=dim, keepdim=keepdim)


def symmetric_eigen(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return eigenvalues (d,), ascending, and eigenvectors (d, d), of a symmetric matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return values, vectors


def hartley(x: torch.Tensor) -> torch.Tensor:
    """Return sums of plane gratings, cos + sin, orthonormal, over the last two dimensions.

    The Hartley transform of (..., h, w), which is its own inverse.
    """
    waves = torch.fft.fft2(x, norm="ortho")
    return waves.real - waves.imag


def channels_last(net: _M) -> _M:
    """Lay a network's weights out in the order that wide registers like; return the network."""
    return net.to(memory_format=torch.channels_last)


def applied(function: type[torch.autograd.Function], *inputs: object) -> torch.Tensor:
    """Return what a function with derivatives of its own makes of its inputs."""
    return function.apply(*inputs)


def seed_torch(seed: int) -> None:
    """Seed torch's own random stream, which initial weights and dropout draw from."""
    torch.manual_seed(seed)


def descend(
    loss: torch.Tensor,
    optimizer: torch.optim.Optimizer,
    *,
    clipped: Iterable[torch.Tensor] = (),
    longest: float = 2.0,
) -> None:
    """Take one step down a loss.

    Parameters
    ----------
    loss : one number, with a slope
    optimizer : holds what is moved
    clipped : parameters whose slope, of all together, is shortened where it is too long
    longest : length that their slope may have
    """
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(list(clipped), longest)
    optimizer.step()
