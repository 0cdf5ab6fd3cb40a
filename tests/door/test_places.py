"""A bounded queue, exact; and in it a share for everybody."""

from __future__ import annotations

import json
import re
import select
import socket
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.door.conftest import (
    OTHERS_ADDRESS,
    SECRETS,
    TOKENS,
    Door,
    Opener,
    bearer,
    status,
    until,
)
from tests.door.double import MODEL


@contextmanager
def held(door: Door) -> Iterator[list[socket.socket]]:
    """Answers are kept back; the connections in the list are closed afterwards."""
    door.ollama.hold.clear()
    door.ollama.most = 0
    mine: list[socket.socket] = []
    try:
        yield mine
    finally:
        for one in mine:
            one.close()
        door.ollama.hold.set()
    until(lambda: door.places() == (0, 0))


def statuses(connections: list[socket.socket]) -> list[int]:
    """What came by the time that no more comes; 0 for those that still wait."""
    before, came = -1, 0
    while came != before:
        time.sleep(0.4)
        before, came = came, len(select.select(connections, [], [], 0)[0])
    found = []
    for one in connections:
        try:
            found.append(status(one, 0.01))
        except TimeoutError:
            found.append(0)
    return found


def test_three_run_fifteen_wait_and_the_next_is_told_at_once(door: Door) -> None:
    with held(door) as mine:
        mine += [door.start() for _ in range(40)]
        assert sorted(statuses(mine)) == [0] * 18 + [503] * 22
        assert door.places() == (3, 15)
        answer = door.ask()
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert answer.json()["error"].startswith("server busy, please try again. 15 wait already (ollama_max_queue)")  # fmt: skip
        assert door.ollama.most == 3


def test_who_leaves_frees_the_place(door: Door) -> None:
    with held(door) as mine:
        mine += [door.start() for _ in range(18)]
        until(lambda: door.places() == (3, 15))
        for one in mine:
            one.close()
        until(lambda: door.places() == (0, 0))


def test_another_address_has_its_half_where_no_token_is_asked_for(door: Door) -> None:
    with held(door) as mine:
        others = [door.start(source=OTHERS_ADDRESS) for _ in range(14)]
        mine += others
        assert sorted(statuses(others)) == [0] * 10 + [503] * 4
        here = [door.start() for _ in range(8)]
        mine += here
        assert statuses(here) == [0] * 8


def test_a_greedy_token_has_its_share_and_another_is_served(opened: Opener) -> None:
    door = opened(**TOKENS)
    with held(door) as mine:
        greedy = [door.start("one") for _ in range(18)]
        mine += greedy
        assert sorted(statuses(greedy)) == [0] * 9 + [503] * 9
        until(lambda: door.ollama.now == 2)  # two of three places, and seven of fifteen
        answer = door.ask(who="one")
        assert "this token has its 9 places (gateway_token_limits)" in answer.json()["error"]
        mine.append(door.start("two"))
        until(lambda: door.ollama.now == 3)  # at once, before seven that came earlier
        mine += [door.start("two") for _ in range(9)]
        assert sum(statuses(mine[18:])) == 503  # the other half is its own
        assert door.ollama.most == 3
    assert door.ask(who="two").status_code == 200


ASKED: dict[str, dict[str, Any]] = {
    "/api/generate": {"prompt": "a"},
    "/api/chat": {"messages": []},
    "/api/embed": {"input": "a"},
    "/api/embeddings": {"prompt": "a"},
    "/v1/chat/completions": {"messages": []},
    "/v1/completions": {"prompt": "a"},
    "/v1/embeddings": {"input": "a"},
    "/v1/responses": {"input": "a"},
    "/v1/messages": {"messages": [], "max_tokens": 8},
}


def test_a_share_is_one_however_somebody_asks(opened: Opener) -> None:
    """By another route, another way to send the token, from another address."""
    door = opened(**TOKENS)
    secret = SECRETS["one"]
    basic = b64encode(f"x:{secret}".encode()).decode()
    with held(door) as mine:
        for number, (path, more) in enumerate([*ASKED.items()] * 2):
            who = (f"Authorization: Basic {basic}", f"authorization: bearer  {secret}")[number % 2]
            who = f"X-Api-Key: {secret}" if path == "/v1/messages" else who
            body = json.dumps({"model": MODEL} | more)
            mine.append(door.connect(source=f"127.0.0.{30 + number}"))
            head = (
                f"POST {path}?{number} HTTP/1.1\r\nHost: x\r\n{who}\r\nTransfer-Encoding: chunked"
            )
            mine[-1].sendall(f"{head}\r\n\r\n{len(body):x};a\r\n{body}\r\n0\r\n\r\n".encode())
        assert sorted(statuses(mine)) == [0] * 9 + [503] * 9


def test_who_has_all_its_places_has_no_body_looked_at(opened: Opener) -> None:
    """48 at once took the 16 MiB of what looks at bodies, and others were told that there are none."""
    door = opened(**TOKENS)
    with held(door) as mine:
        mine += [door.start("one") for _ in range(9)]
        until(lambda: len(door.ollama.came) == 2)
        assert [door.ask(who=who, wrong=1).status_code for who in ("one", "two")] == [503, 400]
    name = {"model": "x" * 2000}
    assert door.client.post("/api/show", json=name, headers=bearer("one")).status_code == 413


def test_a_silent_body_takes_no_place_of_its_own_token(opened: Opener) -> None:
    door = opened(**TOKENS)
    head = "".join(f"{name}: {value}\r\n" for name, value in bearer("one").items())
    silent = [door.connect() for _ in range(20)]
    for one in silent:
        one.sendall(f"POST /api/generate HTTP/1.1\r\nHost: localhost\r\n{head}Content-Length: 9\r\n\r\n{{".encode())  # fmt: skip
    time.sleep(0.3)
    assert door.ask(who="one").status_code == 200
    for one in silent:
        one.close()


