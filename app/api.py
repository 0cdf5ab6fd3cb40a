"""POST /api/ask, as JSON or as server-sent events, and the document that describes it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Annotated, Any

from flask import Blueprint, Response, jsonify, request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import from_json
from werkzeug.exceptions import HTTPException

from app.openapi import document
from app.queue import Chunk, Done, Failed, Job, Position, Quiet
from app.request_context import AT_ONCE, enter, listener, service, tell
from app.share import Refused
from app.texts import texts

blueprint = Blueprint("api", __name__, url_prefix="/api")

STATUS = {"busy": 503, "late": 504, "unavailable": 502}
SSE = "text/event-stream"


def _integer(given: object) -> object:
    """JSON Schema calls 1.0 an integer."""
    return int(given) if isinstance(given, float) and given.is_integer() else given


class Question(BaseModel):
    """What is asked."""

    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: str = Field(min_length=1)
    max_tokens: Annotated[int, BeforeValidator(_integer)] | None = Field(None, ge=1)
    """Of the answer; the setting bounds it."""
    model: str | None = None
    """One of those that are offered; none: the first."""


@blueprint.get("/openapi.json")
def openapi() -> dict[str, Any]:
    """The OpenAPI document of this server, with its own bounds."""
    return document(service().settings, request.script_root)


@blueprint.post("/ask")
def ask() -> Response:
    """One question, one answer, or an honest refusal."""
    if request.mimetype != "application/json":
        return problem(415, "bad", texts()["bad"])
    settings = service().settings
    try:
        question = _read(request.get_data())
    except ValueError as error:
        return problem(400, "bad", f"{texts()['bad']} ({_place(error)})")
    prompt = question.prompt.strip()
    if not prompt:
        return problem(400, "empty", texts()["empty"])
    if len(prompt) > settings.app_max_prompt:
        message = texts()["too_long"].format(characters=settings.app_max_prompt)
        return problem(400, "too_long", message)
    model = settings.models[0] if question.model is None else question.model
    if model not in settings.models:
        return problem(400, "no_model", texts()["no_model"])
    longest = min(question.max_tokens or settings.app_max_answer, settings.app_max_answer)
    try:
        job = enter(prompt, longest, model)
    except Refused as refusal:
        return problem(refusal.status, refusal.code, tell(refusal), refusal.retry_after)
    if request.accept_mimetypes.best_match(["application/json", SSE]) == SSE:
        return _streamed(job)
    return _whole(job)


def _read(body: bytes) -> Question:
    """The question in a body; ValueError, pydantic's where it can tell the place."""
    found = from_json(body)
    if isinstance(found, dict) and len(found) > len(Question.model_fields):
        raise ValueError("more names than a question has")  # pydantic would tell of each
    return Question.model_validate(found)


def _place(error: ValueError) -> str:
    """Where a body is wrong."""
    if not isinstance(error, ValidationError):
        return "body"
    wrong = error.errors(include_url=False, include_context=False, include_input=False)
    return (".".join(str(part) for part in wrong[0]["loc"]) or "body")[:100]


def _streamed(job: Job) -> Response:
    phrases, gone, here = texts(), listener(), service()

    def events() -> Iterator[str]:
        answering = False
        try:
            for event in here.follow(job, gone):
                if event is None and not answering and job.begun:
                    answering = True
                    yield _event("turn", {})
                match event:
                    case None:
                        yield ": still here\n\n"
                    case Position(number, seconds):
                        yield _event("place", {"number": number, "seconds": seconds})
                    case Quiet():
                        yield _event("quiet", {})
                    case Chunk(text):
                        answering = True
                        yield _event("text", {"text": text})
                    case Done(cut, tokens, broken):
                        yield _event("done", {"cut": cut, "tokens": tokens, "broken": broken})
        except Failed as failed:
            yield _event("failed", {"error": failed.code, "message": phrases[failed.code]})

    response = Response(events(), content_type=f"{SSE}; charset=utf-8", headers=AT_ONCE)
    response.call_on_close(lambda: here.queue.leave(job))  # also if nothing was sent at all
    return response


def _event(name: str, data: object) -> str:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


def _whole(job: Job) -> Response:
    answer = ""
    try:
        for event in service().follow(job, listener()):
            if isinstance(event, Chunk):
                answer += event.text
            if isinstance(event, Done):
                return jsonify(
                    answer=answer,
                    cut=event.cut,
                    tokens=event.tokens,
                    broken=event.broken,
                    waited=round(job.waited, 3),
                    took=round(time.monotonic() - job.came, 3),
                )
    except Failed as failed:
        return problem(STATUS[failed.code], failed.code, texts()[failed.code], 5)
    return Response(status=499)  # nobody is there to read it


def problem(status: int, code: str, message: str, retry_after: int | None = None) -> Response:
    """A refusal: ``error`` for programs, ``message`` for people."""
    response = jsonify(error=code, message=message)
    response.status_code = status
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response


def refused(error: HTTPException) -> Response:
    """Whatever Flask refuses below /api, in the API's own form."""
    status = error.code or 500
    code = {413: "too_large"}.get(status, "bad" if status < 500 else "unavailable")
    return problem(status, code, texts()["bad" if status < 500 else code])
