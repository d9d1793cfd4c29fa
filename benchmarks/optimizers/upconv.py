"""A generator of DeePSim's architecture (Dosovitskiy & Brox 2016, fc6) with seeded weights.

Knows tensors. Stands in for the trained network where its weights are not at hand: 4096
dimensions in, 256 pixels out, the same layers, with 1/width of their channels. What training
would give is put in by hand: a spectrum that falls (the first layer's rows, as 1/sqrt(k)),
smooth kernels (a bilinear one for each pair of channels, and noise), and no common offset.
"""
# pyright: basic, reportCallIssue=false, reportArgumentType=false
# torch types the children of a Module as Tensor or Module.

from __future__ import annotations

import hashlib
import re
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  the name every torch user knows it by

from evolver.errors import ConfigError
from evolver.generators.deepsim import CODE_SCALE
from evolver.generators.frozen import FrozenGenerator
from evolver.windows import FilterShape, Window

D, IMAGE_SIZE = 4096, 256
_SLOPE = 0.3  # of LeakyReLU below zero
KEEPS = 2 / (1 + _SLOPE**2)
"""Times as large a variance goes through a LeakyReLU and is as it was."""
_SMOOTH = 0.8  # share of the smooth part in a kernel's standard deviation
_NORM, _CONTRAST = 300.0, 50.0  # codes of this norm give pixels of this standard deviation
_GREY = 117.0
_NAME = re.compile(r"upconv/(\d{1,3})", re.ASCII)


class Net(nn.Module):
    """(n, 4096) codes to (n, 3, 256, 256) in [0, 1].

    Parameters
    ----------
    width : the maps have 1/width of the architecture's channels
    linear : layers from a code to the first map; those of the architecture, narrow, when None
    first : channels of the first map; narrow when None
    """

    def __init__(
        self, width: int, linear: list[nn.Module] | None = None, first: int | None = None
    ) -> None:
        super().__init__()
        # Channels in and out; 4: doubles the map, 3: leaves it.
        maps = [
            (256, 256, 4),
            (256, 512, 3),
            (512, 256, 4),
            (256, 256, 3),
            (256, 128, 4),
            (128, 128, 3),
            (128, 64, 4),
            (64, 32, 4),
            (32, 3, 4),
        ]

        def narrow(channels: int) -> int:
            return channels // width

        if linear is None:
            sizes = [D, narrow(4096), narrow(4096), narrow(4096)]
            linear = [nn.Linear(i, o) for i, o in pairwise(sizes)]
        parts: list[nn.Module] = []
        for layer in linear:
            parts += [layer, nn.LeakyReLU(_SLOPE)]
        channels = narrow(256) if first is None else first
        parts.append(nn.Unflatten(1, (channels, 4, 4)))
        for _, outputs, size in maps:
            o = outputs if outputs == 3 else narrow(outputs)
            stride = 2 if size == 4 else 1
            parts.append(nn.ConvTranspose2d(channels, o, size, stride, padding=1))
            parts.append(nn.LeakyReLU(_SLOPE))
            channels = o
        self.layers = nn.Sequential(*parts[:-1])  # the last has no rectification
        self.gain = 1.0

    def first_weights(self) -> list[torch.Tensor]:
        """Return the weights that a code meets first, (outputs, 4096)."""
        first = self.layers[0]
        if isinstance(first, nn.Linear):
            return [first.weight]
        with torch.no_grad():  # of a linear layer that has none: what it makes of each axis
            return [first(torch.eye(D, device=next(self.parameters()).device)).T]

    def raw(self, z: torch.Tensor) -> torch.Tensor:
        """Return the last layer's output, around 0."""
        return self.layers(z)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Return images, (n, 3, 256, 256) in [0, 1]."""
        return self.part(z, Window.whole(IMAGE_SIZE))

    def part(self, z: torch.Tensor, window: Window) -> torch.Tensor:
        """Return that part of images, (n, 3, h, w) in [0, 1]: theirs, but for rounding."""
        first = next(k for k, part in enumerate(self.layers) if isinstance(part, nn.Unflatten))
        steps: list[tuple[nn.ConvTranspose2d, FilterShape, Window, Window]] = []
        size = IMAGE_SIZE
        for layer in reversed(self.layers[first + 1 :]):  # from the image back
            if isinstance(layer, nn.ConvTranspose2d):
                geometry = FilterShape(*layer.kernel_size[:1], *layer.stride[:1], 1, True)
                size //= geometry.stride
                before = geometry.needs(window, size)
                steps.append((layer, geometry, before, window))
                window = before
        x = window.of(self.layers[: first + 1](z))
        for i, (layer, geometry, has, wanted) in enumerate(reversed(steps)):
            x = geometry.apply(x, has, wanted, layer.weight, layer.bias)
            x = x if i == len(steps) - 1 else F.leaky_relu(x, _SLOPE)
        return self._pixels(x)

    def _pixels(self, raw: torch.Tensor) -> torch.Tensor:
        # In place: what takes time here is memory, new memory most.
        return (raw * self.gain).add_(_GREY).clamp_(0, 255).div_(255)


def width_of(name: str) -> int | None:
    """Return the width in "upconv/WIDTH"; None for another name.

    Raises
    ------
    ConfigError
        The channels cannot be divided by it.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    width = int(match[1])
    if width not in {1, 2, 4, 8, 16}:
        raise ConfigError(f"upconv's width must be 1, 2, 4, 8 or 16; got {width}")
    return width


