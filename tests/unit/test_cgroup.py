"""The kernel's control groups of a container, v1 and v2."""

from __future__ import annotations

import pytest

from ollama_stack.inventory import Target
from tests.audit.cgroup import Cgroup
from tests.audit.control import Reading
from tests.audit.inspected import Inspected
from tests.audit.live import Live
from tests.audit.test_hardening import _memory
from tests.audit.test_limits import size
from tests.unit.conftest import group_data

# v1: recorded in the lab. v2: the form systemd's driver gives on Debian 12 (runc, cgroup v2).
V1 = "9:name=systemd:/docker/18\n4:memory:/docker/18\n2:cpuacct:/docker/18\n1:cpu:/docker/18\n0::/docker/18"
V2 = "0::/system.slice/docker-18.scope"
FILES = {
    "/sys/fs/cgroup/memory/docker/18/memory.limit_in_bytes": "3221225472",
    "/sys/fs/cgroup/memory/docker/18/memory.memsw.limit_in_bytes": "3221225472",
    "/sys/fs/cgroup/memory/docker/18/memory.oom_control": "under_oom 0\noom_kill 2",
    "/sys/fs/cgroup/memory/docker/18/memory.soft_limit_in_bytes": "2147483648",
    "/sys/fs/cgroup/cpu/docker/18/cpu.stat": "nr_periods 100\nthrottled_time 5000000000",
    "/sys/fs/cgroup/cpu/docker/18/cpu.cfs_quota_us": "200000",
    "/sys/fs/cgroup/cpu/docker/18/cpu.cfs_period_us": "100000",
    "/sys/fs/cgroup/system.slice/docker-18.scope/memory.max": "3221225472",
    "/sys/fs/cgroup/system.slice/docker-18.scope/memory.swap.max": "0",
    "/sys/fs/cgroup/system.slice/docker-18.scope/memory.events": "oom 2\noom_kill 2",
    "/sys/fs/cgroup/system.slice/docker-18.scope/memory.low": "2147483648",
    "/sys/fs/cgroup/system.slice/memory.low": "0",
    "/sys/fs/cgroup/system.slice/memory.swap.max": "max",
    "/sys/fs/cgroup/system.slice/docker-18.scope/cpu.stat": "nr_periods 100\nthrottled_usec 5000000",
    "/sys/fs/cgroup/system.slice/docker-18.scope/cpu.max": "200000 100000",
}


def cgroup(proc: str, **changed: str) -> Cgroup:
    """A container's groups; ``cpu_max="max 100000"`` changes the file whose name that is."""
    names = {name.replace("_", "."): text for name, text in changed.items()}
    files = {path: names.get(path.rpartition("/")[2], text) for path, text in FILES.items()}
    return of(proc, files)


def of(proc: str, files: dict[str, str]) -> Cgroup:
    """As these files have it."""

    def cat(paths: str) -> Reading:
        text = "\n".join(files[path] for path in paths.split())
        return Reading(text, f"cat {paths}", text)

    return Cgroup.of(proc, cat)


@pytest.mark.parametrize("proc", [V1, V2])
def test_both_versions_say_the_same(proc: str) -> None:
    live = cgroup(proc)
    assert live.read("memory").value == "3221225472"
    assert live.swap.value == 0
    assert live.cpus.value == 2.0
    assert live.counter("oom", "oom_kill").value == 2
    assert live.reservation.value == (2147483648 if live.v1 else 0)  # system.slice keeps nothing
    assert live.throttled.value == 0.25  # 5 s of the 20 s that 2 CPUs have in 100 periods of 0.1 s


# Recorded on a VM (Debian 13, systemd 257, Docker 26.1.5; facts of 2026-11-27): the files of Ollama's
# scope just started, and after another package with a unit; of system.slice, and of a slice of our own.
SCOPE = {"memory.max": "3221225472", "memory.low": "2147483648", "memory.swap.max": "0"}
OPENED = SCOPE | {"memory.swap.max": "max"}
SYSTEM_SLICE = {"memory.low": "0", "memory.swap.max": "max"}
OUR_SLICE = {"memory.low": "2147483648", "memory.swap.max": "0"}
ID = "0" * 64


@pytest.mark.parametrize(
    ("name", "parent", "scope", "swap", "low"),
    [
        ("system.slice", SYSTEM_SLICE, SCOPE, "none", "none"),
        ("system.slice", SYSTEM_SLICE, OPENED, "no limit", "none"),
        ("ollama.slice", OUR_SLICE, SCOPE, "none", "2 GiB (2147483648 bytes)"),
        ("ollama.slice", OUR_SLICE, OPENED, "none", "2 GiB (2147483648 bytes)"),
        ("ollama.slice", OUR_SLICE | {"memory.low": "0"}, OPENED, "none", "none"),
    ],
)
def test_the_least_figure_up_to_the_root_is_what_the_kernel_keeps(
    name: str, parent: dict[str, str], scope: dict[str, str], swap: str, low: str
) -> None:
    group = f"/{name}/docker-{ID}.scope"
    files = {f"/sys/fs/cgroup{group}/{file}": text for file, text in scope.items()}
    files |= {f"/sys/fs/cgroup/{name}/{file}": text for file, text in parent.items()}
    live = of(f"0::{group}", files)
    assert (size(live.swap.value), size(live.reservation.value)) == (swap, low)
    assert f"/{name} {parent['memory.low']}" in live.reservation.line

    class Host(Live):
        def cgroup_of(self, container: Inspected) -> Cgroup:
            return live

    host = Host(Target("class-1", ("medium",), group_data("all", "medium")))
    limits = {"Memory": 3221225472, "MemorySwap": 3221225472}
    container = Inspected("docker inspect", {"HostConfig": limits})
    assert _memory(host, container, 3221225472).conforms is (swap == "none")
    assert not _memory(host, container, 2**30).conforms


def test_no_cpu_limit_is_more_than_any() -> None:
    assert cgroup(V2, cpu_max="max 100000").cpus.value == float("inf")


def test_open_swap_is_not_zero() -> None:
    assert cgroup(V2, memory_swap_max="max").swap.value > 0
