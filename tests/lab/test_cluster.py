"""Three of the lab's servers at one address: from bare, by one run; what breaks is mended, and nobody is cut off."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab import cluster
from lab.cluster import HOSTS, TOKEN, class_at_work, deploy, on, settled
from lab.cluster_mutations import CLUSTER, Broken
from lab.fleet import Member
from ollama_stack.inventory import read_inventory
from tests.audit.controls import specs
from tests.audit.looking import look
from tests.lab.conftest import ACTIONS, ROOT, run
from tests.lab.test_audit import audit, with_status
from tests.lab.test_hosts import bare

CLASS = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, CLASS)


@pytest.mark.long("two servers from bare: packages, images, models")
def test_two_bare_servers_answer_at_one_address(tmp_path: Path) -> None:
    inventory = tmp_path / "lab_cluster.py"
    three = (ROOT / cluster.INVENTORY).read_text()
    inventory.write_text(three.replace('    ("host-3", {**_ssh, "ssh_port": 2303}),\n', ""))
    with bare(HOSTS[:2]):
        done = run(".venv/bin/pyinfra", "-y", inventory, "deploy.py")
        assert done.returncode == 0, done.stderr
        with class_at_work(4) as seen:
            pass
        assert seen.count(200) == len(seen.rows) > 4
        asked = f"docker logs $({cluster.LOCAL}) 2>&1 | grep -c 'POST .*/api/generate'"
        assert all(int(on(member, asked)) for member in HOSTS[:2])


@pytest.fixture(scope="module")
def servers() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as environment, bare(HOSTS):
        environment.setenv(TOKEN, CLASS)
        done = deploy()
        assert done.returncode == 0, done.stderr
        yield


def red(member: Member, broken: Broken) -> set[str]:
    """Controls that find something on a host that is broken so, until it is put back."""
    targets = [t for t in read_inventory(cluster.INVENTORY) if t.name == member.name]
    targets = [replace(target, data=target.data | broken.data) for target in targets]
    for name, text in broken.doubles.items():
        place = f"/usr/local/bin/{name}"  # before /usr/bin, for sudo too
        script = shlex.quote(f"#!/bin/sh\n{text}\n")
        on(member, f"printf %s {script} >{place}; chmod 755 {place}")
    on(member, broken.script or "true")
    try:
        (audit_,) = look(targets, [spec for spec in specs() if not spec.deep])
    finally:
        on(member, broken.back or "true")
        on(member, "rm -f " + " ".join(f"/usr/local/bin/{name}" for name in broken.doubles))
    return {one.control for one in audit_.results if one.status in ("finding", "error")}


@pytest.mark.usefixtures("servers")
@pytest.mark.slow
def test_every_manager_s_address_answers_and_a_second_run_changes_nothing() -> None:
    with class_at_work(3, HOSTS) as seen:
        done = deploy("--json")
    assert seen.count(200) == len(seen.rows) > 0
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]["operations"]
    assert {operation["name"] for operation in results if operation["success"]} <= ACTIONS


@pytest.mark.usefixtures("servers")
@pytest.mark.slow
def test_the_audit_finds_them_as_declared(tmp_path: Path) -> None:
    done, report = audit(cluster.INVENTORY, tmp_path)
    assert not with_status(report, "finding", "error"), done.stdout


@pytest.mark.usefixtures("servers")
@pytest.mark.slow
@pytest.mark.parametrize("id_", CLUSTER)
def test_each_control_is_red_when_what_it_holds_is_broken(id_: str) -> None:
    settled()
    assert red(HOSTS[1], CLUSTER[id_]) == {id_, *CLUSTER[id_].also}


@pytest.mark.usefixtures("servers")
@pytest.mark.slow
@pytest.mark.parametrize("act", [cluster.change, cluster.bad_change, cluster.killed_change])
def test_a_change_fails_no_question(act: Callable[[], None]) -> None:
    settled()
    with class_at_work() as seen:
        act()
    assert seen.failed == seen.count(503) == 0
    settled()


@pytest.mark.usefixtures("servers")
@pytest.mark.slow
def test_a_dead_host_fails_no_more_than_it_had_in_flight() -> None:
    settled()
    with class_at_work() as seen:
        cluster.host_killed()
    assert seen.failed <= 2  # its ollama_num_parallel
    assert seen.gap < 10
    settled()


@pytest.mark.usefixtures("servers")
@pytest.mark.slow
def test_no_join_token_is_on_a_disk_or_in_a_log() -> None:
    for member in HOSTS:
        places = "/root /home /opt /var/log /run/ollama-stack.log /etc"
        assert not on(member, f"grep -rl SWMTKN-1- {places} 2>/dev/null")
