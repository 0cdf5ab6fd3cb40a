"""Who a request is: its cookie, its address, and the time it was told."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.request_context import address
from tests.unit.app.conftest import Double, occupy, until


def test_the_cookie_keeps_the_time_until_there_is_a_place(app: Flask, model: Double) -> None:
    client = app.test_client()
    client.get("/")
    occupy(app, model, 5)
    seconds = int(client.post("/api/ask", json={"prompt": "hi"}).headers["Retry-After"])
    client.get("/")
    with client.session_transaction() as session:
        retry_at = session["told"]
    assert app.extensions["service"].queue._clock() + seconds == pytest.approx(retry_at, abs=1)
    model.let.set()
    until(lambda: app.extensions["service"].queue.in_flight == 0)
    assert client.post("/api/ask", json={"prompt": "hi"}).status_code == 200
    with client.session_transaction() as session:
        assert "told" not in session


def test_who_throws_the_cookie_away_is_still_one_address(app: Flask, model: Double) -> None:
    model.let.clear()
    place = app.extensions["service"].queue
    replies = []
    for _ in range(5):
        client: FlaskClient = app.test_client()
        headers = {"Accept": "text/event-stream"}
        reply = client.post("/api/ask", json={"prompt": "hi"}, headers=headers, buffered=False)
        replies.append(reply)  # whose end would end the question
    assert [reply.status_code for reply in replies] == [200] * 4 + [429]
    assert place.in_flight + place.waiting == 4


def test_of_ipv6_the_network_is_the_client(app: Flask) -> None:
    def of(remote: str) -> str:
        with app.test_request_context(environ_base={"REMOTE_ADDR": remote}):
            return address()

    assert of("2001:db8:1:2::7") == of("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"
    assert of("2001:db8:1:3::7") != of("2001:db8:1:2::7")
    assert of("::ffff:10.0.0.7") == "10.0.0.7"
