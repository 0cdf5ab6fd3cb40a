"""The request at hand: its desk, its student, and whether somebody still listens."""

from __future__ import annotations

import socket
from collections.abc import Callable
from secrets import token_hex

from flask import current_app, request, session

from app.desk import Desk


def desk() -> Desk:
    """The process's one desk."""
    found: Desk = current_app.extensions["desk"]
    return found


def student() -> str:
    """Who asks: by the signed cookie, or, before there is one, by address."""
    known: str | None = session.get("student")
    session.setdefault("student", token_hex(8))
    return known or str(request.remote_addr)


def listener() -> Callable[[], bool]:
    """Tells whether the request's connection is gone; where it cannot be seen, it is not."""
    connection: socket.socket | None = request.environ.get("gunicorn.socket")

    def gone() -> bool:
        if connection is None:
            return False
        try:
            return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    return gone
