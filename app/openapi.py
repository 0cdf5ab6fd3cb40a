"""The OpenAPI document."""

from __future__ import annotations

from typing import Any

from app.settings import Settings

RETRY = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer", "minimum": 1}}}


def document(settings: Settings, root: str = "") -> dict[str, Any]:
    """OpenAPI 3.1, with the bounds of these settings; ``root``: path below which all is reached."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ollama-stack companion app",
            "version": "1",
            "description": "A class asks a model. A client that finds no place is told when to come again.",
        },
        **({"servers": [{"url": root}]} if root else {}),
        "paths": {
            "/api/ask": {"post": _ask()},
            "/api/openapi.json": {"get": _get("This document", "application/json")},
            "/healthz": {
                "get": _get("The process is alive; nothing else is touched", "text/plain")
            },
            "/readyz": {
                "get": _get("The model wrote something within the last minute", "application/json")
                | {"responses": _ready()}
            },
            "/metrics": {"get": _get("Prometheus metrics", "text/plain")},
        },
        "components": {"schemas": _schemas(settings)},
    }


def _get(summary: str, kind: str) -> dict[str, Any]:
    success = {"description": summary, "content": {kind: {}}}
    return {"summary": summary, "responses": {"200": success}}


def _ready() -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": ["ready", "seconds", "why"],
        "properties": {
            "ready": {"type": "boolean"},
            "seconds": {
                "type": ["number", "null"],
                "description": "Since the model last wrote something",
            },
            "why": {
                "type": "string",
                "description": "What became of the question that was just asked",
            },
        },
    }
    content = {"application/json": {"schema": schema}}
    return {
        "200": {"description": "Ready", "content": content},
        "503": {"description": "Not ready", "content": content},
    }


def _ask() -> dict[str, Any]:
    refusals = {
        "400": "Not understood, empty, too long, or for a model that is not offered",
        "411": "Without Content-Length; the gateway says so",
        "413": "Larger than any question",
        "415": "Not application/json",
        "429": "This student's questions of this minute, or at once, are used up",
        "502": "The model does not answer",
        "503": "No place in the queue, or the gateway is busy with others",
        "504": "The answer took too long",
    }
    return {
        "summary": "Ask one question",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref("Question")}},
        },
        "responses": {
            "200": {
                "description": "The answer: whole, or (Accept: text/event-stream) as the events "
                "place, turn, quiet, text, and done or failed",
                "content": {
                    "application/json": {"schema": _ref("Answer")},
                    "text/event-stream": {"schema": {"type": "string"}},
                },
            },
            **{
                status: {
                    "description": meaning,
                    "content": {"application/json": {"schema": _ref("Problem")}},
                    **({"headers": RETRY} if status in ("429", "503") else {}),
                }
                for status, meaning in refusals.items()
            },
        },
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


NUMBER = {"type": "number", "minimum": 0}
ANSWER = {
    "type": "object",
    "required": ["answer", "cut", "broken", "tokens", "waited", "took"],
    "properties": {
        "answer": {"type": "string"},
        "cut": {"type": "boolean", "description": "It reached the length limit"},
        "broken": {
            "type": "boolean",
            "description": "The server ended it early, as it does when a model repeats itself",
        },
        "tokens": {"type": "integer", "minimum": 0},
        "waited": NUMBER | {"description": "Seconds until its turn"},
        "took": NUMBER | {"description": "Seconds in all"},
    },
}
PROBLEM = {
    "type": "object",
    "required": ["error", "message"],
    "properties": {
        "error": {
            "type": "string",
            "enum": [
                *(
                    "bad",
                    "empty",
                    "too_long",
                    "no_model",
                    "too_large",
                    "limited",
                    "at_once",
                    "full",
                ),
                *("busy", "late", "unavailable"),
            ],
        },
        "message": {"type": "string", "description": "For people, in their language"},
    },
}


def _schemas(settings: Settings) -> dict[str, Any]:
    question = {
        "type": "object",
        "required": ["prompt"],
        "additionalProperties": False,
        "properties": {
            "prompt": {
                "type": "string",
                "minLength": 1,
                "maxLength": settings.app_max_prompt,
                "pattern": r"[^\s\x1c-\x1f\x85]",
            },
            "max_tokens": {
                "type": ["integer", "null"],
                "minimum": 1,
                "description": f"The longest answer; never more than {settings.app_max_answer}",
            },
            "model": {
                "type": ["string", "null"],
                "enum": [*settings.models, None],
                "description": f"The model that answers; without it {settings.models[0]}",
            },
        },
    }
    return {"Question": question, "Answer": ANSWER, "Problem": PROBLEM}
