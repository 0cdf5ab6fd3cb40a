"""A change goes live only if it answers; what does not, goes back by itself; and one run at a time."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.app_load import APP
from bench.browser_pages import gauge
from lab import plain
from tests.lab.conftest import (
    COMPOSE_FILE,
    INVENTORY,
    class_at_work,
    deploy,
    deployed,
    generate,
    run,
    runner,
    sh,
)
from tests.lab.test_debris import deploying

RELEASES = COMPOSE_FILE.parent / "releases"


def current() -> int:
    return int((RELEASES / "current").readlink().name)


STATE = "docker inspect --format '{{.Id}} {{.State.StartedAt}}' ollama ollama-gateway"
ID = "docker inspect --format '{{.Id}}' ollama"


@contextmanager
def knocking() -> Iterator[list[int]]:
    """Somebody who opens the page again and again; the statuses."""
    statuses: list[int] = []
    over = threading.Event()

    def knock() -> None:
        with plain.Client(base_url=APP, timeout=60) as client:
            while not over.is_set():
                statuses.append(client.get("/").status_code)
                over.wait(0.2)

    thread = threading.Thread(target=knock)
    thread.start()
    try:
        yield statuses
    finally:
        over.set()
        thread.join()


def queue() -> str:
    return sh("docker exec ollama printenv OLLAMA_MAX_QUEUE").strip()


COOKIE_KEY = COMPOSE_FILE.parent / "app" / "cookie.key"


def profile() -> tuple[int, ...]:
    """The page's places to answer and to wait, then the runner's slots and threads.

    Ollama alone would take 2 threads on this machine: 1 proves the tuning.
    """
    arguments = runner().split()
    of_runner = (int(arguments[arguments.index(name) + 1]) for name in ("--parallel", "--threads"))
    return gauge("app_pool_threads"), gauge("app_waiting_places"), *of_runner


@pytest.fixture(autouse=True, scope="module")
def as_declared() -> Iterator[None]:
    deployed()
    yield
    deployed()


@pytest.mark.long("a run that waits for an answer in vain, and the way back")
def test_an_image_that_does_not_serve_goes_back_by_itself() -> None:
    before, kept = COMPOSE_FILE.read_text(), current()
    done = deploy("ollama_image=haproxy:3.0.11")  # another program under Ollama's name
    assert done.returncode == 1
    assert f"returned to release {kept}, which answers" in done.stderr
    assert COMPOSE_FILE.read_text() == before
    assert generate()["response"]
    assert current() == kept


@pytest.mark.slow
def test_a_model_that_is_not_the_declared_one_is_not_served() -> None:
    kept = current()
    done = deploy(f"model_digest={'f' * 64}")
    assert done.returncode == 1
    assert "model_digest: 172.17.0.1:5000/library/smollm2:135m came as " in done.stderr
    assert f"returned to release {kept}, which answers" in done.stderr
    assert generate()["response"]
    names = sh("docker exec ollama ollama list | awk 'NR > 1 {print $1}'").split()
    assert sorted(names) == ["smollm2:135m", "smollm2:135m-pristine"]


@pytest.mark.long("a run with a class at work")
def test_gateway_and_app_change_and_nobody_is_turned_away() -> None:
    before = sh(STATE)
    with class_at_work(5) as statuses, knocking() as pages:
        deployed("gateway_answer_timeout=14m", "app_max_answer=100", "app_log_prompts=True")
    assert sh(STATE) == before
    assert (set(statuses), set(pages)) == ({200}, {200})
    with plain.Client(base_url=APP, timeout=120) as client:
        asked = {"prompt": "Do log this.", "max_tokens": 2}
        assert client.post("/api/ask", json=asked).status_code == 200
    log = sh("docker logs --tail 5 ollama-app 2>&1").splitlines()
    asked_for = [json.loads(line).get("prompt") for line in log if line.startswith("{")]
    assert "Do log this." in asked_for


@pytest.mark.long("a run and a rollback, each of which replaces Ollama, with a class at work")
def test_a_release_is_kept_and_gone_back_to_and_nobody_loses_an_answer() -> None:
    before, container, key = current(), sh(ID), COOKIE_KEY.read_text()
    assert profile() == (3, 15, 3, 1)
    with class_at_work(5) as statuses:
        deployed("ollama_num_parallel=2", "ollama_max_queue=12", "ollama_cpus=2")
    assert sh(ID) != container
    assert set(statuses) == {200}
    assert profile() == (2, 12, 2, 2)
    after = current()
    assert after > before
    assert "-      - OLLAMA_MAX_QUEUE=15" in (RELEASES / str(after) / "changes").read_text()
    done = run("make", "rollback", f"INVENTORY={INVENTORY}", f"TO={before}")
    assert done.returncode == 0, done.stderr
    assert queue() == "15"
    assert profile() == (3, 15, 3, 1)
    assert COOKIE_KEY.read_text() == key
    assert current() == before
    done = run("make", "status", f"INVENTORY={INVENTORY}", "JSON=1")
    (host,) = json.loads(done.stdout)["hosts"]
    assert (host["release"]["number"], host["release"]["in_place"]) == (before, True)
    assert host["now"]["in_flight"] is not None


@pytest.mark.slow
def test_a_rollback_can_be_gone_back_from() -> None:
    before = current()
    deployed("ollama_max_queue=12")
    after = current()
    for number, places in ((before, "15"), (after, "12")):
        done = run("make", "rollback", f"INVENTORY={INVENTORY}", f"TO={number}")
        assert done.returncode == 0, done.stderr
        assert queue() == places
    deployed()
    assert queue() == "15"


@pytest.mark.slow
def test_a_release_of_an_earlier_version_is_taken_over_without_an_interruption() -> None:
    """It had no files of these names."""
    before, containers = current(), sh("docker ps --quiet --no-trunc --filter name=^ollama")
    for name in ("release.env", "checksums", "good", "ask.json"):
        for path in RELEASES.glob(f"[0-9]*/{name}"):
            path.unlink()
    (RELEASES / "staged").unlink()
    with class_at_work(5) as statuses:
        deployed()
    assert set(statuses) == {200}
    assert sh("docker ps --quiet --no-trunc --filter name=^ollama") == containers
    done = run("make", "rollback", f"INVENTORY={INVENTORY}", f"TO={before}")
    assert done.returncode == 0, done.stderr
    assert current() == before


def test_an_unknown_release_changes_nothing() -> None:
    kept = current()
    done = run("make", "rollback", f"INVENTORY={INVENTORY}", "TO=999")
    assert done.returncode != 0
    assert "there is no release 999; kept are:" in done.stderr
    assert f"releases/{kept}/release.json" in done.stderr
    assert current() == kept


@pytest.mark.long("a run that is killed in the middle, one that is refused, one that mends")
def test_a_second_run_is_told_of_the_first_and_a_killed_one_holds_nothing() -> None:
    with deploying("--data", "ollama_max_queue=13") as lines:
        next(line for line in lines if "Host | " in line)
        second = deploy()
        assert second.returncode == 1
        assert re.search(r"lock: \S+@\S+ has been changing this host since 20", second.stderr)
        assert "looking for the last good release" not in second.stderr
    deployed()
    assert queue() == "15"


@pytest.mark.slow
def test_requests_that_a_killed_change_left_waiting_go_on() -> None:
    held = "set server generations/hold state ready; set server generations/ollama state maint"
    says = 'exec 3<>/dev/tcp/127.0.0.1/8405; echo "$0" >&3; cat <&3'
    sh(f"docker exec ollama-gateway bash -c '{says}' '{held}'")
    deployed()
    assert generate()["response"]
