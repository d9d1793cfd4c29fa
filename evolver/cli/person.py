"""`evolver person`: a page on which somebody picks, ranks or rates the images, as a rig.

Composition: prints and handles signals. What takes long to import is imported by the command.
"""

from __future__ import annotations

import math
import secrets
from functools import partial
from typing import Annotated, Literal

import typer

from evolver import __version__
from evolver.cli.rig_options import ENGINE, Endpoint, KeyFile
from evolver.cli.rigs import stated_screen
from evolver.cli.terminal import StopSignals, console, print_news, print_rig_end
from evolver.errors import ConfigError, EvolverError
from evolver.plain_text import plain
from evolver.seeds import stream
from rig_bridge.errors import RigBridgeError

_LONGEST_QUESTION = 200
_GREY = 128  # of the page behind images that are not square
_MONITOR = "a browser's page: images are as large as its window has room for, not size_deg"


def person(
    mode: Annotated[
        Literal["pick", "rank", "rate"],
        typer.Option(help="click what is liked; click it best first; give it 0 to 5 stars"),
    ] = "pick",
    question: Annotated[
        str, typer.Option(help="what the person is asked; the page has words of its own")
    ] = "",
    endpoint: Endpoint = ENGINE,
    key: KeyFile = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="of the page; 0 takes any free port")
    ] = 0,
    address: Annotated[
        str, typer.Option(help="of the page; one that others can reach needs a token")
    ] = "127.0.0.1",
    seed: Annotated[int, typer.Option(min=0, help="of the images' places on the page")] = 1,
    screen: Annotated[
        str, typer.Option(metavar="WxH@HZ", help="the person's; it goes on the record")
    ] = "1920x1080@60",
    px_per_deg: Annotated[
        float, typer.Option(min=1, max=10_000, help="its pixels per degree of visual angle")
    ] = 40.0,
) -> None:
    """Be a rig whose neuron is a person: images on a page, the answer by mouse or keyboard.

    Open the address that is printed, in a browser of this machine. All images of a block are
    side by side, in an order that the seed draws; what is marked is kept here, whatever happens
    to the browser or the engine. Ctrl-C ends it.
    """
    try:
        from evolver.monitor.entrance import is_loopback
        from evolver.person.server import PersonPage
    except ImportError as exc:
        raise ConfigError(
            f"the page needs tornado, which is not installed ({exc}): "
            "pip install 'evolver[monitor]'"
        ) from exc
    from rig_bridge.auth import RigKey
    from rig_bridge.client import RigClient
    from rig_bridge.rigs.person.rig import PersonRig

    if len(question) > _LONGEST_QUESTION:
        raise ConfigError(
            f"--question must have at most {_LONGEST_QUESTION} letters; got {len(question)}"
        )
    display = stated_screen(screen, px_per_deg, _GREY, monitor=_MONITOR)
    rig = PersonRig(mode, question=question, stream=partial(stream, seed), tell=print_news)

    def tell(text: str) -> None:
        print_news(text)
        rig.news(text)

    client = RigClient(
        endpoint,
        hello=rig.hello("person", software=f"evolver {__version__}", display=display),
        presenter=rig,
        identity="person",
        key=None if key is None else RigKey.load(key),
        late_s=math.inf,  # a person may think as long as it takes
        tell=tell,
    )
    token = None if is_loopback(address) else secrets.token_urlsafe(24)
    page = PersonPage(rig, address=address, port=port, token=token, tell=print_news)
    stop = StopSignals()
    with stop.on_signals():
        print(f"page: {page.url}", flush=True)  # noqa: T201  never wrapped
        console.print(f"somebody is to open it, and to {mode} images", markup=False)
        console.print(f"connecting to {plain(endpoint)} …; Ctrl-C ends it", markup=False)
        with page:
            try:
                reason = client.run(stop=stop)
            except (EvolverError, RigBridgeError) as exc:
                rig.over(str(exc))
                raise
            rig.over("it was ended here" if reason == "stopped" else reason)
    print_rig_end(reason)
