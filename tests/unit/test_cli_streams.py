"""The front door where nobody reads what it says, or a stream is not there: no trace, no verdict."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ollama_stack import ROOT

pytestmark = pytest.mark.process


def front_door(argv: str, around: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """``around``: shell text with the command as ``$it``."""
    it = f"{sys.executable} -m ollama_stack.cli {argv}"
    done = subprocess.run(
        ["bash", "-c", around.replace("$it", it)],
        cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    return done


@pytest.mark.parametrize("argv", ["--help", "status {}", "status {} --json", "handout {}"])
@pytest.mark.parametrize(
    ("around", "message"),
    [
        ("$it | true; exit ${PIPESTATUS[0]}", ""),
        (
            "$it >/dev/full",
            "what it says cannot be written (No space left on device); make room there\n",
        ),
    ],
)
def test_what_nobody_hears_is_no_verdict(
    argv: str, around: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "hosts.py").write_text(
        'medium = [("a", {"ssh_hostname": "127.0.0.9", "ssh_port": 1})]'
    )
    done = front_door(argv.format(tmp_path / "hosts.py"), around)
    assert (done.returncode, done.stderr.endswith(message)) == (141, True)


@pytest.mark.parametrize("closed", [">&-", "<&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_not_there_is_missed_by_nobody(closed: str) -> None:
    assert front_door("plan inventories/none.py", f"$it {closed}").returncode == 3
    assert front_door("init x", f"$it {closed}").returncode == 3


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    done = front_door(
        "plan x.py", 'cd "$(mktemp --directory --tmpdir=.)" && rmdir "$PWD" && $it', tmp_path
    )
    assert done.returncode == 3
    assert done.stderr == "the folder that you stand in is no longer there; cd to another one\n"


@pytest.mark.parametrize("argv", [[], ["--watch"], ["--json"]])
def test_an_interrupt_is_the_operator_s_and_no_fault(argv: list[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        (tmp_path / "hosts.py").write_text(
            f'medium = [("a", {{"ssh_hostname": "127.0.0.1", "ssh_port": {port}}})]'
        )
        hears = ["env", "--default-signal=INT"]  # which a script in the background does not
        command = [sys.executable, "-m", "ollama_stack.cli", "status", str(tmp_path / "hosts.py")]
        running = subprocess.Popen(
            [*hears, *command, *argv],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        connection, _ = silent.accept()
        os.killpg(running.pid, signal.SIGINT)
        output, _ = running.communicate(timeout=60)
        connection.close()
    assert (running.returncode, output) == (130, b"\n")  # which ends the line of ^C


@pytest.mark.parametrize(
    ("argv", "message"),
    [("", r"Kla\xdfe-\u0416 unreachable"), ("--json", r'"Kla\u00dfe-\u0416"')],
)
def test_a_terminal_without_the_letters_of_a_name_hides_no_host(
    argv: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "hosts.py").write_text(
        'medium = [("Klaße-Ж", {"ssh_hostname": "127.0.0.9", "ssh_port": 1})]', encoding="utf-8"
    )
    done = front_door(f"status {tmp_path}/hosts.py {argv}", "PYTHONIOENCODING=ascii $it")
    assert (done.returncode, message in done.stdout) == (0, True), done.stdout + done.stderr
