"""What a unit sees of an image, and no more: the part that is drawn, and what the unit says.

Knows tensors, generators and scorers. A unit of a convolution depends on a part of the image
alone; where generator and network can both work out a part by itself, that is what is done. The
numbers are those of whole images but for rounding, by which a pixel between two grey levels may
fall to either side.
"""

# pyright: basic, reportAttributeAccessIssue=false
# Generators and networks have more methods than their Protocols say.

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evolver.windows import Window
from scorers.networks.preprocessing import Preprocessing, resized
from scorers.scorer import UnitScorer, units_of
from scorers.units import parse_units

if TYPE_CHECKING:
    import torch

    from evolver.types import Generator, Scorer

_WHOLE, _PART = 8, 16  # images in a pass: more leave the cache


@dataclass(frozen=True, slots=True)
class Sight:
    """From codes to one unit's outputs, whole images or a part.

    Parameters
    ----------
    generator, scorer : of one unit
    drawn : the part of the image that is drawn; None for all of it
    place : layer, row, column and channel of the unit, where a part is drawn
    """

    generator: Any
    scorer: Any
    drawn: Window | None = None
    place: tuple[str, int, int, int] | None = None

    @property
    def at_once(self) -> int:
        """How many images a pass of a processor should have."""
        return _WHOLE if self.drawn is None else _PART

    def outputs(self, z: torch.Tensor) -> torch.Tensor:
        """Return what the unit puts out, (n,), of codes, (n, d); pixels as on a screen."""
        if self.drawn is None or self.place is None:
            return self.scorer.responses(_on_screen(self.generator.synthesize(z)))[:, 0]
        (network,) = self.scorer.networks.values()
        layer, row, column, channel = self.place
        field = network.local.field(layer, row, column)
        times = self.generator.image_size // network.preprocessing.size[0]
        seen = _within(self.drawn, times)
        part = _on_screen(self.generator.synthesize_part(z, self.drawn))
        small = resized(part, seen.shape)
        return network.local.at(field.within(seen).of(small), layer, row, column)[:, channel]


def sight_of(generator: Generator, scorer: Scorer, *, whole: bool = False) -> Sight:
    """Return how a unit's outputs are worked out with the least that has to be drawn.

    Parameters
    ----------
    generator, scorer : of one unit; the scorer with `responses`
    whole : whole images all the same
    """
    anything: Any = generator
    if whole or not isinstance(scorer, UnitScorer) or len(scorer.networks) != 1:
        return Sight(generator, scorer)
    (network,) = scorer.networks.values()
    local = getattr(network, "local", None)
    size = network.preprocessing.size
    ((layer, channel, position),) = units_of(network, parse_units(scorer.unit_names[0]))
    if (
        local is None
        or not hasattr(anything, "synthesize_part")
        or layer.kind != "map"
        or not isinstance(position, tuple)
        or network.preprocessing != Preprocessing(size)
        or anything.image_size % size[0]
        or size[0] != size[1]
    ):
        return Sight(generator, scorer)
    field = local.field(layer.name, *position)
    drawn = _around(field, anything.image_size // size[0], size[0])
    return Sight(generator, scorer, drawn, (layer.name, *position, channel))


def _around(field: Window, times: int, size: int) -> Window:
    """Return the part of an image that is `times` as large from which a field's pixels come.

    A pixel of an image that is shrunk is a mean of those around it, one of its own widths away
    at most.
    """
    margin = 0 if times == 1 else 1
    ends = (
        field.top - margin,
        field.bottom + margin,
        field.left - margin,
        field.right + margin,
    )
    top, bottom, left, right = (times * min(max(end, 0), size) for end in ends)
    return Window(top, bottom, left, right)


def _within(drawn: Window, times: int) -> Window:
    """Return where a drawn part is in the image that is shrunk."""
    ends = drawn.top, drawn.bottom, drawn.left, drawn.right
    return Window(*(end // times for end in ends))


def _on_screen(images: torch.Tensor) -> torch.Tensor:
    return images.mul(255).round_().div_(255)
