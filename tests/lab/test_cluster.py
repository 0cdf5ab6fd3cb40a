"""Three of the lab's servers at one address: from bare, by one run; what breaks is mended, and nobody is cut off."""

from __future__ import annotations

import json
import platform
import shlex
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from lab import cluster, cluster_faults, plain
from lab.cluster import BYSTANDER, HOSTS, TOKEN, address, class_at_work, deploy, on, settled
from lab.cluster_mutations import CLUSTER, SHARED, Broken
from lab.fleet import MEMBERS, Member
from lab.images import PYTHONS
from ollama_stack.config.settings import NOWHERE
from ollama_stack.inventory import read_inventory
from ollama_stack.page_image import built_name
from tests.audit.controls import specs
from tests.audit.looking import look
from tests.lab.conftest import ACTIONS, ROOT, Done, run, until
from tests.lab.test_audit import audit, with_status
from tests.lab.test_built_page import BASE
from tests.lab.test_hosts import DEPLOY, bare

CLASS = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, CLASS)


def page(member: Member) -> int:
    """The status of an answer to a student who asks on the page at a manager's address."""
    url = f"http://{address(member)}:8080/api/ask"
    return plain.post(url, json={"prompt": "hi", "max_tokens": 1}, timeout=60).status_code


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


def command(verb: str, inventory: Path, *words: str) -> Done:
    """One of our own verbs."""
    return run(".venv/bin/ollama-stack", verb, inventory, *words)


def hosts_of(inventory: Path) -> list[dict[str, Any]]:
    """What ``status`` says of each host."""
    said: list[dict[str, Any]] = json.loads(command("status", inventory, "--json").stdout)["hosts"]
    return said


@pytest.mark.usefixtures("servers")
@pytest.mark.kind
def test_every_manager_s_address_answers_and_a_second_run_changes_nothing() -> None:
    with class_at_work(3, HOSTS) as seen:
        done = deploy("--json")
    assert seen.count(200) == len(seen.rows) > 0
    assert [page(member) for member in HOSTS] == [200] * 3
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]["operations"]
    assert {operation["name"] for operation in results if operation["success"]} <= ACTIONS


@pytest.mark.usefixtures("servers")
@pytest.mark.kind
def test_the_audit_finds_them_as_declared(tmp_path: Path) -> None:
    done, report = audit(cluster.INVENTORY, tmp_path)
    assert not with_status(report, "finding", "error"), done.stdout


@pytest.mark.usefixtures("servers")
@pytest.mark.kind
@pytest.mark.parametrize("id_", BROKEN := CLUSTER | SHARED)
def test_each_control_is_red_when_what_it_holds_is_broken(id_: str) -> None:
    settled()
    assert red(HOSTS[1], BROKEN[id_]) == {id_, *BROKEN[id_].also}


@pytest.mark.usefixtures("servers")
@pytest.mark.kind
def test_another_model_by_the_declared_name_is_found_and_the_next_deploy_replaces_it() -> None:
    settled()
    assert red(HOSTS[1], Broken(cluster_faults.OTHER_WEIGHTS)) == {"OLS-1410"}
    done = deploy()
    assert done.returncode == 0, done.stderr
    assert not red(HOSTS[1], Broken())


@pytest.mark.usefixtures("servers")
@pytest.mark.kind
@pytest.mark.parametrize(
    "act", [cluster_faults.change, cluster_faults.bad_change, cluster_faults.killed_change]
)
def test_a_change_fails_no_question(act: Callable[[], None]) -> None:
    settled()
    with class_at_work() as seen:
        act()
    assert seen.failed == seen.count(503) == 0
    settled()


@pytest.mark.usefixtures("servers")
@pytest.mark.kind
def test_a_dead_host_fails_no_more_than_it_had_in_flight() -> None:
    settled()
    with class_at_work() as seen:
        cluster_faults.host_killed()
    assert seen.failed <= 2  # its ollama_num_parallel
    assert seen.gap < 10
    settled()


@pytest.mark.usefixtures("servers")
@pytest.mark.kind
def test_the_next_gateway_stands_by_and_gives_back_without_a_cut() -> None:
    settled()
    with class_at_work(where=(BYSTANDER,)) as seen:
        begun = cluster_faults.gateway_host_killed()
        assert page(BYSTANDER) == 200
    # Swarm alone takes 21 s and more to have a gateway elsewhere; docs/cluster.md has what was measured.
    assert seen.served_after(begun) < 15
    assert seen.failed <= 5  # the class, whose questions it had
    with class_at_work(where=(BYSTANDER,)) as seen:
        cluster_faults.gateway_host_back()
        settled()
    assert seen.failed == seen.count(503) == 0


@pytest.mark.usefixtures("servers")
@pytest.mark.kind
def test_the_next_manager_s_page_answers_while_the_first_one_s_is_gone() -> None:
    settled()
    on(HOSTS[0], "docker service scale ollama_app=0")
    try:
        until(lambda: page(BYSTANDER) == 200, 60)
    finally:
        on(HOSTS[0], "docker service scale ollama_app=1")
    settled()


@pytest.mark.usefixtures("servers")
@pytest.mark.kind
def test_managers_build_the_page_that_no_registry_has() -> None:
    python = PYTHONS[platform.freedesktop_os_release()["VERSION_CODENAME"]]
    done = deploy("--data", "app_image=", "--data", f"app_base_python={python}")
    assert done.returncode == 0, done.stderr
    image = "docker ps --filter name=ollama_app --format '{{.Image}}'"
    assert {on(member, image) for member in HOSTS} == {f"{NOWHERE}/{built_name(BASE)}"}
    assert [page(member) for member in HOSTS] == [200] * 3
    assert deploy().returncode == 0


