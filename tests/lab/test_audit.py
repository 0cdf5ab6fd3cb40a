"""The audit is green on what was deployed, and every control turns red when it is broken."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
import yaml
from _pytest.mark import ParameterSet

from lab import plain
from ollama_stack.inventory import Target, read_inventory
from tests.audit.controls import specs
from tests.audit.looking import look
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
    until,
)
from tests.lab.mutations import MODEL, OPEN, Batch, Mutation, batches, edits, generate, model_as

GATEWAY_FILE = Path("/opt/ollama-lab/gateway/haproxy.cfg")
DEEP = {"OLS-408", "OLS-517", "OLS-1212"}
CONTAINERS = {"ollama": "ollama", "gateway": "ollama-gateway", "app": "ollama-app"}
Edits = dict[str, Any]


def name(batch: Batch) -> str:
    """Of a test: the first control of its batch, and how many others there are."""
    more = f"+{len(batch) - 1}" if len(batch) > 1 else ""
    return f"{next(iter(batch))}{more}"


def audit(inventory: str | Path, folder: Path, *arguments: str) -> tuple[Done, dict[str, Any]]:
    """An audit as people start it, with its report."""
    done = subprocess.run(
        [
            ".venv/bin/pytest",
            "tests/audit",
            "-q",
            f"--inventory={inventory}",
            f"--report={folder}",
            *arguments,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
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
        self.edits: Edits = {}

    def compose_is(self, edits: Edits) -> None:
        """Bring the project up as edited; with health checks every second, not to wait for them."""
        if edits == self.edits:
            return
        self.edits = edits
        quick = {"ollama.healthcheck.interval": "1s", "gateway.healthcheck.interval": "1s"}
        quick |= {"app.healthcheck.interval": "1s", "app.stop_grace_period": "1s"}
        quick |= {f"{service}.healthcheck.start_period": "0s" for service in CONTAINERS}
        project = yaml.safe_load(self.original)
        for path, value in (quick | edits).items():
            *parents, last = path.strip("/").split(".")
            place = project if path.startswith("/") else project["services"]
            for parent in parents:
                place = place[parent]
            place[last] = value
        COMPOSE_FILE.write_text(yaml.safe_dump(project, sort_keys=False))
        self.up()

    def settled(self) -> None:
        """Wait until each container is well, but for those whose edited check calls them ill."""
        ill = [service for service in CONTAINERS if f"{service}.healthcheck.test" in self.edits]
        wanted = ["unhealthy" if service in ill else "healthy" for service in CONTAINERS]
        look = "docker inspect --format '{{.State.Health.Status}}' " + " ".join(CONTAINERS.values())
        until(lambda: sh(look).split() == wanted)

    def up(self, *arguments: str) -> None:
        sh(f"docker compose --file {COMPOSE_FILE} up --detach {' '.join(arguments)}")
        knock = f"curl -sk -o /dev/null -w %{{http_code}} {self.url}/api/version"
        sh(f"timeout 30 sh -c 'until {knock} | grep -E \"200|401\"; do sleep 0.2; done'")

    def gateway_is(self, edits: Iterable[tuple[str, str]]) -> None:
        """Have the gateway run its configuration as edited."""
        text = self.gateway
        for old, new in edits:
            assert old in text, old
            text = text.replace(old, new)
        if text != GATEWAY_FILE.read_text():
            GATEWAY_FILE.write_text(text)
            reload_gateway()


def reload_gateway() -> None:
    """As a deploy does; the old worker is gone, or has its last answers to give, when it returns."""
    workers = "docker top ollama-gateway -eo pid | tail -n +3"
    before = sh(workers).split()
    sh("docker kill --signal USR2 ollama-gateway")
    until(lambda: bool(set(sh(workers).split()) - set(before)))
    until(lambda: plain.get("http://127.0.0.1:8404/none").status_code > 0)


@contextmanager
def broken(state: Deployed, *together: Mutation) -> Iterator[None]:
    """The lab as mutations leave it, until it is put back."""
    for mutation in together:
        sh(mutation.before or "true")
    state.compose_is(edits(together))
    state.settled()
    with ExitStack() as back:
        back.callback(state.gateway_is, ())
        state.gateway_is(edit for mutation in together for edit in mutation.gateway)
        model, model_back = model_as(together)
        back.callback(sh, model_back)
        sh(model)
        for mutation in together:
            back.callback(sh, mutation.back or "true")
            sh(mutation.script or "true")
        yield
        back.close()
        if again := {service for mutation in together for service in mutation.recreate}:
            state.up("--wait", "--force-recreate", *again)


def seen(targets: Sequence[Target], batch: Batch, doubles: Path) -> dict[str, set[str]]:
    """Controls that are red or cannot be looked at, by host, by a look in this process.

    Each answered by the batch's doubles, with the deep controls where the batch has one.
    """
    doubles.mkdir()
    for mutation in batch.values():
        for name, script in mutation.doubles.items():
            (doubles / name).write_text(f"#!/bin/sh\n{script}\n")
            (doubles / name).chmod(0o755)
        if mutation.waivers is not None:
            waivers = {"audit_waivers": [*mutation.waivers]}
            targets = [replace(target, data=target.data | waivers) for target in targets]
    chosen = [spec for spec in specs() if not spec.deep or DEEP & batch.keys()]
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PATH", f"{doubles}:{os.environ['PATH']}")
        audits = look(targets, chosen)
    return {
        host.host: {one.control for one in host.results if one.status in ("finding", "error")}
        for host in audits
    }


def expected(batch: Batch) -> set[str]:
    """What is to be red, and nothing else."""
    return {*batch, *(id_ for mutation in batch.values() for id_ in mutation.also)}


@pytest.fixture(scope="module")
def as_deployed() -> Iterator[Deployed]:
    state = Deployed()
    yield state
    if (COMPOSE_FILE.read_text(), GATEWAY_FILE.read_text()) != (state.original, state.gateway):
        COMPOSE_FILE.write_text(state.original)
        GATEWAY_FILE.write_text(state.gateway)
        sh("docker rm --force ollama ollama-gateway ollama-app")
        deployed()
    remove_test_objects()
    run("sh", "-c", "docker rmi ollama-lab/other:1 ollama-lab/other:2 ollama-lab/other:3")


@pytest.fixture(scope="module")
def lab_targets() -> list[Target]:
    return read_inventory(INVENTORY)


def turns_red(batch: Batch, state: Deployed, targets: Sequence[Target], folder: Path) -> None:
    with broken(state, *batch.values()):
        (red,) = seen(targets, batch, folder / "doubles").values()
    assert red == expected(batch)


def case(batch: Batch) -> ParameterSet:
    felt = any(mutation.felt for mutation in batch.values())
    return pytest.param(batch, id=name(batch), marks=[pytest.mark.exclusive] if felt else [])


@pytest.mark.long("most controls are broken by one batch, which replaces all three containers")
@pytest.mark.parametrize("batch", [case(batch) for batch in batches(OPEN)])
def test_what_is_broken_turns_red_and_nothing_else(
    batch: Batch, as_deployed: Deployed, lab_targets: list[Target], tmp_path: Path
) -> None:
    turns_red(batch, as_deployed, lab_targets, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("id_", [id_ for batch in batches(OPEN) if len(batch) > 1 for id_ in batch])
def test_each_control_turns_red_alone(
    id_: str, as_deployed: Deployed, lab_targets: list[Target], tmp_path: Path
) -> None:
    turns_red({id_: OPEN[id_]}, as_deployed, lab_targets, tmp_path)


@pytest.fixture(scope="module")
def deep(
    as_deployed: Deployed, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Done, dict[str, Any]]:
    """A deep audit's folder, run and report, of the lab as deployed."""
    as_deployed.compose_is({})
    folder = tmp_path_factory.mktemp("deep")
    return folder, *audit(INVENTORY, folder, "--deep")


