"""Whoever is silent holds no thread of the app, and both families of addresses are heard."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.worker import LINGER, SILENCE
from lab import plain
from tests.door.conftest import once
from tests.door_app.conftest import App, answers, started

THREADS = 8
SOON = 1.5  # seconds; gunicorn's own worker waits for 2 s and more


@contextmanager
def sent(app: App, text: bytes, times: int = 1) -> Iterator[list[socket.socket]]:
    """So many connections that say this, and no more."""
    with ExitStack() as stack:
        connections = []
        for _ in range(times):
            connection = socket.create_connection(("127.0.0.1", app.port), 60)
            stack.enter_context(connection)
            connection.sendall(text)
            connections.append(connection)
        time.sleep(0.2)
        yield connections


def took(app: App) -> float:
    """Seconds until /healthz has answered."""
    began = time.monotonic()
    assert plain.get(f"{app.url}/healthz", timeout=60).status_code == 200
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("text", "times"),
    [
        (b"", 3 * THREADS),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", 3),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", THREADS),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 3),
        (b"GET /healthz HTTP/1.0\r\n\r\n", 3 * THREADS),  # it does not close its side
    ],
)
def test_silence_keeps_nobody_waiting(text: bytes, times: int, app: App) -> None:
    def tried() -> float:
        with sent(app, text, times):
            return max(took(app) for _ in range(3))

    assert once(tried, SOON)


def test_an_answer_s_end_arrives_before_the_connection_is_closed(app: App) -> None:
    body = b"x" * 20000
    head = b"POST /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    with sent(app, head % (2 * len(body)) + body) as (connection,):
        answer = b""
        while part := connection.recv(65536):
            answer += part
        assert b"</html>" in answer
        end = time.monotonic() + LINGER + 30
        with pytest.raises(OSError):
            while time.monotonic() < end:
                connection.sendall(b"x")
                time.sleep(0.05)


def test_half_a_request_ends_after_a_bounded_silence(app: App) -> None:
    body = b"POST /api/ask HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    body += b"Content-Length: 9\r\n\r\n{"
    with sent(app, body) as (one,), sent(app, b"GET / HTTP/1.1\r\nHost:", THREADS - 1) as several:
        one.settimeout(SILENCE + 30)
        assert one.recv(65536).startswith(b"HTTP/1.1 400 ")
        for connection in several:
            connection.settimeout(SILENCE + 30)
            while connection.recv(65536):
                pass
    assert once(lambda: took(app), SOON)


def test_both_families_are_heard(app: App) -> None:
    if not socket.has_ipv6:
        pytest.skip("this kernel has no IPv6")
    assert answers(app.port, "127.0.0.1")
    assert answers(app.port, "::1")


def test_machines_ask_without_a_name(ollama: str, tmp_path: Path) -> None:
    """As the container's health check does; a foreign page cannot leave the name out."""
    with started(tmp_path, ollama, APP_HOSTS="ask.school.lan") as app:
        with sent(app, b"GET /healthz HTTP/1.0\r\n\r\n") as (connection,):
            assert b" 200 OK" in connection.recv(65536)
        foreign = plain.get(f"{app.url}/", headers={"Host": "evil.example"})
        assert foreign.status_code == 400


@pytest.mark.parametrize(
    "text", [b"GET / HTTP/1.1\r\nHost: a\r\nExpect: words\r\n\r\n", b"%s / HTTP/1.1\r\n\r\n" % (b"a" * 3000)]
)  # fmt: skip
def test_no_word_of_a_bad_request_is_logged(text: bytes, ollama: str, tmp_path: Path) -> None:
    """8 KB a line: 30 MB that are kept were gone in 3 s."""
    log = tmp_path / "log"
    more = {"GUNICORN_CMD_ARGS": f"--error-logfile {log}"}
    with started(tmp_path, ollama, **more) as app, sent(app, text) as (one,):
        assert one.recv(65536).startswith(b"HTTP/1.1 4")
    assert not log.read_text()


def test_it_ends_when_told_to_though_somebody_lingers(ollama: str, tmp_path: Path) -> None:
    text = b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
    options = {"GUNICORN_CMD_ARGS": "--graceful-timeout 90"}
    with started(tmp_path, ollama, **options) as app, sent(app, text):
        began = time.monotonic()
    assert time.monotonic() - began < 25  # and then it is killed


def test_who_left_before_a_thread_was_free_is_not_answered(ollama: str, tmp_path: Path) -> None:
    """20 connections that asked and left at once made others wait for 12 s: the gateway counts who stays."""
    asked: dict[str, Any] = {"json": {"prompt": "hi"}, "headers": {"Accept": "text/event-stream"}}
    body = '{"prompt":"hi"}'
    head = f"Host: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    with (
        started(tmp_path, ollama, APP_THREADS="1", APP_QUESTIONS_PER_MINUTE="1") as app,
        plain.Client(base_url=app.url, timeout=60) as pupil,
    ):
        pupil.get("/")  # a cookie, whose questions are not those of the address
        with (
            pupil.stream("POST", "/api/ask", **asked) as answer,
            sent(app, f"POST /api/ask HTTP/1.1\r\n{head}\r\n\r\n{body}".encode()),
        ):
            assert answer.status_code == 200
        later = plain.post(f"{app.url}/api/ask", timeout=60, **asked)
    assert later.status_code == 200  # its address has asked nothing yet
