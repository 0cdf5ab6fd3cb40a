"""The main path for real: a second run changes nothing, settings take effect, drift is mended."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import plain
from tests.lab.conftest import ACTIONS, COMPOSE_FILE, changes, deployed, generate, pyinfra, sh
from tests.lab.test_plan import planned

MODELS = "docker exec ollama ollama list | sort | awk '{print $1, $2}'"
APP_TOKEN = Path("/opt/ollama-lab/app/gateway.token")
APP_ASKED = "http://127.0.0.1:8080/api/ask"


def test_the_server_answers_a_real_prompt() -> None:
    answer = generate()
    assert answer["response"].strip()
    assert answer["eval_count"] > 0


def test_a_second_run_changes_nothing() -> None:
    assert changes("lab/deploy.py") == set()
    assert changes("deploy.py") == ACTIONS


def test_a_run_without_a_change_looks_at_the_host_once() -> None:
    log = pyinfra("deploy.py", "-vv").stderr
    # The login, the look, two files of pyinfra's own, the app's question; not shown: the lock, the smoke.
    assert log.count("[@local] >>> ") == 5, log


def test_make_lab_says_what_is_true_and_how_long_it_took(made: str) -> None:
    assert "1 thread, 3 parallel, 12288 tokens" in made
    assert "1.5 CPU, 3 GiB" in made
    assert "Next: make audit INVENTORY=inventories/lab.py" in made
    assert "The lab is up after " in made


def test_the_model_keeps_its_pristine_copy_and_no_mirror_s_name() -> None:
    names = sh("docker exec ollama ollama list | awk 'NR > 1 {print $1}'").split()
    assert sorted(names) == ["smollm2:135m", "smollm2:135m-pristine"]


MEMORY = "docker inspect --format '{{.HostConfig.Memory}}' ollama"


@pytest.mark.long("two plans, and a run that replaces all three containers")
def test_one_run_mends_what_somebody_broke_by_hand() -> None:
    declared, secret = COMPOSE_FILE.read_text(), APP_TOKEN.read_text()
    models = sh(MODELS)
    sh("docker update --memory 1g --memory-swap 1g ollama")
    assert planned()["changes"] == ["Release | Switch to it"]
    assert sh(MEMORY) == f"{2**30}\n"
    COMPOSE_FILE.write_text("services: [broken")
    sh(f"docker rm --force ollama-gateway; rm -r {COMPOSE_FILE.parent}/gateway {APP_TOKEN.parent}")
    deployed()
    assert COMPOSE_FILE.read_text() == declared
    assert sh(MEMORY) == f"{3 * 2**30}\n"
    assert generate()["response"]
    assert APP_TOKEN.read_text() != secret
    assert plain.post(APP_ASKED, json={"prompt": "hi", "max_tokens": 1}, timeout=60).is_success
    assert sh(MODELS) == models
    assert planned()["changes"] == []


@pytest.mark.slow
def test_the_old_compose_file_s_text_comes_back() -> None:
    declared = COMPOSE_FILE.read_text()
    COMPOSE_FILE.write_text("services: [broken")
    deployed()
    assert COMPOSE_FILE.read_text() == declared


@pytest.mark.slow
def test_a_removed_container_comes_back_with_its_models() -> None:
    before = sh(MODELS)
    sh("docker rm --force ollama")
    deployed()
    assert sh(MODELS) == before
