"""What a client of the students' door can take from the others: the gateway and the app together."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import httpx
import pytest

from lab import plain
from ollama_stack.stack.door import LIMITS
from tests.door.conftest import OTHERS_ADDRESS, Door, once, status

BODY = "Content-Type: application/json\r\nContent-Length: 65000\r\n"
SOON = 6.0  # seconds; a body's silence is waited for 10
LARGE = "".join(f"X-{n}: {'y' * 8000}\r\n" for n in range(14))


@pytest.fixture(scope="module")
def page(students: Door) -> Iterator[httpx.Client]:
    url = f"http://127.0.0.1:{students.page}"
    with plain.Client(base_url=url, timeout=60) as found:
        yield found


def took(page: httpx.Client, path: str = "/") -> float:
    """Seconds until somebody else has the page."""
    began = time.monotonic()
    assert page.get(path).status_code == 200
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("line", "head", "expected"),
    [
        ("POST /api/ask", LARGE, 431),
        ("POST /api/ask", "X: y\r\n" * 90 + "X-Last: " + "y" * 16000 + "\r\n", 431),
        (f"POST /api/ask?{'y' * 60000}", "", 431),
        ("POST /api/ask", "", 408),
    ],
)
def test_half_a_body_holds_no_thread(
    line: str, head: str, expected: int, students: Door, page: httpx.Client
) -> None:
    """A head of 112 kB filled the buffer: the body's half went on, and a byte each 3 s kept a thread."""
    text = f"{line} HTTP/1.1\r\nHost: localhost\r\n{head}{BODY}\r\n{'x' * 60000}"
    with ExitStack() as stack:
        several = []
        for _ in range(students.settings.app_threads + 6):
            several.append(stack.enter_context(students.connect(students.page, OTHERS_ADDRESS)))
            with suppress(OSError):  # refused before its end
                several[-1].sendall(text.encode())
        for _ in range(8):
            for one in several:
                with suppress(OSError):
                    one.sendall(b"x")
            assert took(page) < SOON
            time.sleep(0.5)
        assert status(several[-1]) == expected


def test_answers_that_nobody_reads_hold_no_thread(students: Door, page: httpx.Client) -> None:
    """Four of 52 kB, one behind the other, fill all of a connection's buffers: so many were 503 for all others."""
    form = "prompt=" + "%22" * 10_000
    kind = "Content-Type: application/x-www-form-urlencoded"
    text = (
        f"POST / HTTP/1.1\r\nHost: localhost\r\n{kind}\r\nContent-Length: {len(form)}\r\n\r\n{form}"
    )
    with ExitStack() as stack:
        for number in range(4 * students.settings.app_threads):
            one = stack.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            # Nobody else's addresses, each with fewer than 200 requests in 10 s.
            one.bind((f"127.0.0.{40 + number % 4}", 0))
            one.connect(("127.0.0.1", students.page))
            one.settimeout(1)
            with suppress(OSError):  # closed after the first
                one.sendall(4 * text.encode())
        for _ in range(8):
            assert took(page) < SOON
            time.sleep(0.5)


