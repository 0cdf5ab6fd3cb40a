"""Nothing is held by silence: no slot, no thread of the page, no buffer, no memory."""

from __future__ import annotations

import json
import socket
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from lab import plain
from ollama_stack.config.settings import read_settings
from ollama_stack.stack.rendering import gateway_files
from tests.door.conftest import (
    OTHERS_ADDRESS,
    SOON,
    TOKENS,
    Door,
    Opener,
    bearer,
    question,
    status,
    until,
)
from tests.door.double import MODEL
from tests.unit.conftest import group_data

HEAD = "Host: localhost\r\n"
SENT = "".join(f"{name}: {value}\r\n" for name, value in bearer("one").items())
FLOOD = 170  # connections: above gateway_source_connections


@pytest.fixture
def locked(opened: Opener) -> Door:
    """A gateway for each test: what one leaves behind is the next one's noise."""
    return opened(app_enabled=True, **TOKENS)


NO_BODY = ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"]


@pytest.mark.parametrize("length", NO_BODY)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_body_where_none_belongs_is_refused_at_once(
    locked: Door, mine: list[socket.socket], length: str, method: str
) -> None:
    """Attack 1: 34 of them, and nobody else had a thread of the page."""
    for _ in range(70):
        for port in (locked.page, locked.api):
            mine.append(locked.connect(port, OTHERS_ADDRESS))
            path = "/" if port == locked.page else "/api/tags"
            mine[-1].sendall(f"{method} {path} HTTP/1.1\r\n{HEAD}{SENT}{length}\r\n".encode())
    assert [status(one) for one in mine[:2]] == [400, 400]
    assert not locked.app.came
    assert not locked.ollama.came
    began = time.monotonic()
    assert locked.client.get(f"http://127.0.0.1:{locked.page}/").status_code == 200
    assert locked.client.get("/api/tags", headers=bearer("two")).status_code == 200
    assert time.monotonic() - began < SOON


@pytest.mark.parametrize("path", ["/api/generate", "/api/show", "/api/copy"])
def test_a_body_that_does_not_come_takes_no_place(
    locked: Door, mine: list[socket.socket], path: str
) -> None:
    for who in ("one", "admin"):
        head = "".join(f"{name}: {value}\r\n" for name, value in bearer(who).items())
        for _ in range(10):
            mine.append(locked.connect())
            mine[-1].sendall(f"POST {path} HTTP/1.1\r\n{HEAD}{head}Content-Length: 9\r\n\r\n{{".encode())  # fmt: skip
    time.sleep(0.3)
    assert locked.places() == (0, 0)
    assert not locked.ollama.came
    assert locked.ask(who="two").status_code == 200


@pytest.mark.parametrize("letters", [22_000, 26_000])
def test_a_large_head_leaves_room_for_all_of_a_body(locked: Door, letters: int) -> None:
    """A chunked body that filled what the head of 40 KB left took a place, and its end never came."""
    headers = bearer("two") | {"x": "y" * letters}
    body = json.dumps(question()).encode() + b" " * 130_900
    answer = locked.client.post("/api/generate", content=iter([body]), headers=headers)
    assert answer.status_code == (200 if letters < 24_000 else 431)


def test_a_silent_body_ends_in_time(locked: Door, mine: list[socket.socket]) -> None:
    """Its time, and a refusal's half minute: from HAProxy 3.0 on that is `timeout client`."""
    mine.append(locked.connect())
    mine[0].sendall(f"POST /api/show HTTP/1.1\r\n{HEAD}{SENT}Content-Length: 9\r\n\r\n".encode())
    began = time.monotonic()
    assert status(mine[0], 15) == 408
    assert 9 < time.monotonic() - began < 25


def test_who_fills_the_metrics_keeps_nobody_from_the_gateway_s_health(
    patient: Door, mine: list[socket.socket]
) -> None:
    """Its check ends what gives no answer: 50 connections of any user's ended the gateway."""
    for _ in range(60):
        mine.append(patient.connect(patient.metrics))
        mine[-1].sendall(f"GET /alive HTTP/1.1\r\n{HEAD}\r\n".encode())
    time.sleep(0.3)
    alive = plain.get(f"http://127.0.0.1:{patient.health}/alive", timeout=SOON)
    assert alive.text == "alive"


