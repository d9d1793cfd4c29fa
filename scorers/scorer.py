"""Units of networks as neurons: images in, one number per image and unit out.

Knows networks, layers and units. Knows nothing of spikes (see `scorers.neuron`), sessions or
how a network was made.

A unit's response is the number that its layer puts out. Where a network's layers stand before a
rectification, as the built-in one's, a unit that a ReLU would silence still says how far it is
from firing: a silent unit ties all images that fail to excite it, and an optimizer that learns
from ranks learns nothing from ties. Rectifying is the business of the spike model.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import torch

from evolver import seeds
from evolver.checks import check_images
from evolver.errors import ConfigError, DataError
from evolver.row_products import row_by_row
from scorers.networks.network import check_layers
from scorers.units import RandomUnits, UnitAddress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evolver.types import Images, Responses, Vector
    from scorers.networks.layers import Layer, UnitPosition
    from scorers.networks.network import Network

_CHUNK = 8  # images evaluated together; fixed, so that a response never depends on its company
MOST_UNITS = 1 << 20
"""Of one scorer."""


class UnitScorer:
    """Some units of one or several networks; see `scorers.load`.

    Parameters
    ----------
    networks : by the names that the addresses use
    addresses : the units, in the order of the columns of `score`

    Attributes
    ----------
    unit_names : one address a unit
    counts : units of each address that was given, in their order
    digests : of the weights behind each address that was given, sha256
    networks : as given

    Raises
    ------
    ConfigError
        A layer, channel or position does not exist.
    """

    def __init__(
        self, networks: Mapping[str, Network], addresses: Sequence[UnitAddress]
    ) -> None:
        self.networks = dict(networks)
        self._addresses = tuple(addresses)
        names: list[str] = []
        counts: list[int] = []
        columns: dict[tuple[str, str], list[int]] = {}
        places: dict[tuple[str, str], list[int]] = {}
        for address in addresses:
            network, before = self.networks[address.network], len(names)
            for layer, channel, position in units_of(network, address):
                key = address.network, layer.name
                columns.setdefault(key, []).append(len(names))
                places.setdefault(key, []).append(layer.place(channel, position))
                place = None if layer.kind == "vector" else position
                unit = UnitAddress(address.network, layer.name, ((channel, channel),), place)
                names.append(str(unit))
                if len(names) > MOST_UNITS:
                    raise ConfigError(
                        f"there must be at most {MOST_UNITS:,} units; {address} makes more"
                    )
            counts.append(len(names) - before)
        self.unit_names: tuple[str, ...] = tuple(names)
        self.counts = tuple(counts)
        self.digests = {
            str(address): self.networks[address.network].sha256 for address in addresses
        }
        self._columns = {key: torch.tensor(taken) for key, taken in columns.items()}
        self._places = {key: np.array(taken) for key, taken in places.items()}
        self._on_device = {
            name: {
                layer: torch.tensor(taken, device=network.device)
                for (owner, layer), taken in places.items()
                if owner == name
            }
            for name, network in self.networks.items()
        }

    def by_network(self) -> list[UnitScorer]:
        """Return a scorer of each network alone, of the units of this one that are its own."""
        return [
            UnitScorer({name: network}, [a for a in self._addresses if a.network == name])
            for name, network in self.networks.items()
            if any(a.network == name for a in self._addresses)
        ]

    @property
    def sha256(self) -> str:
        """Digest of the network's weights; of all their digests, where there are several."""
        digests = [network.sha256 for network in self.networks.values()]
        if len(digests) == 1:
            return digests[0]
        return hashlib.sha256("".join(digests).encode()).hexdigest()

    def score(self, images: Images) -> Responses:
        """Turn images, (n, h, w, 3) uint8 of any size, into responses, (n, u) float64.

        An image must give the same response alone and among others. So every pass has exactly
        the same number of images, the last filled up with black, for products of different
        heights may round differently; and on a processor, where the rows of one product may,
        each is multiplied by itself.

        Raises
        ------
        DataError
            The images have another shape or dtype, or a network does not put out a finite
            number for each of them.
        """
        check_images(images)
        scores = np.empty((len(images), len(self.unit_names)))
        for start in range(0, len(images), _CHUNK):
            part = images[start : start + _CHUNK]
            pixels = torch.zeros((_CHUNK, *part.shape[1:]), dtype=torch.uint8)
            pixels[: len(part)] = torch.as_tensor(np.ascontiguousarray(part))
            x = pixels.permute(0, 3, 1, 2)
            for name, network in self.networks.items():
                with torch.inference_mode(), row_by_row(network.device, _CHUNK):
                    inputs = x.to(network.device).float() / 255
                    outputs = network.outputs(inputs, self._on_device[name])
                for layer, values in outputs.items():
                    at = self._columns[name, layer].numpy()
                    answers = values.cpu().numpy()[: len(part)]
                    finite = np.isfinite(answers)
                    if not finite.all():
                        wrong = self.unit_names[int(at[np.argmin(finite.all(axis=0))])]
                        raise DataError(
                            f"networks must put out finite numbers; {wrong} gives "
                            f"{answers[~finite][0]:g}. Are these its weights, and its range of "
                            "pixels?"
                        )
                    scores[start : start + len(part), at] = answers
        return scores

    def responses(self, x: torch.Tensor) -> torch.Tensor:
        """Differentiable: x, (n, 3, h, w) in [0, 1], to responses, (n, u), of its dtype."""
        out = torch.empty((len(x), len(self.unit_names)), device=x.device, dtype=x.dtype)
        for name, network in self.networks.items():
            outputs = network.outputs(x.to(network.device), self._on_device[name])
            for layer, values in outputs.items():
                out[:, self._columns[name, layer].to(x.device)] = values.to(x.device)
        return out

    @property
    def reference_quantiles(self) -> dict[str, Vector]:
        """Responses to reference images: "p05", "p50", "p99", each (u,) float64.

        Measured once for a network, a layer and its units, and kept (`scorers.quantiles`).
        """
        from scorers.quantiles import reference_quantiles

        quantiles = {key: np.empty(len(self.unit_names)) for key in ("p05", "p50", "p99")}
        for name, network in self.networks.items():
            own = {layer: at for (owner, layer), at in self._places.items() if owner == name}
            for layer, levels in reference_quantiles(network, own).items():
                for key, values in levels.items():
                    quantiles[key][self._columns[name, layer].numpy()] = values
        return quantiles

    @property
    def highest_responses(self) -> Vector:
        """What no image exceeds, (u,) float64; NaN for units of which nobody knows it.

        Known of the units of the network `known`, in the scale of `score`, to 1e-5.
        """
        from scorers.networks.known import HIGHEST, KnownNetwork

        highest = np.full(len(self.unit_names), np.nan)
        for (name, _), columns in self._columns.items():
            if isinstance(self.networks[name], KnownNetwork):
                highest[columns.numpy()] = HIGHEST
        return highest


