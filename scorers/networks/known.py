"""Units whose best image is known: the network `known`, made of formulas, with no weight file.

For tests, demonstrations and benchmarks: how much of what is possible a search has reached can
be said of no trained network. Every unit here answers with 1 to its best image, and with more
to none, whatever the image's size: resizing takes weighted means of pixels, which end between
black and white as pixels do. `KnownNetwork.optimum` hands that image out.

Layers are maps of 5 x 5 positions. A unit sees a square of half the input's side; the next
position's lies an eighth of the side further. Pixels count from -1 (black) to 1 (white).

gabor   a simple cell: luminance times a Gabor function, summed (Daugman, J. Opt. Soc. Am. A 2,
        1985; Jones & Palmer, J. Neurophysiol. 58, 1987, eq. 1), without its mean. As a sum is
        highest where every pixel is as far as it goes to the side of its weight, the best image
        is the function's sign, black and white. Scaled by the sum of the absolute weights
energy  a complex cell: the squares of two Gabor functions a quarter of a cycle apart, added
        (Adelson & Bergen, J. Opt. Soc. Am. A 2, 1985). The pairs of sums that images give fill
        a zonogon, and the furthest point of that from 0 is one of its corners: all are compared
patch   the correlation coefficient (Pearson) of pixels and colours with a picture. The best
        image is that picture, at any contrast above a level of grey or so
colour  the mean colour, along the direction to a corner of the RGB cube

Knows pixels and formulas. Knows nothing of files, spikes or sessions.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812  the name every torch user knows it by

from evolver import seeds
from evolver.errors import ConfigError, WeightsError
from evolver.weights.read import chosen_device
from scorers.networks.layers import Layer
from scorers.networks.network import check_layers
from scorers.networks.preprocessing import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from scorers.networks.layers import UnitPosition

HIGHEST = 1.0
"""What every unit of the network answers to its best image."""
_SIDE = 64
_SIDES = range(48, 257, 8)  # pixels; the finest bars need three a cycle
_GRID = 5
_GREY = 128
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as `Preprocessing`'s grey
_CYCLES_IN_SD = 0.56  # of a Gabor function: its bandwidth is an octave
_FLATTEST = 1e-6  # mean square of what is correlated with a picture: a quarter of a grey level
_PATCHES = 8
_COARSE = 5  # points a side, between which the pictures are interpolated
_VERSION = "evolver, known units, version 1"


@dataclass(frozen=True, slots=True)
class GaborTuning:
    """What one channel of `gabor` is tuned to, or, without a phase, of `energy`."""

    orientation_deg: float
    """Of the bars: 0 is horizontal, and angles grow counter-clockwise."""
    cycles: float
    """Over the side of the network's input."""
    phase_deg: float = 0.0
    """0: a white bar in the middle; 90: white below it and black above, at 0 degrees."""


