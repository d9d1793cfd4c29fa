"""DeePSim: images from the layers of CaffeNet, after Dosovitskiy & Brox (2016).

Knows nine networks, one a layer they invert, and how their output becomes pixels. Knows nothing
of how a file comes to this machine (`hub`), of scores or of seeds. `fc6` is the generator that
most evolutions for neurons have used.

Source: A. Dosovitskiy and T. Brox, "Generating images with perceptual similarity metrics based
on deep networks", NeurIPS 2016; the weights as the field uses them, converted from Caffe.
"""

from __future__ import annotations

import math
import re
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  the name every torch user knows it by

from evolver.generators.frozen import FrozenGenerator
from evolver.generators.scale import CodeScale
from evolver.tensors import channels_last
from evolver.weights import hub
from evolver.weights.outlines import without_numbers
from evolver.weights.read import (
    TensorsDifferError,
    TensorTable,
    chosen_device,
    fill,
    fitted,
    read_weight_file,
)

if TYPE_CHECKING:
    from pathlib import Path

_SLOPE = 0.3  # of LeakyReLU below zero
# As the field runs it; codes grow to norms of 300 to 430.
CODE_SCALE = CodeScale(step=3.0, norm=None, rate=0.1)
_MEAN = (123.0, 117.0, 104.0)  # RGB grey levels that the network's training subtracted

# Name, module, channels in and out, kernel, stride, padding.
_Layer = tuple[str, type[nn.Module], int, int, int, int, int]


def _conv(name: str, cin: int, cout: int, k: int = 3, s: int = 1, p: int = 1) -> _Layer:
    return name, nn.Conv2d, cin, cout, k, s, p


def _up(name: str, cin: int, cout: int) -> _Layer:
    """Transposed convolution that doubles the map."""
    return name, nn.ConvTranspose2d, cin, cout, 4, 2, 1


def _flat(name: str, cin: int, cout: int) -> _Layer:
    """Transposed convolution that keeps the map's size."""
    return name, nn.ConvTranspose2d, cin, cout, 3, 1, 1


_FROM_5 = (
    _flat("conv5_1", 256, 512),
    _up("deconv4", 512, 256),
    _flat("conv4_1", 256, 256),
    _up("deconv3", 256, 128),
    _flat("conv3_1", 128, 128),
    _up("deconv2", 128, 64),
    _up("deconv1", 64, 32),
    _up("deconv0", 32, 3),
)
_FC = (_up("deconv5", 256, 256), *_FROM_5)
_POOL5 = (
    _conv("Rconv6", 256, 512),
    _conv("Rconv7", 512, 512),
    _conv("Rconv8", 512, 512, p=0),
    _up("deconv5", 512, 256),
    *_FROM_5,
)
_CONV = (
    _conv("Rconv6", 384, 384, p=0),
    _conv("Rconv7", 384, 512, p=0),
    _conv("Rconv8", 512, 512, k=2, p=0),
    _up("deconv5", 512, 256),
    _flat("conv5_1", 256, 256),
    _up("deconv4", 256, 128),
    _flat("conv4_1", 128, 128),
    _up("deconv3", 128, 128),
    _flat("conv3_1", 128, 128),
    _up("deconv2", 128, 64),
    _conv("conv2_1", 64, 32),
    _up("deconv1", 32, 16),
    _conv("conv1_1", 16, 3),
)
_FROM_NORM = (
    _conv("Rconv8", 128, 128),
    _up("deconv4", 128, 128),
    _conv("conv4_1", 128, 128),
    _up("deconv3", 128, 64),
    _conv("conv3_1", 64, 64),
    _up("deconv2", 64, 32),
    _conv("conv2_1", 32, 32),
    _up("deconv1", 32, 16),
    _conv("conv1_1", 16, 3),
)
_NORM1 = (_conv("Rconv6", 96, 128, s=2, p=2), _conv("Rconv7", 128, 128), *_FROM_NORM)
_NORM2 = (_conv("Rconv6", 256, 256, p=2), _conv("Rconv7", 256, 128), *_FROM_NORM)

_CODES = {
    "fc6": (4096,),
    "fc6_eucl": (4096,),
    "fc7": (4096,),
    "fc8": (1000,),
    "pool5": (256, 6, 6),
    "conv3": (384, 13, 13),
    "conv4": (384, 13, 13),
    "norm1": (96, 27, 27),
    "norm2": (256, 13, 13),
}
VARIANTS = tuple(_CODES)
"""The layers there is a network for: ``deepsim-fc6`` is the one of fc6."""

_MAPS = {
    "pool5": _POOL5, "conv3": _CONV, "conv4": _CONV, "norm1": _NORM1, "norm2": _NORM2,
}  # fmt: skip


