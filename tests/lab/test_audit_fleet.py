"""The audit over SSH: as root or not, side by side, and when a host is gone."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from lab.sshd import ADDRESSES, Sshd, sshd
from ollama_stack.inventory import read_inventory
from tests.lab.conftest import MEMBER, NOBODY, SUDOER, run
from tests.lab.mutations import FLEET, Batch, batches
from tests.lab.test_audit import audit, expected, seen, with_status


def test_root_dockers_group_or_sudo_is_enough(server: Sshd, tmp_path: Path) -> None:
    logins = zip(ADDRESSES, ("root", MEMBER, SUDOER), strict=False)
    hosts = [(f"web-{login}", server.data(address, login)) for address, login in logins]
    done, report = audit(server.inventory(hosts), tmp_path)
    assert done.returncode == 0, done.stdout
    assert [host["host"] for host in report["hosts"]] == [name for name, _ in hosts]
    assert not with_status(report, "finding", "error")


def test_who_may_not_ask_and_who_is_gone_are_errors_and_hide_no_other(
    server: Sshd, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    gone = server.data("127.0.0.1") | {"ssh_port": port}
    may_not, may = server.data(ADDRESSES[0], NOBODY), server.data(ADDRESSES[1], MEMBER)
    inventory = server.inventory([("gone", gone), ("web-1", may_not), ("web-2", may)])
    done, report = audit(inventory, tmp_path)
    assert done.returncode == 2, done.stdout
    first, second, third = report["hosts"]
    assert {result["status"] for result in first["results"]} == {"error"}
    assert "cannot be reached: ssh: connect to host 127.0.0.1" in first["results"][0]["note"]
    assert done.stdout.count("cannot be reached") == 1  # not once a control
    assert "<error" in (tmp_path / "junit.xml").read_text()
    alone = {"hosts": [second]}
    assert {result["note"] for result in with_status(alone, "error").values()} >= {
        f"{NOBODY} may not run `docker container inspect ollama ollama-gateway ollama-app`; put "
        "the user into the group docker, or allow `sudo -n`"
    }
    assert with_status(alone, "pass").keys() >= {"OLS-509", "OLS-603", "OLS-1001"}
    assert not {result["status"] for result in third["results"]} & {"finding", "error"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--inventory=inventories/none.py"], "inventories/none.py: there is no such inventory"),
        (["--inventory=inventories/lab.py", "--limit=high"], "no host matches high"),
        ([], "which hosts? pytest tests/audit --inventory inventories/X.py"),
        (["--inventory=inventories/lab.py", "--since=none.json"], "none.json: No such file"),
    ],
)
def test_nobody_to_audit_is_no_success(options: list[str], message: str) -> None:
    done = run(".venv/bin/pytest", "tests/audit", *options)
    assert done.returncode == 2, done.stdout
    assert message in done.stdout + done.stderr


def odd_one_out(batch: Batch, server: Sshd) -> dict[str, set[str]]:
    """Three names of this machine; behind the third doubles answer for a machine unlike them."""
    folder = server.folder / "-".join(batch)  # which its users may read
    doubles = folder / "doubles"
    doubles.mkdir(parents=True)
    for mutation in batch.values():
        for name, script in mutation.doubles.items():
            (doubles / name).write_text(f"#!/bin/sh\n{script}\n")
            (doubles / name).chmod(0o755)
    (folder / "sshd").mkdir()
    path = f"PATH={doubles}:/usr/sbin:/usr/bin:/sbin:/bin"
    with sshd(folder / "sshd", environment=path, port=2223) as odd:
        inventory = server.inventory(
            [
                ("web-1", server.data(ADDRESSES[0], MEMBER)),
                ("web-2", server.data(ADDRESSES[1], MEMBER)),
                ("web-3", odd.data(ADDRESSES[2], MEMBER)),
            ]
        )
        return seen(read_inventory(str(inventory)), {}, folder / "none")


def test_a_host_that_differs_from_its_fleet(server: Sshd) -> None:
    (batch,) = batches(FLEET)
    red = odd_one_out(batch, server)
    assert red == {"web-1": set(), "web-2": set(), "web-3": expected(batch)}


@pytest.mark.slow
@pytest.mark.parametrize("id_", FLEET)
def test_each_difference_is_seen_alone(id_: str, server: Sshd) -> None:
    batch = {id_: FLEET[id_]}
    red = odd_one_out(batch, server)
    assert red == {"web-1": set(), "web-2": set(), "web-3": expected(batch)}
