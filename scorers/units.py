"""Units by address: ``NETWORK:LAYER:CHANNELS[:POSITION]``.

Knows text. Knows nothing of tensors or of which layers a network has.

NETWORK   a name, or a library and a name in it: ``mini``, ``hf:microsoft/resnet-50``
CHANNELS  one, ``3``; several, ``0-63`` or ``1,4,9-12``; ``all``; or ``random-64@7``: that many
          of the layer's units, drawn without replacement by that seed
POSITION  ``ROW:COLUMN`` in a map or a grid of patches; ``cls``, the class token; ``all``.
          Without one, a unit is the class token's where there is one, else the centre's; and a
          random draw is from every position

The units of a fitted encoder are ``encoder:FILE:CHANNELS``: it has one layer, of units in the
order of its file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from evolver.errors import ConfigError

ENCODER = "encoder"
"""Before the file of a fitted encoder."""
ENCODED_UNITS = "units"
"""The layer of an encoder, which addresses do not name."""
_LIBRARIES = (ENCODER, "hf", "timm", "torchvision")
"""What stands before a colon and is no network by itself."""
_NUMBER = r"\d{1,9}"
_CHANNELS = (
    rf"{_NUMBER}(?:-{_NUMBER})?(?:,{_NUMBER}(?:-{_NUMBER})?)*|all|random-{_NUMBER}@{_NUMBER}"
)
_FORM = re.compile(
    rf"(?P<network>(?:(?:{'|'.join(_LIBRARIES)}):)?[^:]+):(?P<layer>[^:]+):"
    rf"(?P<channels>{_CHANNELS})(?::(?:(?P<row>{_NUMBER}):(?P<column>{_NUMBER})|(?P<word>cls|all)))?",
    re.ASCII,
)
_ENCODED = re.compile(rf"(?P<network>{ENCODER}:[^:]+):(?P<channels>{_CHANNELS})", re.ASCII)
_LAYER = re.compile(rf"((?:(?:{'|'.join(_LIBRARIES)}):)?[^:]+):([^:]+)", re.ASCII)

Channels: TypeAlias = "tuple[tuple[int, int], ...] | RandomUnits | Literal['all']"
"""Ranges, both ends of each in it; a draw; or all."""


@dataclass(frozen=True, slots=True)
class RandomUnits:
    """So many units of a layer, by a seed."""

    n: int
    seed: int

    def __str__(self) -> str:
        return f"random-{self.n}@{self.seed}"


@dataclass(frozen=True, slots=True)
class UnitAddress:
    """One or several units of one layer."""

    network: str
    layer: str
    channels: Channels
    position: tuple[int, int] | Literal["cls", "all"] | None = None

    def __str__(self) -> str:
        channels = self.channels
        if isinstance(channels, tuple):
            channels = ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in channels)
        place = self.position
        if self.network.startswith(f"{ENCODER}:"):
            return f"{self.network}:{channels}"
        if isinstance(place, tuple):
            place = f"{place[0]}:{place[1]}"
        return f"{self.network}:{self.layer}:{channels}" + (
            "" if place is None else f":{place}"
        )


def parse_units(text: str) -> UnitAddress:
    """Read an address.

    Raises
    ------
    ConfigError
        The text has another form, or a range runs backwards.
    """
    if text.startswith(f"{ENCODER}:"):
        encoded = _ENCODED.fullmatch(text)
        if encoded is None:
            raise ConfigError(
                "a unit of a fitted encoder must be named encoder:FILE:UNIT, as "
                "encoder:it.safetensors:3 or encoder:it.safetensors:0-63, the file without a "
                f"colon in its path; got {text!r}"
            )
        channels = _channels(encoded["channels"], text)
        return UnitAddress(encoded["network"], ENCODED_UNITS, channels)
    match = _FORM.fullmatch(text)
    if match is None or match["network"] in _LIBRARIES:
        raise ConfigError(
            "a unit must be named NETWORK:LAYER:CHANNEL[:ROW:COLUMN], as mini:fc5:3, "
            f"mini:fc5:0-63, mini:conv3:10:4:4 or mini:conv4:random-64@1; got {text!r}"
        )
    position: tuple[int, int] | Literal["cls", "all"] | None = None
    if match["row"] is not None:
        position = int(match["row"]), int(match["column"])
    elif match["word"] is not None:
        position = "cls" if match["word"] == "cls" else "all"
    return UnitAddress(
        match["network"], match["layer"], _channels(match["channels"], text), position
    )


def _channels(given: str, text: str) -> Channels:
    if given == "all":
        return "all"
    if given.startswith("random-"):
        n, _, seed = given.removeprefix("random-").partition("@")
        if int(n) < 1:
            raise ConfigError(f"at least one unit must be drawn; got {text!r}")
        return RandomUnits(int(n), int(seed))
    ranges: list[tuple[int, int]] = []
    for part in given.split(","):
        first, _, last = part.partition("-")
        ranges.append((int(first), int(last or first)))
        if ranges[-1][1] < ranges[-1][0]:
            raise ConfigError(f"a range of channels must run upwards, as 0-63; got {text!r}")
    return tuple(ranges)


def parse_layer(text: str) -> tuple[str, str]:
    """Read ``NETWORK:LAYER``; return the two.

    Raises
    ------
    ConfigError
        The text has another form.
    """
    match = _LAYER.fullmatch(text)
    if match is None or match[1] in _LIBRARIES:
        raise ConfigError(f"a layer must be named NETWORK:LAYER, as mini:conv3; got {text!r}")
    return match[1], match[2]
