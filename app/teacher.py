"""The teacher's page: what happens now, for whoever has the token."""

from __future__ import annotations

import logging
import math
import time
from hashlib import sha256
from hmac import compare_digest
from secrets import token_hex

from flask import (
    Blueprint,
    Response,
    current_app,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from app.request_context import address, service
from app.settings import BadSecret
from app.texts import texts

blueprint = Blueprint("teacher", __name__, url_prefix="/teacher")
log = logging.getLogger(__name__)

SCHOOL_DAY = 10 * 3600.0  # seconds after which a teacher signs in again
SIGNED_IN = 50  # browsers at once; the oldest goes
WRONG_HERE = RateLimitItemPerMinute(10)  # of one address, which may be a class's
WRONG = RateLimitItemPerMinute(60)  # of all


class Staffroom:
    """The browsers that are signed in, and the wrong tokens of this minute; a restart forgets both."""

    def __init__(self) -> None:
        """Nobody yet."""
        self._signed_in: dict[str, tuple[float, str]] = {}
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    def admit(self, token: str) -> str:
        """A name for one more browser, good for a school day and as long as this is the token."""
        while len(self._signed_in) >= SIGNED_IN:
            self._signed_in.pop(next(iter(self._signed_in)), None)
        name = token_hex(16)
        self._signed_in[name] = (time.monotonic(), token)
        return name

    def knows(self, name: str, token: str) -> bool:
        """Whether this browser is still signed in."""
        since, with_ = self._signed_in.get(name, (-math.inf, ""))
        return time.monotonic() - since < SCHOOL_DAY and compare_digest(with_, token)

    def forget(self, name: str) -> None:
        """The server no longer accepts that name, even from a kept cookie."""
        self._signed_in.pop(name, None)

    def wait(self, where: str) -> int:
        """Seconds until another wrong token is answered as one; 0 if now."""
        for limit, names in ((WRONG_HERE, (where,)), (WRONG, ())):
            if not self._limiter.test(limit, *names):
                reset = self._limiter.get_window_stats(limit, *names).reset_time
                return max(1, math.ceil(reset - time.time()))
        return 0

    def wrong(self, where: str) -> None:
        """Count a token that was not the one."""
        self._limiter.hit(WRONG_HERE, where)
        self._limiter.hit(WRONG)


@blueprint.get("")
def state() -> str:
    """The live state, or the form that asks for the token."""
    if not _signed_in():
        return render_template("sign_in.html", notice="")
    return render_template("teacher.html", service=service())


@blueprint.get("/state")
def live() -> Response | str:
    """The state alone, for the page's script."""
    return (
        render_template("state.html", service=service()) if _signed_in() else Response(status=403)
    )


@blueprint.post("")
def sign_in() -> Response:
    """Sign the teacher in; wrong tokens are limited, the right one always passes."""
    token, room, where = _token(), _staffroom(), address()
    if compare_digest(_print(request.form.get("token", "").strip()), token):
        session["teacher"] = room.admit(token)
        return _here()
    if seconds := room.wait(where):
        notice = texts()["too_many_tokens"].format(seconds=seconds)
        refusal = Response(render_template("sign_in.html", notice=notice), 429)
        refusal.headers["Retry-After"] = str(seconds)
        return refusal
    room.wrong(where)
    return Response(render_template("sign_in.html", notice=texts()["wrong_token"]), 403)


@blueprint.post("/out")
def sign_out() -> Response:
    """Forget that this browser is the teacher's."""
    _staffroom().forget(session.pop("teacher", ""))
    return _here()


@blueprint.errorhandler(BadSecret)
def no_token(bad: BadSecret) -> tuple[str, int]:
    """Without a token there is nothing to see; whoever runs the server reads why in the log."""
    log.error("%s", bad)
    return render_template("sign_in.html", notice=texts()["no_token"]), 503


def _here() -> Response:
    return current_app.make_response(redirect(url_for("teacher.state"), 303))


def _staffroom() -> Staffroom:
    found: Staffroom = current_app.extensions["staffroom"]
    return found


def _token() -> str:
    return _print(service().settings.secret("teacher.token"))


def _print(token: str) -> str:
    """What is kept of a token: nothing to find it by, another one for another token."""
    return sha256(f"teacher {token}".encode()).hexdigest()


def _signed_in() -> bool:
    return _staffroom().knows(session.get("teacher", ""), _token())
