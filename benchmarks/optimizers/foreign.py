"""Neurons that share nothing with what the generator was trained on.

Knows tensors and reference images. The built-in generators invert the built-in network, so
that a unit of that network likes what they draw. These do not know each other:

surround   sums of oriented energy, divided by the energy around them (after Cavanaugh, Bair &
           Movshon, J. Neurophysiol. 88, 2002): what counts is where contrast is, not how much
deep       units of six random convolutions, each channel standardised over reference images
residual   units of random residual blocks with large kernels and a saturating nonlinearity

All see 64 x 64 pixels. ``module:factory@NUMBER`` names a unit: even numbers are of the set to
tune on, odd ones of the set held apart.
"""
# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false
# torch types the buffers of a Module as Tensor or Module.

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  the name every torch user knows it by

from evolver.errors import ConfigError
from evolver.row_products import row_by_row
from scorers.mini import reference_images
from scorers.networks.preprocessing import resized

if TYPE_CHECKING:
    from collections.abc import Callable

    from evolver.types import Images, Responses, Vector

KINDS = ("surround", "deep", "residual")
_SIZE = 64  # pixels
_REFERENCES, _REFERENCE_SEED = 400, 20_260_102
_CHUNK = 8
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_MOST = 10_000  # units of a kind


def units(set_name: str, n: int) -> list[str]:
    """Return the names of `n` units of a set, the kinds in turn."""
    odd = int(set_name != "training")
    return [f"{__name__}:{KINDS[k % 3]}@{2 * (k // 3) + odd}" for k in range(n)]


class ForeignUnit:
    """One unit, as `benchmarks.optimizers.worlds` wants it.

    Parameters
    ----------
    name : of its kind, with its number
    net : (n, 3, 64, 64) in [0, 1] to (n, features)
    readout : (features,), weights of the unit
    device : of both
    """

    def __init__(
        self, name: str, net: nn.Module, readout: torch.Tensor, device: torch.device
    ) -> None:
        self.unit_names = (name,)
        self._net, self._device = net, device
        self._readout = readout.to(device)
        digest = hashlib.sha256(name.encode())
        for value in (*net.state_dict().values(), readout):
            digest.update(value.cpu().numpy().tobytes())
        self.sha256 = digest.hexdigest()

    def responses(self, x: torch.Tensor) -> torch.Tensor:
        """Differentiable: images, (n, 3, h, w) in [0, 1], to responses, (n, 1)."""
        features = self._net(resized(x.to(self._device), (_SIZE, _SIZE)))
        return F.linear(features, self._readout[None])

    @torch.inference_mode()
    def score(self, images: Images) -> Responses:
        """Return responses, (n, 1), of images, (n, h, w, 3) uint8."""
        told = np.empty((len(images), 1))
        for first in range(0, len(images), _CHUNK):
            part = images[first : first + _CHUNK]
            x = torch.zeros((_CHUNK, 3, *part.shape[1:3]))
            x[: len(part)] = torch.from_numpy(part.astype(np.float32)).permute(0, 3, 1, 2) / 255
            with row_by_row(self._device, _CHUNK):
                answers = self.responses(x.to(self._device))
            told[first : first + len(part)] = answers.cpu().numpy()[: len(part)]
        return told

    @property
    def reference_quantiles(self) -> dict[str, Vector]:
        """Responses to reference images: "p50" and "p99", each (1,)."""
        features = _of_references(self.unit_names[0].partition(" ")[0], str(self._device))
        told = (features @ self._readout).cpu().numpy().astype(np.float64)
        return {f"p{q}": np.percentile(told, [q]) for q in (50, 99)}


def surround(argument: str, *, device: str) -> ForeignUnit:
    """Return a unit that sums oriented energy, normalised by what is around it."""
    random, name = _drawn("surround", argument)
    orientations = len(_net("surround", device).first)
    # A few features at a few places near the middle, most of them with a positive weight.
    readout = torch.zeros((orientations, 8, 8))
    for _ in range(6):
        k = int(torch.randint(0, orientations, (1,), generator=random))
        row, column = torch.randint(2, 6, (2,), generator=random).tolist()
        sign = 1.0 if float(torch.rand(1, generator=random)) < 0.75 else -1.0
        readout[k, row, column] += sign * (0.5 + float(torch.rand(1, generator=random)))
    return ForeignUnit(name, _net("surround", device), readout.flatten(), torch.device(device))


def deep(argument: str, *, device: str) -> ForeignUnit:
    """Return a unit of random convolutions."""
    return _read_at_random("deep", argument, device)


def residual(argument: str, *, device: str) -> ForeignUnit:
    """Return a unit of random residual blocks."""
    return _read_at_random("residual", argument, device)


def _read_at_random(kind: str, argument: str, device: str) -> ForeignUnit:
    random, name = _drawn(kind, argument)
    features = _of_references(kind, device).shape[1]
    readout = torch.randn(features, generator=random) / features**0.5
    return ForeignUnit(name, _net(kind, device), readout, torch.device(device))


def _drawn(kind: str, argument: str) -> tuple[torch.Generator, str]:
    """Return what draws a unit, and its name."""
    if not (argument.isascii() and argument.isdecimal() and int(argument) < _MOST):
        raise ConfigError(f"{kind} units have numbers 0 to {_MOST - 1}; got {argument!r}")
    random = torch.Generator().manual_seed(_MOST * KINDS.index(kind) + int(argument))
    return random, f"{kind} {int(argument)}"


