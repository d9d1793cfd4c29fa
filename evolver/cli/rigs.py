"""Rigs that need no program of a lab's own: `evolver xdream`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evolver import __version__
from evolver.cli.rig_options import ENGINE, Endpoint, KeyFile
from evolver.cli.terminal import StopSignals, console, print_news, print_rig_end
from evolver.errors import ConfigError

if TYPE_CHECKING:
    from rig_bridge.messages import ScreenInfo


def xdream(
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="folder for the images")],
    responses: Annotated[
        Path, typer.Argument(metavar="RESPONSES", help="folder of block%03d.mat")
    ],
    screen: Annotated[
        str,
        typer.Option(
            metavar="WxH@HZ",
            help="the other side's screen, as 1920x1080@60; it goes on the session's record",
        ),
    ],
    px_per_deg: Annotated[
        float, typer.Option(min=1, max=10_000, help="its pixels per degree of visual angle")
    ],
    endpoint: Endpoint = ENGINE,
    channels: Annotated[
        int, typer.Option(min=1, max=10_000, help="columns of tEvokedResp")
    ] = 64,
    background_grey: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=255,
            help="around images that are not square, whose shape the other side keeps; by "
            "default they are refused",
        ),
    ] = None,
    wait_minutes: Annotated[
        float, typer.Option(min=0.1, help="for a MATLAB file; then its showings are aborted")
    ] = 30.0,
    key: KeyFile = None,
) -> None:
    """Be a rig of two folders: images as PNG files out, MATLAB files with responses in.

    For a presentation system that watches a folder: each request is a folder block%03d of
    images, there all at once; block%03d.mat holds stimulusID and tEvokedResp.
    """
    from rig_bridge.auth import RigKey
    from rig_bridge.client import RigClient
    from rig_bridge.rigs.xdream_folder import XDreamFolder

    display = stated_screen(screen, px_per_deg, background_grey)
    rig = XDreamFolder(images, responses, channels=channels, display=display)
    client = RigClient(
        endpoint,
        hello=rig.hello("folder", software=f"evolver {__version__}"),
        presenter=rig,
        identity="xdream-folder",
        key=None if key is None else RigKey.load(key),
        late_s=wait_minutes * 60,
        tell=print_news,
    )
    stop = StopSignals()
    console.print(f"images go to {images}, responses come from {responses}; {endpoint} …")
    with stop.on_signals():
        reason = client.run(stop=stop)
    print_rig_end(reason)


def stated_screen(
    screen: str, px_per_deg: float, background_grey: int | None, *, monitor: str = ""
) -> ScreenInfo:
    """Return a screen that somebody else draws on; `screen` is like ``1920x1080@60``."""
    import msgspec

    from rig_bridge.messages import ScreenInfo

    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})@(\d{1,4}(?:\.\d+)?)", screen)
    try:
        if found is None:
            raise ValueError(screen)
        display = ScreenInfo(
            int(found[1]),
            int(found[2]),
            float(found[3]),
            px_per_deg,
            background_grey=background_grey,
            monitor=monitor,
        )
        return msgspec.convert(msgspec.to_builtins(display), ScreenInfo)  # looks at its limits
    except ValueError as exc:
        raise ConfigError(
            "--screen must be the screen with the images as WIDTHxHEIGHT@HZ, in pixels and "
            f"frames a second, as 1920x1080@60; got {screen!r}"
        ) from exc
