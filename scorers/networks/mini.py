"""The built-in network as a `Network`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from evolver.weights import hub
from evolver.weights.catalogue import CNN
from evolver.weights.outlines import without_numbers
from evolver.weights.read import TensorTable, chosen_device, fill, fitted, read_weight_file
from scorers.mini.network import INPUT_SIZE, MiniCNN
from scorers.networks.network import ModuleNetwork
from scorers.networks.preprocessing import Preprocessing

if TYPE_CHECKING:
    from pathlib import Path


def load_mini(name: str, *, weights: str | Path | None, device: str) -> ModuleNetwork:
    """Load the built-in network: 64 x 64 pixels, layers taken before their rectification."""
    location = hub.find_file(CNN) if weights is None else hub.find_weights("mini", weights)
    file = read_weight_file(location.path, sha256=location.sha256)
    net = fitted(file, partial(_mini_cnn, path=location.path))
    wanted = frozenset(net.layers)
    return ModuleNetwork(
        name,
        net,
        Preprocessing((INPUT_SIZE, INPUT_SIZE)),  # the rest is in the network itself
        sha256=file.sha256,
        device=chosen_device(device),
        names=net.layers,
        run=lambda x: net(x, wanted),
        local=net,
    )


def _mini_cnn(tensors: TensorTable, *, path: Path) -> MiniCNN:
    bias = tensors.get("logits.bias")
    with without_numbers():
        net = MiniCNN(len(bias) if bias is not None and bias.ndim == 1 else 1)
    fill(net, tensors, path=path)
    return net
