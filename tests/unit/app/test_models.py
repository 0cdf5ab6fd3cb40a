"""Several models on the page, of which a student chooses; and the teacher's words before a question."""

from __future__ import annotations

import logging
import re
from base64 import b64encode
from hashlib import sha256

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from app.settings import Settings
from app.texts import TEXTS
from tests.unit.app.conftest import Double
from tests.unit.app.test_model import END, Server, answered, part, server  # noqa: F401 a fixture
from tests.unit.app.test_pages import csrf

ONE, TWO = "qwen2.5:1.5b", "qwen2.5:3b"
PROMPT = 'Be brief.\n"Don\'t" say $HOME or ${X:-y}: ask \\n back — спроси\u2028🙂'


@pytest.fixture
def both(environment: dict[str, str], model: Double) -> Flask:
    more = {
        "APP_MODELS": f"{ONE},{TWO}",
        "APP_SYSTEM_PROMPT": b64encode(PROMPT.encode()).decode(),
    }
    return create_app(environment | more, model)


@pytest.fixture
def client(both: Flask) -> FlaskClient:
    return both.test_client()


def shown(page: str) -> str:
    """The option that the form has selected, else its first."""
    options = re.findall(r"<option( selected)?>([^<]+)", page)
    assert [name for _, name in options] == [ONE, TWO]
    return next((name for selected, name in options if selected), ONE)


def send(client: FlaskClient, **form: str) -> str:
    reply = client.post("/", data={"csrf_token": csrf(client)} | form)
    return f"{reply.status_code} {reply.text}"


def test_the_form_keeps_the_choice_without_a_script(client: FlaskClient, model: Double) -> None:
    assert shown(client.get("/").text) == ONE
    assert '<label for="model">Model</label>' in client.get("/").text
    assert shown(send(client, prompt="hi", model=TWO)) == TWO
    assert model.asked == [("hi", 50, TWO)]
    assert shown(client.get("/").text) == TWO
    assert shown(send(client, prompt="x" * 101, model=ONE)) == ONE  # refused, and still chosen
    assert shown(client.get("/").text) == TWO


def test_a_program_names_the_model_or_gets_the_first(client: FlaskClient, model: Double) -> None:
    for body in ({}, {"model": None}, {"model": TWO}):
        assert client.post("/api/ask", json={"prompt": "hi"} | body).status_code == 200
    assert [name for _, _, name in model.asked] == [ONE, ONE, TWO]
    schema = client.get("/api/openapi.json").get_json()["components"]["schemas"]["Question"]
    assert schema["properties"]["model"]["enum"] == [ONE, TWO, None]


@pytest.mark.parametrize("language", ["en", "ru"])
def test_a_model_that_is_not_offered_is_refused_in_words(
    language: str, client: FlaskClient, model: Double
) -> None:
    client.get(f"/?lang={language}")
    page = send(client, prompt="hi", model="qwen2.5:7b")
    assert page.startswith("400 ")
    assert TEXTS[language]["no_model"] in page
    assert ">hi</textarea>" in page
    reply = client.post("/api/ask", json={"prompt": "hi", "model": "qwen2.5:7b"})
    assert (reply.status_code, reply.get_json()["error"]) == (400, "no_model")
    assert reply.get_json()["message"] == TEXTS[language]["no_model"]
    assert not model.asked


def test_where_one_is_offered_there_is_no_choice(
    environment: dict[str, str], model: Double
) -> None:
    client = create_app(environment, model).test_client()
    assert "<select" not in client.get("/").text
    assert client.post("/api/ask", json={"prompt": "hi"}).status_code == 200
    assert model.asked == [("hi", 50, ONE)]


def test_the_model_is_told_the_teacher_s_words_and_nobody_else(
    server: Server,  # noqa: F811
    both: Flask,
    environment: dict[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    server.lines = (part("Hello"), END)
    prompted = environment | {"APP_SYSTEM_PROMPT": b64encode(PROMPT.encode()).decode()}
    answered(server, prompted)
    assert server.asked["system"] == PROMPT
    assert server.asked["prompt"] == "hi"
    assert "Be brief" not in repr(Settings.read(prompted))
    caplog.set_level(logging.DEBUG)
    client = both.test_client()
    heard = [client.get(path).text for path in ("/", "/teacher", "/api/openapi.json", "/metrics")]
    heard += [send(client, prompt=prompt) for prompt in ("hi", "crash", "fail:busy", "")]
    for seen in (*heard, caplog.text):
        assert "Be brief" not in seen
        assert prompted["APP_SYSTEM_PROMPT"] not in seen
    assert f'app_system_prompt_info{{sha256="{sha256(PROMPT.encode()).hexdigest()}"}}' in heard[3]


def test_without_words_the_model_keeps_its_own(
    server: Server,  # noqa: F811
    environment: dict[str, str],
) -> None:
    server.lines = (END,)
    answered(server, environment)
    assert "system" not in server.asked
