"""A rig with a window on this machine's screen: what the commands that are one share.

Composition: prints, and connects to an engine.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.markup import escape

from evolver.cli.terminal import console, print_news, print_rig_end

if TYPE_CHECKING:
    from rig_bridge.auth import RigKey
    from rig_bridge.client import Presenter
    from rig_bridge.messages import Hello
    from rig_bridge.rigs.display.screen import Screen
    from rig_bridge.rigs.display.stimulus_display import StimulusDisplay


def run_screen_rig(
    presenter: Presenter,
    hello: Hello,
    *,
    screen: Screen,
    display: StimulusDisplay,
    responses: str,
    identity: str,
    endpoint: str,
    key: RigKey | None,
    stop: Callable[[], bool],
) -> None:
    """Be the rig of a window until its session ends; print what it is, and how it went.

    Parameters
    ----------
    presenter, hello : the rig, and what it says of itself
    screen, display : of the window
    responses : where they come from, as "16 units of Open Ephys at 127.0.0.1:5556"
    identity : of the kind of rig, to which the process's number is added
    endpoint, key : the engine's address, and a key where it has keys
    stop : asked between presentations; True leaves
    """
    from rig_bridge.client import RigClient

    client = RigClient(
        endpoint,
        hello=hello,
        presenter=presenter,
        identity=f"{identity}-{os.getpid()}",
        key=key,
        tell=print_news,
    )
    console.print(
        f"display of {screen.px_per_deg:.1f} pixels a degree, {escape(responses)}; "
        f"connecting to {escape(endpoint)} …"
    )
    reason = client.run(stop=stop)
    print_rig_end(reason)
    console.print(f"{display.dropped} frames were dropped")
