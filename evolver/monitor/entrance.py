"""Who may see a page of this machine's: everyone on it, or whoever brings the token.

Knows tornado's requests; nothing of bokeh, and nothing of what a page shows.
"""

# pyright: basic
# Tornado is not annotated throughout.

from __future__ import annotations

import hmac
import ipaddress
import logging
from urllib.parse import urlsplit

from tornado.web import RequestHandler

logger = logging.getLogger(__name__)

ENTRANCE = "/enter"
"""Where the token is brought, once: from then on a cookie says that it was."""


def entrance_handler(token: str) -> type[RequestHandler]:
    """Return the handler at `ENTRANCE`, which gives the cookie for the token."""

    class Entrance(RequestHandler):
        def get(self) -> None:
            """Give the cookie for the token, and go on to the page; answer 403 without it."""
            brought = self.get_argument("token", "")
            forget_query(self)
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


def has_token(handler: RequestHandler, token: str) -> bool:
    """Whether a request brings the cookie that was given for the token."""
    return _equal(handler.get_cookie(_cookie(handler)) or "", token)


def _equal(brought: str, token: str) -> bool:
    return hmac.compare_digest(brought.encode(), token.encode())


def same_host(handler: RequestHandler) -> bool:
    """Whether a WebSocket is opened by a page of this server, under its name there."""
    origin = urlsplit(handler.request.headers.get("Origin", "")).netloc
    return origin.lower() == handler.request.host.lower()


def forget_query(handler: RequestHandler) -> None:
    """Take what was asked out of a request: it may be the token, and errors log requests."""
    handler.request.uri, handler.request.query = handler.request.path, ""


def log_request(handler: RequestHandler) -> None:
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


def page_address(address: str, port: int, token: str | None) -> str:
    """Return what a browser is to open."""
    host = f"[{address}]" if ":" in address else address
    entrance = "/" if token is None else f"{ENTRANCE}?token={token}"
    return f"http://{host}:{port}{entrance}"


def origins(address: str, port: int) -> list[str]:
    """Return the pages that may open the WebSocket; behind a token, `same_host` judges."""
    if not is_loopback(address):
        return ["*"]  # a machine goes by many names
    host = f"[{address}]" if ":" in address else address
    return [f"{name}:{port}" for name in sorted({host, "localhost", "127.0.0.1"})]
