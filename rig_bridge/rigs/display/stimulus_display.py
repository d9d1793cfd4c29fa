"""A stimulus display: images in an SDL window, counted in frames, every flip's time kept.

Needs pygame (the extra `display`), imported when a window is opened. Fixation point and
photodiode square as labs have them. Where the video driver waits for the vertical blank, a flip
returns when the frame is on the screen and that is the onset; where it does not (a virtual
screen), flips are paced by the clock.
"""

# pyright: basic
# pygame's surfaces are not fully annotated.

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rig_bridge.errors import EndpointError
from rig_bridge.messages import ScreenInfo, Showing
from rig_bridge.rigs.display.light import Calibration
from rig_bridge.rigs.display.screen import Screen
from rig_bridge.steady import unix_ns
from rig_bridge.trials import Image, Presentation

_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Look:
    """What is on the screen beside the images."""

    grey: int = 128  # of the background, a level in sRGB as the images' own
    fixation_deg: float = 0.2  # diameter; 0: none
    fixation_colour: tuple[int, int, int] = (255, 0, 0)
    photodiode_px: int = 60  # side of the square in the lower left corner; 0: none
    fullscreen: bool = False
    monitor: int = 0  # as SDL counts them
    calibration: Calibration | None = None  # None: the monitor is sent the images' own levels


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRecord:
    """The timing of one presentation."""

    presentation: int
    attempt: int
    flips_ns: tuple[int, ...]  # every flip from the onset's to the last blank one's
    dropped: int


def name_monitor(number: int, desktops: Sequence[tuple[int, int]]) -> str:
    """Return how a monitor is called in the record, "monitor 1 of 2, 1920 x 1080".

    Parameters
    ----------
    number : from 0
    desktops : width and height of every monitor's picture

    Raises
    ------
    EndpointError
        There are fewer; the text lists them.
    """
    if not 0 <= number < len(desktops):
        found = "; ".join(f"{i}: {w} x {h}" for i, (w, h) in enumerate(desktops)) or "none"
        raise EndpointError(f"the monitor must be one of those here ({found}); got {number}")
    width, height = desktops[number]
    return f"monitor {number} of {len(desktops)}, {width} x {height}"


def _fixates() -> str:
    return ""


