"""The stimulus display's window as the commands open it: its options, its keys, its errors.

Composition: joins what the command line says to `rig_bridge.rigs.display.stimulus_display`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evolver.cli.terminal import StopSignals
from evolver.errors import ConfigError
from rig_bridge.errors import EndpointError

if TYPE_CHECKING:
    from rig_bridge.rigs.display.light import Calibration
    from rig_bridge.rigs.display.screen import Screen
    from rig_bridge.rigs.display.stimulus_display import StimulusDisplay

_SCREENLESS = ("dummy", "offscreen")
_CLOSED = "the operator closed the display"

WidthCm = Annotated[
    float, typer.Option(min=1, max=1000, help="of the picture on the monitor, by ruler")
]
DistanceCm = Annotated[
    float, typer.Option(min=1, max=1000, help="from the eye to the middle of the screen")
]
RefreshHz = Annotated[float, typer.Option(min=1, max=1000, help="what the monitor is set to")]
Resolution = Annotated[
    str,
    typer.Option(metavar="WxH", help="pixels; else the desktop's if --fullscreen, or 1024x768"),
]
Fullscreen = Annotated[bool, typer.Option("--fullscreen", help="instead of a window")]
Grey = Annotated[int, typer.Option(min=0, max=255, help="of the background")]
MonitorNumber = Annotated[
    int, typer.Option(min=0, max=63, help="which one, from 0; a number too large lists them")
]
Gamma = Annotated[
    float | None,
    typer.Option(help="of the monitor, whose light is level ** gamma; corrected for sRGB"),
]
GammaTable = Annotated[
    Path | None,
    typer.Option(help="CSV of a photometer, instead: level,luminance or level,red,green,blue"),
]
FixationDeg = Annotated[
    float, typer.Option(min=0, max=10, help="diameter of the fixation point; 0: none")
]
PhotodiodePx = Annotated[
    int, typer.Option(min=0, max=1000, help="side of the photodiode's square; 0: none")
]
SizeDeg = Annotated[float, typer.Option(min=0.01, max=160, help="longer side of an image")]
XDeg = Annotated[float, typer.Option("--x", min=-80, max=80, help="right of fixation, degrees")]
YDeg = Annotated[float, typer.Option("--y", min=-80, max=80, help="above fixation, degrees")]


class Keys:
    """What the operator presses, asked every frame: a reason to break off, or ''.

    Parameters
    ----------
    stop : a signal came
    any_key : whether every key breaks off, or only Escape
    also : another reason to go on to the next image
    """

    def __init__(
        self,
        stop: StopSignals,
        *,
        any_key: bool = True,
        also: Callable[[], bool] = lambda: False,
    ) -> None:
        self._stop, self._any_key, self._also = stop, any_key, also
        self.ended = False
        self.screenshot: Path | None = None

    def __call__(self) -> str:
        """Return a reason to break off, or ''."""
        import pygame

        if self.screenshot is not None:
            pygame.image.save(pygame.display.get_surface(), self.screenshot)
            self.screenshot = None
        pressed = False
        for event in pygame.event.get((pygame.KEYDOWN, pygame.QUIT)):
            pressed = True
            if event.type == pygame.QUIT or event.key == pygame.K_ESCAPE:
                self.ended = True
        self.ended = self.ended or self._stop()
        if self.ended:
            return _CLOSED
        return "next" if (pressed and self._any_key) or self._also() else ""

    def asked_to_stop(self) -> bool:
        """Return whether the operator wants an end; also between presentations."""
        return bool(self() and self.ended)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowOptions:
    """The window as the command line describes it; each option is explained above."""

    width_cm: float
    distance_cm: float
    refresh_hz: float
    resolution: str
    fullscreen: bool
    grey: int = 128
    fixation_deg: float = 0.2
    photodiode_px: int = 60
    monitor: int = 0
    gamma: float | None = None
    gamma_table: Path | None = None

    def open(
        self, *, breaks_off: Callable[[], str] = lambda: ""
    ) -> tuple[Screen, StimulusDisplay]:
        """Return the screen and an open window on it.

        Parameters
        ----------
        breaks_off : asked every frame for a reason to break off what is shown, or ''

        Raises
        ------
        EndpointError
            pygame is not installed, or there is no display to open a window on.
        """
        from rig_bridge.rigs.display.screen import Screen
        from rig_bridge.rigs.display.stimulus_display import Look, StimulusDisplay

        calibration = self._calibration()
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        width, height = _pixels(self.resolution, self.monitor, fullscreen=self.fullscreen)
        screen = Screen(width, height, self.width_cm, self.distance_cm, self.refresh_hz)
        look = Look(
            self.grey,
            self.fixation_deg,
            photodiode_px=self.photodiode_px,
            fullscreen=self.fullscreen,
            monitor=self.monitor,
            calibration=calibration,
        )
        display = StimulusDisplay(screen, look, breaks_off=breaks_off)
        if driver() in _SCREENLESS and os.environ.get("SDL_VIDEODRIVER") != driver():
            display.close()
            raise EndpointError(
                "there must be a display to open a window on; none was found (set DISPLAY, or "
                "run this at the machine itself; SDL_VIDEODRIVER=dummy does without)"
            )
        return screen, display

    def _calibration(self) -> Calibration | None:
        from rig_bridge.rigs.display.light import calibrate_by_gamma, calibrate_by_table

        if self.gamma is not None and self.gamma_table is not None:
            raise ConfigError("a monitor's light must be told once: --gamma or --gamma-table")
        if self.gamma_table is not None:
            return calibrate_by_table(self.gamma_table)
        return None if self.gamma is None else calibrate_by_gamma(self.gamma)


def _pixels(resolution: str, monitor: int, *, fullscreen: bool) -> tuple[int, int]:
    if resolution:
        match = re.fullmatch(r"(\d{2,4})x(\d{2,4})", resolution)
        if match is None:
            raise ConfigError(f"--resolution must be like 1920x1080; got {resolution!r}")
        return int(match[1]), int(match[2])
    if not fullscreen:
        return 1024, 768
    from rig_bridge.rigs.display.stimulus_display import name_monitor

    try:
        import pygame
    except ImportError:
        return 1024, 768  # the display says what is missing
    try:
        pygame.display.init()
        desktops = pygame.display.get_desktop_sizes()
        name_monitor(monitor, desktops)
        return desktops[monitor]
    except pygame.error as exc:
        raise EndpointError(f"no window can be opened: {exc}") from exc
    finally:
        pygame.display.quit()  # whoever opens a window begins anew, also with another driver


def driver() -> str:
    """Return what SDL draws with."""
    import pygame

    return pygame.display.get_driver()
