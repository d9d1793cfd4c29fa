"""A screen, in numbers: degrees to pixels, milliseconds to frames, flips to dropped frames.

Pure: no window, no clock. The image is flat and the screen is seen straight on; angles are
measured at the eye, so a degree away from the centre is more pixels than one at it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from rig_bridge.errors import RequestError
from rig_bridge.messages import ScreenInfo


@dataclass(frozen=True, slots=True)
class Screen:
    """What is measured with a ruler, and what the monitor is set to."""

    width_px: int
    height_px: int
    width_cm: float  # of the picture, not of the case
    distance_cm: float  # from the eye to the centre
    refresh_hz: float

    @property
    def px_per_cm(self) -> float:
        """Pixels are square."""
        return self.width_px / self.width_cm

    @property
    def px_per_deg(self) -> float:
        """At the centre: 2 distance tan(1/2 degree) in pixels."""
        return 2 * self.distance_cm * math.tan(math.radians(0.5)) * self.px_per_cm

    @property
    def frame_ms(self) -> float:
        """One frame's time."""
        return 1000 / self.refresh_hz

    def frames(self, ms: float) -> int:
        """Return the whole number of frames nearest to `ms`."""
        return round(ms / self.frame_ms)

    def rectangle(
        self,
        size_deg: float,
        position_deg: tuple[float, float],
        shape: tuple[int, int] = (1, 1),
    ) -> tuple[int, int, int, int]:
        """Return (left, top, width, height) in pixels of an image on the screen.

        Each edge is where its own angle meets the screen: x = distance tan(angle).

        Parameters
        ----------
        size_deg : the longer side, at the eye; the shorter one is as the image's shape has it
        position_deg : centre, right of and above fixation
        shape : height and width of the image, in any unit

        Raises
        ------
        RequestError
            Part of it would be outside the screen, or it would be narrower than a pixel.
        """
        height, width = (size_deg / 2 * side / max(shape) for side in shape)
        left, right = (self._px(position_deg[0] + side) for side in (-width, width))
        bottom, top = (self._px(position_deg[1] + side) for side in (-height, height))
        x, y = round(self.width_px / 2 + left), round(self.height_px / 2 - top)
        w, h = round(right - left), round(top - bottom)
        if w < 1 or h < 1:
            raise RequestError(
                f"an image of {shape[1]} x {shape[0]} must be at least a pixel high and wide; "
                f"with its longer side {size_deg:g} degrees it would be {w} x {h} px"
            )
        if x < 0 or y < 0 or x + w > self.width_px or y + h > self.height_px:
            raise RequestError(
                f"an image of {size_deg:g} degrees at {position_deg} must lie on the screen, "
                f"{self.width_px} x {self.height_px} px; it would be at {(x, y)}, {w} x {h} px"
            )
        return x, y, w, h

    def dropped(self, flips_ns: Sequence[int]) -> int:
        """Return how many frames were missed between flips that should be a frame apart."""
        frame_ns = 1e9 / self.refresh_hz
        return sum(
            max(0, round((b - a) / frame_ns) - 1)
            for a, b in pairwise(flips_ns)
            if b - a > 1.5 * frame_ns
        )

    def message(self, **stated: Any) -> ScreenInfo:  # noqa: ANN401  fields of a message
        """Return what a hello says of it.

        Parameters
        ----------
        **stated : further fields of `ScreenInfo`
        """
        return ScreenInfo(
            self.width_px, self.height_px, self.refresh_hz, self.px_per_deg, **stated
        )

    def _px(self, degrees: float) -> float:
        if not -80 < degrees < 80:
            raise RequestError(f"an angle must be within 80 degrees; got {degrees:g}")
        return self.distance_cm * math.tan(math.radians(degrees)) * self.px_per_cm
