"""The generator of `upconv` with a first layer of full rank that has DeePSim's spectrum.

Knows tensors. In `upconv` with narrow layers a code is seen through 512 of 4096 directions, so
that a search in 4096 dimensions spends seven eighths of its length on nothing. Here the linear
layers are as wide as DeePSim's, and the first has its published spectrum: of the metric of
DeePSim's images, 99, 99.9 and 99.99 % lie in 297, 502 and 758 directions (Wang & Ponce, ICLR
2021). Between those points the energy that is left falls exponentially, beyond them as a power:
neither is published.

The linear layers are products of Hadamard matrices, signs and permutations (as in Yu et al.,
NeurIPS 2016), which mix all coordinates as random rotations do, at a hundredth of the cost. The
layers after the first keep lengths, so that the spectrum is the first layer's.
"""
# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false
# torch types the buffers of a Module as Tensor or Module.

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.linalg import hadamard
from scipy.optimize import brentq
from torch import nn

from benchmarks.optimizers import upconv

if TYPE_CHECKING:
    from evolver.generators.frozen import FrozenGenerator
    from evolver.types import Vector

PUBLISHED = ((297, 0.99), (502, 0.999), (758, 0.9999))
"""So many directions hold so much of the metric."""
_PREFIX = "upconv-full/"
_CHANNELS = 256  # of the first map, as DeePSim's: fewer would be a bottleneck


def width_of(name: str) -> int | None:
    """Return the width in "upconv-full/WIDTH"; None for another name.

    Raises
    ------
    ConfigError
        The channels cannot be divided by it.
    """
    if not name.startswith(_PREFIX):
        return None
    return upconv.width_of(f"upconv/{name.removeprefix(_PREFIX)}")


def load_full_rank(width: int, *, device: str) -> FrozenGenerator:
    """Return the generator, its maps with 1/`width` of the channels, on a device."""
    random = torch.Generator().manual_seed(1)
    scale = (upconv.D * upconv.KEEPS * torch.from_numpy(spectrum())).sqrt().float()
    keep = torch.full((upconv.D,), upconv.KEEPS**0.5)
    linear: list[nn.Module] = [Mixing(gains, random) for gains in (scale, keep, keep)]
    net = upconv.Net(width, linear, _CHANNELS)
    return upconv.finished(f"{_PREFIX}{width}", net, device=device)


def spectrum() -> Vector:
    """Return the share of the metric in each of 4096 directions, (4096,), largest first."""
    knots = [(0, 1.0), *((k, 1 - share) for k, share in PUBLISHED)]
    last, rest = knots[-1]
    ks, left = (np.array(values, dtype=np.float64) for values in zip(*knots, strict=True))
    shares = -np.diff(np.exp(np.interp(np.arange(last + 1), ks, np.log(left))))
    tail = np.arange(last + 1, upconv.D + 1) / last

    def surplus(power: float) -> float:
        return float(shares[-1] * np.sum(tail**-power) - rest)

    power = float(brentq(surplus, 1.0, 100.0, xtol=1e-12))
    return np.concatenate([shares, shares[-1] * tail**-power])


class Mixing(nn.Module):
    """(n, d) to (n, d): a rotation, a gain for each coordinate, another rotation.

    Parameters
    ----------
    gains : (d,), the singular values; d a power of two
    random : draws the rotations
    """

    def __init__(self, gains: torch.Tensor, random: torch.Generator) -> None:
        super().__init__()
        d = len(gains)
        self.register_buffer("gains", gains)
        for name in ("before", "after"):
            signs = torch.randint(0, 2, (2, d), generator=random).float() * 2 - 1
            self.register_buffer(f"signs_{name}", signs)
            self.register_buffer(f"order_{name}", torch.randperm(d, generator=random))
        rows = 2 ** (d.bit_length() // 2)
        self.register_buffer("left", _hadamard(rows), persistent=False)
        self.register_buffer("right", _hadamard(d // rows), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the layer makes of codes."""
        turned = self.rotated(x, "before")
        return self.rotated(turned * self.gains, "after")

    def rotated(self, x: torch.Tensor, which: str) -> torch.Tensor:
        """Return codes, (n, d), rotated as before or after the gains."""
        first, second = self.get_buffer(f"signs_{which}")
        x = self._all_with_all(x * first)[:, self.get_buffer(f"order_{which}")]
        return self._all_with_all(x * second)

    def _all_with_all(self, x: torch.Tensor) -> torch.Tensor:
        """Return the product with the Hadamard matrix of d, as two products with small ones.

        That of a x b coordinates is one of a times one of b. Each code is a product by itself,
        so that its numbers do not depend on those beside it (see `evolver.row_products`).
        """
        n, d = x.shape
        left, right = self.get_buffer("left"), self.get_buffer("right")
        maps = torch.bmm(x.reshape(n, len(left), -1), right.expand(n, -1, -1))
        return torch.bmm(left.expand(n, -1, -1), maps).reshape(n, d) / d**0.5


def _hadamard(size: int) -> torch.Tensor:
    """Return the Hadamard matrix of a power of two, (size, size), of 1 and -1."""
    return torch.from_numpy(hadamard(size)).float()
