"""What the gateway says of a request is believed; the same words from anybody else are not."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from werkzeug.middleware.proxy_fix import ProxyFix

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

AGE, ANEW = 5.0, 0.5  # seconds that a found address is good for, and between two looks for another
PREFIX = "HTTP_X_FORWARDED_PREFIX"
FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", PREFIX)
PATH = re.compile(r"(/[A-Za-z0-9_-]{1,40}){1,4}")


def plain(address: str) -> str:
    """An address as it is written on its own: an IPv4 one that came by an IPv6 socket loses the rest."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return str(mapped or found)


def is_address(host: str) -> bool:
    """Whether a Host header names an address, or this machine; with or without a port."""
    name = re.sub(r":[0-9]+$", "", host)
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return name == "localhost"
    return True


class Gateway:
    """The gateway's identity: whatever addresses its name has, looked up as they are needed."""

    def __init__(self, url: str) -> None:
        """``url``: of the gateway, as in OLLAMA_HOST."""
        self._name = urlsplit(url).hostname or ""
        self._known: set[str] = set()
        self._looked = float("-inf")
        self._lock = Lock()

    def is_at(self, address: str) -> bool:
        """Whether this is an address of the gateway. One thread looks; the others go by what is known."""
        age = time.monotonic() - self._looked
        if age > (AGE if address in self._known else ANEW) and self._lock.acquire(blocking=False):
            try:
                found = socket.getaddrinfo(self._name, None, type=socket.SOCK_STREAM)
                self._known = {plain(str(one[4][0])) for one in found}
            except OSError:
                pass  # it is being replaced
            finally:
                self._looked = time.monotonic()
                self._lock.release()
        return address in self._known


class Believing:
    """WSGI middleware: address, scheme and path prefix as the gateway tells them."""

    def __init__(self, app: WSGIApplication, gateway: Gateway) -> None:
        """``app`` is asked in the end, either way."""
        self._app, self._gateway = app, gateway
        self._proxy_fix = ProxyFix(app, x_for=1, x_proto=1, x_prefix=1)

    def __call__(self, environ: WSGIEnvironment, respond: StartResponse) -> Iterable[bytes]:
        """The app's answer; a header that nobody is to believe does not reach it."""
        address = environ["REMOTE_ADDR"] = plain(environ.get("REMOTE_ADDR", ""))
        prefix = environ.pop(PREFIX, "").rstrip("/")
        if not any(name in environ for name in FORWARDED) and not prefix:
            return self._app(environ, respond)
        if not self._gateway.is_at(address):
            for name in FORWARDED:
                environ.pop(name, None)
            return self._app(environ, respond)
        if PATH.fullmatch(prefix):
            environ[PREFIX] = prefix
        return self._proxy_fix(environ, respond)
