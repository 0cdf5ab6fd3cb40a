"""Several addresses, or several tokens of one pupil, leave others their lists, their turns and their connections."""

from __future__ import annotations

import json
import socket
import time
from contextlib import ExitStack, suppress

import httpx
import pytest

from lab import plain
from ollama_stack.stack.door import LIMITS
from tests.door.conftest import (
    OTHERS_ADDRESS,
    PATIENT,
    SECRETS,
    TOKENS,
    Door,
    Opener,
    bearer,
    question,
    status,
    until,
)
from tests.door.double import MODEL

CROWD = ["127.0.0.20", "127.0.0.21"]


def post(path: str, length: int, *lines: str) -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: localhost", *lines, f"Content-Length: {length}"]
    return "\r\n".join([*head, "", ""]).encode()


def lines_of(who: str) -> list[str]:
    return [f"{name}: {value}" for name, value in bearer(who).items()]


@pytest.mark.parametrize("locked", [False, True])
def test_lists_that_nobody_reads_leave_others_theirs(
    opened: Opener, mine: list[socket.socket], locked: bool
) -> None:
    """Of Ollama's 64 places for them two tokens held all, or one address: others were told 503 after 10 s."""
    door = opened(**(TOKENS if locked else {}))
    door.ollama.large = b"x" * 1_200_000
    body = json.dumps({"model": MODEL}).encode()
    for who in ("one", "local"):
        for _ in range(40):
            one = socket.socket()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            one.bind((CROWD[0], 0))
            one.connect(("127.0.0.1", door.api))
            one.sendall(post("/api/show", len(body), *lines_of(who)) + body)
            mine.append(one)
    most = LIMITS["lists"] * (2 if locked else 1)
    until(lambda: len(door.ollama.came) >= most)
    time.sleep(0.5)
    assert len(door.ollama.came) == most
    assert door.client.get("/api/version", headers=bearer("two")).status_code == 200
    assert status(mine[39]) == 429


def test_an_address_that_is_refused_again_and_again_is_not_read(opened: Opener) -> None:
    """Where no token is asked for: 40 connections of one made the page's question wait for 1.1 s."""
    door = opened()
    transport = httpx.HTTPTransport(local_address=OTHERS_ADDRESS)
    wrong = {"model": "other:1b"}
    with httpx.Client(base_url=door.url, transport=transport, timeout=60) as other:
        found = [other.post("/api/chat", json=wrong) for _ in range(LIMITS["refusals"] + 2)]
        assert [answer.status_code for answer in found[:-1]] == [404] * (len(found) - 1)
        assert "this address has been refused 50 times in 10 s" in found[-1].json()["error"]
        assert other.post("/api/generate", json=question()).status_code == 429
    refused = [door.post(json.dumps(wrong)).status_code for _ in range(LIMITS["refusals"] + 5)]
    assert set(refused) == {404}  # this host's users, and all that come by Docker's proxy, are many
    assert door.ask().status_code == 200


def test_an_address_has_so_many_requests_at_once(opened: Opener, mine: list[socket.socket]) -> None:
    """Where no token is asked for, as a token has."""
    door = opened()
    for source in (OTHERS_ADDRESS, "127.0.0.1"):
        for _ in range(LIMITS["requests"] + 1):
            mine.append(door.connect(source=source))
            mine[-1].sendall(post("/api/show", 9))
    assert status(mine[LIMITS["requests"]], 5) == 429
    assert door.client.get("/api/version").status_code == 200


def test_an_address_s_bodies_are_looked_at_one_after_another(opened: Opener) -> None:
    """Where no token is asked for; a turn that is never given back shows whose it is."""
    door = opened({"turns[owner] = nil": "", "TURN = 1000": "TURN = 60000"})
    assert door.ask().status_code == 200
    with door.start() as again:
        with door.start(source=OTHERS_ADDRESS) as other:
            assert status(other) == 200
        with pytest.raises(TimeoutError):
            status(again, 1)


@pytest.fixture
def crowded(opened: Opener) -> Door:
    """The silent connections of a crowd last longer than a test."""
    return opened(PATIENT, app_enabled=True, **TOKENS)


def crowd(door: Door, port: int, mine: list[socket.socket]) -> None:
    """One connection more, of anybody's, and it is one."""
    for number in range(LIMITS["crowded"]):
        with suppress(ConnectionError):
            mine.append(door.connect(port, CROWD[number % 2]))