@lru_cache(maxsize=6)
def _net(kind: str, device: str) -> nn.Module:
    """Return the network of a kind, the same for all units of it."""
    make: dict[str, Callable[[], nn.Module]] = {
        "surround": Surround,
        "deep": Deep,
        "residual": Residual,
    }
    net = make[kind]().eval().requires_grad_(False)
    return net.to(torch.device(device))


@lru_cache(maxsize=1)
def _references() -> torch.Tensor:
    images = reference_images(_REFERENCES, seed=_REFERENCE_SEED)
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


@lru_cache(maxsize=6)
@torch.inference_mode()
def _of_references(kind: str, device: str) -> torch.Tensor:
    """Return the features of reference images, (n, features)."""
    x = _references().to(device)
    return torch.cat([_net(kind, device)(part) for part in x.split(_CHUNK)])


class Surround(nn.Module):
    """(n, 3, 64, 64) to (n, 8 * 8 * 8): energy of four orientations and two scales, divided."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.stack([_gabor(k, 9) for k in range(8)]))
        self.second = nn.Parameter(torch.stack([_gabor(k, 9, phase=90.0) for k in range(8)]))
        line = torch.exp(-(torch.arange(-8, 9) ** 2) / (2 * 4.0**2))
        around = torch.outer(line, line)
        self.register_buffer("around", (around / around.sum())[None, None])
        self.register_buffer("luma", torch.tensor(_LUMA)[:, None, None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return normalised energies, flat."""
        grey = (x * self.luma).sum(1, keepdim=True)
        pairs = [F.conv2d(grey, bank[:, None], padding=4) for bank in (self.first, self.second)]
        energy = F.avg_pool2d(pairs[0].square() + pairs[1].square(), 4)
        total = energy.sum(1, keepdim=True)
        divided = energy / (1e-3 + F.conv2d(total, self.around, padding=8))
        return F.avg_pool2d(divided, 2).flatten(1)


def _gabor(k: int, size: int, *, phase: float = 0.0) -> torch.Tensor:
    """Return a Gabor filter, (size, size), without a mean; k // 4 is its scale."""
    angle, length = np.pi * (k % 4) / 4, (4.0, 7.0)[k // 4]
    y, x = np.mgrid[:size, :size] - size // 2
    along = x * np.cos(angle) + y * np.sin(angle)
    wave = np.cos(2 * np.pi * along / length + np.deg2rad(phase))
    window = np.exp(-(x**2 + y**2) / (2 * (size / 5) ** 2))
    filtered = window * (wave - (window * wave).sum() / window.sum())
    return torch.from_numpy((filtered / np.abs(filtered).sum()).astype(np.float32))


class _Standardised(nn.Module):
    """Random layers, each channel's outputs standardised over reference images, one by one."""

    def _standardise(self, x: torch.Tensor, k: int) -> torch.Tensor:
        mean, sd = x.mean((0, 2, 3), keepdim=True)[0], x.std((0, 2, 3), keepdim=True)[0]
        self.register_buffer(f"mean{k}", mean)
        self.register_buffer(f"sd{k}", sd.clamp(min=1e-6))
        return (x - mean) / sd.clamp(min=1e-6)

    def _again(self, x: torch.Tensor, k: int) -> torch.Tensor:
        return (x - self.get_buffer(f"mean{k}")) / self.get_buffer(f"sd{k}")


def _weights(random: torch.Generator, outputs: int, inputs: int, size: int) -> torch.Tensor:
    return torch.randn((outputs, inputs, size, size), generator=random) / (size * inputs**0.5)


class Deep(_Standardised):
    """(n, 3, 64, 64) to (n, 64): six convolutions, the last in the middle of its map."""

    _shapes = ((24, 3, 2), (32, 24, 1), (48, 32, 2), (48, 48, 1), (64, 48, 2), (64, 64, 1))

    def __init__(self) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(71)
        x = _references()[:64] - 0.5
        for k, (outputs, inputs, stride) in enumerate(self._shapes):
            self.register_buffer(f"weight{k}", _weights(random, outputs, inputs, 3))
            x = F.conv2d(x, self.get_buffer(f"weight{k}"), stride=stride, padding=1)
            x = F.relu(self._standardise(x, k))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the last layer, before its rectification."""
        x = x - 0.5
        for k, (_, _, stride) in enumerate(self._shapes):
            x = F.conv2d(x, self.get_buffer(f"weight{k}"), stride=stride, padding=1)
            x = self._again(x, k)
            if k < len(self._shapes) - 1:
                x = F.relu(x)
        return x[:, :, 3:5, 3:5].mean((2, 3))


class Residual(_Standardised):
    """(n, 3, 64, 64) to (n, 48): four residual blocks, the mean of their last map."""

    def __init__(self) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(72)
        self.register_buffer("stem", _weights(random, 48, 3, 7))
        x = self._standardise(F.conv2d(_references()[:64] - 0.5, self.stem, stride=4), 0)
        for k in range(1, 5):
            self.register_buffer(f"weight{k}", _weights(random, 48, 48, 5))
            inner = F.conv2d(torch.tanh(x), self.get_buffer(f"weight{k}"), padding=2)
            x = x + self._standardise(inner, k)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return each channel's mean over the middle of the last map."""
        x = self._again(F.conv2d(x - 0.5, self.stem, stride=4), 0)
        for k in range(1, 5):
            inner = F.conv2d(torch.tanh(x), self.get_buffer(f"weight{k}"), padding=2)
            x = x + self._again(inner, k)
        return torch.tanh(x[:, :, 4:11, 4:11]).mean((2, 3))
