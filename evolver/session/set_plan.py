"""When each image of a set is shown: an order, and how much of it comes in each block.

Values only: no codes, no pixels. Every item is shown once before any is shown again, in another
order each time, so that drift of the recording falls on all items alike; blocks take equal
shares of that order, one after the other.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from evolver.journal.records import PlannedItem


class SetPlan:
    """The showings of a set, in blocks.

    Parameters
    ----------
    images : int >= 1, of the set
    places : of each image: (degrees right, up, longer side); none: where the session shows
    repeats : int >= 1, showings of each item
    blocks : int >= 1; fewer where there are fewer showings
    rng : of the order
    """

    def __init__(
        self,
        *,
        images: int,
        places: tuple[tuple[float, float, float], ...],
        repeats: int,
        blocks: int,
        rng: np.random.Generator,
    ) -> None:
        self.images, self.places, self.repeats = images, places, repeats
        self.items = images * max(1, len(places))
        rounds = [rng.permutation(self.items) for _ in range(repeats)]
        for before, after in pairwise(rounds):
            if self.items > 1 and before[-1] == after[0]:  # none follows itself
                other = int(rng.integers(1, self.items))
                after[[0, other]] = after[[other, 0]]
        self._order: NDArray[np.intp] = np.concatenate(rounds)
        self.blocks = min(blocks, len(self._order))

    @property
    def showings(self) -> int:
        """All of them."""
        return len(self._order)

    @property
    def largest(self) -> int:
        """Most showings of a block."""
        return -(-self.showings // self.blocks)

    def block(self, number: int) -> tuple[PlannedItem, ...]:
        """Return the showings of a block, by its number from 0, in order; none after the last.

        Every block has some: shares differ by one at most.
        """
        if not 0 <= number < self.blocks:
            return ()
        first, end = (k * self.showings // self.blocks for k in (number, number + 1))
        return tuple(self._item(place) for place in range(first, end))

    def _item(self, place: int) -> PlannedItem:
        item, repeat = int(self._order[place]), place // self.items
        if not self.places:
            return PlannedItem(item, repeat, item)
        image, where = divmod(item, len(self.places))
        x_deg, y_deg, size_deg = self.places[where]
        return PlannedItem(item, repeat, image, size_deg, x_deg, y_deg)