class StimulusDisplay:
    """An `ImageDisplay` in a window.

    Parameters
    ----------
    screen : Screen
    look : Look
    breaks_off : asked every frame; a reason to break off, or ''

    Raises
    ------
    EndpointError
        pygame is not installed, no window of this size can be opened, or there is no such
        monitor.
    """

    def __init__(
        self, screen: Screen, look: Look = Look(), *, breaks_off: Callable[[], str] = _fixates
    ) -> None:
        try:
            import pygame
        except ImportError as exc:
            raise EndpointError(
                f"the display needs pygame, which is not installed ({exc}): "
                "pip install 'evolver[display]'"
            ) from exc
        self._pygame, self._screen, self._look = pygame, screen, look
        self._breaks_off = breaks_off
        self.record: deque[FrameRecord] = deque(maxlen=_KEPT)
        self._surfaces: dict[str, Any] = {}
        self._scaled: dict[tuple[str, int, int], Any] = {}
        self._last_flip = 0.0
        calibration = look.calibration
        self._levels = None if calibration is None else calibration.levels
        background = (look.grey,) * 3
        if self._levels is not None:
            background = tuple(int(row[look.grey]) for row in self._levels)
        self._background = background
        try:
            self._open()
        except BaseException:
            pygame.display.quit()  # whoever tries again begins anew, also with another driver
            raise
        pygame.display.set_caption("evolver")
        pygame.mouse.set_visible(False)
        self.blank()

    def _open(self) -> None:
        pygame, look = self._pygame, self._look
        size = (self._screen.width_px, self._screen.height_px)
        try:
            pygame.display.init()
            desktops = pygame.display.get_desktop_sizes()
            self._monitor = name_monitor(look.monitor, desktops)
            flags = pygame.FULLSCREEN if look.fullscreen else 0
            self._window = pygame.display.set_mode(
                size, flags | pygame.DOUBLEBUF, display=look.monitor, vsync=1
            )
        except pygame.error as exc:
            raise EndpointError(f"no window can be opened: {exc}") from exc
        if self._window.get_size() != size:
            raise EndpointError(
                f"the window must have {size[0]} x {size[1]} pixels, as was stated; it has "
                f"{self._window.get_size()}: state the resolution that the monitor is set to"
            )

    @property
    def screen_info(self) -> ScreenInfo:
        """The screen, its background, and how levels are turned into light."""
        stated: dict[str, Any] = {"background_grey": self._look.grey, "monitor": self._monitor}
        stated["places"] = True  # as `show` puts each image where its own request says
        if self._look.calibration is not None and self._levels is not None:
            stated["calibration"] = self._look.calibration.text[:200]
            stated["levels"] = tuple(tuple(row) for row in self._levels.tolist())
        return self._screen.message(**stated)

    def prepare(self, images: Mapping[str, Image]) -> None:
        """Make surfaces of images, (h, w, 3) uint8 by digest; those before are forgotten."""
        self._scaled.clear()
        self._surfaces = {
            sha256: self._pygame.surfarray.make_surface(np.swapaxes(image, 0, 1))
            for sha256, image in images.items()
        }

    def show(self, image: Image, request: Presentation) -> Showing:
        """Show one image for whole frames, then a blank; return when that is over."""
        commanded = unix_ns()
        shape = (image.shape[0], image.shape[1])
        rectangle = self._screen.rectangle(request.size_deg, request.position_deg, shape)
        surface = self._surface(image, request.sha256, rectangle[2:])
        on = max(1, self._screen.frames(request.on_ms))
        off = self._screen.frames(request.off_ms)
        flips: list[int] = []
        reason = ""
        for _ in range(on):
            self._draw(surface, rectangle)
            flips.append(self._flip())
            reason = self._breaks_off() or self._closed()
            if reason:
                break
        for _ in range(max(1, off)):
            self._draw(None, rectangle)
            flips.append(self._flip())
            if reason:
                break
        on_flips = len(flips) - (1 if reason else max(1, off))
        self.record.append(
            FrameRecord(
                presentation=request.presentation,
                attempt=request.attempt,
                flips_ns=tuple(flips),
                dropped=self._screen.dropped(flips),
            )
        )
        return Showing(
            presentation=request.presentation,
            attempt=request.attempt,
            status="aborted" if reason else "ok",
            reason=reason,
            commanded_ns=commanded,
            onset_ns=flips[0],
            offset_ns=flips[on_flips],
            onset_source="flip",
        )

    def blank(self) -> None:
        """Clear the screen; the fixation point stays."""
        self._draw(None, (0, 0, 0, 0))
        self._flip()

    def close(self) -> None:
        """Close the window."""
        self._pygame.display.quit()

    @property
    def dropped(self) -> int:
        """Frames that were missed in the presentations that are kept."""
        return sum(record.dropped for record in self.record)

    # ------------------------------------------------------------------ inside

    def _surface(self, image: Image, sha256: str, size: tuple[int, int]) -> Any:  # noqa: ANN401  a surface of pygame's
        key = (sha256, *size)
        if key not in self._scaled:
            raw = self._surfaces.get(sha256)
            if raw is None:
                raw = self._pygame.surfarray.make_surface(np.swapaxes(image, 0, 1))
            scaled = self._pygame.transform.smoothscale(raw, size)
            if self._levels is not None:
                pixels = self._pygame.surfarray.array3d(scaled)
                calibrated = np.stack(
                    [r[pixels[..., i]] for i, r in enumerate(self._levels)], -1
                )
                scaled = self._pygame.surfarray.make_surface(calibrated)
            self._scaled[key] = scaled
        return self._scaled[key]

    def _draw(self, surface: Any, rectangle: tuple[int, int, int, int]) -> None:  # noqa: ANN401
        pygame, look, screen = self._pygame, self._look, self._screen
        self._window.fill(self._background)
        if surface is not None:
            self._window.blit(surface, rectangle[:2])
        if look.photodiode_px:
            side = look.photodiode_px
            colour = (255,) * 3 if surface is not None else (0,) * 3
            self._window.fill(colour, (0, screen.height_px - side, side, side))
        if look.fixation_deg:
            radius = max(1, round(look.fixation_deg / 2 * screen.px_per_deg))
            centre = (screen.width_px // 2, screen.height_px // 2)
            pygame.draw.circle(self._window, look.fixation_colour, centre, radius)

    def _flip(self) -> int:
        """Put what was drawn on the screen; return when it was there, ns since 1970."""
        self._pygame.display.flip()
        now = time.perf_counter()
        left = self._last_flip + self._screen.frame_ms / 1000 - now
        if left > 0.25 * self._screen.frame_ms / 1000:  # the driver did not wait
            time.sleep(left)
            now = time.perf_counter()
        self._last_flip = now
        return unix_ns()

    def _closed(self) -> str:
        pygame = self._pygame
        for event in pygame.event.get():
            escape = event.type == pygame.KEYDOWN and event.key == pygame.K_ESCAPE
            if event.type == pygame.QUIT or escape:
                return "the operator closed the display"
        return ""
