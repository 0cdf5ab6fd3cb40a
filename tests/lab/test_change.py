"""A change of settings while a class asks loses nobody; and what short timeouts then do."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from bench.app_load import APP
from bench.browser_pages import crowd
from tests.lab.conftest import class_at_work, deployed, sh
from tests.lab.test_gateway import ask, busy, last_line

STATE = "docker inspect --format '{{.Id}} {{.State.StartedAt}}' ollama ollama-gateway"
PATIENCE = 2  # seconds


@contextmanager
def knocking() -> Iterator[list[int]]:
    """Somebody who opens the page again and again; the statuses."""
    statuses: list[int] = []
    over = threading.Event()

    def knock() -> None:
        with httpx.Client(base_url=APP, trust_env=False, timeout=60) as client:
            while not over.is_set():
                statuses.append(client.get("/").status_code)
                over.wait(0.05)

    thread = threading.Thread(target=knock)
    thread.start()
    try:
        yield statuses
    finally:
        over.set()
        thread.join()


@pytest.fixture
def put_back() -> Iterator[None]:
    yield
    deployed()


@pytest.mark.long("the change itself, and the way back")
@pytest.mark.usefixtures("put_back")
def test_gateway_and_app_change_and_nobody_is_turned_away() -> None:
    before = sh(STATE)
    with class_at_work(5) as statuses, knocking() as pages:
        deployed("gateway_answer_timeout=14m", "app_max_answer=100", "app_log_prompts=True")
    assert sh(STATE) == before
    assert (set(statuses), set(pages)) == ({200}, {200})
    with httpx.Client(base_url=APP, trust_env=False, timeout=120) as client:
        asked = {"prompt": "Do log this.", "max_tokens": 2}
        assert client.post("/api/ask", json=asked).status_code == 200
    log = sh("docker logs --tail 5 ollama-app 2>&1").splitlines()
    asked_for = [json.loads(line).get("prompt") for line in log if line.startswith("{")]
    assert "Do log this." in asked_for


@pytest.fixture(scope="class")
def short_timeouts() -> Iterator[None]:
    deployed(
        "gateway_queue_timeout=1s", f"gateway_answer_timeout={PATIENCE}s", "app_max_answer=200"
    )
    yield
    deployed()


@pytest.mark.slow
@pytest.mark.usefixtures("short_timeouts")
class TestShortTimeouts:
    """Of the queue, and of silence in an answer."""

    def test_who_waits_too_long_is_told(self) -> None:
        with busy(running=3, waiting=0):
            answer = ask()
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "5"
        assert answer.json()["error"].startswith("no place became free in time")

    def test_an_answer_may_be_longer_than_every_timeout(self) -> None:
        began = time.monotonic()
        assert last_line(400)["done"]
        assert time.monotonic() - began > PATIENCE

    def test_who_asks_for_json_may_wait_longer_than_any_answer_is_silent(self) -> None:
        with httpx.Client(base_url=APP, trust_env=False, timeout=120) as client, crowd(6):
            client.get("/")
            reply = client.post("/api/ask", json={"prompt": "Say hello.", "max_tokens": 2})
        assert reply.status_code == 200, reply.text
        assert reply.json()["waited"] > PATIENCE
