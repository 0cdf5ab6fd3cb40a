"""The companion app: a class asks the model, no more at once than it answers at once."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import partial
from urllib.parse import unquote_to_bytes

from flask import Flask, Response, request
from flask.sessions import SecureCookieSessionInterface
from flask_wtf.csrf import CSRFProtect
from jinja2 import StrictUndefined
from werkzeug.exceptions import (
    BadRequest,
    RequestEntityTooLarge,
    SecurityError,
    UnsupportedMediaType,
)
from werkzeug.sansio.utils import host_is_trusted

from app import api, pages, probes, teacher
from app.gateway import Believing, Gateway, is_address
from app.model import answers
from app.queue import Answer, AnswerQueue
from app.request_context import chosen
from app.service import QuestionService
from app.settings import Settings
from app.share import Bounds
from app.texts import language, script_texts, texts

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
LARGEST = 64 * 1024  # bytes of a request; a longer question is refused long before
FIELDS = 10  # of a form; 64 KB of nothing but fields take 75 ms to read


class Sessions(SecureCookieSessionInterface):
    """The signed cookie, for TLS alone where the request came by TLS."""

    def get_cookie_secure(self, app: Flask) -> bool:
        """Whether the request at hand came by TLS, to the gateway or to the site's own proxy."""
        return request.is_secure

    def get_cookie_path(self, app: Flask) -> str:
        """The path below which the page is reached, so that the site's other pages do not get it."""
        return f"{request.script_root}/"


def create_app(environment: Mapping[str, str] = os.environ, answer: Answer | None = None) -> Flask:
    """The app, configured by its environment alone; ``answer`` instead of the model's, for tests."""
    settings = Settings.read(environment)
    bounds = Bounds(
        settings.ollama_num_parallel,
        settings.ollama_max_queue,
        settings.app_questions_at_once,
        settings.app_address_share,
    )
    queue = AnswerQueue(answer or answers(settings), bounds, settings.app_max_seconds)
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY=settings.secret("cookie.key"),
        SESSION_COOKIE_NAME="student",
        SESSION_COOKIE_SAMESITE="Lax",
        MAX_CONTENT_LENGTH=LARGEST,
        SEND_FILE_MAX_AGE_DEFAULT=31536000,  # another content has another address
        WTF_CSRF_TIME_LIMIT=None,  # a page may stay open for a whole lesson
        WTF_CSRF_SSL_STRICT=False,  # the token is enough; some browsers send no Referer
    )
    app.session_interface = Sessions()
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.globals.update(
        texts=texts, script_texts=script_texts, language=language, settings=settings, chosen=chosen
    )
    gateway = Gateway(settings.ollama_host)
    app.wsgi_app = Believing(app.wsgi_app, gateway)  # type: ignore[method-assign, assignment]  # Flask's idiom
    app.extensions["service"] = service = QuestionService(settings, queue)
    app.extensions["prober"] = probes.Prober(service)
    app.extensions["staffroom"] = teacher.Staffroom()
    app.before_request(_refuse_odd_forms)
    protect = CSRFProtect(app)
    protect.exempt(api.blueprint)  # JSON alone, which no foreign page can send
    for part in (pages, api, teacher, probes):
        app.register_blueprint(part.blueprint)
    app.before_request(partial(_refuse_foreign_names, settings.hosts))
    app.after_request(_with_headers)
    logging.getLogger("app").setLevel(logging.INFO)
    return app


def _refuse_foreign_names(hosts: list[str]) -> None:
    """No page of somebody else's that has its name point here (DNS rebinding) may ask.

    Machines ask by address, which no such page can.
    """
    if hosts and not (is_address(request.host) or host_is_trusted(request.host.lower(), hosts)):
        raise SecurityError


def _refuse_odd_forms() -> None:
    """Asked before anything reads the form: of 64 KB, one in parts takes 43 ms, one that is no UTF-8 takes 60."""
    if request.mimetype == "multipart/form-data":
        raise UnsupportedMediaType
    if request.mimetype != "application/x-www-form-urlencoded":
        return
    if request.get_data().count(b"&") >= FIELDS:
        raise RequestEntityTooLarge
    try:
        unquote_to_bytes(request.get_data()).decode()
    except UnicodeDecodeError:
        raise BadRequest from None


def _with_headers(response: Response) -> Response:
    response.headers.update(HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")
    response.vary.update(("X-Forwarded-Prefix", "X-Forwarded-Proto"))
    return response
