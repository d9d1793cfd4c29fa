"""What a rig is made of: a display that shows images, an acquisition that records responses.

Values and Protocols only. A lab that has one of the two writes the other, and joins them with
`rig_bridge.rigs.combined`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from rig_bridge import messages
from rig_bridge.trials import Array, Image, Presentation


@dataclass(frozen=True, slots=True)
class Shown:
    """What a display did for one presentation; times in ns since the unix epoch, its clock."""

    presentation: Presentation
    status: messages.Status
    reason: str  # of an aborted one; else empty
    commanded_ns: int
    onset_ns: int
    offset_ns: int
    onset_source: messages.OnsetSource


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """What an acquisition recorded around one onset, as `TrialResult.arrays`.

    An acquisition that saw the onset itself (a photodiode's TTL) says when, on the display's
    clock; else `onset_ns` is None and the display's own time stands.
    """

    shown: Shown
    status: messages.Status  # aborted where data were lost in the window
    reason: str
    onset_ns: int | None
    form: messages.Form
    arrays: Mapping[str, Array]


class ImageDisplay(Protocol):
    """Shows images, one at a time."""

    @property
    def geometry(self) -> messages.Display:
        """The screen."""
        ...

    def prepare(self, images: Mapping[str, Image]) -> None:
        """Get ready to show these images, (h, w, 3) uint8 by digest."""
        ...

    def show(self, image: Image, request: Presentation) -> Shown:
        """Show one image for `on_ms`, then a blank for `off_ms`; return when that is over."""
        ...

    def blank(self) -> None:
        """Clear the screen."""
        ...

    def close(self) -> None:
        """Give the screen back."""
        ...


class Acquisition(Protocol):
    """Records responses."""

    @property
    def units(self) -> Sequence[messages.Unit]:
        """The unit table, in the order of the arrays' unit indices."""
        ...

    @property
    def form(self) -> messages.Form:
        """What `collect` hands over."""
        ...

    def expect(self, shown: Shown) -> None:
        """Take the news that an image was on the screen: its window is to be collected."""
        ...

    def collect(self) -> Sequence[Recorded]:
        """Return the windows that are complete by now, each once; never wait."""
        ...

    def close(self) -> None:
        """Leave the acquisition system as it was."""
        ...