ENERGIES = tuple(
    GaborTuning(angle, cycles)
    for angle, cycles in product((0, 22.5, 45, 67.5, 90, 112.5, 135, 157.5), (4, 8, 16))
)
"""The channels of `energy`, 24, in their order."""
GABORS = tuple(
    GaborTuning(tuning.orientation_deg, tuning.cycles, phase)
    for tuning, phase in product(ENERGIES, (0, 90, 180, 270))
)
"""The channels of `gabor`, 96, in their order."""
COLOURS = ("white", "black", "red", "green", "blue", "yellow", "cyan", "magenta")
"""The channels of `colour`, in their order."""
_CORNERS = np.array(
    [[1, 1, 1], [-1, -1, -1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, -1], [-1, 1, 1],
     [1, -1, 1]]
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class BestImage:
    """The image that no other exceeds."""

    image: NDArray[np.uint8]
    """(h, w, 3), of the network's input's size, grey where the unit does not see."""
    value: float
    """What the unit answers to it, to 1e-5."""


class KnownNetwork:
    """Units whose best image is known, as a `Network`; see the top of this file.

    Parameters
    ----------
    name : as addresses begin
    size : side of the input, pixels; a multiple of 8, 48 to 256
    device : where it runs

    Raises
    ------
    ConfigError
        The size is another.
    """

    def __init__(self, name: str, *, size: int, device: torch.device) -> None:
        if type(size) is not int or size not in _SIDES:
            raise ConfigError(
                f"the size of {name} must be a multiple of 8 from {_SIDES[0]} to {_SIDES[-1]} "
                f"pixels; got {size!r}"
            )
        self.name, self.device = name, device
        self.preprocessing = Preprocessing((size, size))
        self._side, self._stride = size // 2, size // 8
        pictures = _pictures(self._side)
        digest = hashlib.sha256(f"{_VERSION}, {size} pixels\n".encode())
        digest.update(pictures.tobytes())
        self.sha256 = digest.hexdigest()
        best_gabors, gabors = _simple_cells(self._side)
        best_energies, pairs = _complex_cells(self._side)
        # The best pixels of every unit's square, (channels, side, side, 3) uint8.
        self._best = {
            "gabor": best_gabors,
            "energy": best_energies,
            "patch": pictures,
            "colour": _levels(_CORNERS)[:, None, None]
            .repeat(self._side, 1)
            .repeat(self._side, 2),
        }
        self.layers: Mapping[str, Layer] = {
            layer: Layer(layer, (len(best), _GRID, _GRID), "map")
            for layer, best in self._best.items()
        }
        profiles = pictures / 127.5 - 1
        profiles = profiles - profiles.mean(axis=(1, 2, 3), keepdims=True)
        profiles /= np.sqrt((profiles**2).sum(axis=(1, 2, 3), keepdims=True))
        self._gabors = self._filters(gabors[:, None])
        self._pairs = self._filters(pairs[:, None])
        self._patches = self._filters(profiles.transpose(0, 3, 1, 2))
        sums = np.abs(_CORNERS).sum(axis=1, keepdims=True)
        self._colours = self._filters((_CORNERS / sums)[:, :, None, None])
        self._luma = self._filters(np.array(_LUMA)[None, :, None, None])

    def optimum(
        self, layer: str, channel: int, position: UnitPosition | None = None
    ) -> BestImage:
        """Return a unit's best image, and what it answers to it.

        Parameters
        ----------
        layer, channel : as in an address
        position : row and column of the grid; the centre's when None

        Raises
        ------
        ConfigError
            There is no such unit.
        """
        check_layers(self, [layer])
        known = self.layers[layer]
        place = known.place(channel, known.usual_position if position is None else position)
        row, column = divmod(place % _GRID**2, _GRID)
        image = np.full((*self.preprocessing.size, 3), _GREY, dtype=np.uint8)
        top, left = row * self._stride, column * self._stride
        image[top : top + self._side, left : left + self._side] = self._best[layer][channel]
        return BestImage(image, HIGHEST)

    def outputs(
        self, x: torch.Tensor, places: Mapping[str, torch.Tensor | None]
    ) -> dict[str, torch.Tensor]:
        """Return what layers put out; see `Network.outputs`."""
        check_layers(self, places)
        v = 2 * self.preprocessing(x) - 1
        found: dict[str, torch.Tensor] = {}
        for name, at in places.items():
            output = self._layer(name, v)
            found[name] = output if at is None else output.flatten(1)[:, at]
        return found

    def _layer(self, name: str, v: torch.Tensor) -> torch.Tensor:
        """Turn pixels, (n, 3, h, w) in [-1, 1], into a layer's output, (n, c, 5, 5)."""
        if name == "colour":
            return F.conv2d(F.avg_pool2d(v, self._side, self._stride), self._colours)
        if name == "patch":
            seen = F.unfold(v, self._side, stride=self._stride)
            # A convolution of so many pixels loses the fifth digit on some processors.
            along = self._patches.flatten(1) @ seen
            power = (seen - seen.mean(1, keepdim=True)).square().mean(1) + _FLATTEST
            root: torch.Tensor = (power * seen.shape[1]).sqrt()
            return (along / root[:, None]).reshape(-1, len(self._patches), _GRID, _GRID)
        luminance = F.conv2d(v, self._luma)
        if name == "gabor":
            return F.conv2d(luminance, self._gabors, stride=self._stride)
        even, odd = F.conv2d(luminance, self._pairs, stride=self._stride).chunk(2, dim=1)
        return even.square() + odd.square()

    def _filters(self, weights: NDArray[np.float64]) -> torch.Tensor:
        return torch.tensor(weights, dtype=torch.float32, device=self.device)


def load_known(
    name: str, *, weights: str | Path | None, device: str, size: int = _SIDE
) -> KnownNetwork:
    """Load the units whose best image is known.

    Parameters
    ----------
    name : as addresses begin
    weights : must be None: there are none
    device : a torch device
    size : side of the input, pixels; a multiple of 8, 48 to 256

    Raises
    ------
    WeightsError
        A weight file was given.
    ConfigError
        The size is another.
    """
    if weights is not None:
        raise WeightsError(
            f"{name} must have no weight file, as it is made of formulas; got {weights}"
        )
    return KnownNetwork(name, size=size, device=chosen_device(device))


def gabor_function(tuning: GaborTuning, side: int) -> NDArray[np.float64]:
    """Return a Gabor function, (side, side) float64, in a square of half an input's side.

    A cosine under a round Gaussian whose standard deviation is 0.56 of a cycle, so that the
    bandwidth is an octave; what is left of its mean under the Gaussian is taken off.
    """
    middle = (side - 1) / 2
    down, right = np.indices((side, side)) - middle
    angle, phase = np.deg2rad([tuning.orientation_deg, tuning.phase_deg])
    across = -np.sin(angle) * right - np.cos(angle) * down  # the bars' normal; rows grow down
    cycles = tuning.cycles / (2 * side)  # in a pixel
    envelope = np.exp(-(right**2 + down**2) * (cycles / _CYCLES_IN_SD) ** 2 / 2)
    carried = envelope * np.cos(2 * np.pi * cycles * across + phase)
    return carried - envelope * (carried.sum() / envelope.sum())


def _simple_cells(side: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return the best pixels of every channel of `gabor`, and its weights, (c, side, side)."""
    weights = np.stack([gabor_function(tuning, side) for tuning in GABORS])
    weights /= np.abs(weights).sum(axis=(1, 2), keepdims=True)
    return _grey(np.sign(weights)), weights


def _complex_cells(side: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return the best pixels of every channel of `energy`, and (2 c, side, side) weights.

    The weights at 0 degrees of all channels, then those at 90.
    """
    best: list[NDArray[np.float64]] = []
    even: list[NDArray[np.float64]] = []
    odd: list[NDArray[np.float64]] = []
    for tuning in ENERGIES:
        turned = GaborTuning(tuning.orientation_deg, tuning.cycles, 90)
        pair = np.stack([gabor_function(tuning, side), gabor_function(turned, side)])
        signs, length = furthest_corner(pair.reshape(2, -1))
        best.append(signs.reshape(side, side))
        even.append(pair[0] / length)
        odd.append(pair[1] / length)
    return _grey(np.stack(best)), np.stack([*even, *odd])


def furthest_corner(
    pairs: NDArray[np.float64],
) -> tuple[NDArray[np.float64], float]:
    """Return signs, (n,), for which the sum of so many vectors, (2, n), is longest; its length.

    The sums with factors in [-1, 1] fill a zonogon. Its corners, going round, come from one
    another by turning one vector over, in the order of their angles.
    """
    upper = np.where((pairs[1] > 0) | ((pairs[1] == 0) & (pairs[0] > 0)), 1.0, -1.0)
    vectors = pairs * upper
    order = np.argsort(np.arctan2(vectors[1], vectors[0]), kind="stable")
    turned = np.cumsum(vectors[:, order], axis=1) * 2
    corners = vectors.sum(axis=1, keepdims=True) - turned
    lengths = np.hypot(corners[0], corners[1])
    last = int(np.argmax(lengths))
    signs = upper.copy()
    signs[order[: last + 1]] *= -1
    return signs, float(lengths[last])


def _pictures(side: int) -> NDArray[np.uint8]:
    """Return the pictures of `patch`, (8, side, side, 3) uint8: clouds of colours.

    In whole numbers throughout, so that they are the same on every processor.
    """
    at = np.arange(side) * (_COARSE - 1)
    first = np.minimum(at // (side - 1), _COARSE - 2)
    share = at - first * (side - 1)
    drawn: list[NDArray[np.uint8]] = []
    for k in range(_PATCHES):
        rng = seeds.stream(0, "known patches", k)
        cloud = rng.integers(0, 256, (_COARSE, _COARSE, 3))
        for _ in range(2):  # rows, then columns
            rest = (side - 1 - share)[:, None, None]
            cloud = cloud[first] * rest + cloud[first + 1] * share[:, None, None]
            cloud = cloud.transpose(1, 0, 2)
        low, high = cloud.min(), cloud.max()
        drawn.append(((cloud - low) * 255 // (high - low)).astype(np.uint8))
    return np.stack(drawn)


def _levels(signs: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return black for -1, grey for 0 and white for 1."""
    return np.where(signs > 0, 255, np.where(signs < 0, 0, _GREY)).astype(np.uint8)


def _grey(signs: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return signs, (c, side, side), as grey pixels, (c, side, side, 3) uint8."""
    return _levels(signs)[..., None].repeat(3, axis=-1)
