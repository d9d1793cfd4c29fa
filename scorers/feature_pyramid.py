"""Layers of a network as features of images, smoothed and thinned where there are too many.

Knows networks, layers and images. Knows nothing of responses, fits or files. A layer of more
than 50,000 numbers an image is smoothed, each channel by itself, and every other row and column
taken, until it has fewer: as Güçlü & van Gerven 2015 (J. Neurosci. 35, 10005) do it, by the
Gaussian pyramid's kernel (Burt & Adelson 1983, IEEE Trans. Commun. 31, 532).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812  the name every torch user knows it by

from evolver.checks import check_images
from evolver.errors import ConfigError, DataError
from scorers.layer_maps import maps_of
from scorers.networks.network import check_layers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from evolver.types import Images
    from scorers.networks.network import Network

MOST_FEATURES = 50_000
"""Of one layer and image, as published."""
_KERNEL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
_TOGETHER = 16  # images in one pass


class FeaturePyramid:
    """Some layers of a network, each as so many features of an image at most.

    Tokens are places, but for the class token and registers, which are left out.

    Parameters
    ----------
    network : whose layers they are
    layers : their names, without twins
    most : features that a layer may have before it is smoothed

    Attributes
    ----------
    network, layers, most : as given
    shapes : by layer, (channels, rows, columns) of its features
    levels : by layer, how often it is smoothed

    Raises
    ------
    ConfigError
        There is no such layer, or it has more channels than there may be features.
    """

    def __init__(
        self, network: Network, layers: Sequence[str], *, most: int = MOST_FEATURES
    ) -> None:
        check_layers(network, layers)
        if not layers or len(set(layers)) < len(layers):
            raise ConfigError(f"layers must be some, each once; got {', '.join(layers)}")
        if most < 1:
            raise ConfigError(f"there must be room for a feature; got {most}")
        self.network, self.layers, self.most = network, tuple(layers), most
        self.shapes: dict[str, tuple[int, int, int]] = {}
        self.levels: dict[str, int] = {}
        for name in layers:
            layer = network.layers[name]
            if layer.channels > most:
                raise ConfigError(
                    f"{network.name}:{name} must have at most {most:,} channels, as many as "
                    f"there may be features; it has {layer.channels:,}"
                )
            (rows, columns), level = layer.grid, 0
            while layer.channels * rows * columns > most:
                rows, columns, level = (rows + 1) // 2, (columns + 1) // 2, level + 1
            self.shapes[name], self.levels[name] = (layer.channels, rows, columns), level

    def of(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return features, (n, k) float32 by layer, of images, (n, 3, h, w) in [0, 1].

        Differentiable.
        """
        return self.some_of(x, self.layers)

    def some_of(self, x: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return those of some of the layers; as `of`."""
        outputs = self.network.outputs(x.to(self.network.device), dict.fromkeys(layers))
        features: dict[str, torch.Tensor] = {}
        for name in layers:
            maps = maps_of(outputs[name], self.network.layers[name])
            for _ in range(self.levels[name]):
                maps = half_of(maps)
            features[name] = maps.flatten(1)
        return features

    def features(
        self, images: Images | Sequence[NDArray[np.uint8]]
    ) -> dict[str, NDArray[np.float32]]:
        """Return features, (n, k) by layer, of images, each (h, w, 3) uint8 of any size."""
        if not len(images):
            raise DataError("there must be images to have features; got none")
        parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in self.layers}
        for first, end in _runs(images):
            together = np.stack([images[i] for i in range(first, end)])
            check_images(together)
            x = torch.as_tensor(together).permute(0, 3, 1, 2).float() / 255
            with torch.inference_mode():
                of_part = self.of(x)
            for name, values in of_part.items():
                parts[name].append(values.numpy(force=True))
        return {name: np.concatenate(listed) for name, listed in parts.items()}


def _runs(images: Images | Sequence[NDArray[np.uint8]]) -> Iterator[tuple[int, int]]:
    """Yield where images of one size that are looked at together begin and end."""
    first = 0
    for i in range(1, len(images) + 1):
        full = i - first == _TOGETHER or i == len(images)
        if full or images[i].shape != images[first].shape:
            yield first, i
            first = i


def half_of(maps: torch.Tensor) -> torch.Tensor:
    """Return maps, (n, c, h, w), smoothed channel by channel, every other row and column.

    (n, c, (h + 1) // 2, (w + 1) // 2); what lies outside is what is at the border.
    """
    kernel = torch.tensor(_KERNEL, dtype=maps.dtype, device=maps.device)
    channels = maps.shape[1]
    along_rows = kernel.reshape(1, 1, 5, 1).expand(channels, 1, 5, 1)
    along_columns = kernel.reshape(1, 1, 1, 5).expand(channels, 1, 1, 5)
    padded = F.pad(maps, (2, 2, 2, 2), mode="replicate")
    rows = F.conv2d(padded, along_rows, stride=(2, 1), groups=channels)
    return F.conv2d(rows, along_columns, stride=(1, 2), groups=channels)
