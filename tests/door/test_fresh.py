"""Members of the known kinds of attack that were found later, each by itself."""

from __future__ import annotations

import json
import socket
import time
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from ollama_stack.stack.door import LIMITS
from tests.door import double
from tests.door.conftest import (
    OTHERS_ADDRESS,
    PATIENT,
    SECRETS,
    SOON,
    TOKENS,
    Door,
    Opener,
    bearer,
    question,
    status,
    until,
)
from tests.door.test_fields import refused

ANY = {"x": {"type": "string"}}
EVIL = {"x": {"type": "array", "minItems": 10**9}}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/default/x", "$defs": ANY, "default": EVIL},
        {
            "allOf": [{"$ref": "#/default/x"}],
            "definitions": ANY,
            "default": {"x": {"$ref": "#/default/x"}},
        },
        {
            "$ref": "#/$defs/x",
            "definitions": ANY,
            "default": {"$defs": EVIL},
        },  # llama.cpp lifts them
    ],
)
def test_what_is_no_schema_is_referred_to_by_none(door: Door, schema: dict[str, Any]) -> None:
    code, error = refused(door, "/api/generate", question(format=schema))
    assert (code, "is no definition of this schema" in error) == (400, True)


LEAST = -(2**63)  # whose math.abs is below zero in Lua


@pytest.mark.parametrize(
    "more",
    [
        {"options": {"temperature": LEAST}},
        {"options": {"repeat_penalty": LEAST}},
        {"format": {"type": "integer", "maximum": LEAST}},
        {"format": {"type": "integer", "exclusiveMinimum": LEAST}},
    ],
)
def test_the_least_number_is_none_that_passes(door: Door, more: dict[str, Any]) -> None:
    assert refused(door, "/api/generate", question(**more))[0] == 400


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"exclusiveMinimum": 5, "maximum": 5}, 400),
        ({"minimum": 5, "exclusiveMaximum": 5}, 400),
        ({"exclusiveMinimum": 0, "exclusiveMaximum": 1}, 400),
        ({"exclusiveMinimum": 0.5, "exclusiveMaximum": 1.5}, 400),
        ({"exclusiveMinimum": 0, "exclusiveMaximum": 2}, 200),
        ({"exclusiveMinimum": 0, "maximum": 1}, 200),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 200),
        ({"type": ["integer", "null"], "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 400),
    ],
)
def test_an_integer_has_room(door: Door, bounds: dict[str, Any], expected: int) -> None:
    assert door.ask(format={"type": "integer"} | bounds).status_code == expected


BODY = json.dumps(question())
HEAD = "".join(f"{name}: {value}\r\n" for name, value in bearer("one").items())


@pytest.mark.parametrize("where", ["page", "api"])
def test_who_leaves_before_the_answer_is_logged_up_to_the_same_rate(
    opened: Opener, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """4,400 lines in 4 s of one address without a token, at /api/ask."""
    monkeypatch.setitem(LIMITS, "logged", 20)
    door = opened(app_enabled=True, **TOKENS)
    raw = f"POST /api/generate HTTP/1.1\r\nHost: localhost\r\n{HEAD}Content-Length: {len(BODY)}\r\n\r\n{BODY}"
    if where == "page":
        raw = "POST /api/ask HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
    for _ in range(400):
        with suppress(ConnectionError), door.connect(getattr(door, where), OTHERS_ADDRESS) as one:
            one.sendall(raw.encode())
    answered = sum(line["status"] == 200 for line in door.lines())
    assert 10 < len(door.lines()) <= 20 + answered
    if where == "api":
        assert door.ask(who="two").status_code == 200
        assert door.lines()[-1]["status"] == 200


@pytest.mark.parametrize("length", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_whose_body_is_not_waited_for_is_logged_up_to_the_same_rate(
    opened: Opener, monkeypatch: pytest.MonkeyPatch, mine: list[socket.socket], length: str
) -> None:
    """40,000 lines in 5 s of one address without a token: in chunks, beside 25 silent connections."""
    monkeypatch.setitem(LIMITS, "logged", 20)
    door = opened(PATIENT, app_enabled=True, **TOKENS)
    mine += [door.connect(door.page, OTHERS_ADDRESS) for _ in range(25)]
    raw = f"POST /api/ask HTTP/1.1\r\nHost: localhost\r\n{length}\r\n\r\n"
    for _ in range(200):
        with suppress(ConnectionError), door.connect(door.page, OTHERS_ADDRESS) as one:
            one.sendall(raw.encode())
    until(lambda: len(door.lines()) >= 20)
    assert len(door.lines()) == 20


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"])
def test_a_silent_handshake_gives_its_connection_back(
    opened: Opener, certificate: str, sent: bytes
) -> None:
    """It held it for 30 s, where half a request's head holds one for 5."""
    door = opened(app_enabled=True, gateway_tls_cert=certificate)
    with door.connect(door.api) as one, door.connect(door.page) as two:
        for stranger in (one, two):
            stranger.sendall(sent)
            stranger.settimeout(9)
        for stranger in (one, two):
            assert stranger.recv(1) == b""


def test_whoever_fills_the_door_of_scripts_the_page_has_its_own(opened: Opener) -> None:
    door = opened(PATIENT, app_enabled=True, **TOKENS)
    taken = [(20, 149), (21, 149), *((last, 20) for last in range(22, 30))]
    with ExitStack() as stack:
        for last, connections in taken:
            for _ in range(connections):
                with suppress(ConnectionError):
                    stack.enter_context(door.connect(source=f"127.0.0.{last}"))
        time.sleep(0.3)
        began = time.monotonic()
        page = stack.enter_context(door.start("app", port=door.inner))
        assert status(page) == 200
        assert time.monotonic() - began < SOON


def test_a_definition_of_either_word_is_referred_to(door: Door) -> None:
    schema = {"$ref": "#/definitions/x", "definitions": ANY, "$defs": {"y": {"type": "null"}}}
    assert door.ask(format=schema).status_code == 200


@pytest.mark.parametrize(("count", "allowed"), [(100, True), (101, False)])
def test_an_object_has_a_bounded_number_of_properties(
    door: Door, count: int, allowed: bool
) -> None:
    schema = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(count)}}
    if allowed:
        assert door.ask(format=schema).status_code == 200
        return
    code, error = refused(door, "/api/generate", question(format=schema))
    assert (code, "has more than 100 properties" in error) == (400, True)


