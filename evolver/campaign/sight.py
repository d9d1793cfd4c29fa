"""The part of images that units at one place of a convolution see, and no more.

Knows tensors, networks and rectangles. A unit of a convolution depends on a part of the image
alone, also where images are shrunk before a network sees them. What is worked out from that
part is what the whole image gives but for rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evolver.windows import Window
from scorers.networks.preprocessing import Preprocessing, resized

if TYPE_CHECKING:
    import torch

    from scorers.networks.network import Local


@dataclass(frozen=True, slots=True)
class Sight:
    """What units at one place see; `sight_of_place` makes one.

    Parameters
    ----------
    network : works units out from their part of its input
    place : layer, row and column
    drawn : the part of the image that is drawn, image pixels
    times : how many times larger the image is than the network's input
    """

    network: Local
    place: tuple[str, int, int]
    drawn: Window
    times: int = 1

    def outputs(self, part: torch.Tensor) -> torch.Tensor:
        """Return what all channels put out there, (n, channels), of the drawn part's pixels."""
        ends = self.drawn.top, self.drawn.bottom, self.drawn.left, self.drawn.right
        seen = Window(*(end // self.times for end in ends))
        small = part if self.times == 1 else resized(part, seen.shape)
        field = self.network.field(*self.place)
        return self.network.at(field.within(seen).of(small), *self.place)


def sight_of_place(
    network: Any,  # noqa: ANN401  of any kind; some have what it takes
    place: tuple[str, int, int],
    *,
    image_size: int,
    whole: bool = False,
) -> Sight | None:
    """Return what units at a place see; None where a network cannot tell.

    Parameters
    ----------
    network : scorers.networks.Network
    place : layer, row and column
    image_size : of the generator, pixels
    whole : the whole image is drawn all the same
    """
    local = getattr(network, "local", None)
    height, width = network.preprocessing.size
    times, rest = divmod(image_size, height)
    if local is None or height != width or rest or not times:
        return None
    if times > 1 and network.preprocessing != Preprocessing((height, width)):
        return None  # something is cut off, or stretched in another way
    if whole:
        return Sight(local, place, Window.whole(image_size), times)
    field = local.field(*place)
    # A pixel of an image that is shrunk is a mean of those around it, one of its own widths
    # away at most.
    margin = 0 if times == 1 else 1
    ends = (
        field.top - margin,
        field.bottom + margin,
        field.left - margin,
        field.right + margin,
    )
    drawn = Window(*(times * min(max(end, 0), height) for end in ends))
    return Sight(local, place, drawn, times)
