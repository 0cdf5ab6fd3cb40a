"""The look at a body: no value breaks it, no crowd fills it, and a fault of it is told once."""

from __future__ import annotations

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from select import select
from typing import Any

import httpx
import pytest

from ollama_stack.config import tokens
from ollama_stack.config.settings import read_settings
from ollama_stack.stack.door import LIMITS
from ollama_stack.stack.rendering import gateway_files
from tests.door.conftest import (
    OTHERS_ADDRESS,
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
from tests.door.haproxy import unpacked
from tests.door.test_fields import refused
from tests.unit.conftest import group_data

KEYWORDS = (
    "type properties required additionalProperties items prefixItems anyOf oneOf allOf $ref $defs "
    "definitions enum const default examples pattern format minItems maxItems minLength maxLength "
    "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf uniqueItems nullable title"
)
VALUES: list[Any] = [None, True, 0, 1.5, "", "integer", [], [None], {}, {"type": None}, {"a": None}]
FIELDS = "format options keep_alive stop messages tools images context response_format text input"


@pytest.mark.parametrize("value", VALUES, ids=json.dumps)
def test_no_value_breaks_the_look(door: Door, value: Any) -> None:
    """`type: null` did, each time with a line of the log: 4 MB in 4 s."""
    schemas = [{"format": {keyword: value, "minimum": 1}} for keyword in KEYWORDS.split()]
    for more in [*schemas, *({field: value} for field in FIELDS.split())]:
        for path in ("/api/generate", "/api/chat", "/v1/responses", "/v1/messages"):
            answer = door.client.post(path, json={"model": MODEL} | more)
            assert answer.status_code in (200, 400, 403), (path, more, answer.text)


def test_a_fault_is_told_once_and_bounded(tmp_path: Path) -> None:
    """Whoever finds one could fill the log with it."""
    own = {"app_enabled": True, **TOKENS}
    settings = read_settings(group_data("all", "medium") | own)
    names = {tokens.digest(secret): name for name, secret in SECRETS.items()}
    files = gateway_files(settings, names)[1]
    files["schema.lua"] = files["schema.lua"].replace("    room(fields, name)\n", "    room(nil)\n")
    door = Door(tmp_path, own, files=files)
    found = [door.ask(who="one", format={}).status_code for _ in range(60)]
    assert (found[:50], found[-1]) == ([500] * 50, 429)
    assert door.process.log.read_text().count("door.lua:") <= 2  # the log, and standard error
    door.end()


def heavy() -> str:
    """A body that takes as much memory to look at as one can."""
    message = {"role": "user", "content": "x" * 110_000, "tool_calls": [[]] * 2980}
    return json.dumps({"model": MODEL, "messages": [message]}, separators=(",", ":"))


@pytest.mark.parametrize("locked", [False, True])
def test_a_crowd_of_bodies_is_told_so(opened: Opener, locked: bool) -> None:
    """28 of 140 were a 500 and two lines of HAProxy's own, "out of memory error"."""
    door = opened(**(TOKENS if locked else {}))
    door.ollama.hold.clear()
    body = heavy()
    with ExitStack() as stack:
        mine = [stack.enter_context(door.connect()) for _ in range(100)]
        for number, one in enumerate(mine):
            token = SECRETS[("one", "two", "admin", "local")[number % 4]]
            head = (
                f"Host: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: {len(body)}"
            )
            one.sendall(f"POST /api/chat HTTP/1.1\r\n{head}\r\n\r\n{body}".encode())
        until(lambda: len(select(mine, [], [], 0)[0]) >= len(mine) - 18)
        refused = []
        for one in mine:
            with suppress(TimeoutError):
                refused.append(status(one, 0.1))
        assert set(refused) == {503}
        assert 5 <= len(mine) - len(refused) <= 18
    door.ollama.hold.set()
    door.lines()
    assert all(line.startswith("{") for line in door.process.log.read_text().splitlines())
    assert door.ask(who="two" if locked else "").status_code == 200


def test_a_token_s_bodies_are_looked_at_one_after_another(opened: Opener) -> None:
    """All at once they took the time of everybody else's looks and words."""
    door = opened(gateway_token_limits={"one": {"parallel": 20, "queue": 40}}, **TOKENS)
    door.ollama.hold.clear()
    body = heavy()
    head = f"Host: x\r\nAuthorization: Bearer {SECRETS['one']}\r\nContent-Length: {len(body)}"
    with ExitStack() as stack:
        mine = [stack.enter_context(door.connect()) for _ in range(40)]
        for one in mine:
            one.sendall(f"POST /api/chat HTTP/1.1\r\n{head}\r\n\r\n{body}".encode())
        until(lambda: len(select(mine, [], [], 0)[0]) == len(mine) - 18)
        refused = [one.recv(1000) for one in select(mine, [], [], 0)[0]]
    assert all(b"503 " in answer for answer in refused)
    assert not any(b"too many bodies are looked at" in answer for answer in refused)


def test_a_crowded_door_leaves_the_page_all_places(opened: Opener) -> None:
    """An address has 20 connections there; a class's page has more places on a large host."""
    door = opened(**group_data("high"), app_enabled=True, **TOKENS)
    with ExitStack() as stack:
        for last in (20, 21, 22, 23):
            for _ in range(120):
                with suppress(ConnectionError):
                    stack.enter_context(door.connect(source=f"127.0.0.{last}"))
        time.sleep(0.3)
        door.ollama.hold.clear()
        page = [door.start("app", "127.0.0.50", door.inner) for _ in range(24)]
        time.sleep(0.3)
        door.ollama.hold.set()
        assert [status(stack.enter_context(one)) for one in page] == [200] * 24


@pytest.mark.parametrize("locked", [False, True])
@pytest.mark.parametrize("path", ["/api/show", "/api/tags", f"/v1/models/{MODEL}"])
def test_routes_that_read_files_have_a_rate(opened: Opener, locked: bool, path: str) -> None:
    """Each reads the model's file, or every model's manifest: all of one token's reached Ollama."""
    door = opened(**(TOKENS if locked else {}))
    method = "POST" if path == "/api/show" else "GET"
    body = {"model": MODEL} if method == "POST" else None

    def ask(who: str, source: str) -> httpx.Response:
        transport = httpx.HTTPTransport(local_address=source)
        with httpx.Client(base_url=door.url, transport=transport, headers=bearer(who)) as client:
            answers = [
                client.request(method, path, json=body) for _ in range(220 * (who == "one") or 1)
            ]
        return answers[-1]

    last = ask("one", OTHERS_ADDRESS)
    assert (last.status_code, last.headers["Retry-After"]) == (429, "20")
    assert "has asked 200 times in 10 s" in last.text
    assert len(door.ollama.came) == 200
    assert ask("two", "127.0.0.8").status_code == 200
    assert door.ask(who="one").status_code == 200  # a question is bounded by its places
    assert door.client.get("/api/version", headers=bearer("one")).status_code == 200


@pytest.mark.parametrize("locked", [False, True])
def test_light_routes_have_a_rate(
    opened: Opener, monkeypatch: pytest.MonkeyPatch, locked: bool
) -> None:
    """4,000 a second of one token reached Ollama, which logs each: its log has 30 MB."""
    monkeypatch.setitem(LIMITS, "asked", 20)
    door = opened(**(TOKENS if locked else {}))
    found = [door.client.get("/api/version", headers=bearer("one")) for _ in range(22)]
    assert [answer.status_code for answer in found] == [200] * 20 + [429] * 2
    assert door.ask(who="one").status_code == 200


@pytest.mark.parametrize("locked", [False, True])
def test_questions_have_a_rate(
    opened: Opener, monkeypatch: pytest.MonkeyPatch, locked: bool
) -> None:
    """Without a prompt there is nothing to do: 5,200 a second of one token reached Ollama, which logs each."""
    monkeypatch.setitem(LIMITS, "questions", 5)
    door = opened(app_enabled=True, **(TOKENS if locked else {}))
    nothing = {"model": MODEL}
    found = [
        door.client.post("/api/generate", json=nothing, headers=bearer("one")) for _ in range(7)
    ]
    assert [answer.status_code for answer in found] == [200] * 5 + [429] * 2
    assert "has asked 5 times in 10 s" in found[-1].text
    page = f"http://127.0.0.1:{door.inner}/api/generate"
    answers = [door.client.post(page, json=nothing, headers=bearer("app")) for _ in range(7)]
    assert {answer.status_code for answer in answers} == {200}


def test_the_largest_body_that_a_site_may_open_passes(opened: Opener) -> None:
    """Above 7.5 MB its copy met Lua's limit, and the client was told to try again, for ever."""
    door = opened(gateway_max_body="10M", gateway_fields=["images"])
    assert door.ask(images=["A" * (10 * 2**20 - 200)]).status_code == 200
    assert refused(door, "/api/generate", question(keep_alive="0" * 2**17 + "5m"))[0] == 403
    assert refused(door, "/api/generate", question(format={"enum": ["x" * 2**17]}))[0] == 400


def test_the_largest_body_takes_nobody_s_room(opened: Opener) -> None:
    """One was told to try again for ever, and others as long as it was looked at: for seconds."""
    door = opened(gateway_max_body="10M", gateway_fields=["images"], **TOKENS)
    large = {"Authorization": f"Bearer {SECRETS['one']}"}
    call = {"function": {"arguments": "x" * 60_000}}
    for more, words in (
        ({"content": "\n" * 300_000}, "too many escapes"),
        ({"tool_calls": [call] * 150}, "too much text in pieces"),
    ):
        chat = {"model": MODEL, "messages": [{"role": "user"} | more]}
        answer = door.client.post("/api/chat", json=chat, headers=large)
        assert (answer.status_code, words in answer.text) == (400, True), answer.text
    picture = json.dumps(question(images=["A" * (9 * 2**20)], prompt="\n" * 240_000))
    with ThreadPoolExecutor() as pool:
        asked = [
            pool.submit(door.client.post, "/api/generate", content=picture, headers=large)
            for _ in range(4)
        ]
        others = [door.ask(who="two", prompt="x" * 100_000).status_code]
        while not all(one.done() for one in asked):
            others.append(door.ask(who="two", prompt="x" * 100_000).status_code)
        assert (set(others), {one.result().status_code for one in asked}) == ({200}, {200})


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/api/chat", "messages"),
        ("/v1/chat/completions", "messages"),
        ("/v1/messages", "messages"),
        ("/v1/responses", "input"),
    ],
)
def test_a_conversation_is_long_or_large(door: Door, path: str, field: str) -> None:
    """Ollama reads all that is left of it for each message it leaves out: 900 x 128 KB."""
    for count, letters, passes in ((128, 120_000, True), (400, 20_000, True), (900, 90_000, False)):
        messages = [{"role": "system", "content": "x" * letters}, {"role": "user", "content": "x"}]
        body: dict[str, Any] = {"model": MODEL, field: [messages[0], *messages[1:] * (count - 1)]}
        if path == "/v1/messages":
            body["max_tokens"] = 8
        if passes:
            assert door.client.post(path, json=body).status_code == 200
        else:
            code, error = refused(door, path, body)
            assert (code, error.startswith(f"{field}: a body of ")) == (400, True)


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("/v1/chat/completions", {"type": "text", "text": "x"}),
        ("/v1/messages", {"type": "tool_result", "content": "x"}),
    ],
)
def test_a_part_of_a_message_counts_as_one(door: Door, path: str, part: dict[str, str]) -> None:
    """Ollama makes a message of each: one with 900 was read 900 times."""
    messages = [
        {"role": "user", "content": "x" * 90_000},
        {"role": "user", "content": [part] * 900},
    ]
    code, error = refused(door, path, {"model": MODEL, "messages": messages, "max_tokens": 8})
    assert (code, "messages: a body of " in error) == (400, True)


