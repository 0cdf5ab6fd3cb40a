"""The lab, up for the whole session and gone after it; and what tests do to it."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.sshd import Sshd, sshd, user

ROOT = Path(__file__).parents[2]
INVENTORY = "inventories/lab.py"
COMPOSE_FILE = Path("/opt/ollama-lab/docker-compose.yml")
URL = "http://127.0.0.1:11434"

Done = subprocess.CompletedProcess[str]


def run(*words: str | Path) -> Done:
    """A command from the project's folder, its output kept."""
    return subprocess.run([str(word) for word in words], cwd=ROOT, capture_output=True, text=True)


def sh(script: str) -> str:
    """A shell line that must succeed; its output."""
    done = run("sh", "-ec", script)
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout


def pyinfra(deploy: str, *words: str) -> Done:
    return run(".venv/bin/pyinfra", "-y", INVENTORY, deploy, *words)


def deploy(*data: str) -> Done:
    """deploy.py with ``--data`` overrides; whatever comes of it."""
    return pyinfra("deploy.py", *(word for pair in data for word in ("--data", pair)))


def deployed(*data: str) -> Done:
    """deploy.py, which must succeed."""
    done = deploy(*data)
    assert done.returncode == 0, done.stderr
    return done


ACTIONS = {"Take the lock", "Smoke | Ask the model", "Smoke | Ask the app", "Say what is true now"}


def changes(deploy_file: str) -> set[str]:
    """Names of the operations that a run found something to do for."""
    done = pyinfra(deploy_file, "--json")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]["operations"]
    return {operation["name"] for operation in results if operation["success"]}


def generate(**body: Any) -> dict[str, Any]:
    """Ollama's answer at the published address."""
    short = {"num_predict": 8}
    request = {"model": "smollm2:135m", "prompt": "hi", "stream": False, "options": short} | body
    text = sh(f"curl -sS --max-time 300 {URL}/api/generate --data '{json.dumps(request)}'")
    answer: dict[str, Any] = json.loads(text)
    return answer


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for what must come true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.05)


def runner() -> str:
    """The runner's command line, as an operator sees it."""
    return sh("docker top ollama | grep ' runner '")


# On every container, network and volume that a test makes beside the lab's.
LABEL = "ollama-lab-test"


def remove_test_objects() -> None:
    """What tests made, in this run or in one that was killed."""
    run("sh", "-c", f"docker ps --all --quiet --filter label={LABEL} | xargs -r docker rm --force")
    for kind in ("network", "volume"):
        found = f"docker {kind} ls --quiet --filter label={LABEL}"
        run("sh", "-c", f"{found} | xargs -r docker {kind} rm")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The test that takes the lab away comes last."""
    items.sort(key=lambda item: "test_lab_down" in item.nodeid)


@pytest.fixture(scope="session", autouse=True)
def lab() -> Iterator[None]:
    remove_test_objects()
    try:
        done = run("make", "lab")
        assert done.returncode == 0, done.stdout + done.stderr
        yield
    finally:
        remove_test_objects()
        down()


def down() -> None:
    done = run("make", "lab-down")
    assert done.returncode == 0, done.stdout + done.stderr


MEMBER, SUDOER, NOBODY = "lab-member", "lab-sudoer", "lab-nobody"
SUDOERS = Path("/etc/sudoers.d/ollama-lab")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A real sshd of this machine for three users: in Docker's group, with sudo, with nothing."""
    if not shutil.which("sudo"):
        sh("apt-get install --yes --quiet sudo")
    SUDOERS.write_text(f"{SUDOER} ALL=(ALL) NOPASSWD: ALL\n")
    folder = tmp_path_factory.mktemp("sshd")
    for parent in folder.parents[:2]:
        parent.chmod(0o755)  # the key is read as the one who logs in
    with user(MEMBER, "docker"), user(SUDOER), user(NOBODY), sshd(folder) as running:
        yield running
    SUDOERS.unlink()
