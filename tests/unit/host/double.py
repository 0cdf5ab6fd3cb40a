"""A host's folder with the program at work in it; doubles for Docker and curl."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ollama_stack.operations.programs import SOURCES

SCRIPT = SOURCES / "release"

# Healthy unless the compose file says "broken", and then restarted again and again; an answer unless
# it says "silent"; a gateway if its configuration has a version; an app that answers with the status
# which the compose file names.
DOCKER = """echo "docker $*" >>"$CALLS"
case "$*" in
*" up "*) ! grep -q broken docker-compose.yml;;
*RestartCount*) if grep -q "silent\\|broken" docker-compose.yml; then wc -l <"$CALLS"; else echo 1; fi;;
*logs*) echo "the container's last words";;
*"show map"*) printf '0x1 aa one\n0x2 bb two\n0x3 x;y three\n';;
*"show servers conn"*) echo generations/ollama 1 2 3 4 5 0;;
esac
"""
CURL = """echo "curl $*" >>"$CALLS"
case "$*" in
*8080/api/ask*) sed -n "s/.*app says //p" docker-compose.yml | tr -d "\\n";;
*8404/version*) sed -n "s/.*string '\\([^']*\\)'.*/\\1/p" gateway/haproxy.cfg;;
*) ! grep -q silent docker-compose.yml;;
esac
"""


SECONDS = {"QUEUE": "1", "START": "180", "LOAD": "900", "ANSWER": "300", "LOOK": "45"}
NOTHING: Mapping[str, str] = {}
CONFIG = "http-request return string 'v' if { path /version }"
BODIES = ("create.json", "generate.json", "ask.json")


class Host:
    """A folder with the service, and the program at work in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "ollama"
        (self.folder / "gateway").mkdir(parents=True)
        self.doubles = folder / "bin"
        self.doubles.mkdir()
        for name, script in (("docker", DOCKER), ("curl", CURL)):
            calls = f"CALLS='{folder}/calls'"  # no variable of the caller's comes to Compose
            (self.doubles / name).write_text(f"#!/bin/sh\n{calls}\n{script}")
            (self.doubles / name).chmod(0o755)
        self.calls = folder / "calls"
        self.lock = folder / "lock"
        self.log = folder / "log"
        self.releases = self.folder / "releases"
        self.unconfirmed = self.releases / "unconfirmed"

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.doubles}:{os.environ['PATH']}"
        self.calls.write_text("")
        with self.log.open("w") as log:  # whoever watches goes on with it
            done = subprocess.run(
                ["sh", SCRIPT, self.lock, self.folder, *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                env=os.environ | {"PATH": path, "CALLS": str(self.calls)} | SECONDS | environment,
            )
        return subprocess.CompletedProcess(arguments, done.returncode, self.log.read_text(), "")

    def stage(
        self, text: str, config: str = "", secrets: Mapping[str, str] = NOTHING, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Files of which the doubles know what they are by ``text``."""
        new = self.releases / "new"
        (new / "gateway").mkdir(parents=True, exist_ok=True)
        (new / "docker-compose.yml").write_text(text)
        if config:
            (new / "gateway" / "haproxy.cfg").write_text(config)
        for name, secret in secrets.items():
            (new / "gateway" / name).write_text(secret)
            (new / "gateway" / name).chmod(0o600)
        for name in BODIES:
            (new / name).write_text(json.dumps({"model": "m", "of": text}))
        (new / "release.json").write_text(json.dumps({"by": text}))
        env = {"GATEWAY": "v" if config else "", "PRISTINE": "m-p", "SCHEME": "http"} | env
        lines = [f"{name}={shlex.quote(value)}\n" for name, value in env.items()]
        (new / "release.env").write_text("".join(lines))
        return self.run("stage")

    def keep(
        self, text: str, config: str = "", secrets: Mapping[str, str] = NOTHING, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """A release that runs and was found good."""
        assert self.stage(text, config, secrets, **env).returncode == 0
        done = self.run("switch", "staged")
        assert done.returncode == 0, done.stdout
        return self.run("commit", "staged")

    @property
    def now(self) -> str:
        return (self.folder / "docker-compose.yml").read_text()

    @property
    def kept(self) -> list[str]:
        return sorted(path.parent.name for path in self.releases.glob("[0-9]*/good"))

    @property
    def current(self) -> str:
        return str((self.releases / "current").readlink())


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)
