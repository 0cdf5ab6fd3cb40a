"""Secrets of the app on its host, and the smoke of its page."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from ollama_stack.operations import secrets, smoke
from ollama_stack.shell import renamed
from tests.unit.facts.test_docker import engine
from tests.unit.harness import plan

FOLDER = "/opt/my ollama/app"
TEXTS = {"cookie.key": "k" * 64, "teacher.token": "t" * 64}


def live(owner: str = "600 10001", *names: str) -> dict[str, Any]:
    digest = sha256(b"other").hexdigest()
    return {"sha256sum": [f"{name} {digest} {owner}" for name in names or TEXTS]}


def kept(answers: dict[str, Any]) -> list[str]:
    return plan(
        secrets.kept, answers, folder=FOLDER, secrets=TEXTS, owner=10001, reader="ollama-app"
    )


def test_secrets_are_made_once_and_never_shown() -> None:
    commands = kept({})
    assert str(renamed(f"{FOLDER}/cookie.key.new", f"{FOLDER}/cookie.key")) in commands
    assert "chown 10001:10001 '/opt/my ollama/app/cookie.key.new' && chmod 600 '/opt/my ollama/app/cookie.key.new'" in commands  # fmt: skip
    assert not [command for command in commands for text in TEXTS.values() if text in command]
    restart = "! docker container inspect ollama-app >/dev/null 2>&1 || docker restart ollama-app"
    assert commands[-1] == restart  # it may still have a folder that is gone
    assert kept(live()) == []


def test_where_the_engine_maps_users_secrets_are_theirs() -> None:
    mapped = {
        "docker info": engine(
            DockerRootDir="/var/lib/docker/5000.5000", SecurityOptions=["name=userns"]
        )
    }
    assert "chown 15001:15001 '/opt/my ollama/app/cookie.key.new'" in " ".join(kept(mapped))
    assert kept(mapped | live("600 15001")) == []


def test_a_secret_that_is_there_keeps_its_text() -> None:
    commands = kept(live("644 0", "cookie.key"))
    assert "chmod 600 '/opt/my ollama/app/cookie.key'" in commands
    assert not [command for command in commands if "cookie.key.new" in command]
    assert [command for command in commands if "teacher.token.new" in command]
    assert not [command for command in commands if "restart" in command]


def test_the_smoke_asks_for_a_real_generation() -> None:
    command, _ = plan(smoke.page, {}, url="http://127.0.0.1:8080", seconds=60)
    assert "http://127.0.0.1:8080/api/ask" in command
    assert '"max_tokens": 1' in command
    assert "/api/ask does not answer" in command


def test_the_smoke_has_questions_of_its_own() -> None:
    """The seventh deploy in a minute waited for 45 s: a program without a cookie shares those of its address."""
    command, _ = plan(smoke.page, {}, url="http://127.0.0.1:8080", seconds=60)
    newcomer, question = command.split(" | ")[:2]
    assert newcomer.endswith("--cookie-jar - http://127.0.0.1:8080/")
    assert "--cookie - " in question
