"""One run at a time: whose lock it is, how long, and what the second one is told."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyinfra.api import StringCommand
from pyinfra.api.operation import add_op
from pyinfra.api.operations import run_ops
from pyinfra.api.state import StateStage
from pyinfra.operations import python

from ollama_stack.facts.docker import InitSystem
from ollama_stack.facts.host import LoginServer
from ollama_stack.facts.memory import known, look, remember
from ollama_stack.facts.release import LastRun
from ollama_stack.operations import lock
from ollama_stack.operations.programs import SOURCES, VERSION
from tests.unit.harness import fake_host

SCRIPT = SOURCES / "lock"


@pytest.fixture
def holder() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def take(path: Path, who: str, process: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", SCRIPT, path, who, str(process)], capture_output=True, text=True)


def test_a_second_run_is_told_who_has_the_lock_and_since_when(
    holder: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    path = tmp_path / "lock"
    assert take(path, "ops@school", holder.pid).returncode == 0
    _, _, since, who = path.read_text().split()
    second = take(path, "ci@runner", 1)
    assert second.returncode == 1
    assert second.stderr == (
        f"lock: {who} has been changing this host since {since}; wait for that run to end, or end "
        f"its connection here: kill {holder.pid}\n"
    )
    assert path.read_text().split()[3] == "ops@school"


def test_the_lock_of_a_dead_run_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(["sleep", "60"]) as dead:
        take(path, "ops@school", dead.pid)
        dead.kill()
    assert take(path, "ci@runner", 1).returncode == 0
    assert path.read_text().split()[3] == "ci@runner"


def test_another_process_with_the_pid_of_the_dead_one_holds_nothing(
    holder: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    path = tmp_path / "lock"
    path.write_text(f"{holder.pid} 1 2026-11-23T08:00:00Z ops@school\n")
    assert take(path, "ci@runner", 1).returncode == 0


@pytest.mark.parametrize("torn", ["", "12", "rubbish"])
def test_a_torn_lock_holds_nothing(torn: str, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text(torn)
    assert take(path, "ci@runner", 1).returncode == 0


def test_a_login_that_nobody_ends_gets_no_lock(tmp_path: Path) -> None:
    """This very process has no sshd behind it."""
    done = subprocess.run(
        ["sh", SCRIPT, tmp_path / "lock", "ops@school"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("lock: this login has no SSH server behind it")


SERVER = """
import os, subprocess, sys
open("/proc/self/comm", "w").write(sys.argv[1])
print(os.getpid(), flush=True)
sys.exit(subprocess.run(["sh", "-c", 'sh "$@"; exit $?', "login", *sys.argv[2:]]).returncode)
"""


@pytest.mark.parametrize("name", ["sshd", "sshd-session"])
def test_the_login_s_own_server_holds_it(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SERVER, name, str(SCRIPT), f"{tmp_path}/lock", "ops@school"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "lock").read_text().split()[0] == done.stdout.strip()


@pytest.mark.parametrize(
    ("name", "message"), [("sshd-session", "sshd-session"), ("dropbear", "dropbear")]
)
def test_a_login_s_server_is_known_by_name(name: str, message: str, tmp_path: Path) -> None:
    script = tmp_path / "fact"
    script.write_text(LoginServer().command())
    command = [sys.executable, "-c", SERVER, name, str(script)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == message


def test_a_login_by_another_server_is_known_by_what_it_began_with() -> None:
    """Here it is whatever started the tests."""
    pid = os.getpid()
    while pid > 1:
        first = Path(f"/proc/{pid}/comm").read_text()
        pid = int(re.findall(r"PPid:\t(\d+)", Path(f"/proc/{pid}/status").read_text())[0])
    command = LoginServer().command()
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert done.stdout == first


def begun(*_: object) -> bool:
    return True


def test_over_ssh_the_login_holds_it_and_names_are_quoted() -> None:
    with fake_host():
        ((command, last, _),) = (
            each.args for each in lock.held._inner(folder="/opt/o", who="o'ps@school", begun=begun)
        )
    assert str(command) == (
        f"sh /opt/o/bin/{VERSION}/lock /run/ollama-stack.lock 'o'\"'\"'ps@school' ''"
    )
    assert last == ""


@pytest.mark.parametrize(
    ("last", "reads"),
    [
        ("12 34 2026-11-28T08:00:00Z ops@school", 1),
        ("12 35 2026-11-28T08:00:01Z ci@runner", 2),
        ("at work", 2),
        ("", 2),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_what_was_read_holds_if_no_other_run_came_between(
    last: str, reads: int, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if late:  # somebody thought before the yes
        monkeypatch.setattr("ollama_stack.facts.memory.FRESH", 0.0)
        reads = 2
    answers = {"/lock": ["12 34 2026-11-28T08:00:00Z ops@school"], "read -r run": [last]}
    with fake_host(answers) as host:
        remember(host.state)
        look([(LastRun, {})])
        known(InitSystem)
        host.state.set_stage(StateStage.Prepare)
        add_op(host.state, lock.held, folder="/opt/o", who="ops@school", begun=begun)
        add_op(host.state, python.call, function=lambda: known(InitSystem))
        host.state.set_stage(StateStage.Execute)
        run_ops(host.state)
        executed = host.connector.executed_commands  # type: ignore[attr-defined]  # @fake's
    assert sum("/run/systemd/system" in each for each in executed) == reads


def test_a_refused_lock_says_why_and_begins_nothing(caplog: pytest.LogCaptureFixture) -> None:
    answers = {"/lock": {"stdout": ["lock: ops@school has been changing"], "success": False}}

    def never(*_: object) -> bool:
        raise AssertionError

    with fake_host(answers) as host:
        assert not lock.take(host.state, host, StringCommand("sh /opt/o/lock"), "", never)
    assert "lock: ops@school has been changing" in caplog.text


def test_the_lock_says_who_had_it_last(
    holder: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    monkeypatch.setattr("ollama_stack.facts.release.LOCK", path)

    def last_run() -> str:
        command = ["sh", "-c", LastRun().command()]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert last_run() == take(path, "ops@school", 1).stdout == "\n"
    assert last_run() == "at work\n"
    line = path.read_text()
    path.write_text(f"999999{line[1:]}")
    with path.open() as left:  # by the host's own programs, when the run is dead
        fcntl.flock(left, fcntl.LOCK_EX)
        assert last_run() == "at work\n"
    assert last_run() == f"999999{line[1:]}"
    assert take(path, "ci@runner", holder.pid).stdout == f"999999{line[1:]}"


def test_no_other_user_can_hold_it(holder: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """flock(2) needs a file that one may open, no more."""
    path = tmp_path / "lock"
    take(path, "ops@school", holder.pid)
    assert path.stat().st_mode & 0o077 == 0
