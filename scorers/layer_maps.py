"""A layer of a network as maps: every channel at every place, of many images; and sums of them.

Knows networks, layers and images. Knows nothing of units' addresses, responses or sessions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from evolver.errors import ConfigError, DataError
from scorers.networks.by_name import load_network_by_name
from scorers.networks.extent import cell_centres
from scorers.networks.network import check_layers
from scorers.units import parse_layer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from evolver.types import Vector
    from scorers.networks.layers import Layer
    from scorers.networks.network import Network

_TOGETHER = 16  # images in one pass


class LayerMaps:
    """A layer of a network, for every image (c, h, w): channels at rows and columns of places.

    Tokens are places, but for the class token and registers, which have none and are left out.

    Parameters
    ----------
    network : whose layer it is
    layer : its name
    name : of both, as ``mini:conv3``

    Attributes
    ----------
    name : as given
    network : as given
    shape : (c, h, w)
    centres : (h,) and (w,), where the places' rows and columns are, as a share of the image

    Raises
    ------
    ConfigError
        There is no such layer, or it has no places: one number a channel says nothing of where.
    """

    def __init__(self, network: Network, layer: str, *, name: str) -> None:
        check_layers(network, [layer])
        self.network, self.name = network, name
        self._layer: Layer = network.layers[layer]
        rows, columns = self._layer.grid
        if rows * columns < 2:
            raise ConfigError(
                f"{name} must be a layer with places, rows and columns of them, to say where "
                "in an image a unit looks; it has one number a channel. 'evolver units' lists "
                "layers and their positions"
            )
        self.shape = self._layer.channels, rows, columns
        self.centres: tuple[Vector, Vector] = cell_centres(network, layer)

    def of(self, x: torch.Tensor) -> torch.Tensor:
        """Return the maps, (n, c, h, w), of images, (n, 3, height, width) in [0, 1].

        Differentiable.
        """
        layer = self._layer
        out = self.network.outputs(x.to(self.network.device), {layer.name: None})[layer.name]
        return maps_of(out, layer)

    def parts(self, images: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        """Yield the maps of images in order, some at a time, (k, c, h, w).

        Parameters
        ----------
        images : (height, width, 3) uint8 each; those after each other of one size go together
        """
        held: list[NDArray[np.uint8]] = []
        for image in images:
            if held and (len(held) == _TOGETHER or image.shape != held[0].shape):
                yield self._maps(held)
                held = []
            held.append(image)
        if held:
            yield self._maps(held)

    def of_image(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return the maps, (c, h, w), of one image, (height, width, 3): uint8, or 0 to 1."""
        pixels = np.asarray(image, dtype=np.float32)
        if image.dtype == np.uint8:
            pixels = pixels / np.float32(255)
        x = torch.as_tensor(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None]
        with torch.inference_mode():
            return self.of(x)[0].numpy(force=True)

    def _maps(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        x = torch.as_tensor(np.stack(images)).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            return self.of(x).numpy(force=True)


class WeighedMaps:
    """What a layer's maps and a weight for each of their numbers add up to: one unit.

    Parameters
    ----------
    maps : the layer
    weights : (c, h, w) of its numbers
    """

    def __init__(self, maps: LayerMaps, weights: NDArray[np.float64]) -> None:
        if weights.shape != maps.shape or not np.isfinite(weights).all():
            raise DataError(f"weights must be {maps.shape}, and finite; got {weights.shape}")
        self._maps = maps
        self._weights = torch.tensor(weights, dtype=torch.float32, device=maps.network.device)

    @property
    def unit_names(self) -> tuple[str, ...]:
        """Name the one that there is."""
        return (f"{self._maps.name}, weighed",)

    def responses(self, x: torch.Tensor) -> torch.Tensor:
        """Differentiable: x, (n, 3, h, w) in [0, 1], to sums, (n, 1)."""
        return (self._maps.of(x) * self._weights).flatten(1).sum(dim=1, keepdim=True)


def maps_of(out: torch.Tensor, layer: Layer) -> torch.Tensor:
    """Return a layer's output as maps, (n, c, h, w); 1 by 1 where it has no places.

    Tokens that have no place are left out.
    """
    if layer.kind == "vector":
        return out[:, :, None, None]
    if layer.kind == "map":
        return out
    if layer.kind == "map, channels last":
        return out.permute(0, 3, 1, 2)
    patches = out[:, layer.tokens_before :]
    return patches.transpose(1, 2).reshape(len(out), layer.channels, *layer.grid)


def load_layer_maps(
    name: str,
    *,
    device: str = "cpu",
    networks: Mapping[str, Mapping[str, Any]] | None = None,
) -> LayerMaps:
    """Load a layer by its name, ``NETWORK:LAYER``, as ``mini:conv3``.

    Parameters
    ----------
    name : of the network and the layer
    device : a torch device
    networks : what `scorers.networks.load` takes for a network by its name, besides

    Raises
    ------
    ConfigError
        There is no such network or layer, or it has no places.
    WeightsError
        The network's weight file is missing, or of another network.
    """
    network_name, layer = parse_layer(name)
    options = dict((networks or {}).get(network_name, {}))
    network = load_network_by_name(network_name, device=device, **options)
    return LayerMaps(network, layer, name=name)
