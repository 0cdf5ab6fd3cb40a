"""What short timeouts do: of the queue, and of silence in an answer."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest

from bench.app_load import APP
from bench.browser_pages import crowd
from tests.lab.conftest import deployed
from tests.lab.test_gateway import ask, busy, last_line

PATIENCE = 2  # seconds


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