def load_upconv(width: int, *, device: str) -> FrozenGenerator:
    """Return the generator with 1/`width` of the channels, on a device."""
    return finished(f"upconv/{width}", Net(width), device=device)


@torch.no_grad()
def finished(name: str, net: Net, *, device: str) -> FrozenGenerator:
    """Fill a network with its seeded weights and set its contrast; return the generator."""
    random = torch.Generator().manual_seed(0)
    for k, layer in enumerate(net.layers):
        if isinstance(layer, nn.Linear):
            _fill_linear(layer, random, falling=k == 0)
        elif isinstance(layer, nn.ConvTranspose2d):
            _fill_map(layer, random)
    z = torch.randn((16, D), generator=random)
    z *= _NORM / z.norm(dim=1, keepdim=True)
    # To three digits, so that it is the same number on every machine.
    net.gain = float(f"{_CONTRAST / float(net.raw(z).std()):.3g}")
    digest = hashlib.sha256(f"{name.replace('/', ' ')} {net.gain}".encode())
    for value in net.state_dict().values():
        digest.update(value.numpy().tobytes())
    return FrozenGenerator(
        name,
        net,
        d=D,
        image_size=IMAGE_SIZE,
        sha256=digest.hexdigest(),
        device=torch.device(device),
        code_scale=CODE_SCALE,
    )


def _spread(inputs: float) -> float:
    """Return the standard deviation of weights that keep the size of their inputs."""
    return (KEEPS / inputs) ** 0.5


def _fill_linear(layer: nn.Linear, random: torch.Generator, *, falling: bool) -> None:
    nn.init.normal_(layer.weight, 0, _spread(layer.in_features), generator=random)
    nn.init.zeros_(layer.bias)
    if falling:
        size = torch.arange(1, layer.out_features + 1) ** -0.5
        layer.weight *= (size / size.square().mean().sqrt())[:, None]


def _fill_map(layer: nn.ConvTranspose2d, random: torch.Generator) -> None:
    inputs, outputs, size, _ = layer.weight.shape
    line = torch.tensor([1.0, 3, 3, 1] if size == 4 else [1.0, 2, 1])
    bilinear = torch.outer(line, line)
    bilinear *= size / bilinear.norm()
    smooth = torch.randn((inputs, outputs, 1, 1), generator=random) * bilinear
    rough = torch.randn((inputs, outputs, size, size), generator=random)
    weight = _SMOOTH * smooth + (1 - _SMOOTH**2) ** 0.5 * rough
    # Without the mean over inputs, what all channels share (a rectified one is above 0) goes.
    weight -= weight.mean(dim=0, keepdim=True)
    layer.weight.copy_(weight * _spread(inputs * size**2 / layer.stride[0] ** 2))
    nn.init.zeros_(layer.bias)
