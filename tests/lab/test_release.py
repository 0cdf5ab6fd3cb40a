"""A change goes live only if it answers; what does not, goes back by itself; and one run at a time."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import httpx
import pytest

from tests.lab.conftest import COMPOSE_FILE, INVENTORY, URL, deploy, deployed, generate, run, sh
from tests.lab.test_debris import deploying

RELEASES = COMPOSE_FILE.parent / "releases"


def current() -> int:
    return int((RELEASES / "current").readlink().name)


def queue() -> str:
    return sh("docker exec ollama printenv OLLAMA_MAX_QUEUE").strip()


@pytest.fixture(autouse=True, scope="module")
def as_declared() -> Iterator[None]:
    deployed()
    yield
    deployed()


def test_an_image_that_does_not_serve_goes_back_by_itself() -> None:
    before, kept = COMPOSE_FILE.read_text(), current()
    done = deploy("ollama_image=haproxy:3.0.11")  # another program under Ollama's name
    assert done.returncode == 1
    assert f"returned to release {kept}, which answers" in done.stderr
    assert COMPOSE_FILE.read_text() == before
    assert generate()["response"]
    assert current() == kept


def test_a_model_that_is_not_the_declared_one_is_not_served() -> None:
    kept = current()
    done = deploy(f"model_digest={'f' * 64}")
    assert done.returncode == 1
    assert "model_digest: 172.17.0.1:5000/library/smollm2:135m came as " in done.stderr
    assert f"returned to release {kept}, which answers" in done.stderr
    assert generate()["response"]
    names = sh("docker exec ollama ollama list | awk 'NR > 1 {print $1}'").split()
    assert sorted(names) == ["smollm2:135m", "smollm2:135m-pristine"]


def test_a_release_is_kept_and_can_be_gone_back_to() -> None:
    before = current()
    deployed("ollama_max_queue=12")
    after = current()
    assert after > before
    assert "-      - OLLAMA_MAX_QUEUE=15" in (RELEASES / str(after) / "changes").read_text()
    done = run("make", "rollback", f"INVENTORY={INVENTORY}", f"TO={before}")
    assert done.returncode == 0, done.stderr
    assert queue() == "15"
    assert current() == before
    done = run("make", "rollback", f"INVENTORY={INVENTORY}", f"TO={after}")
    assert done.returncode == 0, done.stderr
    assert queue() == "12"
    deployed()
    assert queue() == "15"
    done = run("make", "status", f"INVENTORY={INVENTORY}")
    assert re.search(rf"@local +│ {current()} +│ yes ", done.stdout), done.stdout


def test_an_unknown_release_changes_nothing() -> None:
    kept = current()
    done = run("make", "rollback", f"INVENTORY={INVENTORY}", "TO=999")
    assert done.returncode != 0
    assert "there is no release 999; kept are:" in done.stderr
    assert f"releases/{kept}/release.json" in done.stderr
    assert current() == kept


def test_a_second_run_is_told_of_the_first_and_a_killed_one_holds_nothing() -> None:
    with deploying("--data", "ollama_max_queue=13") as lines:
        next(line for line in lines if "Ollama | " in line)
        second = deploy()
        assert second.returncode == 1
        assert re.search(r"lock: \S+@\S+ has been changing this host since 20", second.stderr)
        assert "looking for the last good release" not in second.stderr
    deployed()
    assert queue() == "15"


def test_requests_that_a_killed_change_left_waiting_go_on() -> None:
    held = "set server generations/hold state ready; set server generations/ollama state maint"
    says = 'exec 3<>/dev/tcp/127.0.0.1/8405; echo "$0" >&3; cat <&3'
    sh(f"docker exec ollama-gateway bash -c '{says}' '{held}'")
    deployed()
    assert generate()["response"]


@contextmanager
def class_at_work(students: int) -> Iterator[list[tuple[int, float]]]:
    """Students who ask one question after another; status and seconds of each answer."""
    told: list[tuple[int, float]] = []
    over = Event()
    body = {
        **{"model": "smollm2:135m", "prompt": "hi", "stream": False},
        "options": {"num_predict": 8},
    }

    def ask() -> None:
        with httpx.Client(timeout=180) as client:
            while not over.is_set():
                began = time.monotonic()
                try:
                    status = client.post(f"{URL}/api/generate", json=body).status_code
                except httpx.HTTPError:
                    status = 0
                told.append((status, time.monotonic() - began))

    with ThreadPoolExecutor(students) as pool:
        for _ in range(students):
            pool.submit(ask)
        try:
            time.sleep(2)
            yield told
            time.sleep(2)
        finally:
            over.set()


def test_nobody_loses_an_answer_while_ollama_is_replaced() -> None:
    before = sh("docker inspect --format '{{.Id}}' ollama")
    with class_at_work(5) as told:
        deployed("ollama_keep_alive=6m")
    assert sh("docker inspect --format '{{.Id}}' ollama") != before
    statuses = Counter(status for status, _ in told)
    assert statuses.keys() == {200}, statuses
    deployed()


def test_a_change_of_the_gateway_restarts_nothing_and_loses_nobody() -> None:
    state = "docker inspect --format '{{.Id}} {{.State.StartedAt}}' ollama ollama-gateway"
    before = sh(state)
    with class_at_work(5) as told:
        deployed("gateway_answer_timeout=14m")
    assert sh(state) == before
    assert {status for status, _ in told} == {200}
    deployed()