@pytest.mark.long(
    "the first of two audits is a deep one: it reads the weights and asks the page a question"
)
def test_what_changed_since_a_kept_report_is_told(
    deep: tuple[Path, Done, dict[str, Any]], as_deployed: Deployed, tmp_path: Path
) -> None:
    kept = deep[0] / "report.json"
    with broken(as_deployed, OPEN["OLS-505"]):
        done, report = audit(INVENTORY, tmp_path, f"--since={kept}")
    assert report["since"]["changes"] == [
        {
            "host": "@local",
            "control": "OLS-505",
            "before": "pass: always",
            "now": "finding: no (expected always)",
        }
    ]
    assert "@local OLS-505: pass: always -> finding: no (expected always)" in done.stdout


@pytest.mark.long("an audit of its own, and a container made anew")
def test_a_runner_that_has_died_since_is_started_again(
    as_deployed: Deployed, tmp_path: Path
) -> None:
    sh(generate())
    sh("kill -9 $(docker top ollama -eo pid,args | grep ' runner ' | awk '{print $1}')")
    assert MODEL in sh("docker exec ollama ollama ps")
    done, report = audit(INVENTORY, tmp_path)
    as_deployed.up("--wait", "--force-recreate", "ollama")  # with a log that tells of no death
    looked = with_status(report, "pass").keys()
    assert looked >= {"OLS-301", "OLS-302", "OLS-303", "OLS-304"}, done.stdout


@pytest.mark.long("the way back from all that was broken: three containers, and a run")
def test_the_reports_are_whole(deep: tuple[Path, Done, dict[str, Any]]) -> None:
    folder, done, report = deep
    assert done.returncode == 0, done.stdout
    schema = json.loads((ROOT / "docs" / "audit.schema.json").read_text())
    jsonschema.validate(report, schema)
    assert report["inventory"] == INVENTORY
    assert re.fullmatch(r"[0-9a-f]{40}(\+changes)?", report["commit"])
    assert {"ollama-stack", "pytest", "pytest-testinfra"} <= report["tools"].keys()
    assert all(result["evidence"] for result in with_status(report, "pass").values())
    output = sh(f"cd {folder} && sha256sum --check report.json.sha256")
    assert output == "report.json: OK\n"
    digest = (folder / "report.json.sha256").read_text().split()[0]
    assert digest in (folder / "report.html").read_text()
    suite = ElementTree.parse(folder / "junit.xml").getroot()[0]  # noqa: S314 our own
    properties = {prop.get("name"): prop.get("value") for prop in suite.iter("property")}
    assert properties["report.json sha256"] == digest
    assert properties["commit"] == report["commit"]
    assert int(suite.get("tests", 0)) == sum(len(host["results"]) for host in report["hosts"])
