"""What a rig is made of: a display that shows images, an acquisition that records responses.

Values and Protocols only. A lab that has one of the two writes the other, and joins them with
`rig_bridge.rigs.combined`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from msgspec.structs import replace

from rig_bridge.forms import Form
from rig_bridge.messages import ScreenInfo, Showing, ShowingStatus, Unit
from rig_bridge.trials import Array, Image, Presentation, TrialResult


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Recorded:
    """What an acquisition recorded around one onset.

    Parameters
    ----------
    request : what the display was asked for
    showing : what the display did; times in ns since the unix epoch, its clock
    status, reason : aborted, and why, where data were lost in the window
    onset_ns : where the acquisition saw the onset itself (a photodiode's TTL), when that was on
        the display's clock; None: the display's own time stands
    form, arrays : as `rig_bridge.forms.FORMS` lists them
    """

    request: Presentation
    showing: Showing
    status: ShowingStatus
    reason: str
    onset_ns: int | None
    form: Form
    arrays: Mapping[str, Array]

    def result(self) -> TrialResult:
        """Join what both halves know; an onset that was seen moves the offset along."""
        showing = self.showing
        broken_off = showing.status == "aborted"
        showing = replace(
            showing,
            status="aborted" if broken_off else self.status,
            reason=(showing.reason if broken_off else self.reason)[:200],
        )
        if self.onset_ns is not None:
            showing = replace(
                showing,
                onset_ns=self.onset_ns,
                offset_ns=showing.offset_ns + self.onset_ns - showing.onset_ns,
                onset_source="photodiode",
            )
        return TrialResult.of(showing, self.form, dict(self.arrays))


class ImageDisplay(Protocol):
    """Shows images, one at a time."""

    @property
    def screen_info(self) -> ScreenInfo:
        """The screen."""
        ...

    def prepare(self, images: Mapping[str, Image]) -> None:
        """Get ready to show these images, (h, w, 3) uint8 by digest."""
        ...

    def show(self, image: Image, request: Presentation) -> Showing:
        """Show one image for `on_ms`, then a blank for `off_ms`; return when that is over.

        Times are in ns since the unix epoch, of a clock that nobody sets:
        `rig_bridge.steady.unix_ns`.
        """
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
    def units(self) -> Sequence[Unit]:
        """The unit table, in the order of the arrays' unit indices."""
        ...

    @property
    def form(self) -> Form:
        """What `collect` hands over."""
        ...

    def expect(self, request: Presentation, showing: Showing) -> None:
        """Take the news that an image was on the screen: its window is to be collected."""
        ...

    def collect(self) -> Sequence[Recorded]:
        """Return the windows that are complete by now, each once; never wait."""
        ...

    def close(self) -> None:
        """Leave the acquisition system as it was."""
        ...
