"""The page's server: the person's rig in a browser, on loopback or behind a token.

Knows tornado and a thread of its own; who is let in, the live page's `entrance` says. What is
on the page is kept by the rig, not by the browser: a tab that is loaded again, or a second one,
shows the same. Nothing comes from elsewhere: the page works without a network.
"""

# pyright: basic
# Tornado is not annotated throughout.

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import socket
import threading
from collections.abc import Callable
from importlib import resources
from typing import Any

import msgspec
import PIL.Image
from tornado.httpserver import HTTPServer
from tornado.web import Application, HTTPError, RequestHandler
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from evolver.colours import PERSON_DARK, PERSON_LIGHT, css_variables
from evolver.errors import ControlError
from evolver.monitor.entrance import (
    ENTRANCE,
    entrance_handler,
    forget_query,
    has_token,
    is_loopback,
    log_request,
    origins,
    page_address,
    same_host,
)
from rig_bridge.rigs.person.orders import PersonOrder
from rig_bridge.rigs.person.rig import PersonRig

logger = logging.getLogger(__name__)

_MOST_TABS = 16
TRY_LATER = 1013
"""The code (RFC 6455's registry) with which a tab too many is closed; page.js knows it."""
_LONGEST_ORDER = 1024  # bytes
_GONE_S = 3.0  # a page that is loaded again is back before that
_LAST_WORD_S = 2.0
_FILES = {"/": "text/html", "/page.css": "text/css", "/page.js": "text/javascript"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; script-src 'self'; "
    "style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class PersonPage:
    """Serves a person's rig from a thread of its own, as a context.

    Parameters
    ----------
    rig : what is shown, and what takes the person's orders
    address, port : to listen on; port 0 takes any
    token : without it no visitor is let in; None: everyone who can reach the address is
    tell : told when nobody looks at the page while somebody should

    Raises
    ------
    ControlError
        The address can be reached from elsewhere and there is no token, or cannot be bound.
    """

    def __init__(
        self,
        rig: PersonRig,
        *,
        address: str,
        port: int,
        token: str | None,
        tell: Callable[[str], None],
    ) -> None:
        if token is None and not is_loopback(address):
            raise ControlError(
                "a page that others can reach needs a token; got the address "
                f"{address} without one"
            )
        try:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            self._socket = socket.create_server((address, port), family=family)
        except OSError as exc:
            raise ControlError(
                f"the page cannot listen on {address}:{port}: {exc.strerror}. --port 0 takes "
                "any free port"
            ) from exc
        self._socket.setblocking(False)
        port = self._socket.getsockname()[1]
        self.url = page_address(address, port, token)
        self.rig, self.token = rig, token
        self.hosts = None if token is not None else frozenset(origins(address, port))
        self.tabs: set[_Tab] = set()
        self._tell = tell
        self._missed = ""  # the grid for which nobody was there, and that was said
        self._thread = threading.Thread(target=self._run, name="page")
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()

    def __enter__(self) -> PersonPage:
        """Begin to serve."""
        self.rig.on_change = self._push_soon
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        """Tell every tab the last there is to say, and end."""
        self.rig.on_change = lambda: None
        with contextlib.suppress(RuntimeError):  # it has ended, and has said why
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    # ------------------------------------------------------------------ in its thread

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        routes: list[Any] = [(path, _File, {"page": self, "path": path}) for path in _FILES]
        routes += [
            (r"/image/([0-9a-f]{1,64})/([0-9]{1,6})\.png", _Picture, {"page": self}),
            (r"/tab", _Tab, {"page": self}),
        ]
        if self.token is not None:
            routes.append((ENTRANCE, entrance_handler(self.token)))
        application = Application(
            routes,
            log_function=log_request,
            websocket_max_message_size=_LONGEST_ORDER,
            websocket_ping_interval=10.0,
        )
        server = HTTPServer(application, max_body_size=0, max_header_size=16_384)
        server.add_sockets([self._socket])
        await self._ended.wait()
        server.stop()
        words = [tab.show() for tab in self.tabs]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORD_S):
                await asyncio.gather(*words)
        for tab in list(self.tabs):
            tab.close(1001, "the rig has ended")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORD_S):
                await server.close_all_connections()

    def _push_soon(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: it is over
            self._loop.call_soon_threadsafe(self._push)

    def _push(self) -> None:
        for tab in list(self.tabs):
            tab.show_soon()
        grid = self.rig.view().grid
        if grid is not None and not self.tabs and grid.name != self._missed:
            self._missed = grid.name
            self._tell(f"nobody looks at the page, and images wait: {self.url}")

    def came(self, tab: _Tab) -> None:
        """Take the news of a tab."""
        self.tabs.add(tab)
        self._missed = ""

    def went(self, tab: _Tab) -> None:
        """Take the news that a tab is closed, or loaded again."""
        self.tabs.discard(tab)
        if not self.tabs and not self._ended.is_set():
            self._loop.call_later(_GONE_S, self._say_if_alone)

    def _say_if_alone(self) -> None:
        if not self.tabs and not self._ended.is_set() and self._missed != self.url:
            self._missed = self.url
            self._tell(f"nobody looks at the page any more: {self.url}")

    def admits(self, handler: RequestHandler) -> bool:
        """Whether a request may be answered: its host is this page's, or it has the token.

        A name that somebody else's server gave this machine's address is not the page's.
        """
        forget_query(handler)
        if self.token is not None:
            return has_token(handler, self.token)
        return self.hosts is not None and handler.request.host.lower() in self.hosts


class _Guarded(RequestHandler):
    """A request that is answered to those who may see the page."""

    def initialize(self, page: PersonPage) -> None:
        self.page = page

    def set_default_headers(self) -> None:
        for name, value in _HEADERS.items():
            self.set_header(name, value)

    def prepare(self) -> None:
        if not self.page.admits(self):
            raise HTTPError(403)

    def write_error(self, status_code: int, **_kwargs: object) -> None:
        text = "this page needs the address that was printed when it was started"
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(text if status_code == 403 else f"{status_code}")


class _File(_Guarded):
    """The page, its style and its script."""

    def initialize(self, page: PersonPage, path: str) -> None:
        super().initialize(page)
        self._path = path

    def get(self) -> None:
        """Answer with the file, the style with the house's colours before it."""
        name = "page.html" if self._path == "/" else self._path[1:]
        text = (resources.files("evolver.person") / name).read_text(encoding="utf-8")
        if self._path.endswith(".css"):
            light, dark = css_variables(PERSON_LIGHT), css_variables(PERSON_DARK)
            dark = f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
            text = f":root {{ {light} }}\n{dark}\n{text}"
        self.set_header("Content-Type", f"{_FILES[self._path]}; charset=utf-8")
        self.finish(text)


class _Picture(_Guarded):
    """An image of the grid that is open, pixel for pixel."""

    def get(self, grid: str, place: str) -> None:
        """Answer with a PNG file."""
        image = self.page.rig.image(grid, int(place))
        if image is None:
            raise HTTPError(404)
        file = io.BytesIO()
        PIL.Image.fromarray(image).save(file, "PNG", compress_level=1)
        self.set_header("Content-Type", "image/png")
        self.finish(file.getvalue())


class _Tab(WebSocketHandler):
    """One tab of a browser: it is sent every change of the view, and sends orders."""

    def initialize(self, page: PersonPage) -> None:
        self._page = page
        self._sending: set[asyncio.Task[None]] = set()
        self._orders: msgspec.json.Decoder[PersonOrder] = msgspec.json.Decoder(PersonOrder)

    def prepare(self) -> None:
        if not self._page.admits(self):
            raise HTTPError(403)

    def check_origin(self, origin: str) -> bool:  # noqa: ARG002  the request has it
        """Whether it was opened by this page."""
        return same_host(self)

    def open(self) -> None:
        """Show what there is."""
        if len(self._page.tabs) >= _MOST_TABS:
            self.close(TRY_LATER, "too many tabs")
            return
        self._page.came(self)
        self.show_soon()

    def on_message(self, message: str | bytes) -> None:
        """Take an order; a tab that sends what is none is closed."""
        try:
            order = self._orders.decode(message)
        except msgspec.MsgspecError as exc:
            logger.warning("a tab sent what is no order: %s", exc)
            self.close(1008, "no order")
            return
        self._page.rig.apply(order)

    def on_close(self) -> None:
        """Say that it is gone."""
        self._page.went(self)

    def show_soon(self) -> None:
        """Send the view as it is now, whenever there is room."""
        task = asyncio.ensure_future(self.show())
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def show(self) -> None:
        """Send the view as it is now."""
        with contextlib.suppress(WebSocketClosedError):
            await self.write_message(msgspec.json.encode(self._page.rig.view()))
