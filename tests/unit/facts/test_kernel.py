"""What a host's kernel gives, by the files that it really has there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ollama_stack.facts.docker import EngineFlags, OtherEngine
from ollama_stack.facts.docker_client import ClientProxies, OwnCompose
from ollama_stack.facts.host import Room, Space, UplinkMtu
from ollama_stack.facts.kernel import MemTotal, NoProfiles, Processors, Unbounded

pytestmark = pytest.mark.process

CGROUP2 = "cpuset cpu io memory hugetlb pids rdma misc\n"
CGROUP1 = {
    "cpu/cpu.cfs_quota_us": "-1\n",
    "memory/memory.limit_in_bytes": "9223372036854771712\n",
    "memory/memory.memsw.limit_in_bytes": "9223372036854771712\n",
    "pids/cgroup.procs": "1\n",
}
MEMINFO = "MemTotal:        8032384 kB\nMemFree:  1 kB\nHugePages_Total:       0\nHugetlb:               0 kB\n"


def output(command: object, folder: Path, files: dict[str, str]) -> list[str]:
    """What a fact's command prints on a host with these files."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "cgroup").mkdir(exist_ok=True)
    script = str(command).replace("/sys/fs/cgroup", f"{folder}/cgroup")
    for root in ("/proc/", "/run/", "/sys/class/", "/sys/module/"):
        script = script.replace(root, f"{folder}{root}")
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def cgroups(files: dict[str, str]) -> dict[str, str]:
    return {f"cgroup/{name}": text for name, text in files.items()}


@pytest.mark.parametrize(
    ("files", "line", "missing"),
    [
        ({"cgroup.controllers": CGROUP2}, "quiet", []),
        # Raspberry Pi OS, whose firmware appends cgroup_disable=memory.
        ({"cgroup.controllers": "cpuset cpu io pids\n"}, "cgroup_disable=memory", ["memory"]),
        ({"cgroup.controllers": "cpuset io memory pids\n"}, "quiet", ["cpu"]),
        ({"cgroup.controllers": CGROUP2}, "quiet swapaccount=0", ["swap"]),
        (CGROUP1, "quiet", []),
        (
            {name: text for name, text in CGROUP1.items() if "memsw" not in name},
            "systemd.unified_cgroup_hierarchy=0",
            ["swap"],
        ),
        (
            {name: text for name, text in CGROUP1.items() if "memory/" not in name},
            "cgroup_disable=memory",
            ["memory", "swap"],
        ),
        ({}, "quiet", []),
    ],
)
def test_what_a_kernel_cannot_bound_is_known(
    files: dict[str, str], line: str, missing: list[str], tmp_path: Path
) -> None:
    there = cgroups(files) | {"proc/cmdline": f"root=/dev/sda1 {line}\n"}
    assert Unbounded().process(output(Unbounded().command(), tmp_path, there)) == missing


@pytest.mark.parametrize(
    ("meminfo", "files", "size"),
    [
        (MEMINFO, {}, 8032384 * 1024),
        (MEMINFO, CGROUP1, 8032384 * 1024),
        (MEMINFO, {"memory.max": "max\n"}, 8032384 * 1024),
        (MEMINFO, {"memory.max": "4294967296\n"}, 4 * 2**30),
        (MEMINFO, CGROUP1 | {"memory/memory.limit_in_bytes": "4294967296\n"}, 4 * 2**30),
        (
            MEMINFO.replace("Hugetlb:               0", "Hugetlb:         4194304"),
            {},
            (8032384 - 4194304) * 1024,
        ),
        ("MemTotal:        8032384 kB\n", {}, 8032384 * 1024),
    ],
)
def test_memory_is_what_processes_can_have(
    meminfo: str, files: dict[str, str], size: int, tmp_path: Path
) -> None:
    there = cgroups(files) | {"proc/meminfo": meminfo}
    assert MemTotal().process(output(MemTotal().command(), tmp_path, there)) == size


def test_cpus_are_those_that_may_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    command = str(Processors().command())
    assert Processors().process(output(f"taskset --cpu-list 0 {command}", tmp_path, {})) == 1


