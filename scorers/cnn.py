"""Units of the built-in network as neurons: images in, one number per image and unit out.

Knows tensors, layers and units. Knows nothing of spikes (see `scorers.neuron`), scores,
sessions or training.

A unit's response is its pre-activation: the number a ReLU would rectify. A silent unit ties all
images that fail to excite it, and an optimizer that learns from ranks learns nothing from ties;
rectifying is the business of the spike model.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from evolver.checks import check_images
from evolver.errors import ConfigError, DataError
from evolver.row_products import row_by_row
from evolver.weights import hub
from evolver.weights.catalogue import CNN
from evolver.weights.read import TensorTable, chosen_device, fill, fitted, read_weight_file
from scorers.mini import calibration
from scorers.mini.network import INPUT_SIZE, LayerInfo, MiniCNN
from scorers.preprocess import resized

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from evolver.types import Images, Responses
    from scorers.units import UnitSpec

_CHUNK = 8  # images evaluated together; fixed, so that a response never depends on its company


class CNNScorer:
    """Some units of a network; see `scorers.load`.

    Parameters
    ----------
    net : MiniCNN, its weights in place
    specs : the units, in the order of the columns of `score`
    sha256 : digest of the weight file, 64 hexadecimal digits
    device : torch.device, chosen by the caller and never guessed here
    shipped_weights : whether the stored calibration belongs to these weights

    Raises
    ------
    ConfigError
        A layer, channel or position does not exist.
    """

    def __init__(
        self,
        net: MiniCNN,
        specs: Sequence[UnitSpec],
        *,
        sha256: str,
        device: torch.device,
        shipped_weights: bool,
    ) -> None:
        self.sha256 = sha256
        self.layers = net.layers
        self._net = net.eval().requires_grad_(False).to(device)
        self._device, self._calibrated = device, shipped_weights
        self._units = [unit for spec in specs for unit in _units(spec, self.layers)]
        self.unit_names: tuple[str, ...] = tuple(name for name, *_ in self._units)
        self._wanted = frozenset(layer for _, layer, _ in self._units)
        # Per layer: the columns its units fill, and where they lie in the flattened map.
        self._columns = {
            name: torch.tensor([k for k, unit in enumerate(self._units) if unit[1] == name])
            for name in self._wanted
        }
        self._places = {
            name: torch.tensor(
                [place for _, layer, place in self._units if layer == name], device=device
            )
            for name in self._wanted
        }

    def score(self, images: Images) -> Responses:
        """Turn images, (n, h, w, 3) uint8 of any size, into responses, (n, u) float64.

        An image must give the same response alone and among others. So every pass has exactly
        the same number of images, the last filled up with black, for products of different
        heights may round differently; and on a processor, where the rows of one product may,
        each is multiplied by itself.

        Raises
        ------
        DataError
            The images have another shape or dtype.
        """
        check_images(images)
        scores = np.empty((len(images), len(self._units)))
        for start in range(0, len(images), _CHUNK):
            part = images[start : start + _CHUNK]
            x = torch.zeros((_CHUNK, *part.shape[1:]), dtype=torch.uint8)
            x[: len(part)] = torch.as_tensor(np.ascontiguousarray(part))
            with torch.inference_mode(), row_by_row(self._device, _CHUNK):
                part_responses = self.responses(
                    x.to(self._device).permute(0, 3, 1, 2).float() / 255
                )
            scores[start : start + len(part)] = part_responses.cpu().numpy()[: len(part)]
        return scores

    def responses(self, x: torch.Tensor) -> torch.Tensor:
        """Differentiable: x, (n, 3, h, w) float32 in [0, 1], to responses, (n, u) float32."""
        outputs = self._net(resized(x, INPUT_SIZE), self._wanted)
        out = torch.empty((len(x), len(self._units)), device=x.device)
        for name, columns in self._columns.items():
            out[:, columns] = outputs[name].flatten(1)[:, self._places[name]]
        return out

    def features(self, x: torch.Tensor, layer: str) -> torch.Tensor:
        """Differentiable: all of a layer, (n, channels, rows, columns) or (n, channels)."""
        _known(layer, self.layers)
        return self._net(resized(x, INPUT_SIZE), frozenset([layer]))[layer]

    @property
    def reference_quantiles(self) -> dict[str, NDArray[np.float64]]:
        """Responses to 5,000 reference images: "p05", "p50", "p99", each (u,).

        Raises
        ------
        DataError
            The weights are the caller's own, for which nothing was measured.
        """
        if not self._calibrated:
            raise DataError(
                "reference_quantiles belong to the shipped weights; these are others"
            )
        table = calibration()
        rows = [table[layer][:, place] for _, layer, place in self._units]
        low, middle, high = np.stack(rows, axis=1)
        return {"p05": low, "p50": middle, "p99": high}


def _known(layer: str, layers: dict[str, LayerInfo]) -> LayerInfo:
    if layer not in layers:
        raise ConfigError(f"layer must be one of {', '.join(layers)}; got {layer!r}")
    return layers[layer]


def _units(spec: UnitSpec, layers: dict[str, LayerInfo]) -> list[tuple[str, str, int]]:
    """Return (name, layer, place in the flattened layer) of every unit a spec names."""
    layer = _known(spec.layer, layers)
    if spec.last >= layer.channels:
        raise ConfigError(
            f"{layer.name} has channels 0 to {layer.channels - 1}; got {spec.last} in {spec}"
        )
    if spec.position is not None and not layer.kernel:
        raise ConfigError(f"{layer.name} is fully connected and has no positions; got {spec}")
    row, column = spec.position or (layer.size // 2, layer.size // 2)
    if max(row, column) >= layer.size:
        raise ConfigError(
            f"{layer.name} has rows and columns 0 to {layer.size - 1}; "
            f"got {row}:{column} in {spec}"
        )
    tail = f":{row}:{column}" if layer.kernel else ""
    return [
        (
            f"{spec.network}:{layer.name}:{channel}{tail}",
            layer.name,
            (channel * layer.size + row) * layer.size + column,
        )
        for channel in range(spec.first, spec.last + 1)
    ]


def load_mini_scorer(
    specs: Sequence[UnitSpec], *, weights: str | Path | None, device: str
) -> CNNScorer:
    """Load units of the built-in network; see `scorers.load`."""
    location = hub.find_file(CNN) if weights is None else hub.find_weights("mini", weights)
    file = read_weight_file(location.path, sha256=location.sha256)
    return CNNScorer(
        fitted(file, partial(_mini_net, path=location.path)),
        specs,
        sha256=file.sha256,
        device=chosen_device(device),
        shipped_weights=weights is None,
    )


def _mini_net(tensors: TensorTable, *, path: Path) -> MiniCNN:
    bias = tensors.get("logits.bias")
    net = MiniCNN(len(bias) if bias is not None and bias.ndim == 1 else 1)
    fill(net, tensors, path=path)
    return net
