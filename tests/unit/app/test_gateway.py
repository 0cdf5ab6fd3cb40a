"""Whom the app believes where a request came from, under which name, and below which path."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask, request
from flask.testing import FlaskClient

from app import create_app
from app.gateway import Gateway, is_address
from app.texts import TEXTS
from tests.unit.app.conftest import Double
from tests.unit.app.test_pages import HERE, csrf

BELOW = {"X-Forwarded-Prefix": "/class/ask"}


def address_of(app: Flask, remote: str, headers: dict[str, str]) -> str | None:
    """What the app takes for the client's address."""
    seen: list[str | None] = []

    def view() -> str:
        seen.append(request.remote_addr)
        return "ok"

    app.view_functions["probes.healthz"] = view
    app.test_client().get("/healthz", headers=headers, environ_base={"REMOTE_ADDR": remote})
    return seen[0]


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("127.0.0.1", "10.0.0.7"),
        ("::ffff:127.0.0.1", "10.0.0.7"),
        ("172.18.0.1", "172.18.0.1"),  # a user of the host, at the app's own address
        ("::ffff:172.18.0.1", "172.18.0.1"),
    ],
)
def test_the_gateway_alone_says_where_a_request_came_from(
    remote: str, address: str, app: Flask
) -> None:
    assert address_of(app, remote, {"X-Forwarded-For": "10.9.9.9, 10.0.0.7"}) == address


def test_the_gateway_alone_says_that_it_came_by_tls(client: FlaskClient) -> None:
    headers = {"X-Forwarded-Proto": "https"}
    stranger = {"REMOTE_ADDR": "172.18.0.1"}
    reply = client.get("/", headers=headers, environ_base=stranger)
    assert "Secure" not in reply.headers["Set-Cookie"]


def test_a_gateway_with_another_address_is_found_and_a_lost_name_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, answers = [0.0], [["10.0.0.2"]]

    def look(name: str, *_: Any, **__: Any) -> list[Any]:
        assert name == "gateway"
        if not answers[0]:
            raise OSError("no such name")
        return [(None, None, None, "", (one, 0)) for one in answers[0]]

    monkeypatch.setattr("app.gateway.socket.getaddrinfo", look)
    monkeypatch.setattr("app.gateway.time.monotonic", lambda: now[0])
    gateway = Gateway("http://gateway:11435")
    assert gateway.is_at("10.0.0.2")
    answers[0] = []
    now[0] += 60
    assert gateway.is_at("10.0.0.2")
    answers[0] = ["10.0.0.3", "::ffff:10.0.0.4"]
    assert not gateway.is_at("10.0.0.3")  # not asked for every request
    now[0] += 1
    assert gateway.is_at("10.0.0.3")
    assert gateway.is_at("10.0.0.4")
    assert not gateway.is_at("10.0.0.2")


def test_below_another_path_every_address_is_below_it(client: FlaskClient) -> None:
    pages = [client.get(path, headers=BELOW) for path in ("/", "/teacher", "/nothing")]
    for page in pages:
        links = re.findall(r'(?:href|src|action|data-api|data-from)="([^"]*)"', page.text)
        assert len(links) > 4
        assert [
            one for one in links if not one.startswith(("/class/ask/", "/class/ask", "?"))
        ] == []
    assert 'data-api="/class/ask/api/ask"' in pages[0].text
    assert "; Path=/class/ask/" in pages[0].headers["Set-Cookie"]
    served = client.get("/api/openapi.json", headers=BELOW).get_json()
    assert served["servers"] == [{"url": "/class/ask"}]
    assert "servers" not in client.get("/api/openapi.json").get_json()


@pytest.mark.parametrize("prefix", ["//evil.example", "/a b", "https://evil.example", "/a/../b", "/<i>", "/a.b", "/a/b/c/d/e", "/" + "a" * 41])  # fmt: skip
def test_no_prefix_leads_elsewhere(prefix: str, client: FlaskClient) -> None:
    page = client.get("/", headers={"X-Forwarded-Prefix": prefix}).text
    assert 'action="/"' in page


def test_no_cache_gives_one_path_s_page_to_another(client: FlaskClient) -> None:
    for path in ("/", "/teacher", "/nothing", "/static/ask.js"):
        reply = client.get(path, headers=BELOW)
        reply.close()
        assert {"X-Forwarded-Prefix", "X-Forwarded-Proto"} <= set(reply.vary)
        assert path == "/static/ask.js" or reply.headers["Cache-Control"] == "no-store"


def test_the_script_asks_where_the_page_says() -> None:
    script = (HERE / "static" / "ask.js").read_text()
    assert "fetch(form.dataset.api" in script
    assert '"/api' not in script


@pytest.mark.parametrize(
    ("path", "kind"), [("/api/ask", "text/event-stream"), ("/", "text/html; charset=utf-8")]
)
def test_what_streams_is_not_held_back_by_a_proxy(
    path: str, kind: str, client: FlaskClient
) -> None:
    asked: dict[str, Any] = {"data": {"prompt": "hi", "csrf_token": csrf(client)}}
    if path == "/api/ask":
        asked = {"json": {"prompt": "hi"}, "headers": {"Accept": kind}}
    reply = client.post(path, **asked)
    assert reply.content_type.startswith(kind)
    assert reply.headers["X-Accel-Buffering"] == "no"


@pytest.fixture
def named(environment: dict[str, str], model: Double) -> FlaskClient:
    return create_app(environment | {"APP_HOSTS": "ask.school.lan,ask"}, model).test_client()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("ask.school.lan", 200),
        ("ASK.school.lan:8443", 200),
        ("ask", 200),
        ("localhost:8080", 200),
        ("10.0.0.5:8080", 200),
        ("[::1]:8080", 200),
        ("evil.example", 400),
        ("evil.ask.school.lan", 400),
        ("10.0.0.5.evil.example:8080", 400),
    ],
)
def test_under_a_foreign_name_nothing_is_answered(
    host: str, status: int, named: FlaskClient, model: Double, client: FlaskClient
) -> None:
    page = named.get("/", headers={"Host": host})
    assert page.status_code == status
    assert (TEXTS["en"]["host"] in page.text) == (status == 400)
    asked = named.post("/api/ask", json={"prompt": "hi"}, headers={"Host": host})
    assert asked.status_code == status
    assert bool(model.asked) == (status == 200)
    assert client.get("/", headers={"Host": host}).status_code == 200  # none declared: any name


def test_an_address_is_no_name() -> None:
    assert [is_address(one) for one in ("10.0.0.1", "[fe80::1]:80", "localhost", "a.b", "")] == [True, True, True, False, False]  # fmt: skip
