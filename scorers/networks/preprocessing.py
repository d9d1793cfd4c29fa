"""Images of any size to what a network was trained on: the one place where a scorer resizes.

Knows tensors. Knows nothing of layers, units or files. Differentiable throughout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch.nn import functional as F  # noqa: N812  the name every torch user knows it by

from evolver.errors import ConfigError

Interpolation: TypeAlias = Literal["bilinear", "bicubic", "nearest"]
_LARGEST = 4096  # pixels a side
_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's mode L


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What stands between an image's pixels and a network's input.

    In this order: resize, crop, order of channels, scale, mean, standard deviation.

    Parameters
    ----------
    size : height and width of the input, pixels
    resize_to : height and width the image is stretched to before the middle is cut out of it;
        or one number, the length that the shorter side gets; `size` when None
    interpolation : antialiased, but for "nearest": shrinking averages
    order : of the channels; "grey" is one channel, ITU-R BT.601 luma
    scale : what white is before the mean is taken: 1, or 255 for networks of the Caffe time
    mean, sd : one number for each channel, in the network's order and scale
    odd_margin : where the middle is when an odd number of pixels is cut off: "down", the
        smaller part above and left; "even", as torchvision, half of it rounded to even
    """

    size: tuple[int, int]
    resize_to: tuple[int, int] | int | None = None
    interpolation: Interpolation = "bilinear"
    order: Literal["rgb", "bgr", "grey"] = "rgb"
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    sd: tuple[float, ...] = (1.0, 1.0, 1.0)
    odd_margin: Literal["down", "even"] = "down"

    def __post_init__(self) -> None:
        """Raise `ConfigError` where a value cannot be used."""
        stretched = self.resize_to if isinstance(self.resize_to, tuple) else (self.resize_to,)
        lengths = [*self.size, *(length for length in stretched if length is not None)]
        if len(self.size) != 2 or not all(1 <= length <= _LARGEST for length in lengths):
            raise ConfigError(
                f"a network's input must be 1 to {_LARGEST} pixels a side; got "
                f"{self.size}, resized to {self.resize_to}"
            )
        channels = 1 if self.order == "grey" else 3
        if len(self.mean) != channels or len(self.sd) != channels:
            raise ConfigError(
                f"mean and sd must have {channels} numbers, for {self.order}; got "
                f"{self.mean} and {self.sd}"
            )
        if not all(sd > 0 for sd in self.sd):
            raise ConfigError(f"sd must be above 0; got {self.sd}")

    @property
    def channels(self) -> int:
        """Channels of the input."""
        return len(self.mean)

    @property
    def uncut_size(self) -> tuple[int, int]:
        """Height and width of the images that are not resized, but only cut."""
        if self.resize_to is None:
            return self.size
        return (
            (self.resize_to, self.resize_to)
            if isinstance(self.resize_to, int)
            else self.resize_to
        )

    @property
    def cut_off(self) -> tuple[int, int]:
        """Rows above and columns before what is left of an image of `uncut_size`."""
        return _margin(self.uncut_size, self.size, even=self.odd_margin == "even")

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Turn images, (n, 3, h, w) float32 in [0, 1] of any size, into a network's input."""
        x = _cut(self._resized(x), self.size, even=self.odd_margin == "even")
        if self.order == "bgr":
            x = x.flip(1)
        elif self.order == "grey":
            weights = torch.tensor(_GREY, device=x.device, dtype=x.dtype)
            x = (x * weights[:, None, None]).sum(1, keepdim=True)
        if self.scale != 1:
            x = x * self.scale
        if any(self.mean):
            x = x - torch.tensor(self.mean, device=x.device, dtype=x.dtype)[:, None, None]
        if any(sd != 1 for sd in self.sd):
            x = x / torch.tensor(self.sd, device=x.device, dtype=x.dtype)[:, None, None]
        return x

    def _resized(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[-2:]
        wanted = self.size if self.resize_to is None else self.resize_to
        if isinstance(wanted, int):  # as the libraries' processors round
            shorter = min(height, width)
            longer = int(wanted * max(height, width) / shorter)
            wanted = (wanted, longer) if height <= width else (longer, wanted)
        return resized(x, wanted, self.interpolation)


def resized(
    x: torch.Tensor, size: tuple[int, int], interpolation: Interpolation = "bilinear"
) -> torch.Tensor:
    """Resize to (n, 3, *size), antialiased, so that shrinking averages.

    Differentiable. Images of that size already are handed back as they are.
    """
    if tuple(x.shape[-2:]) == size:
        return x
    if interpolation == "nearest":
        return F.interpolate(x, size, mode="nearest-exact")
    small = F.interpolate(x, size, mode=interpolation, align_corners=False, antialias=True)
    return small.clamp(0, 1)  # a cubic overshoots, and a weighted mean may end a hair outside


def _cut(x: torch.Tensor, size: tuple[int, int], *, even: bool) -> torch.Tensor:
    """Return the middle of images; black around those that are smaller."""
    height, width = x.shape[-2:]
    if (height, width) == size:
        return x
    down, right = max(0, size[0] - height), max(0, size[1] - width)
    if down or right:
        x = F.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2))
        height, width = x.shape[-2:]
    top, left = _margin((height, width), size, even=even)
    return x[..., top : top + size[0], left : left + size[1]]


def _margin(whole: tuple[int, int], size: tuple[int, int], *, even: bool) -> tuple[int, int]:
    """Return where the middle of a size begins; 0 along a side that is no longer than it."""
    margins = [max(0, long - short) / 2 for long, short in zip(whole, size, strict=True)]
    top, left = (round(margin) if even else int(margin) for margin in margins)
    return top, left
