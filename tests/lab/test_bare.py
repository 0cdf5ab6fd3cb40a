"""From two bare servers: one that serves alone, and goes back from what fails; then both at one address."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import cluster, faults
from lab.cluster import TOKEN, class_at_work
from lab.inject import INVENTORY, inject, on, serves
from tests.blocks import run_by
from tests.lab.conftest import ROOT, Done, run, until
from tests.lab.test_audit import audit
from tests.lab.test_cluster import CLASS, page
from tests.lab.test_hosts import DEPLOY, HOSTS, bare, limit


@pytest.fixture(scope="module")
def first_run() -> Iterator[Done]:
    with bare(HOSTS[:1]):
        yield run(*DEPLOY, *limit(HOSTS[:1]))


@pytest.fixture
def second() -> Iterator[None]:
    """Another server, still bare."""
    with bare(HOSTS[1:]):
        yield


@pytest.mark.long("a server from bare: packages, images, model, and a change that fails")
def test_a_bare_server_serves_and_what_fails_goes_back(first_run: Done, tmp_path: Path) -> None:
    assert first_run.returncode == 0, first_run.stderr
    assert serves(HOSTS[0])
    found, _ = audit(INVENTORY, tmp_path, f"--limit={HOSTS[0].name}")
    assert found.returncode == 0, found.stdout
    assert not inject(faults.NOT_SERVING).wrong  # whose last run changes nothing


@pytest.mark.long("what answers nothing is ended after 15 s")
@pytest.mark.usefixtures("first_run")
def test_a_server_that_hangs_is_started_anew() -> None:
    """Attack 8: ``restart: always`` knows only what ends."""
    counts = (
        "docker inspect --format '{{.RestartCount}} {{.State.Health.Status}}' ollama ollama-gateway"
    )
    assert on(HOSTS[0], counts).stdout.splitlines() == ["0 healthy"] * 2
    for container in ("ollama", "ollama-gateway"):
        on(HOSTS[0], f"docker exec {container} bash -c 'kill -STOP -1'")
    until(lambda: on(HOSTS[0], counts).stdout.splitlines() == ["1 healthy"] * 2, seconds=120)
    said = on(HOSTS[0], "docker logs --tail 200 ollama 2>&1").stdout
    assert "no answer for 15 s: ended by its health check" in said
    assert serves(HOSTS[0])


@pytest.mark.slow
@pytest.mark.usefixtures("first_run", "second")
def test_with_a_bare_one_it_answers_at_one_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN, CLASS)
    (leave,) = run_by("tests/lab/test_bare.py")  # docs/cluster.md
    left = on(HOSTS[0], leave.code)
    assert left.returncode == 0, left.stderr
    inventory = tmp_path / "lab_cluster.py"
    three = (ROOT / cluster.INVENTORY).read_text()
    inventory.write_text(three.replace('    ("host-3", {**_ssh, "ssh_port": 2303}),\n', ""))
    done = run(".venv/bin/pyinfra", "-y", inventory, "deploy.py")
    assert done.returncode == 0, done.stderr
    with class_at_work(4, HOSTS[1:]) as seen:
        pass
    assert seen.count(200) == len(seen.rows) > 4
    assert page(HOSTS[1]) == 200
    asked = f"docker logs $({cluster.LOCAL}) 2>&1 | grep -c 'POST .*/api/generate'"
    assert all(int(on(member, asked).stdout) for member in HOSTS)
