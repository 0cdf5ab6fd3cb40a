"""The limits: as Docker has them, and as the kernel enforces them."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_stack.forms import size_bytes
from ollama_stack.settings import Settings
from tests.audit.cgroup import Cgroup

Inspected = dict[str, Any]


def test_docker_limits_memory(host_config: Inspected, settings: Settings) -> None:
    assert host_config["Memory"] == size_bytes(settings.ollama_memory), "the memory limit"


def test_kernel_limits_memory(cgroup: Cgroup, settings: Settings) -> None:
    assert cgroup.read("memory") == str(size_bytes(settings.ollama_memory)), "the memory limit"


def test_docker_limits_cpu(host_config: Inspected, settings: Settings) -> None:
    assert host_config["NanoCpus"] / 1e9 == pytest.approx(settings.ollama_cpus), "the CPU limit"


def test_kernel_limits_cpu(cgroup: Cgroup, settings: Settings) -> None:
    # Compose counts CPUs in 32-bit floats, the kernel in microseconds a period.
    assert cgroup.cpus == pytest.approx(settings.ollama_cpus, rel=1e-4), "the CPU limit"


def test_docker_closes_swap(host_config: Inspected) -> None:
    assert host_config["MemorySwap"] == host_config["Memory"], "swap beyond the memory limit"


def test_kernel_closes_swap(cgroup: Cgroup) -> None:
    assert cgroup.swap == 0, "bytes of swap beyond the memory limit"


def test_docker_reserves_memory(host_config: Inspected, settings: Settings) -> None:
    reserved = size_bytes(settings.ollama_memory_reservation)
    assert host_config["MemoryReservation"] == reserved, "the memory reservation"


def test_kernel_reserves_memory(cgroup: Cgroup, settings: Settings) -> None:
    reserved = size_bytes(settings.ollama_memory_reservation)
    assert cgroup.read("reservation") == str(reserved), "the memory reservation"
