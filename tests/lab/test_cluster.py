"""Three of the lab's servers at one address: from bare, by one run; what breaks is mended, and nobody is cut off."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import cluster
from lab.cluster import HOSTS, TOKEN, class_at_work, deploy, on, settled
from tests.lab.conftest import ACTIONS
from tests.lab.test_audit import audit, with_status
from tests.lab.test_hosts import bare


@pytest.fixture(scope="module")
def servers() -> Iterator[None]:
    os.environ[TOKEN] = "0123456789abcdef0123456789abcdef"
    with bare(HOSTS):
        done = deploy()
        assert done.returncode == 0, done.stderr
        yield
    del os.environ[TOKEN]


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
