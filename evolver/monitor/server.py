"""The page's server: loopback, or a token.

Knows bokeh's server; nothing of what the page shows. Who is let in, `entrance` says.
"""

# pyright: basic
# Bokeh's server is not annotated.

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.server.auth_provider import AuthProvider, NullAuth
from bokeh.server.server import Server
from tornado.web import HTTPError, RequestHandler
from tornado.websocket import WebSocketHandler

from evolver.errors import ControlError
from evolver.monitor.entrance import (
    ENTRANCE,
    entrance_handler,
    forget_query,
    has_token,
    is_loopback,
    log_request,
    origins,
    same_host,
)
from evolver.monitor.page import PageSource, build_page


class _Token(AuthProvider):
    """Lets in whoever has the cookie, which `entrance_handler` gives for the token.

    The page is redrawn through a WebSocket, on which no cookie can be set and nobody can be
    sent elsewhere: what lets a visitor in has to be there before it, and who lacks it is
    refused before the two sides shake hands.
    """

    def __init__(self, token: str) -> None:
        self._token = token
        super().__init__()

    @property
    def get_user(self) -> None:
        """None: `get_user_async` is asked, before a WebSocket is opened."""
        return None

    @property
    def get_user_async(self) -> Callable[[RequestHandler], Awaitable[str | None]]:
        """Return the function that names the user of a request; None refuses it."""
        return self._who

    @property
    def login_url(self) -> str:
        """Where a request without the cookie is sent."""
        return ENTRANCE

    @property
    def get_login_url(self) -> None:
        """None: `login_url` is the same for every request."""
        return None

    @property
    def login_handler(self) -> type[RequestHandler]:
        """The handler at `login_url`."""
        return entrance_handler(self._token)

    @property
    def logout_url(self) -> None:
        """None: there is no logging out."""
        return None

    @property
    def logout_handler(self) -> None:
        """None: there is no logging out."""
        return None

    async def _who(self, handler: RequestHandler) -> str | None:
        forget_query(handler)
        if has_token(handler, self._token):
            if isinstance(handler, WebSocketHandler) and not same_host(handler):
                raise HTTPError(403)
            return "operator"
        if isinstance(handler, WebSocketHandler):
            raise HTTPError(403)
        return None


def make_server(source: PageSource, *, address: str, port: int, token: str | None) -> Server:
    """Return the page's server, bound and not yet started.

    Parameters
    ----------
    source : where the session comes from
    address, port : to listen on; port 0 takes any
    token : without it no visitor is let in; None: everyone who can reach the address is

    Raises
    ------
    ControlError
        The address can be reached from elsewhere and there is no token, or cannot be bound.
    """
    if token is None and not is_loopback(address):
        raise ControlError(
            f"a page that others can reach needs a token; got the address {address} without one"
        )
    try:
        server = Server(
            {"/": Application(FunctionHandler(partial(build_page, source=source)))},
            address=address,
            port=port,
            auth_provider=NullAuth() if token is None else _Token(token),
            allow_websocket_origin=None if port == 0 else origins(address, port),
            num_procs=1,
            log_function=log_request,
        )
    except OSError as exc:
        raise ControlError(
            f"the live page cannot listen on {address}:{port}: {exc.strerror}. --port 0 takes "
            "any free port"
        ) from exc
    if port == 0 and server.port is not None:
        tornado = server._tornado  # noqa: SLF001  the origins depend on the port it took
        tornado._websocket_origins = set(origins(address, server.port))  # noqa: SLF001
    return server
