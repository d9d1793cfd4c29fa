"""What a person is asked at once: images side by side, marks on them, and the answer.

Values and the times that are handed in; no clocks, no threads, no pages. A grid is a state
machine of three states: opened, on the page (`appear`), over (`send`, or `give_up`).

The answer is a number an image. To pick: 1 or 0. To rank: how many images of the grid it was
liked better than, so that the first of n has n - 1, the next n - 2, and whatever was not marked
0. To rate: its stars.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rig_bridge.messages import Unit
from rig_bridge.rigs.person.orders import GridView, Mode
from rig_bridge.trials import Image, Presentation, TrialResult, aborted

UNITS = (
    Unit(0, 0, "person", "person"),
    Unit(1, 0, "person", "seconds"),
    Unit(2, 0, "person", "place"),
)
"""The answer; seconds from the images' appearance to the mark, 0 without one; place in the
grid, from 0, row by row. Scores are made of the first; the others are for whoever looks for
reaction times, and for what the place did."""


@dataclass(frozen=True, slots=True)
class _Marked:
    stars: int
    time_ns: int


class Grid:
    """One block's images, or as many of them as were asked for together.

    Parameters
    ----------
    name : unlike that of any other grid
    mode : how the person answers
    images, asked : by place: what is shown there, and which showing it is
    opened_ns : the rig's clock, as all other times
    """

    def __init__(
        self,
        name: str,
        mode: Mode,
        images: Sequence[Image],
        asked: Sequence[Presentation],
        *,
        opened_ns: int,
    ) -> None:
        self.name, self.mode = name, mode
        self.images, self.asked = tuple(images), tuple(asked)
        self.appeared_ns: int | None = None
        self._opened_ns = opened_ns
        self._marks: dict[int, _Marked] = {}  # by place, in the order in which they were made
        self._cleared: dict[int, _Marked] = {}

    @property
    def block(self) -> int:
        """The block that its images are of."""
        return self.asked[0].block

    @property
    def marked(self) -> int:
        """How many images are marked."""
        return len(self._marks)

    def view(self) -> GridView:
        """Return it as a page draws it."""
        ranked = self.mode == "rank"
        marks = [0] * len(self.images)
        for rank, (place, marked) in enumerate(self._marks.items(), start=1):
            marks[place] = rank if ranked else marked.stars
        sizes = [(image.shape[0], image.shape[1]) for image in self.images]
        can_restore = bool(self._cleared and not self._marks)
        return GridView(self.name, self.block, sizes, marks, self.marked, can_restore)

    def appear(self, now_ns: int) -> None:
        """Take the news that all of it is on a page; the first one counts."""
        if self.appeared_ns is None:
            self.appeared_ns = max(now_ns, self._opened_ns)

    def mark(self, place: int, stars: int, now_ns: int) -> bool:
        """Mark an image, or take its mark away; return whether that changes anything."""
        if place >= len(self.images) or (stars > 1 and self.mode != "rate"):
            return False
        before = self._marks.get(place)
        if stars == (0 if before is None else before.stars):
            return False
        if stars:
            self._marks[place] = _Marked(stars, now_ns)
        else:
            del self._marks[place]
        self._cleared = {}
        return True

    def clear(self) -> bool:
        """Take all marks away; return whether there were any."""
        if not self._marks:
            return False
        self._cleared, self._marks = self._marks, {}
        return True

    def restore(self) -> bool:
        """Bring back what `clear` took; return whether there was anything."""
        if not self._cleared or self._marks:
            return False
        self._marks, self._cleared = self._cleared, {}
        return True

    def values(self) -> list[float]:
        """Return the answer as it is now, by place."""
        values = [0.0] * len(self.images)
        for rank, (place, marked) in enumerate(self._marks.items(), start=1):
            better_than = len(self.images) - rank
            values[place] = float(better_than if self.mode == "rank" else marked.stars)
        return values

    def send(self, now_ns: int) -> list[TrialResult]:
        """Return the answer as results, by place."""
        onset_ns = self._opened_ns if self.appeared_ns is None else self.appeared_ns
        results: list[TrialResult] = []
        for place, (asked, value) in enumerate(zip(self.asked, self.values(), strict=True)):
            marked = self._marks.get(place)
            waited_ns = 0 if marked is None else max(0, marked.time_ns - onset_ns)
            results.append(
                TrialResult(
                    presentation=asked.presentation,
                    attempt=asked.attempt,
                    status="ok",
                    reason="",
                    commanded_ns=self._opened_ns,
                    onset_ns=onset_ns,
                    offset_ns=max(now_ns, onset_ns),
                    onset_source="command",
                    form="rates",
                    arrays={"rates": np.array([value, waited_ns / 1e9, place], "<f8")},
                )
            )
        return results

    def give_up(self, reason: str, now_ns: int) -> list[TrialResult]:
        """Return every showing of it as aborted."""
        return [unanswered(asked, reason, now_ns) for asked in self.asked]


def unanswered(asked: Presentation, reason: str, now_ns: int) -> TrialResult:
    """Return the result of a showing that no person answers."""
    return aborted(asked, reason, form="rates", units=len(UNITS), time_ns=now_ns)
