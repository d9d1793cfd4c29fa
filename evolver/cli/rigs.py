"""Rigs that need no program of a lab's own: `evolver xdream`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from evolver import __version__
from evolver.cli.terminal import StopSignals, console, print_news


def xdream(
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="folder for the images")],
    responses: Annotated[
        Path, typer.Argument(metavar="RESPONSES", help="folder of block%03d.mat")
    ],
    endpoint: Annotated[
        str, typer.Option(help="the engine's address")
    ] = "tcp://127.0.0.1:5571",
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
    key: Annotated[
        Path | None, typer.Option(help="key file, for an engine that has keys")
    ] = None,
) -> None:
    """Be a rig of two folders: images as PNG files out, MATLAB files with responses in.

    For a presentation system that watches a folder: each request is a folder block%03d of
    images, there all at once; block%03d.mat holds stimulusID and tEvokedResp.
    """
    from rig_bridge.auth import RigKey
    from rig_bridge.client import RigClient
    from rig_bridge.messages import ScreenInfo
    from rig_bridge.rigs.xdream_folder import XDreamFolder

    screen = ScreenInfo(1920, 1080, 60.0, 40.0, background_grey=background_grey)
    rig = XDreamFolder(images, responses, channels=channels, display=screen)
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
    console.print(f"the session is over: {escape(reason)}")
