"""The audit is green on what was deployed, and every control turns red, alone, when it is broken."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
import yaml

from tests.lab.conftest import (
    COMPOSE_FILE,
    INVENTORY,
    ROOT,
    URL,
    Done,
    deployed,
    remove_test_objects,
    run,
    sh,
)
from tests.lab.mutations import MODEL, OPEN, Mutation, generate

GATEWAY_FILE = Path("/opt/ollama-lab/gateway/haproxy.cfg")
DEEP = {"OLS-408", "OLS-517", "OLS-1212"}
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

    def __init__(self, url: str = URL) -> None:
        self.url = url
        self.original = COMPOSE_FILE.read_text()
        self.gateway = GATEWAY_FILE.read_text()
        self.edits: Edits | None = None

    def compose_is(self, edits: Edits, unhealthy: bool = False) -> None:
        """Bring the project up as edited; with health checks every second, not to wait for them."""
        if edits == self.edits:
            return
        self.edits = edits
        quick = {"ollama.healthcheck.interval": "1s", "gateway.healthcheck.interval": "1s"}
        quick |= {"app.healthcheck.interval": "1s", "app.stop_grace_period": "1s"}
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
        knock = f"curl -sk -o /dev/null -w %{{http_code}} {self.url}/api/version"
        sh(f"timeout 30 sh -c 'until {knock} | grep -E \"200|401\"; do sleep 0.2; done'")

    def gateway_is(self, edits: tuple[tuple[str, str], ...]) -> None:
        """Have the gateway run its configuration as edited."""
        text = self.gateway
        for old, new in edits:
            assert old in text, old
            text = text.replace(old, new)
        if text != GATEWAY_FILE.read_text():
            GATEWAY_FILE.write_text(text)
            sh("docker kill --signal USR2 ollama-gateway; sleep 1")


@contextmanager
def broken(state: Deployed, mutation: Mutation) -> Iterator[None]:
    """The lab as a mutation leaves it, until it is put back."""
    if mutation.before:
        sh(mutation.before)
    state.compose_is(mutation.compose, mutation.unhealthy)
    state.gateway_is(mutation.gateway)
    try:
        sh(mutation.script or "true")
        yield
    finally:
        sh(mutation.back or "true")
        state.gateway_is(())
        if mutation.recreate:
            state.up("--wait", "--force-recreate", *mutation.recreate)


@pytest.fixture(scope="module")
def as_deployed() -> Iterator[Deployed]:
    state = Deployed()
    yield state
    COMPOSE_FILE.write_text(state.original)
    GATEWAY_FILE.write_text(state.gateway)
    sh("docker rm --force ollama ollama-gateway ollama-app")
    deployed()
    remove_test_objects()
    run("sh", "-c", "docker rmi ollama-lab/other:1 ollama-lab/other:2 ollama-lab/other:3")


@pytest.mark.parametrize("id_", OPEN)
def test_what_is_broken_turns_red_and_nothing_else(
    id_: str, as_deployed: Deployed, tmp_path: Path
) -> None:
    mutation = OPEN[id_]
    doubles = tmp_path / "doubles"
    doubles.mkdir()
    for name, script in mutation.doubles.items():
        (doubles / name).write_text(f"#!/bin/sh\n{script}\n")
        (doubles / name).chmod(0o755)
    inventory: str | Path = INVENTORY
    if mutation.waivers is not None:
        inventory = tmp_path / "lab.py"
        inventory.write_text(f"medium = [('@local', {{'audit_waivers': {[*mutation.waivers]!r}}})]")
    words = ["--deep"] if id_ in DEEP else []
    with broken(as_deployed, mutation):
        done, report = audit(inventory, tmp_path / "report", *words, doubles=str(doubles))
    red = with_status(report, "finding", "error")
    assert red.keys() == {id_} | mutation.also, done.stdout
    assert done.returncode == 1, done.stdout


def test_what_changed_since_a_kept_report_is_told(as_deployed: Deployed, tmp_path: Path) -> None:
    as_deployed.compose_is({})
    audit(INVENTORY, tmp_path / "before")
    kept = tmp_path / "before" / "report.json"
    done, report = audit(INVENTORY, tmp_path / "same", f"--since={kept}")
    assert report["since"]["changes"] == []
    assert done.returncode == 0, done.stdout
    with broken(as_deployed, OPEN["OLS-505"]):
        done, report = audit(INVENTORY, tmp_path / "after", f"--since={kept}")
    assert report["since"]["changes"] == [
        {
            "host": "@local",
            "control": "OLS-505",
            "before": "pass: always",
            "now": "finding: no (expected always)",
        }
    ]
    assert "@local OLS-505: pass: always -> finding: no (expected always)" in done.stdout


def test_a_runner_that_has_died_since_is_started_again(
    as_deployed: Deployed, tmp_path: Path
) -> None:
    sh(generate(options={"num_predict": 1}))
    sh("kill -9 $(docker top ollama -eo pid,args | grep ' runner ' | awk '{print $1}')")
    assert MODEL in sh("docker exec ollama ollama ps")
    done, report = audit(INVENTORY, tmp_path)
    as_deployed.up("--wait", "--force-recreate", "ollama")  # with a log that tells of no death
    looked = with_status(report, "pass").keys()
    assert looked >= {"OLS-301", "OLS-302", "OLS-303", "OLS-304"}, done.stdout


def test_the_reports_are_whole(tmp_path: Path) -> None:
    done, report = audit(INVENTORY, tmp_path, "--deep")
    assert done.returncode == 0, done.stdout
    schema = json.loads((ROOT / "docs" / "audit.schema.json").read_text())
    jsonschema.validate(report, schema)
    assert report["inventory"] == INVENTORY
    assert re.fullmatch(r"[0-9a-f]{40}(\+changes)?", report["commit"])
    assert {"ollama-stack", "pytest", "pytest-testinfra"} <= report["tools"].keys()
    assert all(result["evidence"] for result in with_status(report, "pass").values())
    said = sh(f"cd {tmp_path} && sha256sum --check report.json.sha256")
    assert said == "report.json: OK\n"
    digest = (tmp_path / "report.json.sha256").read_text().split()[0]
    assert digest in (tmp_path / "report.html").read_text()
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot()[0]  # noqa: S314 our own
    told = {prop.get("name"): prop.get("value") for prop in suite.iter("property")}
    assert told["report.json sha256"] == digest
    assert told["commit"] == report["commit"]
    assert int(suite.get("tests", 0)) == sum(len(host["results"]) for host in report["hosts"])
