"""The current request: its service, its student, and whether its connection is still open."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from ipaddress import IPv6Network, ip_address
from secrets import token_hex

from flask import current_app, request, session

from app.gateway import plain
from app.queue import Job
from app.service import QuestionService
from app.share import Caller, Full, Refused
from app.texts import texts

AT_ONCE = {"X-Accel-Buffering": "no"}  # nginx holds an answer back until it has all of it, or 4 KB


def service() -> QuestionService:
    """The process's one service."""
    found: QuestionService = current_app.extensions["service"]
    return found


def student() -> Caller:
    """The caller: by the signed cookie, or, before there is one, by address."""
    known: str | None = session.get("student")
    session.setdefault("student", token_hex(8))
    return Caller(known or address(), address(), session.get("told"))


def enter(prompt: str, max_tokens: int, model: str) -> Job:
    """A job for this student's question, or Refused; the cookie keeps which model was chosen."""
    if len(service().settings.models) > 1:
        session["model"] = model
    job = service().ask(student(), prompt, max_tokens, model)
    session.pop("told", None)
    return job


def chosen() -> str:
    """The model that the form shows: of this request, or of the last question; "" for the first."""
    return str(request.form.get("model", session.get("model", "")))


def address() -> str:
    """Where the request comes from; of IPv6 the network, all of whose addresses are one client's."""
    try:
        found = ip_address(plain(str(request.remote_addr)))
    except ValueError:
        return "unknown"
    return str(IPv6Network((found, 64), strict=False) if found.version == 6 else found)


def tell(refused: Refused) -> str:
    """Why not now, for people; the cookie keeps the time when a place is kept for them."""
    if isinstance(refused, Full):
        session["told"] = time.time() + refused.retry_after
    return texts()[refused.code].format(count=refused.count, seconds=refused.retry_after)


def listener() -> Callable[[], bool]:
    """Tells whether the client has closed the connection; False where the server does not show it."""
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
