"""What is left of a response to an image that was shown before.

Knows names of images and numbers of presentations. Knows nothing of spikes or clocks: time is
counted in presentations, so that a session that is repeated repeats itself on any machine.

Each presentation of an image leaves a trace that fades by 1/e over `showings` presentations;
with traces that sum up to n, the response is 1 - depth * (1 - 2^-n) of a fresh one: half of the
depth is lost at once where an image follows itself, and no more than the depth however often it
is shown. What counts is which presentations come before by their numbers, not which were shown
first: one that was aborted and is shown again later finds what it would have found in time.
"""

from __future__ import annotations

import math
from collections import OrderedDict

_FORGOTTEN = 10.0
"""Time constants after which a trace counts for nothing (less than 5 in 100,000)."""


class Adaptation:
    """Traces of the images that were shown.

    Parameters
    ----------
    depth : of the response, what is lost at most, in [0, 1]
    showings : presentations after which 1/e of a trace is left, > 0
    """

    def __init__(self, depth: float, showings: float) -> None:
        self._depth, self._showings = depth, showings
        # Image to its presentations; the image that was added longest ago comes first.
        self._seen: OrderedDict[str, set[int]] = OrderedDict()

    def left(self, image: str, presentation: int, *, showing: int = 1) -> float:
        """Return what is left of the response to an image, in [1 - depth, 1].

        Parameters
        ----------
        image : its name
        presentation : in which it is shown
        showing : of that presentation, from 1: each one before has left a whole trace
        """
        before = self._seen.get(image, ())
        traces = [
            math.exp(-(presentation - number) / self._showings)
            for number in before
            if number < presentation
        ]
        return 1 - self._depth * (1 - 2 ** -(math.fsum(traces) + showing - 1))

    def add(self, image: str, presentation: int) -> None:
        """Keep that an image is shown in a presentation; again is the same."""
        if self._depth == 0:
            return
        seen = self._seen.setdefault(image, set())
        seen.add(presentation)
        self._seen.move_to_end(image)
        forgotten = presentation - _FORGOTTEN * self._showings
        seen -= {number for number in seen if number < forgotten}
        oldest, numbers = next(iter(self._seen.items()))
        if max(numbers, default=0) < forgotten:
            del self._seen[oldest]