class DeepSimNet(nn.Module):
    """One of the nine networks.

    Parameters
    ----------
    variant : one of `VARIANTS`
    """

    mean: torch.Tensor
    """(1, 3, 1, 1) RGB grey levels."""

    def __init__(self, variant: str) -> None:
        super().__init__()
        self.code = _CODES[variant]
        self.d = math.prod(self.code)
        self.image_size = 240 if variant.startswith("norm") else 256
        self._linear = len(self.code) == 1
        if self._linear:
            self.defc7 = nn.Linear(self.d, 4096)
            self.defc6, self.defc5 = nn.Linear(4096, 4096), nn.Linear(4096, 4096)
        layers = _MAPS.get(variant, _FC)
        self._names = tuple(layer[0] for layer in layers)
        for name, kind, *sizes in layers:
            self.add_module(name, kind(*sizes))
        # Passed on as computed: the last layer's output, and deconv1's before norm's last.
        self._bare = {self._names[-1]}
        if variant.startswith("norm"):
            self._bare.add("deconv1")
        self._squashed = self._names[-1] == "conv1_1"
        mean = torch.tensor(_MEAN, device="cpu").view(1, 3, 1, 1)
        self.register_buffer("mean", mean, persistent=False)

    def raw(self, z: torch.Tensor) -> torch.Tensor:
        """Turn codes (n, d) into grey levels less the mean, (n, 3, h, w), RGB, unbounded."""
        x = z
        if self._linear:
            for linear in (self.defc7, self.defc6, self.defc5):
                x = F.leaky_relu(linear(x), _SLOPE)
        x = x.view(-1, *((256, 4, 4) if self._linear else self.code))
        # The same sums in the order that wide registers like; pixels move by some 1e-6.
        x = x.contiguous(memory_format=torch.channels_last)
        for name in self._names:
            x = self.get_submodule(name)(x)
            if name not in self._bare:
                x = F.leaky_relu(x, _SLOPE)
        if self._squashed:
            x = torch.tanh(x) * 255
        return x[:, [2, 1, 0]]

    def first_weights(self) -> list[torch.Tensor]:
        """Return the weights that a code meets first; none where codes are maps."""
        return [self.defc7.weight] if self._linear else []

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Turn codes (n, d) into images (n, 3, h, w), 0 to 1."""
        return (self.raw(z) + self.mean).clamp(0, 255) / 255


def load_deepsim(
    variant: str,
    *,
    weights: str | Path | None = None,
    device: str = "cpu",
    chunk: int = 8,
    revision: str | None = None,
    sha256: str | None = None,
    entry: str | None = None,
) -> FrozenGenerator:
    """Load ``deepsim-VARIANT``.

    Parameters
    ----------
    variant : one of `VARIANTS`
    weights : a file (`.pt`, `.safetensors`), or ``repo:file`` on the Hub; the field's own when
        None
    device : a torch device, "cpu" or "cuda:0"
    chunk : images drawn at once; bounds memory
    revision : commit, tag or branch on the Hub
    sha256 : the digest the file must have
    entry : the place of the weights in a checkpoint that holds several networks, as "g_ema"

    Raises
    ------
    ConfigError
        An option or the device does not exist.
    WeightsError
        The file is missing, cannot be fetched, or is not of this network.
    """
    name = f"deepsim-{variant}"
    target = chosen_device(device)
    location = hub.find_weights(name, weights, revision=revision)
    file = read_weight_file(location.path, sha256=sha256 or location.sha256)
    net = fitted(file, partial(deepsim_net, variant, path=location.path), entry=entry)
    return FrozenGenerator(
        name,
        channels_last(net),
        d=net.d,
        image_size=net.image_size,
        sha256=file.sha256,
        device=target,
        chunk=chunk,
        code_scale=CODE_SCALE,
    )


def deepsim_net(variant: str, tensors: TensorTable, *, path: Path) -> DeepSimNet:
    """Return the network of a variant with these weights; raises as `fill`."""
    with without_numbers():
        net = DeepSimNet(variant)
    fill(net, deepsim_names(tensors, path=path), path=path)
    return net


def deepsim_names(tensors: TensorTable, *, path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors named as `DeepSimNet` does: ``defc7.1.weight`` is ``defc7.weight``.

    Raises
    ------
    WeightsError
        Two names become one.
    """
    plain = {re.sub(r"\.1\.(weight|bias)$", r".\1", name): v for name, v in tensors.items()}
    if len(plain) != len(tensors):
        raise TensorsDifferError(
            f"{path} must name each tensor once; it has some with and without .1.",
            differing=len(tensors) - len(plain),
        )
    return plain


fc6 = partial(load_deepsim, "fc6")
fc6_eucl = partial(load_deepsim, "fc6_eucl")
fc7 = partial(load_deepsim, "fc7")
fc8 = partial(load_deepsim, "fc8")
pool5 = partial(load_deepsim, "pool5")
conv3 = partial(load_deepsim, "conv3")
conv4 = partial(load_deepsim, "conv4")
norm1 = partial(load_deepsim, "norm1")
norm2 = partial(load_deepsim, "norm2")
