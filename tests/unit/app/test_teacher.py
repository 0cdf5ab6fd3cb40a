"""How long a teacher is signed in, and how often somebody may try to become one."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import teacher
from app.texts import TEXTS
from tests.unit.app.conftest import TOKENS
from tests.unit.app.test_pages import csrf, sign_in


def state(client: FlaskClient) -> int:
    return client.get("/teacher/state").status_code


def try_(client: FlaskClient, token: str, address: str) -> Any:
    data = {"token": token, "csrf_token": csrf(client, "/teacher")}
    return client.post("/teacher", data=data, environ_base={"REMOTE_ADDR": address})


def test_a_cookie_that_somebody_kept_is_not_good_after_signing_out(app: Flask) -> None:
    client, other = app.test_client(), app.test_client()
    sign_in(client, TOKENS["teacher.token"])
    sign_in(other, TOKENS["teacher.token"])
    kept = client.get_cookie("student")
    assert kept
    assert state(client) == 200
    client.post("/teacher/out", data={"csrf_token": csrf(client, "/teacher")})
    client.set_cookie("student", kept.value)
    assert state(client) == 403
    assert state(other) == 200


def test_a_teacher_is_signed_out_after_a_school_day(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(client, TOKENS["teacher.token"])
    for hours, status in ((9.9, 200), (10, 403)):
        now = time.monotonic() + hours * 3600
        clock = SimpleNamespace(monotonic=lambda now=now: now, time=time.time)
        monkeypatch.setattr("app.teacher.time", clock)
        assert state(client) == status


def test_so_many_browsers_are_signed_in_and_the_oldest_goes(app: Flask) -> None:
    first = app.test_client()
    sign_in(first, TOKENS["teacher.token"])
    room: teacher.Staffroom = app.extensions["staffroom"]
    for _ in range(teacher.SIGNED_IN - 1):
        room.admit("another")
    assert state(first) == 200
    room.admit("another")
    assert state(first) == 403
    assert len(room._signed_in) == teacher.SIGNED_IN


def test_wrong_tokens_are_limited_by_address(app: Flask) -> None:
    client = app.test_client()
    statuses = [try_(client, f"wrong-{n}", "10.0.0.7").status_code for n in range(12)]
    assert statuses == [403] * 10 + [429] * 2
    reply = try_(client, "wrong-12", "10.0.0.7")
    assert reply.status_code == 429
    assert 1 <= int(reply.headers["Retry-After"]) <= 60
    assert TEXTS["en"]["too_many_tokens"].partition("{")[0] in reply.text
    assert try_(client, TOKENS["teacher.token"], "10.0.0.8").status_code == 303


def test_wrong_tokens_are_limited_in_total(app: Flask) -> None:
    client = app.test_client()
    statuses = [try_(client, "wrong", f"10.0.0.{n // 2}").status_code for n in range(61)]
    assert statuses == [403] * 60 + [429]


def test_pupils_with_wrong_tokens_lock_no_teacher_out(app: Flask) -> None:
    """Ten a minute from the class's address, and the right token was refused as well."""
    pupils, owner = app.test_client(), app.test_client()
    for number in range(65):
        try_(pupils, "wrong", f"10.0.0.{7 + number // 11}")
    assert try_(pupils, "wrong", "10.0.0.7").status_code == 429
    assert try_(owner, TOKENS["teacher.token"], "10.0.0.7").status_code == 303
    assert state(owner) == 200
    assert try_(pupils, "wrong", "10.0.0.7").status_code == 429


def test_right_tokens_are_not_counted(app: Flask) -> None:
    for _ in range(15):
        reply = try_(app.test_client(), TOKENS["teacher.token"], "10.0.0.7")
        assert reply.status_code == 303