def test_the_metrics_keep_no_connection(locked: Door) -> None:
    url = f"http://127.0.0.1:{locked.metrics}"
    for path in ("/version", "/metrics", "/nothing"):
        assert plain.get(url + path).headers["connection"] == "close"


def test_connections_that_say_nothing_keep_no_scrape_waiting(
    locked: Door, mine: list[socket.socket]
) -> None:
    """120 of this host's users, who are one address here, kept it waiting for 11 s."""
    mine.extend(locked.connect(locked.metrics) for _ in range(120))
    url = f"http://127.0.0.1:{locked.metrics}/metrics"
    assert plain.get(url, timeout=9).status_code == 200


def test_metrics_have_no_body_that_holds_the_app_s_threads(
    locked: Door, mine: list[socket.socket]
) -> None:
    for _ in range(40):
        mine.append(locked.connect(locked.metrics))
        mine[-1].sendall(f"GET /app/metrics HTTP/1.1\r\n{HEAD}{NO_BODY[1]}\r\n".encode())
    assert status(mine[0]) == 400
    assert not locked.app.came


def test_silence_ends_after_half_a_minute(locked: Door) -> None:
    """Haproxy.md 1: it was a quarter of an hour."""
    text = (locked.process.log.parent / "haproxy.cfg").read_text()
    assert "\n    timeout client 30s" in text
    assert text.count("timeout client ") == 2
    assert "\n    timeout client 1s" in text.split("\nfrontend metrics")[1]


@pytest.mark.parametrize("what", ["nothing", "half a head", "a refused body"])
def test_one_address_shuts_nobody_else_out(
    patient: Door, mine: list[socket.socket], what: str
) -> None:
    """Attack 7: 2,600 idle connections, and everybody else waited for 7 to 9 s."""
    raw = {
        "nothing": b"",
        "half a head": b"GET / HTTP/1.1\r\nX: " + b"y" * 20_000,
        "a refused body": f"POST /api/show HTTP/1.1\r\n{HEAD}Content-Length: 99\r\n\r\n".encode(),
    }[what]
    for port in (patient.api, patient.page):
        for _ in range(FLOOD):
            try:
                mine.append(patient.connect(port, OTHERS_ADDRESS))
                mine[-1].sendall(raw)
            except ConnectionError:  # above its bound
                continue
    began = time.monotonic()
    assert patient.ask(who="two").status_code == 200
    assert patient.client.get(f"http://127.0.0.1:{patient.page}/").status_code == 200
    assert time.monotonic() - began < SOON
    with pytest.raises(ConnectionError):
        mine.append(patient.connect(source=OTHERS_ADDRESS))
        mine[-1].recv(1)


@pytest.mark.parametrize("door", ["api", "page"])
def test_three_addresses_do_not_fill_a_door(
    patient: Door, mine: list[socket.socket], door: str
) -> None:
    """They did, and everybody else waited for half a minute at one door, for 5 s at the other."""
    port = getattr(patient, door)
    for source in ("127.0.0.20", "127.0.0.21", "127.0.0.22"):
        for _ in range(150):
            with suppress(ConnectionError):
                mine.append(patient.connect(port, source))
    began = time.monotonic()
    if door == "api":
        assert patient.ask(who="two").status_code == 200
    else:
        assert patient.client.get(f"http://127.0.0.1:{patient.page}/").status_code == 200
    assert time.monotonic() - began < SOON


def flood(locked: Door, mine: list[socket.socket], raw: bytes) -> None:
    """From two addresses, with all that fits on the way to each, again and again."""
    for number in range(2 * FLOOD):
        try:
            mine.append(locked.connect(source=f"127.0.0.{20 + number % 2}"))
            mine[-1].setblocking(False)
        except ConnectionError:
            continue
    sent = dict.fromkeys(mine, 0)
    for _ in range(20):
        time.sleep(0.1)
        for one in mine:
            with suppress(BlockingIOError, ConnectionError):
                sent[one] += one.send(raw[sent[one] :])


