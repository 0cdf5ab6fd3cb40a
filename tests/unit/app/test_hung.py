"""A server that takes requests and never answers: the app says so soon, and nothing light waits."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from flask import Flask

from app import create_app
from app.queue import Quiet
from tests.unit.app.conftest import Double, occupy, until
from tests.unit.app.test_pages import csrf

pytestmark = pytest.mark.process

SSE = {"Accept": "text/event-stream"}
SOON = 20.0  # seconds on a busy machine; without a bound it takes 30


@pytest.fixture
def hung(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """The app with its own client, before a socket that connects and says nothing."""
    monkeypatch.setattr("app.probes.PATIENCE", 0.2)
    monkeypatch.setattr("app.queue.QUIET", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        app = create_app(environment | {"OLLAMA_HOST": url})
        yield app
    until(lambda: app.extensions["service"].queue.in_flight == 0)


def test_ready_says_so_soon_and_asks_once(hung: Flask) -> None:
    client, queue = hung.test_client(), hung.extensions["service"].queue
    for _ in range(2):
        began = time.monotonic()
        reply = client.get("/readyz")
        assert time.monotonic() - began < SOON
        assert (reply.status_code, reply.get_json()["why"]) == (503, "late")
    until(lambda: queue.in_flight == 1)  # the model that is being loaded is not given up
    for path in ("/healthz", "/metrics", "/", "/teacher"):
        began = time.monotonic()
        assert client.get(path).status_code == 200
        assert time.monotonic() - began < SOON


def test_the_student_is_told_that_nobody_hears_a_word(
    hung: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.service.BEAT", 0.05)
    client = hung.test_client()
    reply = client.post("/api/ask", json={"prompt": "hi"}, headers=SSE, buffered=False)
    parts = [part for part, _ in zip(reply.iter_encoded(), range(12), strict=False)]
    assert parts.count(b"event: quiet\ndata: {}\n\n") == 1
    reply.close()
    data = {"prompt": "hi", "csrf_token": csrf(client)}
    page = client.post("/", data=data, buffered=False)
    text = b""
    for part in page.iter_encoded():
        text += part
        if b"may have stopped" in text or len(text) > 20000:
            break
    assert b"it may have stopped" in text
    page.close()


def test_who_waits_while_others_hear_the_model_is_not_alarmed(
    app: Flask, model: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.queue.QUIET", 0.1)
    occupy(app, model, 1)
    queue = app.extensions["service"].queue
    job = queue.enter("hi", 9, "m")
    until(lambda: job.begun is not None)
    queue.last_text = time.monotonic() + 60  # others hear it all the time
    events = queue.events(job, 0.05)
    assert [next(events) for _ in range(10)] == [None] * 10
    queue.last_text = None
    assert next(events) == Quiet()
