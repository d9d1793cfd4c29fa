"""How large a part of its input the unit in a layer's centre sees, exactly, of any network.

Knows networks. NaN is what no operation can hide: with NaN in every column of the input up to
one, a unit is NaN where its receptive field reaches that column. Where that begins is found by
halving, for all layers at once, so that a network is run a few dozen times whatever its depth.
Attention, a normalisation over positions and a fully connected layer see everything, and are
found to.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch

from evolver.windows import Window
from scorers.networks.layers import CLASS_TOKEN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evolver.types import Vector
    from scorers.networks.layers import Layer, UnitPosition
    from scorers.networks.network import Network

_Side: TypeAlias = Literal["top", "bottom", "left", "right"]
_Probe: TypeAlias = "tuple[str, UnitPosition]"
"""A layer's name, and where in it a unit is."""
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
    each = (probe for name in layers for probe in _probes(network.layers[name]))
    probes = list(dict.fromkeys(each))  # the unit in the centre is one of the two
    first = _edges(network, probes, "left")
    last = _edges(network, probes, "right")
    found: dict[str, Extent] = {}
    for name in layers:
        unit, *pair = _probes(network.layers[name])
        size = max(0, width - last[unit] - first[unit])
        stride = 0.0
        if pair:
            # One of the two edges may be cut off at the border; what sees everything has no
            # place of its own, but a share of the input.
            left, right = pair
            moved = max(first[right] - first[left], last[left] - last[right])
            stride = moved if moved > 0 else width / network.layers[name].grid[1]
        found[name] = Extent(size, stride, whole=size >= width)
    return found


def fields(network: Network, layers: Collection[str]) -> dict[str, Window]:
    """Return what part of the input the units in layers' centres see, exactly.

    Parameters
    ----------
    network : its input is square
    layers : names

    Returns
    -------
    dict : by layer; of no rows and columns where a unit sees nothing
    """
    height, width = network.preprocessing.size
    probes: list[_Probe] = [(name, network.layers[name].usual_position) for name in layers]
    top, bottom, left, right = (
        _edges(network, probes, side) for side in ("top", "bottom", "left", "right")
    )
    return {
        probe[0]: Window(
            top[probe],
            max(top[probe], height - bottom[probe]),
            left[probe],
            max(left[probe], width - right[probe]),
        )
        for probe in probes
    }


def cell_centres(network: Network, name: str) -> tuple[Vector, Vector]:
    """Return where the places of a layer lie in a square image: rows (h,) and columns (w,).

    A place's is the middle of what its units see, as a share of the image from its upper, left
    edge; what a network cuts off is counted. Where the unit in the middle sees up to an edge,
    or the input is not square, its middle is not known, and places divide the input evenly.

    Parameters
    ----------
    network : whose layer it is
    name : of the layer
    """
    layer, preprocessing = network.layers[name], network.preprocessing
    size, uncut, cut = preprocessing.size, preprocessing.uncut_size, preprocessing.cut_off
    centres = [
        (np.arange(n) + 0.5) * side / n for n, side in zip(layer.grid, size, strict=True)
    ]
    if size[0] == size[1] and min(layer.grid) > 1 and layer.usual_position != CLASS_TOKEN:
        field = fields(network, [name])[name]
        stride = extents(network, [name])[name].stride
        ends = ((field.top, field.bottom), (field.left, field.right))
        if all(0 < first < last < size[0] for first, last in ends):
            centres = [
                (first + last) / 2 + stride * (np.arange(n) - n // 2)
                for n, (first, last) in zip(layer.grid, ends, strict=True)
            ]
    rows, columns = (
        (at + before) / whole for at, before, whole in zip(centres, cut, uncut, strict=True)
    )
    return rows, columns


def _probes(layer: Layer) -> list[_Probe]:
    """Return the unit that is asked about, and two side by side in the centre, if there are."""
    rows, columns = layer.grid
    probes: list[_Probe] = [(layer.name, layer.usual_position)]
    if columns > 1:
        right = columns // 2
        probes += [(layer.name, (rows // 2, right - 1)), (layer.name, (rows // 2, right))]
    return probes


def _edges(network: Network, probes: Sequence[_Probe], side: _Side) -> dict[_Probe, int]:
    """Return the first row or column that each unit sees, counted from a side of the input.

    The number of them for one that sees none.
    """
    width = network.preprocessing.size[1]
    # NaN up to and with column `high` is seen, up to `low` it is not; -1: nothing is NaN.
    known = _seen(network, probes, [width - 1], side)
    seeing = known[width - 1]
    low = {probe: -1 if probe in seeing else width - 1 for probe in probes}
    high = {probe: width - 1 if probe in seeing else width for probe in probes}
    while unsettled := [probe for probe in probes if high[probe] - low[probe] > 1]:
        middles = {(low[probe] + high[probe]) // 2 for probe in unsettled} - known.keys()
        for start in range(0, len(middles), _TOGETHER):
            columns = sorted(middles)[start : start + _TOGETHER]
            known.update(_seen(network, probes, columns, side))
        for probe in unsettled:
            middle = (low[probe] + high[probe]) // 2
            if probe in known[middle]:
                high[probe] = middle
            else:
                low[probe] = middle
    return high


def _seen(
    network: Network, probes: Sequence[_Probe], columns: list[int], side: _Side
) -> dict[int, frozenset[_Probe]]:
    """Return, by row or column, the units that are NaN with NaN from a side to it."""
    preprocessing = network.preprocessing
    along = 0 if side in {"top", "bottom"} else 1
    before = preprocessing.cut_off[along]
    if side in {"bottom", "right"}:
        before = preprocessing.uncut_size[along] - preprocessing.size[along] - before
    x = torch.full((len(columns), 3, *preprocessing.uncut_size), 0.5, device=network.device)
    for row, column in enumerate(columns):
        x[row].narrow(along + 1, 0, before + column + 1).fill_(float("nan"))
    if side in {"bottom", "right"}:
        x = x.flip(along + 2)
    positions: dict[str, list[UnitPosition]] = {}
    for name, position in probes:
        positions.setdefault(name, []).append(position)
    places = {
        name: torch.tensor(
            [
                network.layers[name].place(channel, position)
                for position in listed
                for channel in range(network.layers[name].channels)
            ],
            device=network.device,
        )
        for name, listed in positions.items()
    }
    with torch.inference_mode():
        outputs = network.outputs(x, places)
    lost: dict[_Probe, NDArray[np.bool_]] = {}
    for name, listed in positions.items():
        isnan = outputs[name].isnan().numpy(force=True)
        by_unit = isnan.reshape(len(columns), len(listed), -1)
        for k, position in enumerate(listed):
            lost[name, position] = np.any(by_unit[:, k], axis=1)
    return {
        column: frozenset(probe for probe in probes if lost[probe][row])
        for row, column in enumerate(columns)
    }