def test_memory_stays_below_its_bound(patient: Door, mine: list[socket.socket]) -> None:
    """Attack 2: answers that nobody reads, bodies and heads as large as they may be."""
    patient.ollama.large = b"x" * 1_200_000
    body = json.dumps({"model": MODEL})
    question = f"POST /api/show HTTP/1.1\r\n{HEAD}{SENT}Content-Length: "
    kinds = {
        "answers": f"{question}{len(body)}\r\n\r\n{body}".encode() * 3,
        "bodies": f"{question}130000\r\n\r\n".encode() + b" " * 129_000,
        "heads": b"GET / HTTP/1.1\r\n" + (b"X: " + b"y" * 60_000 + b"\r\n") * 20,
    }
    most = begun = patient.process.memory
    for raw in kinds.values():
        flood(patient, mine, raw)
        began = time.monotonic()
        assert patient.client.get("/api/version", headers=bearer("two")).status_code == 200
        assert time.monotonic() - began < SOON
        most = max(most, patient.process.memory)
        for one in mine:
            one.close()
        mine.clear()
    assert most > begun + 12 * 2**20  # it was a flood
    settings = patient.settings
    buffers = settings.gateway_buffers * settings.gateway_bufsize
    assert most < 24 * 2**20 + 16 * 2**20 + buffers + 800 * 52 * 1024
    assert patient.process.process.poll() is None


def test_one_token_has_so_many_requests_at_once(locked: Door, mine: list[socket.socket]) -> None:
    """And the places of light routes are not all its own."""
    for _ in range(60):
        mine.append(locked.connect())
        mine[-1].sendall(f"POST /api/show HTTP/1.1\r\n{HEAD}{SENT}Content-Length: 9\r\n\r\n".encode())  # fmt: skip
    time.sleep(0.3)
    refused = locked.client.get("/api/tags", headers=bearer("one"))
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "20")
    assert "this token has 48 requests at once" in refused.json()["error"]
    assert locked.client.get("/api/tags", headers=bearer("two")).status_code == 200


def test_light_routes_do_not_hang_with_a_server_that_hangs(opened: Opener) -> None:
    text = (opened(app_enabled=False).process.log.parent / "haproxy.cfg").read_text()
    others = text.split("\nbackend others\n")[1].split("\nbackend")[0]
    assert "timeout server 30s" in others


def test_an_answer_in_the_queue_of_a_silent_server_is_waited_for(opened: Opener) -> None:
    """A client's half minute is not counted while the server is silent."""
    door = opened(app_enabled=False, gateway_queue_timeout="60s")
    door.ollama.hold.clear()
    one = door.start()
    until(lambda: door.ollama.now == 1)
    time.sleep(2)
    door.ollama.hold.set()
    assert status(one) == 200
    one.close()


def test_an_answer_that_never_ends_is_broken_off(opened: Opener) -> None:
    door = opened(app_enabled=False, gateway_answer_limit="2s")
    began = time.monotonic()
    with (
        pytest.raises(httpx.RemoteProtocolError),
        door.client.stream("POST", "/api/generate", json=question(prompt="for ever", stream=True)) as answer,
    ):  # fmt: skip
        assert answer.status_code == 200
        for _ in answer.iter_raw():
            assert time.monotonic() - began < SOON
    assert time.monotonic() - began > 1.5
    until(lambda: door.places() == (0, 0))


def test_an_embedding_that_dribbles_is_broken_off_sooner(tmp_path: Path) -> None:
    """Its minute is a second here."""
    files = gateway_files(read_settings(group_data("all", "medium")), {})[1]
    assert files["door.lua"].count("= 60") == 3
    files["door.lua"] = files["door.lua"].replace("= 60", "= 1")
    door = Door(tmp_path, {}, files=files)
    body = {"model": MODEL, "prompt": "for ever"}
    try:
        began = time.monotonic()
        with (
            pytest.raises(httpx.RemoteProtocolError),
            door.client.stream("POST", "/api/embeddings", json=body) as answer,
        ):
            for _ in answer.iter_raw():
                assert time.monotonic() - began < SOON
    finally:
        door.end()


def test_no_file_stays_open_at_a_reload(door: Door) -> None:
    """HAProxy's master reads the programs anew at each, and ends where too many are open."""
    folder = Path(f"/proc/{door.process.process.pid}/fd")
    assert not [name for one in folder.iterdir() if "/net/route" in (name := str(one.readlink()))]