def test_the_page_keeps_its_share(locked: Door) -> None:
    with held(locked) as mine:
        others = [locked.start(name) for name in ("one", "two", "admin") * 6]
        mine += others
        assert statuses(others).count(0) == 8
        assert "kept for the page" in locked.ask(who="admin").json()["error"]
        page = [locked.start("app", port=locked.inner) for _ in range(10)]
        mine += page
        assert statuses(page) == [0] * 10
        mine.append(locked.start("app", port=locked.inner))
        assert statuses(mine[-1:]) == [503]
    with held(locked) as mine:
        mine += [locked.start("app", port=locked.inner) for _ in range(18)]
        assert statuses(mine) == [0] * 18  # while nobody else asks, all is its own


def test_with_a_page_a_token_leaves_others_half_of_what_they_have_together(locked: Door) -> None:
    with held(locked) as mine:
        mine += [locked.start("one") for _ in range(18)]
        assert statuses(mine).count(0) == 4
        others = [locked.start("two") for _ in range(5)]
        mine += others
        assert sorted(statuses(others)) == [0] * 4 + [503]  # in whatever order they are read


def test_the_page_is_before_those_who_wait(locked: Door) -> None:
    with held(locked) as mine:
        mine += [locked.start(name) for name in ("one", "two", "admin") * 2]
        until(lambda: locked.places() == (3, 3))
        mine.append(locked.start("app", port=locked.inner, prompt="from the page"))
        until(lambda: locked.places() == (3, 4))
        before = len(locked.ollama.came)
        mine[0].close()
        until(lambda: len(locked.ollama.came) > before)
        assert b"from the page" in locked.ollama.came[before][2]


def test_the_host_s_own_token_may_ask_thrice_at_once(locked: Door) -> None:
    with held(locked) as mine:
        mine += [locked.start("local") for _ in range(3)]
        until(lambda: locked.ollama.now == 3)


def test_a_site_s_own_shares(opened: Opener) -> None:
    limits: dict[str, Any] = {"one": {"parallel": 3, "queue": 1}, "two": {"per_minute": 3}}
    door = opened(**TOKENS, gateway_token_limits=limits)
    with held(door) as mine:
        mine += [door.start("one") for _ in range(5)]
        assert sorted(statuses(mine)) == [0] * 4 + [503]
        assert door.ollama.now == 3
    assert [door.ask(who="two").status_code for _ in range(4)] == [200, 200, 200, 429]
    refusal = door.ask("/v1/chat/completions", who="two", messages=[])
    assert refusal.status_code == 400  # a field of another route: no place is asked for
    answer = door.ask(who="two")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "20")
    assert "3 times in a minute" in answer.json()["error"]


@pytest.mark.parametrize("who", ["one", "local"])
def test_the_log_tells_how_long_somebody_waited(opened: Opener, who: str) -> None:
    door = opened(**TOKENS)
    with held(door) as mine:
        mine += [door.start(who) for _ in range(4)]
        until(lambda: door.ollama.now >= 2)
        time.sleep(0.3)
        door.ollama.hold.set()
        assert [status(one) for one in mine] == [200] * 4
    waits = sorted(line["wait_ms"] for line in door.lines())
    assert waits[0] >= 0
    assert waits[-1] > 200


def test_a_token_that_is_refused_again_and_again_is_not_read(opened: Opener) -> None:
    """To look at a body takes time from everybody."""
    door = opened(**TOKENS)
    wrong = {"model": "other:1b", "tools": [[]] * 2900}
    found = [door.client.post("/api/chat", json=wrong, headers=bearer("one")) for _ in range(55)]
    assert [answer.status_code for answer in found[:50]] == [404] * 50
    assert found[-1].status_code == 429
    assert "50 times in 10 s" in found[-1].json()["error"]
    assert door.ask(who="one").status_code == 429
    assert door.ask(who="two").status_code == 200


def test_who_has_few_connections_has_the_page_before_who_has_many(opened: Opener) -> None:
    door = opened(app_enabled=True)
    door.app.hold.clear()
    form = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx"
    many = [door.connect(door.page, OTHERS_ADDRESS) for _ in range(door.settings.app_threads + 20)]
    for one in many:
        one.sendall(form)
    until(lambda: len(door.app.came) == door.settings.app_threads)
    with door.connect(door.page) as mine:
        mine.sendall(form.replace(b"POST / ", b"POST /teacher "))
        time.sleep(0.2)
        many.pop(0).close()
        until(lambda: len(door.app.came) > door.settings.app_threads)
        assert door.app.came[door.settings.app_threads][0] == "/teacher"
    door.app.hold.set()
    for one in many:
        one.close()


def test_no_token_s_idle_connections_keep_others_from_the_common_queue(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kept two to it: of forty tokens that asked twice at once the 26th waited for 15 s."""
    names = [f"class-{number}" for number in range(30)]
    for name in names:
        monkeypatch.setitem(SECRETS, name, f"0123456789abcdef0123456789abcdef-{name}")
    door = opened(gateway_tokens=dict.fromkeys(names, "env:A"))
    for name in names:
        two = [door.start(name) for _ in range(2)]
        assert [status(one) for one in two] == [200, 200]
        for one in two:
            one.close()
    text = door.client.get(f"http://127.0.0.1:{door.metrics}/metrics").text
    most = re.search(r'^haproxy_frontend_max_sessions\{proxy="within"\} (\d+)', text, re.M)
    assert most
    assert int(most[1]) <= 4  # 50 are all it has
