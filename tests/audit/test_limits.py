"""The limits: as Docker has them, and as the kernel enforces them."""

from __future__ import annotations

from math import inf

from ollama_stack.config.types import size_bytes
from tests.audit.control import Finding, control
from tests.audit.live import Live

PIDS = 256  # as templates/ollama/docker-compose.yml.j2 has it


def size(count: object) -> str:
    """Bytes, for people."""
    if count == inf:
        return "no limit"
    return f"{int(str(count)) / 2**30:g} GiB ({count} bytes)" if count else "none"


@control("OLS-101", "Docker limits memory", "high", "rule of thumb; CIS Docker 5.11")
def test_docker_limits_memory(live: Live) -> Finding:
    """Without a limit one model takes the memory of everything else on the host."""
    declared = size_bytes(live.settings.ollama_memory)
    return live.ollama.read("HostConfig.Memory").equals(declared, size)


@control("OLS-102", "The kernel limits memory", "high", "rule of thumb; CIS Docker 5.11")
def test_kernel_limits_memory(live: Live) -> Finding:
    """Docker's figure is a wish; the cgroup is what the kernel enforces."""
    declared = size_bytes(live.settings.ollama_memory)
    return live.cgroup.read("memory").equals(str(declared), size)


@control("OLS-103", "Docker limits the CPU", "high", "rule of thumb; CIS Docker 5.12")
def test_docker_limits_cpu(live: Live) -> Finding:
    """Without a limit an answer takes the CPU of everything else on the host."""
    limit = live.ollama.read("HostConfig.NanoCpus")
    # Compose counts CPUs in 32-bit floats.
    same = abs(limit.value / 1e9 - live.settings.ollama_cpus) < 1e-4 * live.settings.ollama_cpus
    return limit.meets(f"{live.settings.ollama_cpus:g} CPUs", same, f"{limit.value / 1e9:g} CPUs")


@control("OLS-104", "The kernel limits the CPU", "high", "rule of thumb; CIS Docker 5.12")
def test_kernel_limits_cpu(live: Live) -> Finding:
    """Docker's figure is a wish; the cgroup's quota is what the kernel enforces."""
    limit = live.cgroup.cpus
    same = abs(limit.value - live.settings.ollama_cpus) < 1e-4 * live.settings.ollama_cpus
    return limit.meets(f"{live.settings.ollama_cpus:g} CPUs", same, f"{limit.value:g} CPUs")


@control("OLS-105", "Docker closes swap", "high", "ours: a limit alone allows as much swap again")
def test_docker_closes_swap(live: Live) -> Finding:
    """A model in swap answers so slowly that the class believes the server is dead."""
    both = live.ollama.read("HostConfig.MemorySwap")
    memory = live.ollama.read("HostConfig.Memory").value
    return both.meets(size(memory), both.value == memory > 0, size(both.value))


@control(
    "OLS-106", "The kernel closes swap", "high", "ours: a limit alone allows as much swap again"
)
def test_kernel_closes_swap(live: Live) -> Finding:
    """A model in swap answers so slowly that the class believes the server is dead."""
    return live.cgroup.swap.equals(0, size)


@control("OLS-107", "Docker reserves memory", "medium", "rule of thumb")
def test_docker_reserves_memory(live: Live) -> Finding:
    """Under pressure the host takes memory from others first."""
    declared = size_bytes(live.settings.ollama_memory_reservation)
    return live.ollama.read("HostConfig.MemoryReservation").equals(declared, size)


@control("OLS-108", "The kernel reserves memory", "medium", "rule of thumb")
def test_kernel_reserves_memory(live: Live) -> Finding:
    """Docker's figure is a wish; reclaim respects the least of the cgroups up to the root."""
    declared = size_bytes(live.settings.ollama_memory_reservation)
    return live.cgroup.reservation.equals(declared, size)


@control("OLS-109", "Docker limits processes", "medium", "CIS Docker 5.29")
def test_docker_limits_processes(live: Live) -> Finding:
    """A fork bomb has to stay in the container."""
    return live.ollama.read("HostConfig.PidsLimit").equals(PIDS)


@control("OLS-110", "The kernel limits processes", "medium", "CIS Docker 5.29")
def test_kernel_limits_processes(live: Live) -> Finding:
    """Docker's figure is a wish; the cgroup is what the kernel enforces."""
    return live.cgroup.read("pids").equals(str(PIDS))
