"""The gateway's door for real, without a lock: routes and bodies; nothing slips through."""

from __future__ import annotations

import json
import re
import socket
import time
from pathlib import Path

import pytest

from lab import plain
from tests.lab.conftest import URL, deploy, generate, run, sh
from tests.lab.test_gateway import places, question


def raw(request: str) -> int:
    """The status of a request that no client library would send; 0 if there is none."""
    with socket.create_connection(("127.0.0.1", 11434), timeout=30) as one:
        one.sendall(request.encode())
        return status(one)


def status(one: socket.socket) -> int:
    found = re.match(r"HTTP/1\.[01] (\d+)", one.recv(65536).decode(errors="replace"))
    return int(found[1]) if found else 0


def test_a_secret_that_is_not_there_changes_nothing() -> None:
    done = deploy('gateway_tokens={"admin": "env:NO_SUCH_SECRET"}')
    assert done.returncode == 1
    assert "gateway_tokens.admin: the environment has no NO_SUCH_SECRET; export it" in done.stderr
    assert "Starting operation" not in done.stderr
    assert generate()["eval_count"] > 0


BODY = json.dumps(question())


@pytest.mark.parametrize(
    ("request_text", "statuses"),
    [
        (f"POST /api/generate HTTP/1.0\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}", {200}),
        ("GET /api/tags HTTP/1.0\r\n\r\n", {200}),
        ("GET /api/tags\r\n\r\n", {400}),
        ("GET /api/tags HTTP/9.9\r\nHost: localhost\r\n\r\n", {200, 400, 505}),
        ("\x00\x01\x02\r\n\r\n", {400}),
        (
            "POST /api/generate HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
            {400},
        ),
        (
            "POST /api/generate HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            {400},  # no model
        ),
        (
            "POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: "
            "chunked\r\n\r\n0\r\n\r\n",
            {400},
        ),
        ("POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", {400}),
        (
            "POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n{",
            {413},
        ),
        ("GET /api/generate HTTP/1.1\r\nHost: localhost\r\n\r\n", {404}),
        ("POST /api/tags HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", {404}),
        ("TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n", {404, 405}),
        ("POST /api/pull HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}", {403}),
    ],
)
def test_bad_requests_are_refused_cleanly(request_text: str, statuses: set[int]) -> None:
    assert raw(request_text) in statuses
    assert plain.get(f"{URL}/api/version").status_code == 200


@pytest.mark.parametrize(
    "options",
    ["", "--header Transfer-Encoding:chunked", "--http2"],
)
def test_a_body_over_the_limit_is_refused(options: str, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b" " * (128 * 2**10 + 1))
    code = sh(
        f"curl -sS {options} -H Expect: --data-binary @{tmp_path}/large {URL}/api/generate"
        " --write-out '%{http_code}' --output /dev/null || true"
    )
    assert code == "413"


def test_clear_text_is_http_1_alone() -> None:
    # A refusal over HTTP/2 may come as a broken stream.
    version = ["curl", "-sS", f"{URL}/api/version", "--write-out", "%{http_version}"]
    assert run(*version, "--http2").stdout.endswith("1.1")
    assert run(*version, "--http2-prior-knowledge").returncode != 0


def test_a_body_up_to_the_limit_passes_in_chunks_too() -> None:
    body = json.dumps(question()).encode() + b" " * 10_000
    answer = plain.post(f"{URL}/api/generate", content=iter([body[:100], body[100:]]), timeout=300)
    assert answer.json()["eval_count"] > 0


@pytest.mark.slow
def test_a_body_that_does_not_come_takes_no_slot() -> None:
    head = b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 131000\r\n\r\n"
    slow = [socket.create_connection(("127.0.0.1", 11434)) for _ in range(5)]
    for one in slow:
        one.sendall(head + b" " * 30_000)
    time.sleep(1)
    assert places() == (0, 0)
    assert generate()["eval_count"] > 0
    for one in slow:
        one.settimeout(20)
        assert b" 408 " in one.recv(100)
        one.close()