@pytest.mark.usefixtures("servers")
@pytest.mark.kind
def test_a_worker_is_a_line_more_and_a_line_less(tmp_path: Path) -> None:
    settled()
    worker, inventory = MEMBERS[3], tmp_path / "lab_cluster.py"
    line = f'low = [\n    ("{worker.name}", {{**_ssh, "ssh_port": {worker.port}}}),'
    last = (ROOT / cluster.INVENTORY).read_text().rpartition("low = [")
    inventory.write_text(
        f"managers = {[host.name for host in HOSTS]}\n".join((last[0], line + last[2]))
    )
    made = run("env", "HOSTS=4", *DEPLOY[:2], "inventories/lab.py", "lab/hosts.py")
    assert made.returncode == 0, made.stderr
    try:
        with class_at_work() as seen:
            done = run(".venv/bin/pyinfra", "-y", inventory, "deploy.py")
        assert done.returncode == 0, done.stderr
        assert seen.failed == seen.count(503) == 0
        answers = f"docker logs $({cluster.LOCAL}) 2>&1 | grep -c 'POST .*/api/generate'"
        with class_at_work():
            pass
        assert int(on(worker, answers)) > 1  # the first is its health check's
        assert page(HOSTS[2]) == 200
        _, report = audit(str(inventory), tmp_path)
        assert not with_status(report, "finding", "error")
        with class_at_work() as seen:
            done = deploy()
        assert done.returncode == 0, done.stderr
        assert seen.failed == seen.count(503) == 0
        assert len(on(HOSTS[0], "docker node ls --quiet").split()) == len(HOSTS)
        assert on(worker, "docker volume ls --quiet") == "ollama_ollama_data"
    finally:
        run("docker", "rm", "--force", "--volumes", worker.container)


@pytest.mark.usefixtures("servers")
@pytest.mark.kind
def test_no_join_token_is_on_a_disk_or_in_a_log() -> None:
    for member in HOSTS:
        places = "/root /home /opt /var/log /run/ollama-stack.log /etc"
        # sudo's log has the words by which the audit looks for one.
        assert not on(member, f"grep -rlE 'SWMTKN-1-[0-9a-z]{{40}}' {places} 2>/dev/null")


@pytest.mark.usefixtures("servers")
@pytest.mark.kind
def test_with_the_site_s_own_authority_every_manager_s_address_is_https(tmp_path: Path) -> None:
    inventory, own = tmp_path / "lab_cluster.py", tmp_path / "secrets"
    declared = f'_ssh = {{\n    "gateway_tls": "own",\n    "gateway_tls_folder": "{own}",'
    inventory.write_text((ROOT / cluster.INVENTORY).read_text().replace("_ssh = {", declared, 1))
    done = run(".venv/bin/pyinfra", "-y", inventory, "deploy.py")
    assert done.returncode == 0, done.stderr
    trusted, header = (
        ssl.create_default_context(cafile=own / "ca.crt"),
        {"Authorization": f"Bearer {CLASS}"},
    )
    with httpx.Client(verify=trusted, timeout=60) as client:
        for member in HOSTS:
            url = f"https://{address(member)}:11434/api/generate"
            assert client.post(url, json=cluster.BODY).status_code == 401
            assert client.post(url, json=cluster.BODY, headers=header).status_code == 200
    done, report = audit(str(inventory), tmp_path)
    assert not with_status(report, "finding", "error"), done.stdout
    assert {"OLS-610", "OLS-613", "OLS-614", "OLS-805"} <= set(with_status(report, "pass"))
    assert not list(own.glob("*.new"))
    assert deploy().returncode == 0  # http again


@pytest.mark.usefixtures("servers")
@pytest.mark.kind
def test_managers_without_a_quorum_say_so_and_one_goes_on_alone(tmp_path: Path) -> None:
    settled()
    (tmp_path / "alone").mkdir()
    alone = tmp_path / "alone" / "lab_cluster.py"
    lines = (ROOT / cluster.INVENTORY).read_text().splitlines(keepends=True)
    alone.write_text(
        "".join(line for line in lines if '"host-2"' not in line and '"host-1"' not in line)
    )
    run("docker", "kill", *(member.container for member in HOSTS[1:]))
    until(lambda: "no quorum" in " ".join(hosts_of(alone)[0]["problems"]), 60)
    (reason,) = json.loads(command("plan", alone, "--json").stdout)["hosts"][0]["reasons"]
    assert reason.startswith("cluster: the managers have no quorum: ")
    refused = command("deploy", alone)
    assert refused.returncode == 1
    assert reason in " ".join(refused.stderr.split())
    _, report = audit(str(alone), tmp_path)
    assert set(with_status(report, "finding")) == {"OLS-1403"}
    done = run(
        "docker", "exec", HOSTS[0].container, "sh", "-c", reason.split("`")[1].removeprefix("sudo ")
    )
    assert done.returncode == 0, done.stderr
    done = command("deploy", alone)
    assert done.returncode == 0, done.stderr
    with class_at_work(2) as seen:
        pass
    assert seen.count(200) == len(seen.rows) > 0
    run("docker", "start", *(member.container for member in HOSTS[1:]))
    until(lambda: all(one["reached"] for one in hosts_of(ROOT / cluster.INVENTORY)), 60)
    done = deploy()
    assert done.returncode == 0, done.stderr
    settled()