def units_of(network: Network, address: UnitAddress) -> list[tuple[Layer, int, UnitPosition]]:
    """Return the (layer, channel, position) of every unit that an address names.

    Raises
    ------
    ConfigError
        There is no such layer, channel or position; says which there are.
    """
    check_layers(network, [address.layer])
    layer = network.layers[address.layer]
    positions: Sequence[UnitPosition]
    drawn = isinstance(address.channels, RandomUnits)
    if address.position == "all" or (address.position is None and drawn):
        positions = layer.positions
    else:
        positions = [layer.usual_position if address.position is None else address.position]
    if address.position is not None and address.position != "all":
        if layer.kind == "vector":
            raise ConfigError(
                f"{layer.name} is fully connected and has no positions; got {address}"
            )
        layer.place(0, address.position)
    if isinstance(address.channels, RandomUnits):
        total = layer.channels * len(positions)
        if address.channels.n > total:
            raise ConfigError(f"{layer.name} has {total} units to draw from; got {address}")
        rng = seeds.stream(address.channels.seed, "units", layer.name)
        rows = np.sort(rng.choice(total, address.channels.n, replace=False)).tolist()
        return [(layer, row // len(positions), positions[row % len(positions)]) for row in rows]
    ranges = ((0, layer.channels - 1),) if address.channels == "all" else address.channels
    for _, last in ranges:
        if last >= layer.channels:
            raise ConfigError(
                f"{layer.name} has channels 0 to {layer.channels - 1}; got {last} in {address}"
            )
    return [
        (layer, channel, position)
        for first, last in ranges
        for channel in range(first, last + 1)
        for position in positions
    ]