def test_a_connection_to_the_page_ends_after_so_many_answers(students: Door) -> None:
    """27 pages of 8 kB that nobody reads fill its buffers as well."""
    most = LIMITS["page_requests"]
    with students.connect(students.page, OTHERS_ADDRESS) as one:
        one.sendall((most + 4) * b"GET /static/style.css HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"".join(iter(lambda: one.recv(65536), b"")).count(b"HTTP/1.1 200") == most


def test_the_largest_body_passes_with_a_large_head(page: httpx.Client) -> None:
    headers = {"Content-Type": "application/json", "X-Large": "y" * 8000, "X-More": "y" * 7000}
    reply = page.post("/api/ask", content=b"x" * 65536, headers=headers)
    assert (reply.status_code, reply.json()["error"]) == (400, "bad")
    assert "(body)" in reply.json()["message"]  # the app has read it, and it is no JSON


def test_names_that_no_question_has_are_not_told_one_by_one(page: httpx.Client) -> None:
    """7,200 of them took 19 ms; 40 connections that sent such questions kept others waiting for 0.6 s."""
    for names, place in ((1, "more0"), (4, "body")):
        question = {f"more{number}": 1 for number in range(names)}
        reply = page.post("/api/ask", json={"prompt": "hi"} | question)
        assert (reply.status_code, reply.json()["error"]) == (400, "bad")
        assert f"({place})" in reply.json()["message"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("POST /app/metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{", 405),
        ("GET /app/metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{", 400),
        ("GET /app/metrics HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    ],
)
def test_metrics_take_no_body(text: str, expected: int, students: Door) -> None:
    with students.connect(students.metrics) as one:
        one.sendall(text.encode())
        assert status(one) == expected


@pytest.mark.parametrize(
    "head",
    [
        "".join(f"Accept-Language: {'a,' * 4000}\r\n" for _ in range(15)),
        f"Accept-Language: {'a,' * 3900}\r\n",
        f"Accept: {'a/b,' * 1900}\r\n",
        f"Cookie: {'a=b;' * 1900}\r\n",
    ],
)
def test_no_header_takes_the_processor(head: str, students: Door, page: httpx.Client) -> None:
    """15 headers of languages took 2.5 s of it, one 0.1 s; 20 of them kept everybody waiting."""
    text = f"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{head}\r\n"

    def tried() -> float:
        with ExitStack() as stack:
            for _ in range(20):
                one = stack.enter_context(students.connect(students.page, OTHERS_ADDRESS))
                with suppress(OSError):
                    one.sendall(text.encode())
            return took(page)

    assert once(tried, 1.5)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-Prefix": "/evil.example"},
        {"X-Forwarded-Prefix": "/a/evil/c/d/e"},
        {"X-Forwarded-Prefix": "/class, /evil"},
        {"X-Forwarded-Proto": "evil"},
        {"X-Forwarded-Host": "evil"},
        {"X-Forwarded-Ssl": "on"},
        {"X-Forwarded-Protocol": "ssl"},
        {"X-Forwarded-Port": "1"},
        {"Forwarded": "for=evil;proto=https;host=evil"},
        {"Script_Name": "/evil"},
        {"X-Script-Name": "/evil"},
        {"X-Real-IP": "evil"},
    ],
)
def test_what_a_client_says_of_its_way_changes_nothing(
    headers: dict[str, str], page: httpx.Client
) -> None:
    for path in ("/", "/teacher", "/nothing", "/api/openapi.json"):
        reply = page.get(path, headers=headers)
        assert reply.status_code == (404 if path == "/nothing" else 200)
        assert "evil" not in reply.text + str(reply.headers)
        assert "Secure" not in reply.headers.get("Set-Cookie", "")


def test_a_proxy_of_the_site_s_may_say_where_the_page_is(students: Door) -> None:
    headers = {"X-Forwarded-Prefix": "/class/ask", "X-Forwarded-Proto": "https"}
    reply = plain.get(f"http://127.0.0.1:{students.page}/", headers=headers)
    assert 'action="/class/ask/"' in reply.text
    cookie = reply.headers["Set-Cookie"]
    assert "; Path=/class/ask/" in cookie
    assert "; Secure" in cookie
    assert "X-Forwarded-Prefix" in reply.headers["Vary"]


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_a_door_full_of_silence_is_given_back_soon(sent: bytes, students: Door) -> None:
    """Eight addresses take all that it has: another's request waited 9 s, and 30 s for idle ones."""
    taken = [(2, 120), (3, 120), *((last, 20) for last in range(4, 10))]

    def tried() -> float:
        with ExitStack() as stack:
            for last, connections in taken:
                for _ in range(connections):
                    one = students.connect(students.page, f"127.0.0.{last}")
                    stack.enter_context(one).sendall(sent)
            time.sleep(0.5)
            began, url = time.monotonic(), f"http://127.0.0.1:{students.page}/healthz"
            assert plain.get(url, timeout=60).status_code == 200
            return time.monotonic() - began

    assert once(tried, 7)
