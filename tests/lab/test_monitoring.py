"""A server of the lab's own that watches itself, by one deploy from bare: what hangs comes first, and calls."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.fleet import MEMBERS, USER, Member
from lab.inject import BODY, INVENTORY, must, on, serves
from tests.blocks import run_by
from tests.lab.conftest import ROOT, Done, run
from tests.lab.test_hosts import bare

pytestmark = pytest.mark.kind

HOST = MEMBERS[0]
CLONE = "/opt/ollama-stack"
KEY = f"/home/{USER}/.ssh/id_ed25519"
FLOOD = (
    "for i in $(seq 30); do (while test -e /run/flood; do curl -s --max-time 300 -o /dev/null"
    f" 127.0.0.1:11434/api/generate -d '{BODY}'; sleep 1; done) & done"
)


def until(true: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(2)


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One server, which watches too; the rest of the way that a site goes by hand is gone."""
    path = tmp_path_factory.mktemp("site") / "lab_ssh.py"  # whose name makes it the lab's group
    text = (ROOT / INVENTORY).read_text()
    head = text.partition("# One CPU each")[0]
    path.write_text(f"{head}low = [('host-1', {{**_ssh, 'ssh_port': 2301, 'ollama_cpus': 1.0}})]\nmonitoring = ['host-1']\n")  # fmt: skip
    with bare([HOST]):
        _clone(HOST, path, tmp_path_factory.mktemp("packages"))
        yield path


def _clone(member: Member, inventory: Path, packages: Path) -> None:
    """As docs/monitoring.md wants it: a clone with its packages, and a user who may log in from there."""
    here = inventory.read_text().replace("2301", "22").replace("~/.cache/ollama-stack/lab-hosts/key", KEY)  # fmt: skip
    here = here.replace("~/.cache/ollama-stack/lab-hosts/known_hosts", f"/home/{USER}/.ssh/known")
    here = here.replace('"yes"', '"accept-new"')
    must(member, f"mkdir -p {CLONE}/.venv/bin {CLONE}/site {inventory.parent} /home/{USER}/.ssh")
    must(member, "apt-get -qq update && apt-get -qq -y install python3 openssh-client >/dev/null")
    install = (sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes")
    done = run(*install, "--target", packages, "--requirement", "requirements.txt")
    assert done.returncode == 0, done.stderr
    _sent(member, f"git archive HEAD | docker exec -i {member.container} tar -xC {CLONE}")
    _sent(member, f"tar -cC {packages} . | docker exec -i {member.container} tar -xC {CLONE}/site")
    command = f'#!/bin/sh\nPYTHONPATH={CLONE}:{CLONE}/site exec python3 -m ollama_stack.cli "$@"\n'
    for path, content in {f"{CLONE}/.venv/bin/ollama-stack": command, str(inventory): here}.items():
        subprocess.run(["docker", "exec", "-i", member.container, "sh", "-c", f"cat >{path}"], input=content, text=True, check=True)  # fmt: skip
    must(member, f"chmod 755 {CLONE}/.venv/bin/ollama-stack && chown -R {USER}: /home/{USER}/.ssh")
    must(
        member, f"chmod -R a+rX {CLONE} {inventory.parent} && chmod a+x {inventory.parents[1]} /tmp"
    )
    must(member, f"runuser -u {USER} -- ssh-keygen -q -t ed25519 -N '' -f {KEY}")
    must(member, f"cat {KEY}.pub >>/home/{USER}/.ssh/authorized_keys")


def _sent(member: Member, line: str) -> None:
    subprocess.run(["bash", "-o", "pipefail", "-c", line], cwd=ROOT, check=True)


def stack(verb: str, inventory: Path, *arguments: str) -> Done:
    return run(".venv/bin/ollama-stack", verb, inventory, *arguments)


def asked(path: str, query: str = "") -> Any:
    """Of Prometheus, on the server."""
    request = f"--get --data-urlencode 'query={query}' 127.0.0.1:9090/api/v1/{path}"
    answer = on(HOST, f"curl -fsS --noproxy '*' {request}").stdout
    return json.loads(answer)["data"] if answer else {}


def calling() -> set[str]:
    alarms = asked("alerts").get("alerts", [])
    return {one["labels"]["alertname"] for one in alarms if one["state"] == "firing"}


def listening() -> set[str]:
    sockets = must(HOST, "ss -Hltn")
    ports = ("9090", "9093", "9094", "9100")
    return {line.split()[3] for line in sockets.splitlines() if line.split()[3].endswith(ports)}


def test_one_deploy_has_a_server_watched_and_a_second_changes_nothing(inventory: Path) -> None:
    done = stack("deploy", inventory)
    assert done.returncode == 0, done.stdout + done.stderr
    assert serves(HOST)
    assert listening() == {f"127.0.0.1:{port}" for port in (9090, 9093, 9100)}
    until(lambda: bool(asked("query", 'ollama_state{state="serving"} == 1').get("result")), 90)
    before = must(HOST, "systemctl show --property MainPID ollama-stack-prometheus")
    report = json.loads(stack("plan", inventory, "--json").stdout)
    assert report["hosts"][0]["changes"] == []
    assert stack("deploy", inventory).returncode == 0
    assert must(HOST, "systemctl show --property MainPID ollama-stack-prometheus") == before


def test_what_hangs_and_what_is_full_comes_first_and_calls(inventory: Path) -> None:
    assert not calling() & {"ServiceDown", "QueueFull", "HostUnreachable", "NobodyLooks"}
    must(HOST, "docker pause ollama")
    try:
        run("docker", "exec", "--detach", HOST.container, "sh", "-c", f"touch /run/flood; {FLOOD}")
        until(lambda: {"ServiceDown", "QueueFull"} <= calling(), 300)
        status = stack("status", inventory).stdout
    finally:
        on(HOST, "rm -f /run/flood; docker unpause ollama")
    assert "host-1" in status
    assert "Ollama does not answer" in status
    assert "the queue is full" in status
    until(lambda: not {"ServiceDown", "QueueFull"} & calling(), 180)


def test_a_file_that_amtool_does_not_understand_leaves_what_runs(
    inventory: Path, tmp_path: Path
) -> None:
    calls = tmp_path / "alertmanager.yml"
    calls.write_text("route: {receiver: none-such}\n")
    done = run(".venv/bin/pyinfra", "-y", inventory, "monitoring.py", "--data", f"monitoring_alertmanager={calls}")  # fmt: skip
    assert done.returncode == 1
    assert "monitoring_alertmanager: amtool does not understand the file" in done.stderr
    assert on(HOST, "systemctl is-active ollama-stack-alertmanager").stdout == "active\n"
    assert stack("plan", inventory).returncode == 0


def test_it_goes_as_the_page_says(inventory: Path) -> None:
    (block,) = run_by("tests/lab/test_monitoring.py")
    done = run("docker", "exec", HOST.container, "bash", "-ec", block.code)
    assert done.returncode == 0, done.stdout + done.stderr
    assert listening() == set()
    assert on(HOST, "ls /etc/systemd/system").stdout.count("ollama-stack-status") == 0
    assert serves(HOST)
