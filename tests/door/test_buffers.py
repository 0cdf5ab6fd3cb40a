"""No address holds so many of the gateway's buffers that others wait for one."""

from __future__ import annotations

import re
import socket
import time
from contextlib import suppress

import pytest

from lab import plain
from ollama_stack.stack.door import LIMITS
from tests.door.conftest import Door, bearer, status

SOURCES = [f"127.0.0.{last}" for last in (20, 21)]
EACH = 148  # connections; `gateway_source_connections` are 150


def used(door: Door) -> int:
    """Buffers that somebody has."""
    with socket.create_connection(("127.0.0.1", door.runtime), 30) as runtime:
        runtime.sendall(b"show pools\n")
        found = re.search(r"Pool buffer .* (\d+) used", runtime.makefile().read())
    assert found
    return int(found[1])


def flood(door: Door, port: int, raw: bytes, mine: list[socket.socket], each: int = EACH) -> None:
    """As many requests as fit on the way, of two addresses, and no answer is read."""
    connected = 0
    for source in SOURCES:
        for _ in range(each):
            mine.append(one := socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            one.bind((source, 0))
            with suppress(OSError):
                one.connect(("127.0.0.1", port))
                one.setblocking(False)
                connected += 1
    assert connected > 0.9 * each * len(SOURCES)
    for _ in range(40):
        for one in mine:
            with suppress(OSError):
                one.send(raw)
        time.sleep(0.05)


def get(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


@pytest.mark.parametrize("who", ["a stranger", "a token"])
def test_refusals_that_nobody_reads_hold_no_buffers(
    who: str, patient: Door, mine: list[socket.socket]
) -> None:
    """All 716 were taken: the other was told 408 after 5 s, or waited as long as the two liked."""
    lines = (
        [f"{name}: {value}" for name, value in bearer("one").items()] if who == "a token" else []
    )
    flood(patient, patient.api, get("/api/nothing", *lines) * 1000, mine)
    assert used(patient) < 400
    assert patient.ask(who="two").status_code == 200


def test_pages_that_nobody_reads_hold_few_buffers(patient: Door, mine: list[socket.socket]) -> None:
    """With the refusals of the other door they were all."""
    flood(patient, patient.page, get("/static/style.css") * 1000, mine, 120)
    assert used(patient) < 400
    with patient.connect(patient.page) as one:
        one.sendall(get("/"))
        assert status(one) == 200


@pytest.mark.parametrize("at", ["api", "page"])
def test_a_crowd_s_refused_bodies_are_not_read_to_their_ends(
    at: str, patient: Door, mine: list[socket.socket]
) -> None:
    """A chunk's extension is read anew with each byte: those of 150 connections made others wait for 0.5 s."""
    head = (
        b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5;aaa"
    )
    for _ in range(60):
        mine.append(patient.connect(getattr(patient, at), SOURCES[0]))
    for one in mine:
        one.sendall(head)
    assert [status(one) for one in mine].count(0) >= 60 - LIMITS["few"]
    few = [patient.connect(getattr(patient, at), SOURCES[1]) for _ in range(10)]
    mine += few
    for one in few:
        one.sendall(head)
    assert {status(one) for one in few} == {401 if at == "api" else 411}


@pytest.mark.parametrize("more", ["Content-Length: 10\r\n", ""])
def test_answers_that_nobody_ends_keep_no_scrape_waiting(
    locked: Door, mine: list[socket.socket], more: str
) -> None:
    """A body that never comes, or an answer that is not read: 40 connections of either kept it waiting for 30 s."""
    raw = f"GET /metrics HTTP/1.1\r\nHost: localhost\r\n{more}\r\n".encode()
    flood(locked, locked.metrics, raw, mine, each=20)
    url = f"http://127.0.0.1:{locked.metrics}/metrics"
    assert plain.get(url, timeout=9).status_code == 200


@pytest.mark.parametrize("line", ["Authorization: Basic {}", "Access-Control-Request-Headers: {}"])
def test_a_large_head_is_refused_before_anything_reads_it(
    locked: Door, mine: list[socket.socket], line: str
) -> None:
    """Tokens of 150 kB delayed a question to 217 ms, and a preflight said as many letters again."""
    asks = "Origin: http://localhost\r\nAccess-Control-Request-Method: POST\r\n"
    mine.append(locked.connect())
    mine[0].sendall(f"OPTIONS /api/chat HTTP/1.1\r\nHost: x\r\n{asks}{line}\r\n\r\n".format("YWFh" * 9000).encode())  # fmt: skip
    assert status(mine[0]) == 431
