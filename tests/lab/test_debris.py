"""What a killed run, a killed engine or a cut line leaves is mended by the next run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.conftest import INVENTORY, ROOT, deployed, generate, run, sh, until

DEPLOY = [".venv/bin/pyinfra", "-y", INVENTORY, "deploy.py"]


@contextmanager
def deploying(*arguments: str) -> Iterator[Iterator[str]]:
    """The lines of a running deploy, which is killed at the end."""
    with subprocess.Popen(
        [*DEPLOY, *arguments], cwd=ROOT, text=True, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stderr
        try:
            yield process.stderr
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [1.5, 4, 12])
def test_a_deploy_killed_at_any_moment(seconds: float) -> None:
    """From a host without container, model or compose file."""
    sh("docker compose --project-name ollama-lab down --volumes; rm -rf /opt/ollama-lab")
    with deploying():
        time.sleep(seconds)
    deployed()
    assert generate()["response"]


@pytest.mark.skipif(
    Path("/run/systemd/system").exists(), reason="systemd itself restarts a killed engine"
)
@pytest.mark.slow
@pytest.mark.exclusive
def test_a_killed_engine_whose_pid_another_process_has_now() -> None:
    pid = int(Path("/run/docker.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    Path("/run/docker.pid").write_text(str(os.getpid()))
    done = run("make", "lab")
    assert done.returncode == 0, done.stdout + done.stderr
    assert generate()["response"]
    environment = Path(f"/proc/{Path('/run/docker.pid').read_text()}/environ").read_text()
    assert "PYTEST" not in environment  # nothing of the operator's own goes to the engine


def arrived() -> int:
    """Bytes of an interrupted download that the server would not load again."""
    part = sh("docker exec ollama sh -c 'cat /root/.ollama/models/blobs/*-partial-0'")
    return int(re.findall(r'"Completed":(\d+)', part)[0])


@pytest.mark.slow
def test_an_interrupted_pull_is_shown_and_resumed() -> None:
    """The line to the mirror is slowed to 4 MB/s, and the run killed in the middle."""
    sh("docker exec ollama ollama rm smollm2:135m smollm2:135m-pristine")
    link = sh("docker exec ollama cat /sys/class/net/eth0/iflink").strip()
    device = sh(f"ip -o link | sed -n 's/^{link}: \\([^@:]*\\).*/\\1/p'").strip()
    sh(f"tc qdisc add dev {device} root tbf rate 32mbit burst 64kb latency 100ms")
    try:
        with deploying() as lines:
            shown = next(line for line in lines if "MB/s" in line)
    finally:
        sh(f"tc qdisc del dev {device} root")
    percent = re.search(r"pulling \w+: (\d+)% of 98 MB, \d+\.\d MB/s", shown)
    assert percent
    assert int(percent[1]) >= 10
    try:
        until(lambda: arrived() > 9_000_000)  # the server notes it once it sees the client gone
    finally:
        deployed()
    assert generate()["response"]
