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

from evolver.campaign.sight import Sight, sight_of_place
from scorers.scorer import UnitScorer, units_of
from scorers.units import parse_units

if TYPE_CHECKING:
    import torch

    from evolver.types import Generator, Scorer
    from evolver.windows import Window

_WHOLE, _PART = 8, 16  # images in a pass: more leave the cache


@dataclass(frozen=True, slots=True)
class SeenUnit:
    """From codes to one unit's outputs, whole images or a part.

    Parameters
    ----------
    generator, scorer : of one unit
    sight : the part of the image that is drawn; None for all of it
    channel : the unit's, where a part is drawn
    """

    generator: Any
    scorer: Any
    sight: Sight | None = None
    channel: int = 0

    @property
    def drawn(self) -> Window | None:
        """The part of the image that is drawn; None for all of it."""
        return None if self.sight is None else self.sight.drawn

    @property
    def at_once(self) -> int:
        """How many images a pass of a processor should have."""
        return _WHOLE if self.sight is None else _PART

    def outputs(self, z: torch.Tensor) -> torch.Tensor:
        """Return what the unit puts out, (n,), of codes, (n, d); pixels as on a screen."""
        if self.sight is None:
            return self.scorer.responses(_on_screen(self.generator.synthesize(z)))[:, 0]
        part = _on_screen(self.generator.synthesize_part(z, self.sight.drawn))
        return self.sight.outputs(part)[:, self.channel]


def seen_unit(generator: Generator, scorer: Scorer, *, whole: bool = False) -> SeenUnit:
    """Return how a unit's outputs are worked out with the least that has to be drawn.

    Parameters
    ----------
    generator, scorer : of one unit; the scorer with `responses`
    whole : whole images all the same
    """
    anything: Any = generator
    if whole or not isinstance(scorer, UnitScorer) or len(scorer.networks) != 1:
        return SeenUnit(generator, scorer)
    (network,) = scorer.networks.values()
    ((layer, channel, position),) = units_of(network, parse_units(scorer.unit_names[0]))
    if (
        not hasattr(anything, "synthesize_part")
        or layer.kind != "map"
        or not isinstance(position, tuple)
    ):
        return SeenUnit(generator, scorer)
    sight = sight_of_place(network, (layer.name, *position), image_size=anything.image_size)
    return SeenUnit(generator, scorer, sight, channel)


def _on_screen(images: torch.Tensor) -> torch.Tensor:
    return images.mul(255).round_().div_(255)