MEASURE = """
local json, longest, gsub = require("json"), 0, string.gsub
string.gsub = function(text, pattern, by, ...)
    longest = math.max(longest, type(by) == "function" and #text or 0)
    return gsub(text, pattern, by, ...)
end
for _, written in ipairs({ "\\\\u0416", "\\\\ud83d\\\\ude00", "\\\\n", "x\\\\u0041\\\\\\\\u0041\\\\/" }) do
    print(json.unescaped(written), #json.unescaped(written:rep(5000)), longest)
end
"""


def test_no_text_is_read_in_one_piece_while_others_wait(tmp_path: Path) -> None:
    """Of a tool's 60 KB of escapes each was a call of a function, and others waited 350 ms (p95) for their turns."""
    files = gateway_files(read_settings(group_data("all", "medium")), {})[1]
    (tmp_path / "json.lua").write_text(files["json.lua"])
    (tmp_path / "measure.lua").write_text(MEASURE)
    config = f"global\n  lua-prepend-path {tmp_path}/?.lua\n  lua-load {tmp_path}/measure.lua\n"
    (tmp_path / "haproxy.cfg").write_text(
        config + "listen a\n  mode http\n  bind 127.0.0.1:0\n  timeout client 1s\n"
    )
    command = [*unpacked(), "-c", "-f", str(tmp_path / "haproxy.cfg")]
    output = subprocess.run(command, capture_output=True, text=True).stdout
    found = [line.split("\t") for line in output.splitlines() if "\t" in line]
    assert [(text, size) for text, size, _ in found] == [
        ("Ж", "10000"), ("😀", "20000"), ("", "5000"), ("xA\\u0041/", "45000"),
    ]  # fmt: skip
    assert int(found[-1][2]) <= 4096
