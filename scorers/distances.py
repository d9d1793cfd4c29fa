"""How far two images are apart, in pixels or to a network, by name.

Every one is the squared distance of two embeddings, which `evolver.metric.products` asks
for. Knows tensors and networks. Knows nothing of generators or codes.
"""

from __future__ import annotations

import hashlib
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch

from evolver.errors import ConfigError
from evolver.metric.products import PIXELS, Distance
from evolver.weights.read import chosen_device
from scorers.networks.by_name import load_network_by_name
from scorers.networks.network import check_layers
from scorers.units import parse_layer

if TYPE_CHECKING:
    from pathlib import Path

    from scorers.networks.network import Network

_LPIPS = ("squeeze", "alex", "vgg")
_FORMS = f"mse, NETWORK:LAYER as mini:conv3, or lpips-{{{','.join(_LPIPS)}}}"


def load_distance(
    name: str, *, weights: str | Path | None = None, device: str = "cpu"
) -> Distance:
    """Return a distance of images by its name.

    Parameters
    ----------
    name : ``mse``, of pixels; ``mini:conv3``, a network and a layer of it, the mean over the
        layer's numbers of the squared difference; ``lpips-squeeze``, ``lpips-alex`` or
        ``lpips-vgg`` (Zhang et al. 2018, CVPR), which need the package lpips, and its networks'
        weights from torchvision
    weights : a weight file of the network instead of the shipped one
    device : a torch device

    Raises
    ------
    ConfigError
        There is no such distance, network or layer; or lpips is not installed.
    WeightsError
        The weight file is missing, or of another network.
    """
    if name == PIXELS.name:
        return PIXELS
    if name.startswith("lpips-"):
        return _lpips(name, device)
    try:
        network_name, layer = parse_layer(name)
    except ConfigError as error:
        raise ConfigError(f"distance must be {_FORMS}; got {name!r}") from error
    network = load_network_by_name(network_name, weights=weights, device=device)
    check_layers(network, [layer])
    return Distance(name, network.sha256, partial(_layer, network, layer))


def _layer(network: Network, layer: str, images: torch.Tensor) -> torch.Tensor:
    features = network.outputs(images, {layer: None})[layer].flatten(1)
    return features / features.shape[1] ** 0.5


def _lpips(name: str, device: str) -> Distance:
    trunk = name.removeprefix("lpips-")
    if trunk not in _LPIPS:
        raise ConfigError(f"distance must be {_FORMS}; got {name!r}")
    try:
        package = import_module("lpips")
    except (ImportError, RuntimeError) as error:  # the latter: torchvision without operators
        raise ConfigError(
            f"distance {name!r} needs the packages lpips and torchvision, which must be "
            f"importable; they are not: {error}. Install them: pip install lpips torchvision"
        ) from error
    model = package.LPIPS(net=trunk, verbose=False).eval().requires_grad_(False)
    return lpips_distance(name, model.to(chosen_device(device)), package.normalize_tensor)


def lpips_distance(name: str, model: Any, unit_length: Any) -> Distance:  # noqa: ANN401
    """Return the distance of an `lpips.LPIPS`, written as one of embeddings.

    LPIPS is, summed over layers, the mean over places of the sum over channels of
    w (a - b)^2, with a and b of unit length over channels and w >= 0: so each layer's part of
    the embedding is sqrt(w / places) a.

    Parameters
    ----------
    name : what files say of it
    model : lpips.LPIPS, on its device
    unit_length : lpips.normalize_tensor
    """

    def embed(images: torch.Tensor) -> torch.Tensor:
        outputs = model.net.forward(model.scaling_layer(2 * images - 1))
        parts: list[torch.Tensor] = []
        for features, head in zip(outputs, model.lins, strict=True):
            root = (
                head.model[-1].weight / features[0, 0].numel()
            ).sqrt()  # (1, channels, 1, 1)
            parts.append((unit_length(features) * root).flatten(1))
        return torch.cat(parts, dim=1)

    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(f"{key} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return Distance(name, digest.hexdigest(), embed)
