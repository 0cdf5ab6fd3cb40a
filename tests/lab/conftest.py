"""The lab, up for the whole session and gone after it; and what tests do to it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import IO, Any

import httpx
import pytest
from _pytest.terminal import TerminalReporter

from lab import plain
from lab.sshd import Sshd, sshd, user
from tests.lab.lanes import (  # noqa: F401 hooks
    pytest_runtest_protocol,
    pytest_sessionfinish,
    pytest_xdist_make_scheduler,
)
from tests.unit.commands import command

ROOT = Path(__file__).parents[2]
INVENTORY = "inventories/lab.py"
COMPOSE_FILE = Path("/opt/ollama-lab/docker-compose.yml")
URL = "http://127.0.0.1:11434"

FORKED = {".venv/bin/pyinfra": "pyinfra", ".venv/bin/ollama-stack": "ollama_stack.cli"}

Done = subprocess.CompletedProcess[str]


def run(*arguments: str | Path) -> Done:
    """A command from the project's folder, its output kept; it ends with this process.

    Ours are forks of a process that has imported them, which takes a second less; make starts them anew.
    """
    if module := FORKED.get(str(arguments[0])):
        return command(module, *map(str, arguments[1:]))
    ends = ["setpriv", "--pdeathsig", "KILL"]
    return subprocess.run(
        [*ends, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def sh(script: str) -> str:
    """A shell line that must succeed; its output."""
    done = run("sh", "-ec", script)
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout


def pyinfra(deploy: str, *arguments: str) -> Done:
    return run(".venv/bin/pyinfra", "-y", INVENTORY, deploy, *arguments)


def deploy(*data: str) -> Done:
    """deploy.py with ``--data`` overrides; whatever comes of it."""
    return pyinfra("deploy.py", *(argument for pair in data for argument in ("--data", pair)))


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
        time.sleep(0.1)


def runner() -> str:
    """The runner's command line, as an operator sees it."""
    return sh("docker top ollama | grep ' runner '")


@contextmanager
def class_at_work(students: int) -> Iterator[list[int]]:
    """Students who ask one question after another; the status of each answer, 0 of one cut off.

    They read an answer for a moment, as the lab's CPUs are also the deploy's.
    """
    statuses: list[int] = []
    over = Event()
    short = {"model": "smollm2:135m", "prompt": "hi", "options": {"num_predict": 4}}

    def ask() -> None:
        with plain.Client(timeout=180) as client:
            while not over.is_set():
                try:
                    answer = client.post(f"{URL}/api/generate", json=short)
                    cut = answer.is_success and '"done":true' not in answer.text
                    statuses.append(0 if cut else answer.status_code)
                    over.wait(2)
                except httpx.HTTPError:
                    statuses.append(0)

    with ThreadPoolExecutor(students) as pool:
        for _ in range(students):
            pool.submit(ask)
        try:
            until(lambda: len(statuses) > students)
            yield statuses
            asked = len(statuses)
            until(lambda: len(statuses) > asked + students)
        finally:
            over.set()


# On every container, network and volume that a test makes beside the lab's.
LABEL = "ollama-lab-test"


def remove_test_objects() -> None:
    """What tests made, in this run or in one that was killed."""
    run("sh", "-c", f"docker ps --all --quiet --filter label={LABEL} | xargs -r docker rm --force")
    for kind in ("network", "volume"):
        found = f"docker {kind} ls --quiet --filter label={LABEL}"
        run("sh", "-c", f"{found} | xargs -r docker {kind} rm")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--keep-lab", action="store_true", help="leave the lab up for the next run")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The audit's come first, before the logs tell of others'; what takes the lab away comes last."""
    items.sort(
        key=lambda item: (
            "test_lab_down" in item.nodeid,
            bool(item.get_closest_marker("exclusive")),
            "test_audit" not in item.nodeid,
        )
    )


LONG = 15  # seconds; a test of `make test` that takes longer has its reason beside it


