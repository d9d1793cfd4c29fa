"""A rig of two halves: a display that shows, an acquisition that records.

Knows the two Protocols of `protocols` and nothing of what is behind them. Nothing waits: an
image is shown, the acquisition gets its onset, and the window is handed over when it is
complete, while other images are on the screen.
"""

from __future__ import annotations

from collections.abc import Sequence

from rig_bridge.client import Reporting
from rig_bridge.errors import RequestError
from rig_bridge.handed_over import showing_fault
from rig_bridge.messages import Hello, Level
from rig_bridge.rigs.protocols import Acquisition, ImageDisplay
from rig_bridge.trials import Image, Presentation, TrialResult, aborted


class CombinedRig:
    """A `LatePresenter` of a display and an acquisition.

    Parameters
    ----------
    display : shows
    acquisition : records; what it says of an onset counts more than what the display says
    """

    def __init__(self, display: ImageDisplay, acquisition: Acquisition) -> None:
        self._display, self._acquisition = display, acquisition
        self._last_ns = 0  # when the last presentation was over, display's clock

    def hello(
        self,
        name: str,
        *,
        software: str,
        widest_window_ms: tuple[float, float] = (-500.0, 1000.0),
    ) -> Hello:
        """Return what a rig of these halves says first."""
        return Hello(
            name=name,
            software=software,
            capabilities=(self._acquisition.form,),
            units=tuple(self._acquisition.units),
            display=self._display.screen_info,
            window_ms=widest_window_ms,
        )

    def prepare(self, images: dict[str, Image]) -> None:
        """Hand images, (h, w, 3) uint8 by digest, to the display."""
        self._display.prepare(images)

    def present(self, image: Image, request: Presentation) -> TrialResult | None:
        """Show one image; its result comes later, or now where it cannot be shown."""
        try:
            showing = self._display.show(image, request)
        except RequestError as exc:  # such as an image beyond the screen's edge
            return self._aborted(request, str(exc)[:200])
        if fault := showing_fault(showing, request):
            return self._aborted(request, fault)  # no acquisition could find its window
        self._last_ns = showing.offset_ns
        self._acquisition.expect(request, showing)
        return None

    def _aborted(self, request: Presentation, reason: str) -> TrialResult:
        return aborted(
            request,
            reason,
            form=self._acquisition.form,
            units=len(self._acquisition.units),
            time_ns=self._last_ns,
        )

    def collect(self) -> Sequence[tuple[int, TrialResult]]:
        """Return the windows that are complete by now, each with its block."""
        return [
            (recorded.request.block, recorded.result())
            for recorded in self._acquisition.collect()
        ]

    def notices(self) -> Sequence[tuple[Level, str]]:
        """Return what either half has to say."""
        halves = (self._display, self._acquisition)
        return [
            text for half in halves if isinstance(half, Reporting) for text in half.notices()
        ]

    def blank(self) -> None:
        """Clear the screen."""
        self._display.blank()

    def close(self) -> None:
        """Close both halves."""
        try:
            self._display.close()
        finally:
            self._acquisition.close()
