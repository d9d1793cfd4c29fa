"""`evolver monitor`: the live page of a session, or the page of a recording."""

from __future__ import annotations

import secrets
import signal
from pathlib import Path
from typing import Annotated

import typer

from evolver.cli.terminal import console
from evolver.errors import ConfigError


def monitor(
    what: Annotated[
        Path, typer.Argument(metavar="FOLDER|FILE.h5", help="session's folder, or a recording")
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free port")] = 0,
    address: Annotated[
        str, typer.Option(help="to listen on; one that others can reach needs a token")
    ] = "127.0.0.1",
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Show a session in a browser, live or played back; reads only.

    Listens on this machine alone. For any other address a token is made and printed, without
    which nobody is let in.
    """
    try:
        from evolver.monitor.entrance import is_loopback, page_address
        from evolver.monitor.server import make_server
    except ImportError as exc:
        raise ConfigError(
            f"the live page needs bokeh, which is not installed ({exc}): "
            "pip install 'evolver[monitor]'"
        ) from exc
    from evolver.monitor.sources import FileSource, JournalSource

    if what.is_dir():
        source = JournalSource(what)
    elif what.exists():
        source = FileSource(what)
    else:
        raise ConfigError(f"a session's folder or a recording must be named; {what} is neither")
    token = None if is_loopback(address) else secrets.token_urlsafe(24)
    server = make_server(source, address=address, port=port, token=token)
    url = page_address(address, server.port or port, token)
    print(f"live page: {url}", flush=True)  # noqa: T201  never wrapped
    console.print("Ctrl-C ends it" + ("; the session goes on" if what.is_dir() else ""))
    loop = server.io_loop

    def end(_number: int, _frame: object) -> None:
        loop.add_callback_from_signal(loop.stop)  # pyright: ignore[reportUnknownMemberType]

    def orphaned(_descriptor: int, _events: int) -> None:
        loop.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    if parent is not None:  # a descriptor that is closed when the session's supervisor is gone
        loop.add_handler(parent, orphaned, loop.READ)
    server.start()
    loop.start()
    server.stop()