def pytest_runtest_setup(item: pytest.Item) -> None:
    """The reason goes with the report: workers collect, and another process writes the summary."""
    if item.get_closest_marker("slow"):
        item.user_properties.append(("reason", "in make test-all alone"))
    elif item.get_closest_marker("kind"):
        item.user_properties.append(("reason", "in make test-kinds alone"))
    elif marker := item.get_closest_marker("long"):
        item.user_properties.append(("reason", marker.args[0]))


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """The ten slowest, set-up and tear-down included, with the reason of those past LONG; the total."""
    took: dict[str, float] = defaultdict(float)
    reasons: dict[str, str] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                took[report.nodeid] += report.duration
                if report.user_properties:
                    reasons[report.nodeid] = str(report.user_properties[0][1])
    terminalreporter.section("the ten slowest tests")
    for test, seconds in sorted(took.items(), key=lambda one: -one[1])[:10]:
        why = reasons.get(test, "NO REASON" if seconds > LONG else "")
        terminalreporter.write_line(f"{seconds:6.1f} s  {test.removeprefix('tests/lab/')}  {why}")
    begun = float(os.environ.get("BEGUN", "0"))  # by make
    total = f"{time.time() - begun:.0f} s in all, " if begun else ""
    terminalreporter.write_line(f"{total}{len(took)} tests, on {os.cpu_count()} CPUs")


LOCK = Path("/run/ollama-lab-tests.lock")
# What mutations leave outside of what `make lab-down` removes, and what takes it back.
LEFT_BEHIND = """
test ! -e /run/docker.sock.lab || mv /run/docker.sock.lab /run/docker.sock
test ! -e /run/ollama-lab-unreachable ||
    ip route del unreachable $(cat /run/ollama-lab-unreachable)/32 || true
ip netns del ollama-lab-n 2>/dev/null || true
rm -f /run/ollama-lab-unreachable /var/lib/docker/ollama-lab-*
find /run -maxdepth 1 -name reboot-required -empty -delete
"""


@contextmanager
def one_at_a_time() -> Iterator[IO[str]]:
    """Wait for another run's end; the lock, to be emptied when nothing is left behind.

    What a killed one has left is put right: LOCK has its process.
    """
    with LOCK.open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if LOCK.read_text():
            sh(LEFT_BEHIND)
            down()
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield lock


MADE = "ollama-lab/made"  # in pytest's cache: what `make lab` said


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Iterator[None]:
    """The lab is there for all workers; who starts them makes it, and removes it."""
    config = session.config
    if hasattr(config, "workerinput") or config.option.collectonly:
        return (yield)
    with one_at_a_time() as lock:
        remove_test_objects()
        try:
            done = run("make", "lab")
            if done.returncode:
                pytest.exit(done.stdout + done.stderr, 1)
            config.cache.set(MADE, done.stdout + done.stderr)
            return (yield)
        finally:
            sh(LEFT_BEHIND)
            remove_test_objects()
            if os.environ.get("LAB_FOUND"):  # it was up before the first test
                done = run("make", "lab")
                assert done.returncode == 0, done.stdout + done.stderr
            elif not config.option.keep_lab:
                down()
            lock.truncate(0)


@pytest.fixture
def made(pytestconfig: pytest.Config) -> str:
    """What ``make lab`` said."""
    inventory: str = pytestconfig.cache.get(MADE, "")
    return inventory


def down() -> None:
    done = run("make", "lab-down")
    assert done.returncode == 0, done.stdout + done.stderr


MEMBER, SUDOER, NOBODY = "lab-member", "lab-sudoer", "lab-nobody"
SUDOERS = Path("/etc/sudoers.d/ollama-lab")


@pytest.fixture(scope="module")
def server() -> Iterator[Sshd]:
    """A real sshd of this machine for three users: in Docker's group, with sudo, with nothing."""
    if not shutil.which("sudo"):
        sh("apt-get install --yes --quiet sudo")
    SUDOERS.write_text(f"{SUDOER} ALL=(ALL) NOPASSWD: ALL\n")
    with (
        tempfile.TemporaryDirectory(prefix="ollama-lab-") as folder,  # sshd makes it readable
        user(MEMBER, "docker"),
        user(SUDOER),
        user(NOBODY),
        sshd(Path(folder)) as running,
    ):
        yield running
    SUDOERS.unlink(missing_ok=True)
