"""What root's docker command finds in its folder and on its PATH."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ollama_stack.facts.docker_client import BrokenStore

pytestmark = pytest.mark.process

LOGIN = '{"auths": {"registry.school.example": {"auth": "YTpi"}}}'
LOGGED_OUT = '{\n\t"auths": {}\n}'
NAMED = '{\n\t"auths": {},\n\t"credsStore": "secretservice"\n}'
FAILS = "#!/bin/sh\necho 'Cannot autolaunch D-Bus'\necho more\nexit 1\n"
WORKS = "#!/bin/sh\necho '{}'\n"


@pytest.mark.parametrize(
    ("config", "program", "found"),
    [
        (NAMED, FAILS, ["docker-credential-secretservice", "Cannot autolaunch D-Bus"]),
        (NAMED, WORKS, []),
        # Docker takes what it finds where it knows no password.
        (None, FAILS, ["docker-credential-secretservice", "Cannot autolaunch D-Bus"]),
        (LOGGED_OUT, FAILS, ["docker-credential-secretservice", "Cannot autolaunch D-Bus"]),
        (LOGGED_OUT, WORKS, []),
        (LOGIN, FAILS, []),
        (None, None, []),
    ],
)
def test_a_store_of_passwords_that_fails_is_found(
    config: str | None, program: str | None, found: list[str], tmp_path: Path
) -> None:
    assert _broken(tmp_path, config, program) == found


def test_a_store_of_passwords_that_is_missing_is_found(tmp_path: Path) -> None:
    name, words = _broken(tmp_path, NAMED, None)
    assert name == "docker-credential-secretservice"
    assert "No such file or directory" in words


def _broken(folder: Path, config: str | None, program: str | None) -> list[str]:
    if config:
        (folder / ".docker").mkdir()
        (folder / ".docker/config.json").write_text(config)
    if program:
        (folder / "docker-credential-secretservice").write_text(program)
        (folder / "docker-credential-secretservice").chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", BrokenStore().command()],
        env={"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    return BrokenStore().process(done.stdout.splitlines())
