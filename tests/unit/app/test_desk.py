"""Who may ask how often, and what is known of it afterwards."""

from __future__ import annotations

import json
import logging
import time
from types import SimpleNamespace

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client import generate_latest

from app import create_app
from app.desk import Desk, Limited
from app.share import Caller, Full
from tests.unit.app.conftest import Double, occupy, until


def present() -> bool:
    return False


@pytest.fixture
def desk(app: Flask) -> Desk:
    found: Desk = app.extensions["desk"]
    return found


def asked(desk: Desk, student: str, prompt: str = "hello there") -> None:
    for _ in desk.follow(desk.ask(Caller(student), prompt, 9), present):
        pass


def test_a_student_s_minute_is_his_own(desk: Desk) -> None:
    for _ in range(6):
        asked(desk, "ann")
    with pytest.raises(Limited) as limited:
        desk.ask(Caller("ann"), "again", 9)
    assert 1 <= limited.value.retry_after <= 60
    asked(desk, "bob")


def test_who_found_no_place_has_not_asked(app: Flask, desk: Desk, model: Double) -> None:
    occupy(app, model, 5)
    for _ in range(10):
        with pytest.raises(Full):
            desk.ask(Caller("ann"), "hello", 9)
    assert desk.refused == 10
    model.let.set()
    until(lambda: desk.room.in_flight == desk.room.waiting == 0)
    asked(desk, "ann")


def test_of_a_student_nothing_is_kept_after_the_minute(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        asked(desk, f"student-{number}")
    kept = desk._limiter.storage.storage  # type: ignore[attr-defined]  # MemoryStorage's own
    assert len(kept) == 20
    later = time.time() + 61
    monkeypatch.setattr("limits.storage.memory.time", SimpleNamespace(time=lambda: later))
    until(lambda: not desk._limiter.storage.timer.is_alive())  # type: ignore[attr-defined]
    asked(desk, "ann")
    until(lambda: len(kept) == 1)


def test_what_became_of_each_is_counted(desk: Desk, model: Double) -> None:
    asked(desk, "ann")
    model.let.clear()
    for _ in desk.follow(desk.ask(Caller("bob"), "hello", 9), lambda: True):
        pass
    metrics = generate_latest(desk.registry).decode()
    assert 'app_questions_total{outcome="answered"} 1.0' in metrics
    assert 'app_questions_total{outcome="left"} 1.0' in metrics
    assert "app_answer_seconds_count 1.0" in metrics
    until(lambda: desk.room.in_flight == 0)


def test_the_log_has_no_questions_unless_told(
    environment: dict[str, str], model: Double, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "app.questions")
    for told in ("false", "true"):
        desk = create_app(environment | {"APP_LOG_PROMPTS": told}, model).extensions["desk"]
        asked(desk, "ann", "xyzzy 4711")
    silent, said = (json.loads(record.getMessage()) for record in caplog.records)
    assert silent.keys() == {"time", "outcome", "wait_ms", "first_text_ms", "total_ms"}
    assert said["prompt"] == "xyzzy 4711"


def test_the_last_ten_errors_are_kept(client: FlaskClient, desk: Desk) -> None:
    for number in range(12):
        client.post("/api/ask", json={"prompt": "fail:busy"}, environ_base={"REMOTE_ADDR": f"10.0.0.{number}"})  # fmt: skip
        client.delete_cookie("student")
    assert [mishap.code for mishap in desk.mishaps] == ["busy"] * 10
    assert desk.mishaps[0].why == "why it failed"
