"""The built-in convolutional network: its layers, and a forward pass that stops at any.

Knows tensors. Knows nothing of files, units' names, images of other sizes or training; batch
normalisation, used in training, is folded into the weights before they come here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  the name every torch user knows it by

from evolver.windows import FilterShape, Window

INPUT_SIZE = 64
"""Height and width of the network's input, pixels."""


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """What one layer is.

    `kernel` 0 means fully connected. `size` is the height and width of the map, pixels; 1 for
    a fully connected layer.
    """

    name: str
    inputs: int
    channels: int
    kernel: int = 0
    stride: int = 1
    size: int = 1


def layers(classes: int) -> tuple[LayerInfo, ...]:
    """Return the layers, input first, of a network that tells `classes` classes apart."""
    return (
        LayerInfo("conv1", 3, 32, kernel=7, stride=2, size=32),
        LayerInfo("conv2", 32, 64, kernel=3, stride=2, size=16),
        LayerInfo("conv3", 64, 128, kernel=3, stride=2, size=8),
        LayerInfo("conv4", 128, 128, kernel=3, size=8),
        LayerInfo("fc5", 128 * 4 * 4, 256),
        LayerInfo("fc6", 256, 256),
        LayerInfo("logits", 256, classes),
    )


class MiniCNN(nn.Module):
    """Four convolutions and three fully connected layers, ReLU between.

    Every layer's output is taken before its ReLU: a unit that a ReLU would silence still says
    how far it is from firing, so that two images that leave it silent do not tie.

    Parameters
    ----------
    classes : int, units of the last layer
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layers = {layer.name: layer for layer in layers(classes)}
        for layer in self.layers.values():
            if layer.kernel:
                pad = layer.kernel // 2
                part = nn.Conv2d(layer.inputs, layer.channels, layer.kernel, layer.stride, pad)
            else:
                part = nn.Linear(layer.inputs, layer.channels)
            self.add_module(layer.name, part)

    def forward(self, x: torch.Tensor, wanted: frozenset[str]) -> dict[str, torch.Tensor]:
        """Return pre-activation outputs of the wanted layers, going no deeper than they need.

        Parameters
        ----------
        x : Tensor, (n, 3, 64, 64) float32, 0 to 1
        wanted : names of layers

        Returns
        -------
        dict of Tensor: (n, channels, size, size) of a convolution, (n, channels) else
        """
        outputs: dict[str, torch.Tensor] = {}
        x = (x - 0.5) * 4
        for layer in self.layers.values():
            if layer.name == "fc5":
                x = F.max_pool2d(x, 2).flatten(1)
            x = self.get_submodule(layer.name)(x)
            if layer.name in wanted:
                outputs[layer.name] = x
                if len(outputs) == len(wanted):
                    break
            x = F.relu(x)
        return outputs

    def field(self, name: str, row: int, column: int) -> Window:
        """Return the part of an image that units of a convolution at one place see."""
        return self._windows(name, Window(row, row + 1, column, column + 1))[0]

    def at(self, x: torch.Tensor, name: str, row: int, column: int) -> torch.Tensor:
        """Return what all units of a convolution at one place put out, (n, channels).

        Parameters
        ----------
        x : (n, 3, h, w), 0 to 1, the part of images that `field` says
        name, row, column : the layer and the place
        """
        windows = self._windows(name, Window(row, row + 1, column, column + 1))
        x = (x - 0.5) * 4
        for layer, has, wanted in zip(self.layers.values(), windows, windows[1:], strict=False):
            part = self.get_submodule(layer.name)
            weight, bias = part.get_parameter("weight"), part.get_parameter("bias")
            x = _geometry(layer).apply(x, has, wanted, weight, bias)
            x = x if layer.name == name else F.relu_(x)
        return x.flatten(1)

    def _windows(self, name: str, window: Window) -> list[Window]:
        """Return the parts of the image and of each map, to a layer's, that `window` needs."""
        layers = list(self.layers.values())
        last = [layer.name for layer in layers].index(name)
        windows = [window]
        for i in range(last, -1, -1):
            size = layers[i - 1].size if i else INPUT_SIZE
            windows.append(_geometry(layers[i]).needs(windows[-1], size))
        return windows[::-1]


def _geometry(layer: LayerInfo) -> FilterShape:
    return FilterShape(layer.kernel, layer.stride, layer.kernel // 2)
