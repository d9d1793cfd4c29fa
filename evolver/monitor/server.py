"""The page's server: loopback, or a token.

Knows bokeh's server and tornado; nothing of what the page shows.
"""

# pyright: basic
# Bokeh's server is not annotated.

from __future__ import annotations

import hmac
import ipaddress
import logging
from collections.abc import Callable
from functools import partial

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.server.auth_provider import AuthProvider, NullAuth
from bokeh.server.server import Server
from tornado.web import RequestHandler

from evolver.errors import ControlError
from evolver.monitor.page import PageSource, build_page

logger = logging.getLogger(__name__)

_COOKIE = "evolver_token"


class _Token(AuthProvider):
    """Lets in who brings the token, in the address once and in a cookie from then on."""

    def __init__(self, token: str) -> None:
        self._token = token
        super().__init__()

    @property
    def get_user(self) -> Callable[[RequestHandler], str | None]:
        """Return what tells a visitor from a stranger."""
        return self._who

    @property
    def get_user_async(self) -> None:
        """Nothing is waited for."""
        return None

    @property
    def login_url(self) -> str:
        """Where strangers go."""
        return "/denied"

    @property
    def get_login_url(self) -> None:
        """There is one address for it."""
        return None

    @property
    def login_handler(self) -> type[RequestHandler]:
        """What strangers are told."""
        return _Denied

    @property
    def logout_url(self) -> None:
        """Nobody logs out."""
        return None

    @property
    def logout_handler(self) -> None:
        """Nobody logs out."""
        return None

    def _who(self, handler: RequestHandler) -> str | None:
        brought = handler.get_argument("token", "") or handler.get_cookie(_COOKIE) or ""
        if not hmac.compare_digest(brought.encode(), self._token.encode()):
            return None
        handler.set_cookie(_COOKIE, brought, httponly=True, samesite="Strict")
        return "operator"


class _Denied(RequestHandler):
    def get(self) -> None:
        """Say what is missing."""
        self.set_status(403)
        self.finish("this page needs the token that was printed when it was started")


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


def _origins(address: str, port: int) -> list[str]:
    hosts = {address, "localhost", "127.0.0.1"} if is_loopback(address) else {address}
    return [f"{host}:{port}" for host in sorted(hosts)]
