"""The API: answers as JSON and as events, and a documented refusal for everything else."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import LARGEST, create_app
from tests.unit.app.conftest import Double, occupy, unheard

SSE = {"Accept": "text/event-stream"}


def ask(client: FlaskClient, prompt: str = "one two", **more: Any) -> Any:
    return client.post("/api/ask", json={"prompt": prompt, **more})


def test_an_answer_is_whole(client: FlaskClient) -> None:
    answer = ask(client).get_json()
    assert (answer["answer"], answer["cut"], answer["tokens"]) == ("onetwo", False, 2)
    assert 0 <= answer["waited"] <= answer["took"]


def test_an_answer_is_streamed(client: FlaskClient) -> None:
    reply = client.post("/api/ask", json={"prompt": "one два"}, headers=SSE)
    assert reply.content_type == "text/event-stream; charset=utf-8"
    assert reply.text == (
        'event: text\ndata: {"text": "one"}\n\nevent: text\ndata: {"text": "два"}\n\n'
        'event: done\ndata: {"cut": false, "tokens": 2, "broken": false}\n\n'
    )


def test_an_answer_that_was_broken_off_says_so(client: FlaskClient) -> None:
    assert ask(client, "& & &").get_json()["broken"] is True
    reply = client.post("/api/ask", json={"prompt": "& & &"}, headers=SSE)
    assert reply.text.endswith('data: {"cut": false, "tokens": 3, "broken": true}\n\n')
    assert 'outcome="broken"} 2.0' in client.get("/metrics").text


def test_a_place_and_then_the_turn_are_told(app: Flask, model: Double) -> None:
    occupy(app, model, 3)
    reply = app.test_client().post("/api/ask", json={"prompt": "hi"}, headers=SSE, buffered=False)
    events = reply.iter_encoded()
    assert next(events) == b'event: place\ndata: {"number": 2, "seconds": 10}\n\n'
    model.let.set()
    assert b"".join(events).endswith(
        b'event: done\ndata: {"cut": false, "tokens": 1, "broken": false}\n\n'
    )


def test_who_leaves_before_the_stream_begins_gives_the_place_away(
    app: Flask, model: Double
) -> None:
    occupy(app, model, 2)
    unheard(app, "/api/ask", json={"prompt": "hi"}, headers=SSE)


def test_a_failure_in_the_stream_is_an_event(client: FlaskClient) -> None:
    reply = client.post("/api/ask", json={"prompt": "fail:busy"}, headers=SSE)
    assert reply.text.startswith('event: failed\ndata: {"error": "busy", "message": "The model is')


@pytest.mark.parametrize(("code", "status"), [("busy", 503), ("unavailable", 502), ("late", 504)])
def test_a_failure_has_a_status_and_a_time_to_come_back(
    code: str, status: int, client: FlaskClient
) -> None:
    reply = ask(client, f"fail:{code}")
    assert (reply.status_code, reply.get_json()["error"]) == (status, code)
    assert reply.headers["Retry-After"] == "5"


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({}, 400, "bad"),
        ([], 400, "bad"),
        ({"prompt": 5}, 400, "bad"),
        ({"prompt": ""}, 400, "bad"),
        ({"prompt": " \n"}, 400, "empty"),
        ({"prompt": "x" * 101}, 400, "too_long"),
        ({"prompt": "hi", "model": "another"}, 400, "no_model"),
        ({"prompt": "hi", "model": 5}, 400, "bad"),
        ({"prompt": "hi", "more": "x"}, 400, "bad"),
        ({"prompt": "hi", "max_tokens": 0}, 400, "bad"),
        ({"prompt": "hi", "max_tokens": 1.5}, 400, "bad"),
        ({"prompt": "x" * LARGEST}, 413, "too_large"),
    ],
)
def test_what_is_no_question_is_refused(
    body: object, status: int, error: str, client: FlaskClient, model: Double
) -> None:
    reply = client.post("/api/ask", json=body)
    assert (reply.status_code, reply.get_json()["error"]) == (status, error)
    assert not model.asked


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/api/nothing", 404, "bad"),
        ("GET", "/api/ask", 405, "bad"),
        ("POST", "/api/ask", 500, "unavailable"),
    ],
)
def test_every_refusal_below_api_is_json(
    method: str,
    path: str,
    status: int,
    error: str,
    app: Flask,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if status == 500:
        monkeypatch.delitem(app.extensions, "service")
    reply = app.test_client().open(path, method=method, json={"prompt": "hi"})
    assert (reply.status_code, reply.get_json()["error"]) == (status, error)
    assert set(reply.allow) == ({"POST", "OPTIONS"} if status == 405 else set())


def test_json_alone_is_taken_because_no_foreign_page_can_send_it(client: FlaskClient) -> None:
    assert client.post("/api/ask", data={"prompt": "hi"}).status_code == 415
    assert client.post("/api/ask", data='{"prompt": "hi"}').status_code == 415
    assert client.post("/api/ask", data="{", content_type="application/json").status_code == 400


@pytest.mark.parametrize(("wished", "got"), [(None, 50), (7, 7), (7.0, 7), (10**30, 50)])
def test_the_setting_bounds_the_answer(
    wished: float | None, got: int, client: FlaskClient, model: Double
) -> None:
    assert ask(client, max_tokens=wished).status_code == 200
    assert model.asked == [("one two", got, "qwen2.5:1.5b")]


def test_too_many_are_told_when_to_come_back(app: Flask, model: Double) -> None:
    occupy(app, model, 5)
    reply = ask(app.test_client())
    assert (reply.status_code, reply.get_json()["error"]) == (503, "full")
    assert reply.headers["Retry-After"] == "5"


def test_too_often_is_told_in_the_student_s_language(client: FlaskClient) -> None:
    client.get("/")
    for _ in range(6):
        assert ask(client).status_code == 200
    reply = client.post("/api/ask", json={"prompt": "hi"}, headers={"Accept-Language": "ru"})
    assert (reply.status_code, reply.get_json()["error"]) == (429, "limited")
    assert reply.get_json()["message"].startswith("Вопросов за минуту: 6.")
    assert 1 <= int(reply.headers["Retry-After"]) <= 60


def test_without_a_cookie_the_address_is_the_student(app: Flask) -> None:
    def from_(address: str) -> int:
        headers = {"X-Forwarded-For": address}
        reply = app.test_client().post("/api/ask", json={"prompt": "hi"}, headers=headers)
        return reply.status_code

    assert [from_("10.0.0.7") for _ in range(7)] == [200] * 6 + [429]
    assert from_("10.0.0.8") == 200


def test_the_document_has_the_bounds_and_every_route(
    environment: dict[str, str], model: Double
) -> None:
    app = create_app(environment | {"APP_MAX_PROMPT": "77"}, model)
    document = app.test_client().get("/api/openapi.json").get_json()
    question = document["components"]["schemas"]["Question"]
    assert question["properties"]["prompt"]["maxLength"] == 77
    routes = {str(rule) for rule in app.url_map.iter_rules()}
    pages = {"/", "/static/<path:filename>", "/teacher", "/teacher/state", "/teacher/out"}
    assert set(document["paths"]) == routes - pages
    codes = document["components"]["schemas"]["Problem"]["properties"]["error"]["enum"]
    assert {"bad", "empty", "too_long", "no_model", "too_large", "limited", "at_once", "full", "busy", "late", "unavailable"} == set(codes)  # fmt: skip
