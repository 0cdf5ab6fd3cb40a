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
from app.service import Limited, QuestionService
from app.share import Caller, Full
from tests.unit.app.conftest import Double, occupy, until


def present() -> bool:
    return False


@pytest.fixture
def service(app: Flask) -> QuestionService:
    found: QuestionService = app.extensions["service"]
    return found


def asked(service: QuestionService, student: str, prompt: str = "hello there") -> None:
    for _ in service.follow(service.ask(Caller(student), prompt, 9, "m"), present):
        pass


def test_a_student_s_minute_is_his_own(service: QuestionService) -> None:
    for _ in range(6):
        asked(service, "ann")
    with pytest.raises(Limited) as limited:
        service.ask(Caller("ann"), "again", 9, "m")
    assert 1 <= limited.value.retry_after <= 60
    asked(service, "bob")


def test_who_found_no_place_has_not_asked(
    app: Flask, service: QuestionService, model: Double
) -> None:
    occupy(app, model, 5)
    for _ in range(10):
        with pytest.raises(Full):
            service.ask(Caller("ann"), "hello", 9, "m")
    assert service.refused == 10
    model.let.set()
    until(lambda: service.queue.in_flight == service.queue.waiting == 0)
    asked(service, "ann")


def test_of_a_student_nothing_is_kept_after_the_minute(
    service: QuestionService, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        asked(service, f"student-{number}")
    kept = service._limiter.storage.storage  # type: ignore[attr-defined]  # MemoryStorage's own
    assert len(kept) == 20
    later = time.time() + 61
    monkeypatch.setattr("limits.storage.memory.time", SimpleNamespace(time=lambda: later))
    until(lambda: not service._limiter.storage.timer.is_alive())  # type: ignore[attr-defined]
    asked(service, "ann")
    until(lambda: len(kept) == 1)


def test_what_became_of_each_is_counted(service: QuestionService, model: Double) -> None:
    asked(service, "ann")
    model.let.clear()
    for _ in service.follow(service.ask(Caller("bob"), "hello", 9, "m"), lambda: True):
        pass
    metrics = generate_latest(service.registry).decode()
    assert 'app_questions_total{outcome="answered"} 1.0' in metrics
    assert 'app_questions_total{outcome="left"} 1.0' in metrics
    assert "app_answer_seconds_count 1.0" in metrics
    until(lambda: service.queue.in_flight == 0)


def test_the_log_has_no_questions_unless_told(
    environment: dict[str, str], model: Double, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "app.questions")
    for logged in ("false", "true"):
        service = create_app(environment | {"APP_LOG_PROMPTS": logged}, model).extensions["service"]
        asked(service, "ann", "xyzzy 4711")
    silent, logged_prompt = (json.loads(record.getMessage()) for record in caplog.records)
    assert silent.keys() == {"time", "outcome", "wait_ms", "first_text_ms", "total_ms"}
    assert logged_prompt["prompt"] == "xyzzy 4711"


def test_a_logged_question_moves_no_terminal_and_turns_no_line(
    environment: dict[str, str], model: Double, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "app.questions")
    service = create_app(environment | {"APP_LOG_PROMPTS": "true"}, model).extensions["service"]
    written = 'да\x1b[2J\x9b31m\x85\u2028{"outcome": "x"}\u202e\u2066\x7f'
    asked(service, "ann", written)
    line = caplog.records[-1].getMessage()
    assert json.loads(line)["prompt"] == written
    assert "да" in line
    assert line.isprintable()


def test_the_last_ten_errors_are_kept(client: FlaskClient, service: QuestionService) -> None:
    for number in range(12):
        client.post("/api/ask", json={"prompt": "fail:busy"}, environ_base={"REMOTE_ADDR": f"10.0.0.{number}"})  # fmt: skip
        client.delete_cookie("student")
    assert [error.code for error in service.recent_errors] == ["busy"] * 10
    assert service.recent_errors[0].why == "why it failed"
