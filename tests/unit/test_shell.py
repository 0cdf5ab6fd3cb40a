"""Commands with an explanation, and commands run with the host's own rights."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import StringCommand

from ollama_stack import ROOT
from ollama_stack.shell import or_explain, renamed, run_now
from tests.unit.harness import fake_host


@pytest.mark.parametrize(
    ("command", "returncode", "stderr"), [("true", 0, ""), ("false", 1, "setting: it's `bad`\n")]
)
def test_only_a_failure_is_explained(command: str, returncode: int, stderr: str) -> None:
    explained = or_explain(StringCommand(command), "setting: it's `bad`").get_raw_value()
    done = subprocess.run(["sh", "-c", explained], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (returncode, stderr)


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path) -> None:
    """After a power loss daemon.json had its name and 0 bytes."""
    calls, new, path = tmp_path / "calls", tmp_path / "a b.new", tmp_path / "a b"
    for name in ("sync", "mv"):
        (tmp_path / name).write_text(
            f'#!/bin/sh\necho {name} "$1" >>"$CALLS"\nexec /bin/{name} "$@"\n'
        )
        (tmp_path / name).chmod(0o755)
    new.write_text("whole")
    path.write_text("old")
    command = renamed(str(new), str(path)).get_raw_value()
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "CALLS": str(calls)}
    subprocess.run(["sh", "-c", command], env=environment, check=True)
    assert path.read_text() == "whole"
    assert calls.read_text().splitlines() == [f"sync {new}", f"mv {new}", f"sync {tmp_path}"]


def test_no_operation_renames_otherwise() -> None:
    for file in (ROOT / "ollama_stack" / "operations").glob("*.py"):
        assert not re.search(r"\bmv\b", file.read_text()), file
    script = (ROOT / "ollama_stack" / "host" / "release").read_text()
    for line in re.findall(r"^.*\bmv .*\n", script, re.MULTILINE):
        before = script[: script.index(line)].splitlines()[-1] + line.partition("mv ")[0]
        assert "sync" in before or "ln -sfn" in before, line


@pytest.mark.parametrize("sudo", [True, False])
def test_a_command_run_at_once_has_the_host_s_sudo(
    sudo: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Facts and operations get it from pyinfra; what runs in between must ask for it."""
    given: dict[str, Any] = {}
    with fake_host(_sudo=sudo) as host:
        real = host.connector.run_shell_command

        def spy(*positional: Any, **arguments: Any) -> Any:
            given.update(arguments)
            return real(*positional, **arguments)

        monkeypatch.setattr(host.connector, "run_shell_command", spy)
        ok, _ = run_now(host.state, host, StringCommand("docker ps"))
    assert ok
    assert given["_sudo"] is sudo
