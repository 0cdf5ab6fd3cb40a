"""What the app makes of Ollama's words: its own client, before a server that says what a test tells it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from app.model import answers
from app.queue import Chunk, Done, Failed
from app.settings import Settings
from tests.unit.app.conftest import TOKENS


class Server(HTTPServer):
    """Stands in for the gateway: what Ollama says in these cases cannot be provoked at will."""

    status = 200
    lines: tuple[dict[str, Any], ...] = ()
    asked: dict[str, Any] = {}  # noqa: RUF012 replaced, never changed
    token: str | None = ""
    whole = True
    """Whether the stream comes to its end, as a running server's does."""


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked, self.server.token = json.loads(body), self.headers["Authorization"]
        self.send_response(self.server.status)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in self.server.lines:
            text = json.dumps(line).encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
        if self.server.whole:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,)).start()
        yield running
        running.shutdown()


def answered(server: Server, environment: dict[str, str]) -> list[Chunk | Done]:
    url = f"http://127.0.0.1:{server.server_port}"
    answer = answers(Settings.read(environment | {"OLLAMA_HOST": url}))

    async def collect() -> list[Chunk | Done]:
        return [part async for part in answer("hi", 7, "qwen2.5:1.5b")]

    return asyncio.run(collect())


def part(response: str, **more: Any) -> dict[str, Any]:
    return {"response": response, "done": False} | more


END = part("", done=True, done_reason="stop", eval_count=2)


def test_the_model_is_asked_for_no_more_than_it_may_say(
    server: Server, environment: dict[str, str]
) -> None:
    server.lines = (part("Hel"), part("lo"), END)
    assert answered(server, environment) == [Chunk("Hel"), Chunk("lo"), Done(False, 2)]
    assert server.asked == {
        "model": "qwen2.5:1.5b",
        "prompt": "hi",
        "stream": True,
        "think": False,
        "options": {"num_predict": 7},
    }
    assert server.token == f"Bearer {TOKENS['gateway.token']}"


def test_a_model_that_thinks_all_the_same_is_alive(
    server: Server, environment: dict[str, str]
) -> None:
    server.lines = (part("", thinking="Hm."), part("Hello"), END)
    assert answered(server, environment) == [Chunk(""), Chunk("Hello"), Done(False, 2)]


@pytest.mark.parametrize(
    ("status", "lines", "code", "why"),
    [
        (503, ({"error": "server busy"},), "busy", "503: server busy"),
        (401, ({"error": "a token is needed"},), "unavailable", "401: a token is needed"),
        (200, (), "unavailable", "an empty answer"),
        (200, (part("Hel"), {"error": "unexpected EOF"}), "unavailable", "-1: unexpected EOF"),
    ],
)
def test_a_failure_is_told_by_what_a_student_can_do(
    server: Server, environment: dict[str, str], status: int, lines: Any, code: str, why: str
) -> None:
    server.status, server.lines = status, lines
    with pytest.raises(Failed) as failed:
        answered(server, environment)
    assert (failed.value.code, failed.value.why) == (code, why)


# As Ollama 0.32.15 says it: thirty equal tokens, then the stream's end without its last line.
REPEATED = tuple(
    {"model": "smollm2:135m", "created_at": "2026-11-27T10:00:00Z", "response": "&", "done": False}
    for _ in range(30)
)


def test_an_answer_that_its_server_breaks_off_is_shown_and_says_so(
    server: Server, environment: dict[str, str]
) -> None:
    server.lines = REPEATED
    *pieces, end = answered(server, environment)
    assert pieces == [Chunk("&")] * 30
    assert end == Done(False, 30, broken=True)


def test_a_server_that_is_lost_in_the_middle_is_no_server_that_broke_off(
    server: Server, environment: dict[str, str]
) -> None:
    server.lines, server.whole = REPEATED, False
    with pytest.raises(Failed) as failed:
        answered(server, environment)
    assert (failed.value.code, failed.value.why) == ("unavailable", "RemoteProtocolError")
