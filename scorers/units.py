"""How units are named: ``NETWORK:LAYER:CHANNEL[:ROW:COLUMN]``.

Knows text. Knows nothing of tensors or of which layers a network has. CHANNEL is a number or a
range with both ends in it, ``0-63``. A unit of a convolution without ROW and COLUMN is the one
in the centre of the map.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from evolver.errors import ConfigError

_FORM = re.compile(
    r"([^:]+):([^:]+):(\d{1,9})(?:-(\d{1,9}))?(?::(\d{1,9}):(\d{1,9}))?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class UnitSpec:
    """One or several units of one layer."""

    network: str
    layer: str
    first: int
    last: int  # >= first, itself included
    position: tuple[int, int] | None = None  # (row, column) in the map

    def __str__(self) -> str:
        channels = f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"
        place = "" if self.position is None else f":{self.position[0]}:{self.position[1]}"
        return f"{self.network}:{self.layer}:{channels}{place}"


def parse_units(text: str) -> UnitSpec:
    """Read a unit's name.

    Raises
    ------
    ConfigError
        The text has another form, or a range runs backwards.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ConfigError(
            "a unit must be named NETWORK:LAYER:CHANNEL[:ROW:COLUMN], as mini:fc5:3, "
            f"mini:fc5:0-63 or mini:conv3:10:4:4; got {text!r}"
        )
    network, layer, first, last, row, column = match.groups()
    spec = UnitSpec(
        network,
        layer,
        int(first),
        int(first if last is None else last),
        None if row is None else (int(row), int(column)),
    )
    if spec.last < spec.first:
        raise ConfigError(f"a range of channels must run upwards, as 0-63; got {text!r}")
    return spec
