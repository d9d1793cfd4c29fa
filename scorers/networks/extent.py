"""How large a part of its input the unit in a layer's centre sees, exactly, of any network.

Knows networks. NaN is what no operation can hide: with NaN in every column of the input up to
one, a unit is NaN where its receptive field reaches that column. Where that begins is found by
halving, for all layers at once, so that a network is run a few dozen times whatever its depth.
Attention, a normalisation over positions and a fully connected layer see everything, and are
found to.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from scorers.networks.layers import Layer, UnitPosition
    from scorers.networks.network import Network

_TOGETHER = 8  # images in one pass


@dataclass(frozen=True, slots=True)
class Extent:
    """What the unit in a layer's centre sees of a square input."""

    size: int
    """Pixels a side, of the network's input; cut off at its border. 0: it does not see it."""
    stride: float
    """Pixels from what one position sees to what the next does; 0 where there is no other."""
    whole: bool
    """Whether it sees everything."""


def extents(network: Network, layers: Collection[str]) -> dict[str, Extent]:
    """Return how far the units in layers' centres see; of a class token, all it sees.

    Parameters
    ----------
    network : its input is square
    layers : names
    """
    width = network.preprocessing.size[1]
    first = _edges(network, layers)
    last = _edges(network, layers, mirrored=True)
    maps = [name for name in layers if network.layers[name].grid[1] > 1]
    next_first = _edges(network, maps, beside=True)
    next_last = _edges(network, maps, mirrored=True, beside=True)
    found: dict[str, Extent] = {}
    for name in layers:
        size = max(0, width - last[name] - first[name])
        stride = 0.0
        if name in next_first:
            # One of the two edges may be cut off at the border; what sees everything has no
            # place of its own, but a share of the input.
            moved = max(next_first[name] - first[name], last[name] - next_last[name])
            stride = moved if moved > 0 else width / network.layers[name].grid[1]
        found[name] = Extent(size, stride, whole=size >= width)
    return found


def _edges(
    network: Network,
    layers: Collection[str],
    *,
    mirrored: bool = False,
    beside: bool = False,
) -> dict[str, int]:
    """Return the first column that the centre unit of each layer sees, counted from a side.

    The number of columns for one that sees none. `beside`: of the unit next to it, instead.
    """
    width = network.preprocessing.size[1]
    # NaN up to and with column `high` is seen, up to `low` it is not; -1: nothing is NaN.
    known = _seen(network, layers, [width - 1], mirrored=mirrored, beside=beside)
    seeing = known[width - 1]
    low = dict.fromkeys(layers, -1)
    high = {name: width - 1 if name in seeing else width for name in layers}
    low.update({name: width - 1 for name in layers if name not in seeing})
    while open_layers := [name for name in layers if high[name] - low[name] > 1]:
        middles = {(low[name] + high[name]) // 2 for name in open_layers} - known.keys()
        for start in range(0, len(middles), _TOGETHER):
            columns = sorted(middles)[start : start + _TOGETHER]
            known.update(_seen(network, layers, columns, mirrored=mirrored, beside=beside))
        for name in open_layers:
            middle = (low[name] + high[name]) // 2
            if name in known[middle]:
                high[name] = middle
            else:
                low[name] = middle
    return high


def _seen(
    network: Network,
    layers: Collection[str],
    columns: list[int],
    *,
    mirrored: bool,
    beside: bool,
) -> dict[int, frozenset[str]]:
    """Return, by column, the layers whose centre unit is NaN with NaN up to and with it."""
    x = torch.full(
        (len(columns), 3, *network.preprocessing.uncut_size), 0.5, device=network.device
    )
    margin = max(0, x.shape[-1] - network.preprocessing.size[1])
    cut_off = margin - margin // 2 if mirrored else margin // 2
    for row, column in enumerate(columns):
        x[row, :, :, : cut_off + column + 1] = float("nan")
    if mirrored:
        x = x.flip(3)
    places = {
        name: torch.tensor(
            [
                network.layers[name].place(
                    channel, _position(network.layers[name], beside=beside)
                )
                for channel in range(network.layers[name].channels)
            ],
            device=network.device,
        )
        for name in layers
    }
    with torch.inference_mode():
        outputs = network.outputs(x, places)
    isnan = {name: output.isnan().any(1).numpy(force=True) for name, output in outputs.items()}
    return {
        column: frozenset(name for name in layers if isnan[name][row])
        for row, column in enumerate(columns)
    }


def _position(layer: Layer, *, beside: bool) -> UnitPosition:
    position = layer.usual_position
    if not beside:
        return position
    row, column = (layer.grid[0] // 2, layer.grid[1] // 2) if position == "cls" else position
    return row, column + 1 if column + 1 < layer.grid[1] else column
