"""What is left of a response to an image that was shown before.

Knows names of images and numbers of presentations. Knows nothing of spikes or clocks: time is
counted in presentations, so that a session that is repeated repeats itself on any machine.

Each showing leaves a trace that fades by 1/e over `showings` presentations; with traces that
sum up to n, the response is 1 - depth * (1 - 2^-n) of a fresh one: half of the depth is lost at
once where an image follows itself, and no more than the depth however often it is shown.
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
        self._traces: OrderedDict[str, tuple[int, float]] = OrderedDict()  # oldest first

    def left(self, image: str, presentation: int) -> float:
        """Return what is left of the response to an image shown now, in [1 - depth, 1]."""
        return 1 - self._depth * (1 - 2 ** -self._trace(image, presentation))

    def add(self, image: str, presentation: int) -> None:
        """Count a showing of an image."""
        if self._depth == 0:
            return
        self._traces[image] = presentation, self._trace(image, presentation) + 1
        self._traces.move_to_end(image)
        oldest, (last, _) = next(iter(self._traces.items()))
        if presentation - last > _FORGOTTEN * self._showings:
            del self._traces[oldest]

    def _trace(self, image: str, presentation: int) -> float:
        last, trace = self._traces.get(image, (presentation, 0.0))
        return trace * math.exp(-max(presentation - last, 0) / self._showings)
