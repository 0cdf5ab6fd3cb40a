"""A real kernel, systemd as process 1, cgroup v2: bare, deployed, audited, squeezed, started again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator

import pytest

from lab.machine import SSH
from tests.lab.conftest import ACTIONS, Done, run, sh, until

pytestmark = pytest.mark.kind
INVENTORY = "inventories/lab_vm.py"
CONTAINERS = ("ollama", "ollama-gateway", "ollama-app")
ASK = """curl -sS --max-time 300 127.0.0.1:11434/api/generate --data '{"model": "smollm2:135m", \
"prompt": "hi", "stream": false, "options": {"num_predict": 4}}'"""
# A process that takes what memory there is, and more, for some seconds.
SQUEEZE = """
import os, time
lines = open("/proc/meminfo").read().splitlines()
(available,) = (int(line.split()[1]) >> 10 for line in lines if line.startswith("MemAvailable"))
taken = [bytearray(os.urandom(4096)) * 256 for _ in range(available + 500)]
time.sleep(10)
"""


def there(script: str) -> str:
    """A shell line as root on the machine, which must succeed; its output."""
    return sh(f"{SSH} {shlex.quote(f'sudo sh -ec {shlex.quote(script)}')}")


def pyinfra(*arguments: str) -> Done:
    return run(".venv/bin/pyinfra", "-y", INVENTORY, "deploy.py", *arguments)


def audit() -> Done:
    return run(".venv/bin/pytest", "tests/audit", "--inventory", INVENTORY, "--deep", "-q")


def groups(container: str) -> list[str]:
    """Folders of a container's control group and of those above it."""
    pid = there("docker inspect --format '{{.State.Pid}}' " + container).strip()
    path = there(f"cut -d: -f3 /proc/{pid}/cgroup").strip().strip("/").split("/")
    return ["/sys/fs/cgroup/" + "/".join(path[:depth]) for depth in range(len(path), 0, -1)]


def swapped_out() -> int:
    """Bytes that the kernel has written to swap since its start."""
    return int(there("awk '/^pswpout/ {print $2}' /proc/vmstat")) * 4096


def swap_is_closed() -> bool:
    """Whether, for each container, some group up to the root keeps it out of swap."""
    return all(
        "0"
        in there("cat " + " ".join(f"{group}/memory.swap.max" for group in groups(name))).split()
        for name in CONTAINERS
    )


@pytest.fixture(scope="module", autouse=True)
def machine() -> Iterator[None]:
    """It is fresh, and switched off at the end."""
    done = run(".venv/bin/pyinfra", "-y", "inventories/lab.py", "lab/vm.py")
    assert done.returncode == 0, done.stderr
    done = pyinfra()
    assert done.returncode == 0, done.stderr
    yield
    sh("cd ~/.cache/ollama-stack/vm && kill -9 $(cat pid) && rm pid")


def test_a_second_run_changes_nothing() -> None:
    done = pyinfra("--json")
    assert done.returncode == 0, done.stderr
    operations = json.loads(done.stdout)["results"]["operations"]
    assert {one["name"] for one in operations if one["success"]} <= ACTIONS


def test_the_audit_conforms() -> None:
    done = audit()
    assert done.returncode == 0, done.stdout


def test_swap_stays_closed_whatever_systemd_reloads() -> None:
    for change in (
        "true",
        "systemctl daemon-reload",
        "apt-get install --yes --quiet cron",
        "docker update --cpus 1.5 ollama && docker update --cpus 2 ollama",
    ):
        there(change)
        assert swap_is_closed(), change


def test_under_pressure_the_model_stays_in_memory() -> None:
    there("test -e /swap || { fallocate -l 2G /swap && chmod 600 /swap && mkswap -q /swap; }")
    there("swapon /swap || true")
    there(ASK)
    before = swapped_out()
    there(f"python3 -c {shlex.quote(SQUEEZE)}")
    assert swapped_out() - before > 100 << 20  # the machine did swap
    for name in CONTAINERS:
        assert there(f"cat {groups(name)[0]}/memory.swap.current") == "0\n"
    events = dict(line.split() for line in there("cat /sys/fs/cgroup/ollama.slice/memory.events").splitlines())  # fmt: skip
    assert int(events["low"]) > 0  # the kernel counts that it heeded the protection
    there("swapoff /swap")
    assert json.loads(there(ASK))["done"]


def test_a_run_closes_what_somebody_opened() -> None:
    there("echo max > /sys/fs/cgroup/ollama.slice/memory.swap.max")
    assert audit().returncode == 1
    assert pyinfra().returncode == 0
    assert swap_is_closed()


def test_after_a_start_of_the_kernel_it_serves_without_a_run() -> None:
    before = there("cat /proc/sys/kernel/random/boot_id")
    run("sh", "-c", f"{SSH} sudo reboot")
    until(lambda: run("sh", "-c", f"{SSH} cat /proc/sys/kernel/random/boot_id").stdout not in ("", before), 180)  # fmt: skip
    until(lambda: json.loads(there(ASK + " || true") or "{}").get("done", False), 300)
    assert swap_is_closed()
    done = audit()
    assert done.returncode == 0, done.stdout
