"""Runs on a cluster: what they say of hosts that are gone, of managers without a quorum, and of a certificate."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from ollama_stack.stack.certificates import issue, new_authority
from tests.unit.commands import command
from tests.unit.test_plan import BARE, pyinfra

pytestmark = pytest.mark.process

FAKE = {"fake_delay": 0, "fake_delay_jitter": 0, "fake_responses": BARE, "_sudo": False}
CLOSED = {"ssh_hostname": "127.0.0.1", "ssh_port": 9, "ssh_user": "ops"}


def cluster(folder: Path, here: int, gone: int, **more: Any) -> str:
    """An inventory of one cluster: hosts that answer, and hosts whose port is closed."""
    token = folder / "class"
    token.write_text("0123456789abcdef" * 4)
    token.chmod(0o600)
    own: dict[str, Any] = {"cluster": "school", "ollama_bind": "0.0.0.0"}
    own |= {"cluster_encrypted": False, "gateway_tokens": {"class": f"file:{token}"}}
    own |= more
    hosts = [(f"@fake/h{n}", FAKE | own | {"cluster_address": f"10.0.0.{n}"}) for n in range(here)]
    hosts += [(f"gone-{n}", CLOSED | own) for n in range(gone)]
    path = folder / "school.py"
    path.write_text(f"medium = {hosts!r}\n")
    return str(path)


def planned(inventory: str) -> dict[str, list[str]]:
    """Each host's reasons in the plan."""
    done = command("ollama_stack.cli", "plan", inventory, "--json")
    return {host["host"]: host["reasons"] for host in json.loads(done.stdout)["hosts"]}


def test_who_is_reached_is_told_in_one_sentence_who_is_not(tmp_path: Path) -> None:
    reasons = planned(cluster(tmp_path, 2, 7))
    assert reasons["@fake/h0"] == reasons["@fake/h1"]
    (sentence,) = reasons["@fake/h0"]
    assert sentence.startswith(
        "cluster: the hosts of school change together, and gone-0, gone-1, gone-2, gone-3, gone-4, 2 more are not of "
    )
    assert reasons["gone-6"][0].startswith("ssh_port: nothing listens on port 9 of 127.0.0.1; ")


def test_many_hosts_that_nobody_reaches_are_a_line_each(tmp_path: Path) -> None:
    inventory = cluster(tmp_path, 0, 19)
    reasons = planned(inventory)
    assert [len(own) for own in reasons.values()] == [1] * 19
    done = command("ollama_stack.cli", "status", inventory, "--json")
    hosts = json.loads(done.stdout)["hosts"]
    assert [host["state"] for host in hosts] == ["unreachable"] * 19


def test_managers_without_a_quorum_are_not_taken_for_another_swarm_s(tmp_path: Path) -> None:
    swarm: dict[str, Any] = {"LocalNodeState": "active", "NodeID": "x", "NodeAddr": "10.0.0.1"}
    swarm |= {"ControlAvailable": True, "RemoteManagers": None}
    answers = BARE | {
        "command -v docker || true": "/usr/bin/docker",
        "json .Swarm": json.dumps(swarm),
    }
    waived = {
        "ollama_max_queue": 9,
        "allow_unusual": ["ollama_max_queue"],
    }  # no reason, but a warning
    fakes = cluster(tmp_path, 1, 0, fake_responses=answers, **waived)
    (reason,) = planned(fakes)["@fake/h0"]
    assert reason.startswith("cluster: the managers have no quorum: ")
    assert "--force-new-cluster --advertise-addr 10.0.0.1` on @fake/h0 alone, " in reason


def test_one_certificate_is_for_every_manager_s_names_and_addresses(
    tmp_path: Path, folder: Path
) -> None:
    fakes = cluster(tmp_path, 4, 0, gateway_tls="own", gateway_tls_folder=str(folder))
    run = pyinfra(fakes, "deploy.py", "--dry", "--json")
    assert run.returncode == 0, run.stderr
    plan = {op["name"]: op["hosts_with_change"] for op in json.loads(run.stdout)["plan"]}
    assert plan["Make the certificate and the site's certificate authority"] == ["@fake/h0"]
    names = "h0, localhost, 127.0.0.1, 10.0.0.0, h1, 10.0.0.1, h2, 10.0.0.2: there is none yet"
    assert f"certificate for {names}" in run.stderr


def test_another_checkout_makes_no_second_authority_for_a_cluster(
    tmp_path: Path, folder: Path
) -> None:
    ours = new_authority("school", datetime.now(timezone.utc))
    pem = issue(ours, ["h0"], datetime.now(timezone.utc))
    shown = pem[: pem.index("-----BEGIN PRIVATE")].splitlines()
    own = {"gateway_tls": "own", "gateway_tls_folder": str(folder)}
    fakes = cluster(tmp_path, 1, 0, **own, fake_responses=BARE | {"openssl s_client": shown})
    (reason,) = planned(fakes)["@fake/h0"]
    assert reason.startswith("gateway_tls: this host has a certificate of Ollama CA 20")
    assert (
        "or, to begin anew, docker stack rm ollama on a manager, which ends what serves until you deploy; "
        in reason
    )