def test_a_folder_s_room_is_that_of_the_disk_it_will_be_on(tmp_path: Path) -> None:
    found = Room().process(output(Room().command(str(tmp_path / "a b/c")), tmp_path, {}))
    assert found
    assert found.writable
    assert found.size > 0
    assert found.files
    assert Room().process(["r 1073741824 -"]) == Space(False, 2**30, None)  # btrfs


def test_compose_in_root_s_own_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    command = OwnCompose().command()
    assert output(command, tmp_path, {}) == []
    plugin = tmp_path / ".docker/cli-plugins/docker-compose"
    plugin.parent.mkdir(parents=True)
    plugin.write_text("#!/bin/sh\necho 2.2.3\n")
    plugin.chmod(0o755)
    assert output(command, tmp_path, {}) == [str(plugin), "2.2.3"]
    plugin.chmod(0o644)
    assert output(command, tmp_path, {}) == [str(plugin)]


def test_proxies_of_the_docker_command_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    fact = ClientProxies()
    assert output(fact.command(), tmp_path, {}) == []
    config = tmp_path / ".docker/config.json"
    config.parent.mkdir()
    config.write_text('{"proxies": {"default": {"httpProxy": "http://p:1", "noProxy": "a"}}}')
    assert fact.process(output(fact.command(), tmp_path, {})) == ["httpProxy"]


def test_an_engine_s_flags_are_those_of_the_one_that_runs(tmp_path: Path) -> None:
    fact = EngineFlags()
    assert output(fact.command(), tmp_path, {}) == []
    running = {"run/docker.pid": "7", "proc/7/cmdline": "dockerd\0-H\0fd://\0"}
    assert fact.process(output(fact.command(), tmp_path, running)) == ["dockerd", "-H", "fd://"]


@pytest.mark.parametrize(
    ("socket", "engine"),
    [
        ("run/podman/podman.sock", ["Podman"]),
        ("run/user/1000/docker.sock", ["rootless"]),
        ("run/else.sock", []),
        (None, []),
    ],
)
def test_whose_socket_it_is(
    socket: str | None, engine: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    if socket:
        (tmp_path / "run").mkdir()
        (tmp_path / "run/docker.sock").symlink_to(tmp_path / socket)
    command = OtherEngine().command().replace("docker --version", "false")
    assert output(command, tmp_path, {socket: ""} if socket else {}) == engine


def test_apparmor_without_its_programs_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, there = NoProfiles().command(), {"sys/module/apparmor/parameters/enabled": "Y\n"}
    assert output(command, tmp_path, {}) == []
    (tmp_path / "apparmor_parser").write_text("")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert output(command, tmp_path, there) == ["missing"]
    (tmp_path / "apparmor_parser").chmod(0o755)
    assert output(command, tmp_path, there) == []


ROUTES = "Iface\tDestination\tGateway\n"
BRIDGED = {"sys/class/net/br0/mtu": "1400\n", "sys/class/net/br0/bridge/forward_delay": "0\n"}
DOCKER = {
    "sys/class/net/docker0/mtu": "1500\n",
    "sys/class/net/docker0/bridge/forward_delay": "0\n",
}
ETH0 = {"sys/class/net/eth0/mtu": "1450\n"}


@pytest.mark.parametrize(
    ("routes", "devices", "mtu"),
    [
        (["eth0\t00000000\t0101A8C0", "docker0\t000011AC\t00000000"], ETH0 | DOCKER, 1450),
        # A host of virtual machines: its own way out is a bridge.
        (["br0\t00000000\t0101A8C0", "docker0\t000011AC\t00000000"], BRIDGED | DOCKER, 1400),
        (["docker0\t000011AC\t00000000", "eth0\t0000A8C0\t00000000"], ETH0 | DOCKER, 1450),
        (["docker0\t000011AC\t00000000"], DOCKER, 1500),
        ([], {}, 1500),
    ],
)
def test_the_mtu_is_that_of_the_way_out(
    routes: list[str], devices: dict[str, str], mtu: int, tmp_path: Path
) -> None:
    table = {"proc/net/route": ROUTES + "".join(f"{line}\n" for line in routes)}
    lines = output(UplinkMtu().command(), tmp_path, table | devices)
    assert (UplinkMtu().process(lines) if lines else UplinkMtu.default()) == mtu
