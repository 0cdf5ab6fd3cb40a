"""A change that nobody found good is taken back by the host itself."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.unit.host.double import SECONDS, Host, until

pytestmark = pytest.mark.process


def test_a_run_that_ends_before_it_has_found_its_change_good_leaves_the_old_release(
    service: Host, operator: subprocess.Popen[bytes]
) -> None:
    service.stage("v2")
    assert service.run("switch", "staged").returncode == 0
    assert service.unconfirmed.exists()
    assert service.now == "v2"
    operator.kill()
    until(lambda: not service.unconfirmed.exists())
    assert service.now == "v1"
    why = r"the run of ops@school, begun 20\S+Z, ended before it found its change good"
    until((service.releases / "returned").exists)
    assert re.fullmatch(rf"20\S+Z: {why}\n", (service.releases / "returned").read_text())
    assert re.search(rf"^{why}\nreturned to release 1,", service.log.read_text(), re.MULTILINE)
    service.keep("v3")  # which somebody has found good
    assert not (service.releases / "returned").exists()


def test_a_change_that_was_found_good_stays_when_its_run_ends(
    service: Host, operator: subprocess.Popen[bytes]
) -> None:
    service.keep("v2")
    operator.kill()
    assert service.run("settle").stdout == ""
    assert (service.now, service.current) == ("v2", "2")


def test_what_is_good_again_is_confirmed_without_another_release(
    service: Host, operator: subprocess.Popen[bytes]
) -> None:
    service.run("switch", "staged", "ollama")
    assert service.unconfirmed.exists()
    service.run("commit", "current")
    assert (service.unconfirmed.exists(), service.kept) == (False, ["1"])


def test_a_host_that_was_switched_off_goes_back_when_it_starts(
    service: Host, operator: subprocess.Popen[bytes]
) -> None:
    """Nobody watches there any more, and no run tells it how long to wait."""
    service.stage("v2")
    service.run("switch", "staged")
    service.unconfirmed.write_text(
        "1 2 2026-11-23T08:00:00Z ops@school\nQUEUE=1 START=180 LOAD=900 ANSWER=300 LOOK=45\n"
    )
    seconds = dict.fromkeys(SECONDS, "")
    assert "returned to release 1" in service.run("settle", **seconds).stdout
    assert (service.now, service.unconfirmed.exists()) == ("v1", False)


def test_a_run_begins_once(service: Host, operator: subprocess.Popen[bytes]) -> None:
    for _ in range(2):
        service.run("begin")
    listed = subprocess.run(["ps", "-ewwo", "pid=,ppid=,args="], capture_output=True, text=True)
    watching = {
        pid: parent
        for pid, parent, line in (one.split(None, 2) for one in listed.stdout.splitlines())
        if line.endswith(f"{service.folder} begin")
    }
    # Where a shell asks a program, a copy of its own waits for the answer.
    assert len([pid for pid, parent in watching.items() if parent not in watching]) == 1
    assert service.calls.read_text() == ""
