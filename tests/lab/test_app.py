"""The companion app before the real model: its bounds, its secrets, and what a deploy does to it."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import given, settings
from schemathesis import GenerationMode

from app import create_app
from bench import app_load
from bench.app_load import APP
from bench.browser_pages import LONG, TOKEN, crowd, until_busy
from lab import plain
from tests.lab.conftest import LABEL, URL, deploy, deployed, sh, until

SECRETS = Path("/opt/ollama-lab/app")


@pytest.fixture(autouse=True)
def idle() -> None:
    until_busy(0)


def short(client: httpx.Client, **more: object) -> httpx.Response:
    return client.post("/api/ask", json={"prompt": "Say hello.", "max_tokens": 2, **more})


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with plain.Client(base_url=APP, timeout=120) as found:
        found.get("/")
        yield found


@pytest.mark.long("thirty answers, and twelve students who come back when they are told to")
def test_thirty_at_once_are_all_answered_three_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_load, "TOKENS", 16)
    chance = random.Random(0)  # noqa: S311 no secret
    students, seen = asyncio.run(app_load.round_(chance))
    assert [one for one in students if one.answered is None] == []
    assert sum(one.refusals > 0 for one in students) == 12
    assert max(seen.flight) == 3


def test_who_leaves_the_queue_gives_the_place_away(client: httpx.Client) -> None:
    with crowd(4):
        body = {"prompt": LONG}
        headers = {"Accept": "text/event-stream"}
        with client.stream("POST", "/api/ask", json=body, headers=headers) as reply:
            assert next(reply.iter_lines()) == "event: place"
            until_busy(5)
        until_busy(4, 5)


def test_who_asks_for_json_and_leaves_frees_the_slot() -> None:
    with pytest.raises(httpx.ReadTimeout):
        plain.post(f"{APP}/api/ask", json={"prompt": LONG}, timeout=0.5)
    until_busy(0, 5)


@pytest.mark.slow
def test_ready_means_a_generation_not_an_answering_port(client: httpx.Client) -> None:
    assert client.get("/readyz").json()["ready"] is True
    assert client.get("/healthz").text == "ok\n"
    sh("docker restart --time 0 ollama-app; docker stop --time 0 ollama")
    try:
        until(lambda: client.get("/healthz").status_code == 200)
        began = time.monotonic()
        threading.Timer(8, lambda: sh("docker start ollama")).start()
        until(lambda: client.get("/readyz").status_code == 200, 90)
        assert time.monotonic() - began > 8
    finally:
        sh("docker start ollama")


@pytest.mark.slow
def test_a_gateway_that_is_gone_is_an_honest_answer(client: httpx.Client) -> None:
    address = sh("docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' ollama-app")  # fmt: skip
    sh("docker stop --time 0 ollama-gateway")
    try:
        reply = plain.post(
            f"http://{address.strip()}:8080/api/ask", json={"prompt": "hi"}, timeout=60
        )  # fmt: skip
    finally:
        sh("docker start ollama-gateway")
    assert (reply.status_code, reply.json()["error"]) == (502, "unavailable")
    until(lambda: _answers(client), 30)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/").status_code == 200
    except httpx.HTTPError:
        return False


def test_secrets_and_questions_are_in_no_log_and_no_declaration(client: httpx.Client) -> None:
    assert short(client, prompt="The secret word is xyzzy-4711.").status_code == 200
    output = sh(
        "docker inspect ollama-app; docker logs ollama-app 2>&1; docker logs ollama-gateway 2>&1"
    )
    output += sh(f"cat {SECRETS.parent}/docker-compose.yml; docker top ollama-app -eo pid,args")
    assert "xyzzy" not in output
    for secret in SECRETS.iterdir():
        assert len(secret.read_text()) == 64
        assert secret.read_text() not in output
        assert secret.stat().st_mode & 0o777 == 0o600
    last = sh("docker logs --tail 1 ollama-app 2>&1")
    assert json.loads(last).keys() == {"time", "outcome", "wait_ms", "first_text_ms", "total_ms"}


@pytest.mark.slow
def test_pages_wait_while_docker_knows_no_app(client: httpx.Client) -> None:
    sh("docker stop --time 0 ollama-app; sleep 3")
    again = threading.Timer(3, lambda: sh("docker start ollama-app"))
    again.start()
    try:
        assert client.get("/").status_code == 200
    finally:
        again.join()


@pytest.mark.slow
def test_a_rebuilt_image_of_the_same_name_is_taken_up() -> None:
    image = sh("docker inspect --format '{{.Config.Image}}' ollama-app").strip()
    before = sh("docker inspect --format '{{.Image}}' ollama-app")
    sh(f"printf 'FROM {image}\nLABEL rebuilt=yes\n' | docker build --tag {image} - 2>&1")
    try:
        deployed()
        assert sh("docker inspect --format '{{.Config.Labels.rebuilt}}' ollama-app") == "yes\n"
    finally:
        sh(f"docker pull --quiet {image}")
        deployed()
    assert sh("docker inspect --format '{{.Image}}' ollama-app") == before
    sh("docker image prune --force --filter label=rebuilt=yes")


@pytest.mark.parametrize(
    "path", ["/metrics", "/%6detrics", "//metrics", "/metrics?a", "/./metrics"]
)
def test_how_a_class_works_is_not_told_at_its_door(path: str) -> None:
    answer = sh(f"curl -s --path-as-is --write-out ' %{{http_code}}' '{APP}{path}'")
    assert answer.endswith(" 404")
    assert "app_waiting" not in answer


@pytest.mark.slow
def test_somebody_else_s_container_of_its_name_is_in_the_way_of_the_app_alone() -> None:
    deployed("app_enabled=False")
    image = sh("docker inspect --format '{{.Config.Image}}' ollama").strip()
    sh(f"docker create --name ollama-app --label {LABEL} {image}")
    try:
        deployed("app_enabled=False")
        assert sh(f"docker ps --all --quiet --filter label={LABEL}")
        done = deploy()
        assert done.returncode == 1
        assert "the container ollama-app belongs to no compose project" in done.stderr
    finally:
        sh("docker rm ollama-app")
        deployed()


@pytest.mark.slow
def test_switched_off_it_is_gone_and_back_again_it_knows_its_students() -> None:
    token = TOKEN.read_text()
    deployed("app_enabled=False")
    assert sh("docker ps --all --format '{{.Names}}' | grep -c ollama-app || true") == "0\n"
    with pytest.raises(httpx.ConnectError):
        plain.get(APP)
    deployed()
    assert TOKEN.read_text() == token
    assert plain.get(f"{APP}/readyz", timeout=60).status_code == 200


@pytest.mark.slow
def test_a_token_that_is_gone_is_made_anew_and_taken_up(client: httpx.Client) -> None:
    token = SECRETS / "gateway.token"
    old = token.read_text()
    token.unlink()
    assert short(client).json()["error"] == "unavailable"
    deployed()
    assert token.read_text() != old
    assert short(client).status_code == 200


@pytest.mark.slow
def test_secrets_that_somebody_removed_with_their_folder_are_made_anew_and_read(
    client: httpx.Client,
) -> None:
    sh(f"rm -r {SECRETS}")
    assert short(client).json()["error"] == "unavailable"
    deployed()
    client.cookies.clear()  # signed with the key that is gone
    client.get("/")
    assert short(client).status_code == 200


@pytest.mark.parametrize(
    "mode", [GenerationMode.NEGATIVE, pytest.param(GenerationMode.POSITIVE, marks=pytest.mark.slow)]
)
def test_whatever_is_sent_is_answered_as_documented(mode: GenerationMode, tmp_path: Path) -> None:
    """Fuzzed in this process, before the real model, without a limit and with the shortest answers."""
    for name in ("cookie.key", "gateway.token", "teacher.token"):
        (tmp_path / name).write_text("0" * 64)
    app = create_app(
        {
            "OLLAMA_HOST": URL,
            "OLLAMA_NUM_PARALLEL": "3",
            "OLLAMA_MAX_QUEUE": "15",
            "APP_MODEL": "smollm2:135m",
            "APP_MAX_ANSWER": "1",
            "APP_QUESTIONS_PER_MINUTE": "100000",
            "APP_SECRETS": str(tmp_path),
        }
    )
    seen: Counter[int] = Counter()
    for found in schemathesis.openapi.from_wsgi("/api/openapi.json", app).get_all_operations():
        operation = found.ok()  # type: ignore[union-attr]  # its document is valid
        bare = mode is GenerationMode.NEGATIVE and not operation.body

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=80, derandomize=True, deadline=None, database=None)
        def answered(case: schemathesis.Case[Any]) -> None:
            response = case.call_and_validate()
            seen[response.status_code] += 1

        if not bare:  # nothing can be wrong about a GET without parameters
            answered()
    assert seen[200 if mode is GenerationMode.POSITIVE else 400] > 20, seen
