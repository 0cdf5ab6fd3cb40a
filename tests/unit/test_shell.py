"""Commands with an explanation, and commands run with the host's own rights."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from pyinfra.api import StringCommand

from ollama_stack.shell import or_explain, run_now
from tests.unit.harness import fake_host


@pytest.mark.parametrize(
    ("command", "returncode", "stderr"), [("true", 0, ""), ("false", 1, "setting: it's `bad`\n")]
)
def test_only_a_failure_is_explained(command: str, returncode: int, stderr: str) -> None:
    explained = or_explain(StringCommand(command), "setting: it's `bad`").get_raw_value()
    done = subprocess.run(["sh", "-c", explained], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (returncode, stderr)


@pytest.mark.parametrize("sudo", [True, False])
def test_a_command_run_at_once_has_the_host_s_sudo(
    sudo: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Facts and operations get it from pyinfra; what runs in between must ask for it."""
    given: dict[str, Any] = {}
    with fake_host(_sudo=sudo) as host:
        real = host.connector.run_shell_command

        def spy(*words: Any, **arguments: Any) -> Any:
            given.update(arguments)
            return real(*words, **arguments)

        monkeypatch.setattr(host.connector, "run_shell_command", spy)
        ok, _ = run_now(host.state, host, StringCommand("docker ps"))
    assert ok
    assert given["_sudo"] is sudo
