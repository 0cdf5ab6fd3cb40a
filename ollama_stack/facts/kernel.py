"""What of a host its containers can have, and what its kernel can keep them to."""

from __future__ import annotations

from pyinfra.api import FactBase
from typing_extensions import override

from ollama_stack.facts.lines import Lines

CGROUP1 = {
    "cpu": "cpu/cpu.cfs_quota_us",
    "memory": "memory/memory.limit_in_bytes",
    "pids": "pids/cgroup.procs",
    "swap": "memory/memory.memsw.limit_in_bytes",
}


class Processors(FactBase[int]):
    """CPUs that this login's processes may run on; 0 if the host does not say."""

    default = int

    @override
    def command(self) -> str:
        return "env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc"

    @override
    def process(self, output: list[str]) -> int:
        return int(output[0])


class MemTotal(FactBase[int]):
    """Memory that processes of the host can have, bytes; 0 if it does not say.

    What is kept as huge pages is not theirs, and a host that is itself a container may have a limit.
    """

    default = int

    @override
    def command(self) -> str:
        return (
            "grep -E '^(MemTotal|Hugetlb):' /proc/meminfo; cd /sys/fs/cgroup &&"
            " cat memory.max memory/memory.limit_in_bytes 2>/dev/null || true"
        )

    @override
    def process(self, output: list[str]) -> int:
        parts = (line.partition(":") for line in output)
        sizes = {name: int(rest.split()[0]) for name, colon, rest in parts if colon}
        limits = [int(line) for line in output if line.isdecimal()]
        return min((sizes["MemTotal"] - sizes.get("Hugetlb", 0)) * 1024, *limits, 2**63)


class Unbounded(Lines):
    """What this kernel cannot bound of a container: cpu, memory, pids, swap.

    Nothing where no control groups are mounted: there it does not say.
    """

    @override
    def command(self) -> str:
        tests = " ".join(f"test -e {file} || echo {name};" for name, file in CGROUP1.items())
        return (
            "cd /sys/fs/cgroup; if test -f cgroup.controllers; then for each in cpu memory pids; do"
            ' grep -qw "$each" cgroup.controllers || echo "$each"; done;'
            " if grep -qw swapaccount=0 /proc/cmdline; then echo swap; fi;"
            f" elif test -d memory || test -d cpu; then {tests} fi"
        )


class NoProfiles(FactBase[bool]):
    """Whether AppArmor is at work, and nothing there can load a profile: such a Docker starts no container."""

    default = bool

    @override
    def command(self) -> str:
        return (
            'if test "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y &&'
            " ! command -v apparmor_parser >/dev/null; then echo missing; fi"
        )

    @override
    def process(self, output: list[str]) -> bool:
        return bool(output)
