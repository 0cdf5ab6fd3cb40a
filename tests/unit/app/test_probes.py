"""What machines ask, and what the app refuses to start with."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import ValidationError

from app.probes import PROBERS
from app.service import QuestionService
from app.settings import Settings
from tests.unit.app.conftest import TOKENS, Double, occupy, until

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[3]


def test_alive_touches_nothing(client: FlaskClient, model: Double) -> None:
    reply = client.get("/healthz")
    assert (reply.status_code, reply.text) == (200, "ok\n")
    assert "Set-Cookie" not in reply.headers
    assert not model.asked


def test_ready_asks_an_idle_model_once_a_minute(client: FlaskClient, model: Double) -> None:
    for _ in range(3):
        reply = client.get("/readyz")
        assert reply.status_code == 200
        assert reply.get_json()["ready"] is True
    assert model.asked == [("hi", 1, "qwen2.5:1.5b")]


def test_what_the_model_said_a_minute_ago_is_no_proof(app: Flask, model: Double) -> None:
    client, queue = app.test_client(), app.extensions["service"].queue
    client.get("/readyz")
    queue.last_text -= 61
    assert client.get("/readyz").get_json()["seconds"] < 60
    assert model.asked == [("hi", 1, "qwen2.5:1.5b")] * 2


def test_an_answer_to_a_student_is_proof_enough(client: FlaskClient, model: Double) -> None:
    client.post("/api/ask", json={"prompt": "hello"})
    assert client.get("/readyz").status_code == 200
    assert model.asked == [("hello", 50, "qwen2.5:1.5b")]


def test_two_who_look_at_once_ask_once_and_hear_the_same(app: Flask, model: Double) -> None:
    model.let.clear()
    statuses: list[int] = []
    looks = [
        threading.Thread(
            target=lambda: statuses.append(app.test_client().get("/readyz").status_code)
        )
        for _ in range(2)
    ]
    for look in looks:
        look.start()
    until(lambda: model.now == 1)
    assert not statuses
    model.let.set()
    for look in looks:
        look.join()
    assert statuses == [200, 200]
    assert len(model.asked) == 1


def test_a_crowd_of_looks_leaves_threads_to_the_students(app: Flask, model: Double) -> None:
    model.let.clear()
    answers: list[Any] = []
    looks = [
        threading.Thread(target=lambda: answers.append(app.test_client().get("/readyz").get_json()))
        for _ in range(PROBERS + 3)
    ]
    for look in looks:
        look.start()
    until(lambda: len(answers) == 3)
    assert answers == [{"ready": False, "seconds": None, "why": "others are looking"}] * 3
    model.let.set()
    for look in looks:
        look.join()
    assert [answer["ready"] for answer in answers[3:]] == [True] * PROBERS


def test_why_it_is_not_ready_is_said_where_people_look(
    app: Flask, model: Double, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    service: QuestionService = app.extensions["service"]
    monkeypatch.setattr(model, "trouble", "busy")
    reply = app.test_client().get("/readyz")
    assert reply.status_code == 503
    assert reply.get_json() == {"ready": False, "seconds": None, "why": "busy"}
    assert [(error.code, error.why) for error in service.recent_errors] == [
        ("busy", "why it failed")
    ]
    assert "why it failed" in caplog.text


def test_probes_are_no_class(client: FlaskClient, app: Flask) -> None:
    assert client.get("/readyz").status_code == 200
    assert app.extensions["service"].queue.median_wait is None


def test_a_full_room_that_has_heard_nothing_is_not_ready(app: Flask, model: Double) -> None:
    occupy(app, model, 5)
    assert app.test_client().get("/readyz").status_code == 503


def test_metrics_tell_the_bounds_of_the_running_pool(client: FlaskClient) -> None:
    lines = client.get("/metrics").text.splitlines()
    assert "app_pool_threads 2.0" in lines
    assert "app_waiting_places 3.0" in lines


def test_a_variable_that_is_missing_or_no_number_is_named(environment: dict[str, str]) -> None:
    del environment["OLLAMA_NUM_PARALLEL"]
    with pytest.raises(ValidationError, match="ollama_num_parallel"):
        Settings.read(environment)
    with pytest.raises(ValidationError, match="ollama_max_queue"):
        Settings.read(environment | {"OLLAMA_NUM_PARALLEL": "3", "OLLAMA_MAX_QUEUE": "many"})


def gunicorn(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "gunicorn", "--check-config", "--config", "app/gunicorn.conf.py"]
    return subprocess.run(
        argv, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True
    )


def test_a_bad_start_is_one_sentence(environment: dict[str, str], tmp_path: Path) -> None:
    assert gunicorn(environment).returncode == 0
    (tmp_path / "teacher.token").unlink()  # without a teacher there still is a class
    assert gunicorn(environment).returncode == 0
    (tmp_path / "cookie.key").write_text("short")
    done = gunicorn(environment)
    assert done.returncode != 0
    assert "cookie.key is shorter than 32 characters" in done.stderr
    assert "Traceback" not in done.stderr
    assert all(text not in done.stderr for text in TOKENS.values())


def test_the_image_s_packages_are_the_tested_ones() -> None:
    def pins(path: str) -> set[str]:
        lines = (ROOT / path).read_text().splitlines()
        assert not [line for line in lines if "://" in line]
        return {line.rstrip(" \\") for line in lines if "==" in line}

    assert pins("app/requirements.txt") <= pins("requirements-dev.txt")
