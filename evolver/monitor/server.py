"""The page's server: loopback, or a token.

Knows bokeh's server and tornado; nothing of what the page shows.
"""

# pyright: basic
# Bokeh's server is not annotated.

from __future__ import annotations

import hmac
import ipaddress
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from urllib.parse import urlsplit

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.server.auth_provider import AuthProvider, NullAuth
from bokeh.server.server import Server
from tornado.web import HTTPError, RequestHandler
from tornado.websocket import WebSocketHandler

from evolver.errors import ControlError
from evolver.monitor.page import PageSource, build_page

logger = logging.getLogger(__name__)

ENTRANCE = "/enter"
"""Where the token is brought, once: from then on a cookie says that it was."""


class _Token(AuthProvider):
    """Lets in whoever has the cookie, which `_Entrance` gives for the token.

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
        return _entrance(self._token)

    @property
    def logout_url(self) -> None:
        """None: there is no logging out."""
        return None

    @property
    def logout_handler(self) -> None:
        """None: there is no logging out."""
        return None

    async def _who(self, handler: RequestHandler) -> str | None:
        _forget_query(handler)
        brought = handler.get_cookie(_cookie(handler)) or ""
        if _equal(brought, self._token):
            if isinstance(handler, WebSocketHandler) and not _same_host(handler):
                raise HTTPError(403)
            return "operator"
        if isinstance(handler, WebSocketHandler):
            raise HTTPError(403)
        return None


def _entrance(token: str) -> type[RequestHandler]:
    class Entrance(RequestHandler):
        def get(self) -> None:
            """Give the cookie for the token, and go on to the page; answer 403 without it."""
            brought = self.get_argument("token", "")
            _forget_query(self)
            if not _equal(brought, token):
                self.set_status(403)
                self.finish("this page needs the address that was printed when it was started")
                return
            # Not "Strict": a browser that comes from a link in a message would not send it.
            self.set_cookie(_cookie(self), token, httponly=True, samesite="Lax")
            self.redirect("/")

    return Entrance


def _cookie(handler: RequestHandler) -> str:
    """Return the cookie's name: a browser does not tell the ports of a machine apart."""
    return f"evolver_token_{handler.request.host.rpartition(':')[2]}"


def _equal(brought: str, token: str) -> bool:
    return hmac.compare_digest(brought.encode(), token.encode())


def _same_host(handler: RequestHandler) -> bool:
    """Whether a WebSocket is opened by a page of this server, under its name there."""
    origin = urlsplit(handler.request.headers.get("Origin", "")).netloc
    return origin.lower() == handler.request.host.lower()


def _forget_query(handler: RequestHandler) -> None:
    """Take what was asked out of a request: it may be the token, and errors log requests."""
    handler.request.uri, handler.request.query = handler.request.path, ""


def _log_request(handler: RequestHandler) -> None:
    """Log a request without what was asked in its address, which may be the token."""
    request, status = handler.request, handler.get_status()
    level = logging.INFO if status < 400 else logging.WARNING
    logger.log(
        level, "%d %s %s from %s", status, request.method, request.path, request.remote_ip
    )


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach an address."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


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
            allow_websocket_origin=None if port == 0 else _origins(address, port),
            num_procs=1,
            log_function=_log_request,
        )
    except OSError as exc:
        raise ControlError(
            f"the live page cannot listen on {address}:{port}: {exc.strerror}. --port 0 takes "
            "any free port"
        ) from exc
    if port == 0 and server.port is not None:
        tornado = server._tornado  # noqa: SLF001  the origins depend on the port it took
        tornado._websocket_origins = set(_origins(address, server.port))  # noqa: SLF001
    return server


def page_address(address: str, port: int, token: str | None) -> str:
    """Return what a browser is to open."""
    host = f"[{address}]" if ":" in address else address
    entrance = "/" if token is None else f"{ENTRANCE}?token={token}"
    return f"http://{host}:{port}{entrance}"


def _origins(address: str, port: int) -> list[str]:
    """Return the pages that may open the WebSocket; behind a token, `_same_host` judges."""
    if not is_loopback(address):
        return ["*"]  # a machine goes by many names
    host = f"[{address}]" if ":" in address else address
    return [f"{name}:{port}" for name in sorted({host, "localhost", "127.0.0.1"})]
