"""A fitted encoder as a `Network` of one layer: its units are what it predicts.

Knows tensors, networks and the file of an encoder. Its features are those of the network that
it was fitted with, whose weights must be the very ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F  # noqa: N812  the name every torch user knows it by

from evolver.errors import ConfigError, WeightsError
from scorers.encoder_file import read_encoder
from scorers.feature_pyramid import FeaturePyramid
from scorers.networks.by_name import load_network_by_name
from scorers.networks.layers import Layer
from scorers.networks.network import check_layers
from scorers.units import ENCODED_UNITS, ENCODER

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from scorers.encoder_file import UnitEncoder
    from scorers.networks.network import Network


class EncoderNetwork:
    """The units of a fitted encoder; see `Network`.

    Parameters
    ----------
    name : as addresses begin, ``encoder:FILE``
    encoder : as its file has it
    network : that its features are of

    Attributes
    ----------
    encoder : as given
    sha256 : of the encoder's file, in which the digest of the network's weights is

    Raises
    ------
    WeightsError
        The network has other weights than the one that the encoder was fitted with.
    ConfigError
        The network has not the layers of the encoder.
    """

    def __init__(self, name: str, encoder: UnitEncoder, network: Network) -> None:
        facts = encoder.facts
        if network.sha256 != facts.network_sha256:
            raise WeightsError(
                f"{name} must see what it was fitted with, {facts.network} with weights of "
                f"sha256 {facts.network_sha256[:12]}…; these have {network.sha256[:12]}…. Name "
                "that weight file in the session file's simulation.networks, or fit the "
                "encoder again"
            )
        self.name, self.sha256, self.encoder = name, encoder.sha256, encoder
        self.device, self.preprocessing = network.device, network.preprocessing
        self.layers: Mapping[str, Layer] = {
            ENCODED_UNITS: Layer(ENCODED_UNITS, (len(facts.labels),), "vector")
        }
        self._pyramid = FeaturePyramid(network, facts.layers, most=facts.most_features)
        self._means: dict[str, torch.Tensor] = {}
        self._rows: list[tuple[str, torch.Tensor]] = [("", torch.empty(0))] * len(facts.labels)
        for layer, part in encoder.layers.items():
            channels, rows, columns = self._pyramid.shapes[layer]
            if len(part.mean) != channels * rows * columns:
                raise ConfigError(
                    f"{name} must have weights for the {channels * rows * columns:,} features "
                    f"of {facts.network}:{layer}; it has them for {len(part.mean):,}"
                )
            self._means[layer] = torch.tensor(part.mean, device=self.device)
            for row, unit in enumerate(part.units.tolist()):
                # In memory of its own: a product then does not depend on which units there are.
                weights = torch.tensor(part.weights[row : row + 1], device=self.device)
                self._rows[unit] = layer, weights
        self._constant = torch.tensor(encoder.constant, device=self.device)

    def outputs(
        self, x: torch.Tensor, places: Mapping[str, torch.Tensor | None]
    ) -> dict[str, torch.Tensor]:
        """Return what units are predicted to answer; see `Network.outputs`.

        Each unit's is a product of its own, the same whichever others are asked for.
        """
        check_layers(self, places)
        if not places:
            return {}
        at = places[ENCODED_UNITS]
        units = list(range(len(self._rows))) if at is None else [int(unit) for unit in at]
        layers = dict.fromkeys(self._rows[unit][0] for unit in units)
        features = self._pyramid.some_of(x, list(layers))
        centred = {layer: features[layer] - self._means[layer] for layer in layers}
        columns = [
            F.linear(centred[layer], row) for layer, row in map(self._rows.__getitem__, units)
        ]
        chosen = self._constant if at is None else self._constant[at]
        return {ENCODED_UNITS: torch.cat(columns, dim=1) + chosen}


def load_encoder(
    name: str, *, weights: str | Path | None, device: str, **options: object
) -> EncoderNetwork:
    """Load an encoder and the network that its features are of.

    Parameters
    ----------
    name : ``encoder:FILE``
    weights : of the network, instead of its own
    device : a torch device
    **options : of the network; `module` where it is a lab's own

    Raises
    ------
    WeightsError
        The file is missing or no encoder, or the network has other weights.
    ConfigError
        The network cannot be loaded, or is an encoder itself.
    """
    encoder = read_encoder(name.removeprefix(f"{ENCODER}:"))
    network = encoder.facts.network
    if network.partition(":")[0] == ENCODER:
        raise ConfigError(f"{name} must be of a network's features; it is of {network}'s")
    loaded = load_network_by_name(network, weights=weights, device=device, **options)
    return EncoderNetwork(name, encoder, loaded)