@pytest.mark.parametrize("at", ["api", "page"])
def test_in_a_crowd_no_body_that_does_not_come_keeps_a_connection(
    at: str, crowded: Door, mine: list[socket.socket]
) -> None:
    """A refused body is read to its end: by a byte now and then six addresses kept all others out as long as they liked."""
    port = getattr(crowded, at)
    with crowded.connect(port, OTHERS_ADDRESS) as before:
        before.sendall(post("/api/ask", 70_000))
        assert status(before) == (401 if at == "api" else 413)
    crowd(crowded, port, mine)
    with crowded.connect(port, OTHERS_ADDRESS) as one:
        one.sendall(post("/api/ask", 70_000))
        assert status(one) == 0
    with crowded.connect(port, OTHERS_ADDRESS) as one:
        one.sendall(
            post("/api/ask", 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        )
        assert status(one) == 0
    path = "/api/generate" if at == "api" else "/"
    body = json.dumps(question()).encode()
    with crowded.connect(port, OTHERS_ADDRESS) as one:
        one.sendall(post(path, len(body), *lines_of("two")))
        time.sleep(0.3)
        one.sendall(body)
        assert status(one) == 200


def test_in_a_crowd_who_waits_for_100_continue_is_told(
    crowded: Door, mine: list[socket.socket]
) -> None:
    """Its body comes no sooner; of one address two may wait so, as nothing else bounds what is refused."""
    crowd(crowded, crowded.api, mine)
    body = json.dumps(question()).encode()
    asked = post("/api/generate", len(body), *lines_of("two"), "Expect: 100-continue")
    with crowded.connect(crowded.api, OTHERS_ADDRESS) as one:
        one.sendall(asked)
        assert status(one) == 100
        one.sendall(body)
        assert status(one) == 200
    for _ in range(3):
        mine.append(crowded.connect(crowded.api, OTHERS_ADDRESS))
    mine[-1].sendall(asked)
    assert status(mine[-1]) == 0


@pytest.mark.parametrize("at", ["api", "page"])
def test_in_a_crowd_a_connection_ends_with_its_answer(
    at: str, crowded: Door, mine: list[socket.socket]
) -> None:
    port = getattr(crowded, at)
    url = f"http://127.0.0.1:{port}/"
    first = plain.get(url, headers=bearer("two"))
    assert (first.status_code, "Connection" in first.headers) == (200, False)
    crowd(crowded, port, mine)
    second = plain.get(url, headers=bearer("two"))
    assert (second.status_code, second.headers["Connection"]) == (200, "close")


def test_nobody_passes_a_class_at_the_page_for_ever(
    patient: Door, mine: list[socket.socket]
) -> None:
    """40 connections of one address passed a class's 80, and scrapes of the page's metrics, for as long as they asked."""
    patient.app.hold.clear()
    threads = patient.settings.app_threads

    def ask(source: str, count: int, said: str) -> None:
        for _ in range(count):
            mine.append(patient.connect(patient.page, source))
            body = json.dumps({"prompt": said}).encode()
            mine[-1].sendall(post("/", len(body)) + body)

    ask("127.0.0.22", threads, "first")
    until(lambda: len(patient.app.came) == threads)
    mine.extend(patient.connect(patient.page, "127.0.0.23") for _ in range(79))
    ask("127.0.0.23", 1, "class")
    mine.append(patient.connect(patient.metrics))
    mine[-1].sendall(b"GET /app/metrics HTTP/1.1\r\nHost: a\r\n\r\n")
    time.sleep(2)
    ask(OTHERS_ADDRESS, 40, "crowd")
    time.sleep(0.5)
    patient.app.hold.set()
    until(lambda: len(patient.app.came) == threads + 42)
    came = patient.app.came[threads:]
    order = [json.loads(body)["prompt"] if body else path for path, _, body in came]
    assert max(order.index("class"), order.index("/metrics")) < 20


def test_two_tokens_whose_long_names_begin_alike_are_two(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HAProxy cuts what it counts by after 64 letters: the lists of one were the other's, and so were places."""
    one, two = "c" * 49 + "1", "c" * 49 + "2"
    for name in (one, two):
        monkeypatch.setitem(SECRETS, name, f"0123456789abcdef0123456789abcdef-{name}")
    door = opened(gateway_tokens={one: "env:A", two: "env:B"})
    door.ollama.hold.clear()
    body = json.dumps({"model": MODEL})
    raw = post("/api/show", len(body), *lines_of(one)) + body.encode()
    with ExitStack() as stack:
        for _ in range(LIMITS["lists"]):
            stack.enter_context(door.connect()).sendall(raw)
        until(lambda: door.ollama.now == LIMITS["lists"])
        lists = [
            door.client.get("/api/tags", headers=bearer(who)).status_code for who in (one, two)
        ]
    door.ollama.hold.set()
    assert lists == [429, 200]
