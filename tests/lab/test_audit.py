"""The audit is green on what was deployed, and every control turns red, alone, when it is broken."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.conftest import COMPOSE_FILE, INVENTORY, ROOT, URL, Done, deployed, run, sh
from tests.lab.mutations import OPEN, Mutation

GATEWAY_FILE = Path("/opt/ollama-lab/gateway/haproxy.cfg")
DEEP = {"OLS-408", "OLS-517"}
Edits = dict[str, Any]


def audit(
    inventory: str | Path, folder: Path, *words: str, doubles: str = ""
) -> tuple[Done, dict[str, Any]]:
    """An audit with its report."""
    path = f"{doubles}:{os.environ['PATH']}" if doubles else os.environ["PATH"]
    done = subprocess.run(
        [
            ".venv/bin/pytest",
            "tests/audit",
            "-q",
            f"--inventory={inventory}",
            f"--report={folder}",
            *words,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": path},
    )
    assert (folder / "report.json").exists(), done.stdout + done.stderr
    return done, json.loads((folder / "report.json").read_text())


def with_status(report: dict[str, Any], *statuses: str) -> dict[str, dict[str, Any]]:
    return {
        result["control"]: result
        for host in report["hosts"]
        for result in host["results"]
        if result["status"] in statuses
    }


class Deployed:
    """The lab as deployed, which edits change and ``is_`` brings back."""

    def __init__(self) -> None:
        self.original = COMPOSE_FILE.read_text()
        self.gateway = GATEWAY_FILE.read_text()
        self.edits: Edits | None = None

    def compose_is(self, edits: Edits, unhealthy: bool = False) -> None:
        """Bring the project up as edited; with health checks every second, not to wait for them."""
        if edits == self.edits:
            return
        self.edits = edits
        quick = {"ollama.healthcheck.interval": "1s", "gateway.healthcheck.interval": "1s"}
        project = yaml.safe_load(self.original)
        for path, value in (quick | edits).items():
            *parents, last = path.strip("/").split(".")
            place = project if path.startswith("/") else project["services"]
            for parent in parents:
                place = place[parent]
            place[last] = value
        COMPOSE_FILE.write_text(yaml.safe_dump(project, sort_keys=False))
        self.up("" if unhealthy else "--wait")
        if unhealthy:
            sh("sleep 6")

    def up(self, *words: str) -> None:
        sh(f"docker compose --file {COMPOSE_FILE} up --detach {' '.join(words)}")
        sh(f"timeout 30 sh -c 'until curl -fsS {URL}/api/version; do sleep 0.2; done'")

    def gateway_is(self, edits: tuple[tuple[str, str], ...]) -> None:
        """Have the gateway run its configuration as edited."""
        text = self.gateway
        for old, new in edits:
            assert old in text, old
            text = text.replace(old, new)
        if text != GATEWAY_FILE.read_text():
            GATEWAY_FILE.write_text(text)
            sh("docker kill --signal USR2 ollama-gateway; sleep 1")


@pytest.fixture(scope="module")
def as_deployed() -> Iterator[Deployed]:
    state = Deployed()
    yield state
    COMPOSE_FILE.write_text(state.original)
    GATEWAY_FILE.write_text(state.gateway)
    sh("docker rm --force ollama ollama-gateway")
    deployed()
    run(
        "sh",
        "-c",
        "docker volume rm ollama-lab_other_data; docker rmi ollama-lab/other:1 ollama-lab/other:2",
    )


@pytest.fixture
def mutated(
    request: pytest.FixtureRequest, as_deployed: Deployed
) -> Iterator[tuple[str, Mutation]]:
    id_: str = request.param
    mutation = OPEN[id_]
    if mutation.before:
        sh(mutation.before)
    as_deployed.compose_is(mutation.compose, mutation.unhealthy)
    as_deployed.gateway_is(mutation.gateway)
    try:
        sh(mutation.script or "true")
        yield id_, mutation
    finally:
        sh(mutation.back or "true")
        as_deployed.gateway_is(())
        if mutation.recreate:
            as_deployed.up("--wait", "--force-recreate", *mutation.recreate)


@pytest.mark.parametrize("mutated", OPEN, indirect=True)
def test_what_is_broken_turns_red_and_nothing_else(
    mutated: tuple[str, Mutation], tmp_path: Path
) -> None:
    id_, mutation = mutated
    words = ["--deep"] if id_ in DEEP else []
    doubles = tmp_path / "doubles"
    doubles.mkdir()
    for name, script in mutation.doubles.items():
        (doubles / name).write_text(f"#!/bin/sh\n{script}\n")
        (doubles / name).chmod(0o755)
    inventory: str | Path = INVENTORY
    if mutation.waivers is not None:
        inventory = tmp_path / "lab.py"
        inventory.write_text(f"medium = [('@local', {{'audit_waivers': {[*mutation.waivers]!r}}})]")
    done, report = audit(inventory, tmp_path / "report", *words, doubles=str(doubles))
    red = with_status(report, "finding", "error")
    assert red.keys() == {id_} | mutation.also, done.stdout
    assert done.returncode == 1, done.stdout