def test_where_buffers_are_few_an_address_has_few_connections(opened: Opener) -> None:
    """150 halves of heads held all 64: others waited until they ended."""
    images: dict[str, Any] = {"gateway_max_body": "4M", "gateway_fields": ["images"]}
    door = opened(PATIENT, **images, gateway_source_connections=16)
    assert door.settings.gateway_buffers // 4 == 16
    with ExitStack() as stack:
        for _ in range(150):
            with suppress(ConnectionError):
                one = stack.enter_context(door.connect(source=OTHERS_ADDRESS))
                one.sendall(b"GET / HTTP/1.1\r\nX: " + b"y" * 3000)
        began = time.monotonic()
        assert door.ask().status_code == 200
        assert time.monotonic() - began < SOON


def test_of_a_head_ollama_hears_what_it_heeds(locked: Door) -> None:
    """Go's server answers ``Expect: foo`` itself, with 417: Ollama never hears of the question."""
    more = ("Expect", "Content-Encoding", "Cookie", "X-Waited", "X-HTTP-Method-Override", "Trailer")
    headers = bearer("one") | dict.fromkeys(more, "foo") | {"X-Forwarded-For": "10.0.0.1"}
    assert locked.client.post("/api/generate", json=question(), headers=headers).status_code == 200
    came = {name.lower(): value for name, value in locked.ollama.came[-1][1].items()}
    heeded = ["content-length", "content-type", "host", "user-agent", "x-forwarded-for"]
    assert sorted(came) == heeded
    assert came["x-forwarded-for"] == "127.0.0.1"


@pytest.mark.parametrize(
    "head",
    ["", "Host: {x}|\r\n", "Host: x\r\nUser-Agent: a\x01b\r\n", "Host: x\r\nContent-Type: a\x7fb\r\n"],
)  # fmt: skip
def test_no_head_is_refused_by_go_alone(locked: Door, head: str) -> None:
    """With 400, before Ollama hears of the question: it had no rate."""
    body = json.dumps(question())
    head += f"Authorization: Bearer {SECRETS['one']}\r\nContent-Length: {len(body)}"
    with locked.connect() as one:
        one.sendall(f"POST /api/generate HTTP/1.1\r\n{head}\r\n\r\n{body}".encode())
        assert status(one) == 200
    came = {name.lower(): value for name, value in locked.ollama.came[-1][1].items()}
    ours = {"content-length", "content-type", "host", "x-forwarded-for"}
    assert (set(came), came["host"], came["content-type"]) == (
        ours,
        "localhost",
        "application/json",
    )


def test_an_answer_that_is_read_slowly_ends_in_time(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """400 bytes a second of a large one held the place for 14 s, where 3 were allowed; slower ones longer."""
    monkeypatch.setattr(double, "CHUNKS", ["x" * 20_000])
    door = opened(gateway_answer_limit="2s")
    with door.start(prompt="for ever"):
        until(lambda: door.places() == (1, 0))
        until(lambda: door.places() == (0, 0), 12)


@pytest.mark.parametrize("long", ["", "x" * 9000, '"' * 5000])
@pytest.mark.parametrize("depth", [20, 33, 9000])
def test_arguments_as_a_text_have_a_bottom(door: Door, depth: int, long: str) -> None:
    """The body is one text deep, and what Ollama makes of it is as deep as it likes."""
    arguments = json.dumps({"said": "[" * 50 + long, "a": json.loads("[" * 19 + "]" * 19)})
    arguments = arguments.replace("[" * 19 + "]" * 19, "[" * (depth - 1) + "]" * (depth - 1))
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}
    item = {"type": "function_call", "call_id": "a", "name": "f", "arguments": arguments}
    for path, more in (
        ("/v1/chat/completions", {"messages": [{"role": "assistant", "tool_calls": [call]}]}),
        ("/v1/responses", {"input": [item]}),
    ):
        answer = door.client.post(path, json={"model": double.MODEL, **more})
        assert answer.status_code == (200 if depth <= 32 else 400), answer.text
