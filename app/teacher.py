"""The teacher's page: what happens now, for whoever has the token."""

from __future__ import annotations

import logging
from hashlib import sha256
from hmac import compare_digest

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

from app.settings import BadSecret
from app.texts import texts
from app.visitor import desk

blueprint = Blueprint("teacher", __name__, url_prefix="/teacher")
log = logging.getLogger(__name__)


@blueprint.get("")
def state() -> str:
    """The live state, or the form that asks for the token."""
    if not _signed_in():
        return render_template("sign_in.html", notice="")
    return render_template("teacher.html", desk=desk())


@blueprint.get("/state")
def live() -> Response | str:
    """The state alone, for the page's script."""
    return render_template("state.html", desk=desk()) if _signed_in() else Response(status=403)


@blueprint.post("")
def sign_in() -> Response | tuple[str, int]:
    """Let in whoever has the token, which is too long to be guessed."""
    if not compare_digest(_print(request.form.get("token", "").strip()), _print(_token())):
        return render_template("sign_in.html", notice=texts()["wrong_token"]), 403
    session["teacher"] = _print(_token())
    return _here()


@blueprint.post("/out")
def sign_out() -> Response:
    """Forget that this browser is the teacher's."""
    session.pop("teacher", None)
    return _here()


@blueprint.errorhandler(BadSecret)
def no_token(bad: BadSecret) -> tuple[str, int]:
    """Without a token there is nothing to see; whoever runs the server reads why in the log."""
    log.error("%s", bad)
    return render_template("sign_in.html", notice=texts()["no_token"]), 503


def _here() -> Response:
    return current_app.make_response(redirect(url_for("teacher.state"), 303))


def _token() -> str:
    return desk().settings.secret("teacher.token")


def _print(token: str) -> str:
    """What the cookie holds of a token: nothing to find it by, another one for another token."""
    return sha256(f"teacher {token}".encode()).hexdigest()


def _signed_in() -> bool:
    return compare_digest(session.get("teacher", ""), _print(_token()))
