"""The texture-like network: an up-convolutional inverse of a fully connected layer.

Knows tensors. Knows nothing of pixels as bytes, of scores, or of where weights are kept.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  the name every torch user knows it by

from evolver.tensors import vector_norm
from evolver.windows import FilterShape, Window

_UP, _SAME = FilterShape(4, 2, 1, transposed=True), FilterShape(3, 1, 1)
_LENGTH = 12.0  # code lengths below it pass nearly as they are; larger ones grow as logarithms


class TextureNet(nn.Module):
    """Turns 256 numbers into an image, after Dosovitskiy & Brox (2016), small.

    Three linear layers, then transposed convolutions that each double the map, with ordinary
    ones between; LeakyReLU(0.3) throughout. A code's length is compressed first, asinh-wise, so
    that codes of length 16 (standard normal) and of length 100 (late in an evolution) both land
    where the network was trained; direction, and the order of lengths, are kept.
    """

    d = 256
    code_mean: torch.Tensor
    """(256,) of the inverted layer's outputs over scenes."""
    code_matrix: torch.Tensor
    """(256, 256), what makes their variance 1 in every direction."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("code_mean", torch.zeros(256))
        identity = torch.zeros(256, 256).fill_diagonal_(1)  # `torch.eye` may import for seconds
        self.register_buffer("code_matrix", identity)
        self.defc7, self.defc6 = nn.Linear(256, 384), nn.Linear(384, 384)
        self.defc5 = nn.Linear(384, 128 * 4 * 4)
        self.deconv4, self.conv4_1 = _up(128, 128), nn.Conv2d(128, 128, 3, padding=1)
        self.deconv3, self.conv3_1 = _up(128, 64), nn.Conv2d(64, 64, 3, padding=1)
        self.deconv2, self.conv2_1 = _up(64, 48), nn.Conv2d(48, 48, 3, padding=1)
        self.deconv1, self.conv1_1 = _up(48, 12), nn.Conv2d(12, 3, 3, padding=1)

    def encode(self, fc6: torch.Tensor) -> torch.Tensor:
        """Turn outputs of the inverted layer, (n, 256), into codes: centred and whitened."""
        return (fc6 - self.code_mean) @ self.code_matrix

    def first_weights(self) -> list[torch.Tensor]:
        """Return the weights that a code meets first, each (outputs, 256)."""
        return [self.defc7.weight]

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Turn codes (n, 256) into images (n, 3, 64, 64), 0 to 1."""
        x = self._smallest_map(z)
        for k in (4, 3, 2, 1):
            x = F.leaky_relu(self.get_submodule(f"deconv{k}")(x), 0.3)
            x = self.get_submodule(f"conv{k}_1")(x)
            x = F.leaky_relu(x, 0.3) if k > 1 else x
        return torch.sigmoid(x)

    def part(self, z: torch.Tensor, window: Window) -> torch.Tensor:
        """Turn codes (n, 256) into that part of their images, (n, 3, h, w), 0 to 1.

        But for rounding the images' own; maps are worked out as far as it depends on them.
        """
        steps: list[tuple[torch.nn.Module, FilterShape, Window, Window]] = []
        size = 64
        for k in (1, 2, 3, 4):  # from the image back
            before = _SAME.needs(window, size)
            steps.append((self.get_submodule(f"conv{k}_1"), _SAME, before, window))
            size //= 2
            window = _UP.needs(before, size)
            steps.append((self.get_submodule(f"deconv{k}"), _UP, window, before))
        x = window.of(self._smallest_map(z))
        for i, (layer, geometry, has, wanted) in enumerate(reversed(steps)):
            weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
            x = geometry.apply(x, has, wanted, weight, bias)
            if i < len(steps) - 1:  # what is cut out of a larger map is laid out anew, once
                x = F.leaky_relu(x, 0.3, inplace=not geometry.transposed)
        return torch.sigmoid(x)

    def _smallest_map(self, z: torch.Tensor) -> torch.Tensor:
        """Return what the first transposed convolution takes, (n, 128, 4, 4)."""
        length = vector_norm(z, dim=1, keepdim=True) / _LENGTH
        # A code of zeros has a length without a slope; where it is tiny, asinh is the identity.
        length = length.clamp(min=1e-3)
        x = z * (torch.asinh(length) / length)
        for name in ("defc7", "defc6", "defc5"):
            x = F.leaky_relu(self.get_submodule(name)(x), 0.3)
        return x.view(-1, 128, 4, 4)


def _up(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
