"""A network's layers: what shape one has, and which of its numbers a unit is.

Knows shapes. Knows nothing of tensors, weights or addresses.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Literal, TypeAlias

from evolver.errors import ConfigError

LayerKind: TypeAlias = Literal["vector", "map", "map, channels last", "tokens"]
CLASS_TOKEN = "cls"
"""The position of the token that stands for the whole image."""
UnitPosition: TypeAlias = tuple[int, int] | Literal["cls"]
"""Row and column in a map or in the grid of patches; or the class token."""
_MOST_PREFIX = 16  # tokens before the patches: the class token and registers


@dataclass(frozen=True, slots=True)
class Layer:
    """What one layer puts out for an image.

    Parameters
    ----------
    name : as the network calls it, with dots
    shape : of the output, without the batch
    kind : what the axes are: (channels,); (channels, rows, columns); (rows, columns, channels);
        or (tokens, channels), patches in rows after what else there is
    """

    name: str
    shape: tuple[int, ...]
    kind: LayerKind

    @property
    def channels(self) -> int:
        """How many features there are at each position."""
        return self.shape[0] if self.kind in {"vector", "map"} else self.shape[-1]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of positions; (1, 1) where there are none."""
        if self.kind == "vector":
            return 1, 1
        if self.kind == "tokens":
            side = isqrt(self.shape[0])
            if self.shape[0] - side * side > _MOST_PREFIX:  # no square grid of patches
                return 1, self.shape[0]
            return side, side
        rows, columns = self.shape[1:] if self.kind == "map" else self.shape[:2]
        return rows, columns

    @property
    def tokens_before(self) -> int:
        """How many tokens stand before the patches: a class token first, registers after it."""
        rows, columns = self.grid
        return self.shape[0] - rows * columns if self.kind == "tokens" else 0

    @property
    def positions(self) -> tuple[UnitPosition, ...]:
        """Every position, in the order of the output."""
        rows, columns = self.grid
        places: list[UnitPosition] = [CLASS_TOKEN] if self.tokens_before else []
        return (*places, *((r, c) for r in range(rows) for c in range(columns)))

    @property
    def usual_position(self) -> UnitPosition:
        """Where a unit is that names no position: the class token, or the centre."""
        rows, columns = self.grid
        return CLASS_TOKEN if self.tokens_before else (rows // 2, columns // 2)

    @property
    def units(self) -> int:
        """Channels times positions."""
        return self.channels * len(self.positions)

    def place(self, channel: int, position: UnitPosition) -> int:
        """Return where a unit is in the flattened output.

        Raises
        ------
        ConfigError
            There is no such channel or position; says which there are.
        """
        if not 0 <= channel < self.channels:
            raise ConfigError(
                f"{self.name} has channels 0 to {self.channels - 1}; got {channel}"
            )
        rows, columns = self.grid
        if position == CLASS_TOKEN:
            if not self.tokens_before:
                raise ConfigError(f"{self.name} has no class token; got {CLASS_TOKEN}")
            token = 0
        else:
            row, column = position
            if not (0 <= row < rows and 0 <= column < columns):
                what = (
                    f"rows 0 to {rows - 1} and columns 0 to {columns - 1}"
                    if rows * columns > 1
                    else "no positions"
                )
                raise ConfigError(f"{self.name} has {what}; got {row}:{column}")
            token = self.tokens_before + row * columns + column
        if self.kind in {"vector", "map"}:
            return channel * rows * columns + token
        return token * self.channels + channel

    def unit_name(self, channel: int, position: UnitPosition) -> str:
        """Return a unit's address within the network, as ``conv3:10:4:4``."""
        if self.kind == "vector":
            return f"{self.name}:{channel}"
        where = position if position == CLASS_TOKEN else f"{position[0]}:{position[1]}"
        return f"{self.name}:{channel}:{where}"


def layer_of(name: str, shape: tuple[int, ...]) -> Layer | None:
    """Return the layer whose output has this shape, without the batch; None if none has.

    Of three axes, the two of one length are rows and columns where only that tells: a network
    sees a square image.
    """
    if not shape or min(shape) < 1:
        return None
    if len(shape) == 1:
        return Layer(name, shape, "vector")
    if len(shape) == 2:
        return Layer(name, shape, "tokens")
    if len(shape) == 3:
        last = shape[0] == shape[1] != shape[2]
        return Layer(name, shape, "map, channels last" if last else "map")
    return None
