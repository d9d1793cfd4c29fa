"""Images of any size to a network's input: the one place where a scorer resizes.

Knows tensors. Knows nothing of layers, units or files.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F  # noqa: N812  the name every torch user knows it by


def resized(x: torch.Tensor, size: int) -> torch.Tensor:
    """Resize to (n, 3, size, size), bilinear; antialiased, so that shrinking averages.

    Differentiable. Images of that size already are handed back as they are. Others are
    stretched to a square if they are not one: a screen shows all of an image, and so does this.
    """
    if x.shape[-2:] == (size, size):
        return x
    small = F.interpolate(x, (size, size), mode="bilinear", align_corners=False, antialias=True)
    return small.clamp(0, 1)  # rounding may leave a weighted mean a hair outside
