"""The student's page: with a script it streams in place, without one it is a plain form."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from flask import Blueprint, Response, render_template, request, url_for
from flask_wtf.csrf import CSRFError
from markupsafe import escape
from werkzeug.exceptions import BadHost, HTTPException, MethodNotAllowed, SecurityError

from app.api import refused
from app.queue import Chunk, Done, Failed, Job, Position, Quiet
from app.request_context import AT_ONCE, enter, listener, service, student, tell
from app.share import Refused
from app.texts import texts

blueprint = Blueprint("pages", __name__)

REPEATED = 10_000  # characters, which HTML makes 50 KB of; no `app_max_prompt` is larger
STATIC = Path(__file__).parent / "static"
VERSIONS = {
    file.name: sha256(file.read_bytes()).hexdigest()[:12] for file in sorted(STATIC.iterdir())
}


@blueprint.app_template_global()
def asset(name: str) -> str:
    """The address of a static file, another one for another content."""
    return url_for("static", filename=name, v=VERSIONS[name])


@blueprint.get("/")
def question() -> str:
    """The question's form."""
    student()
    return render_template("ask.html", prompt="", notice="")


@blueprint.post("/")
def answer() -> Response:
    """The answer as a page that grows; for browsers without a script."""
    prompt, settings = request.form.get("prompt", "").strip(), service().settings
    prompt = prompt.replace("\r\n", "\n")
    if not prompt:
        return _refusal(400, "", texts()["empty"])
    if len(prompt) > settings.app_max_prompt:
        message = texts()["too_long"].format(characters=settings.app_max_prompt)
        return _refusal(400, prompt, message)
    model = request.form.get("model", settings.models[0])
    if model not in settings.models:
        return _refusal(400, prompt, texts()["no_model"])
    try:
        job = enter(prompt, settings.app_max_answer, model)
    except Refused as refusal:
        return _refusal(refusal.status, prompt, tell(refusal), refusal.retry_after)
    queue = service().queue
    html = "text/html; charset=utf-8"
    response = Response(_growing(prompt, job), content_type=html, headers=AT_ONCE)
    response.call_on_close(lambda: queue.leave(job))  # also if nothing was sent at all
    return response


def _growing(prompt: str, job: Job) -> Iterator[str]:
    """The page's parts; all that needs the request is made before the first one is sent."""
    phrases = texts()
    head, foot = render_template("answer.html", prompt=prompt).split("<!-- answer -->")
    events = service().follow(job, listener())

    def parts() -> Iterator[str]:
        yield head
        answering = False
        try:
            for event in events:
                match event:
                    case None:
                        yield "" if answering else "\n"  # browsers give up on long silence
                    case Position(number, seconds):
                        place = phrases["place"].format(number=number, seconds=seconds)
                        yield f"<p>{escape(place)}</p>\n"
                    case Quiet():
                        yield f"<p>{escape(phrases['quiet'])}</p>\n"
                    case Chunk(text):
                        if not answering:
                            yield '</div><div class="answer">'
                            answering = True
                        yield str(escape(text))
                    case Done():
                        yield ("" if answering else '</div><div class="answer">')
                        yield f'</div><p role="status">{escape(phrases[event.ending])}</p>'
        except Failed as failed:
            yield f'</div><p class="notice" role="alert">{escape(phrases[failed.code])}</p>'
        yield foot

    return parts()


def _refusal(status: int, prompt: str, notice: str, retry_after: int | None = None) -> Response:
    """What was written is there again, but no more than the gateway's buffer holds for who reads slowly."""
    page = render_template("ask.html", prompt=prompt[:REPEATED], notice=notice)
    response = Response(page, status)
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response


@blueprint.app_errorhandler(CSRFError)
def page_too_old(_: CSRFError) -> Response:
    """A form of another day, or of somebody else's page: shown anew, with what was written."""
    if request.blueprint == "teacher":
        return Response(render_template("sign_in.html", notice=texts()["old_sign_in"]), 400)
    return _refusal(400, request.form.get("prompt", ""), texts()["old"])


@blueprint.app_errorhandler(HTTPException)
def lost(error: HTTPException) -> Response:
    """No such page, no such way to ask for it, or a fault of our own; programs get it as JSON."""
    if request.path.startswith("/api/"):
        response = refused(error)
    elif isinstance(request.routing_exception, BadHost):  # no page has an address then
        response = Response("bad host\n", 400, content_type="text/plain; charset=utf-8")
    else:
        status = error.code or 500
        name = "lost" if status == 404 else "bad" if status < 500 else "broken"
        title = texts()["host" if isinstance(error, SecurityError) else name]
        response = Response(render_template("lost.html", title=title), status)
    if isinstance(error, MethodNotAllowed):
        response.allow.update(error.valid_methods or ())
    return response
