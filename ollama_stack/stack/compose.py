"""Pure: how far the live containers of a compose project are from its file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

HASH_LABEL = "com.docker.compose.config-hash"
SERVICE_LABEL = "com.docker.compose.service"
STARTING = "is starting"
# Docker sees our words alone: no COMPOSE_PROJECT_NAME or DOCKER_DEFAULT_PLATFORM of the host's, no .env that
# somebody left there.
CLEAN = 'env --ignore-environment PATH="$PATH" HOME="${HOME:-/root}"'
DOCKER = f"{CLEAN} docker"
COMMAND = f"{DOCKER} compose --env-file /dev/null"


class Level(NamedTuple):
    """What one control group allows and keeps, bytes."""

    swap: float
    low: float


def _bytes(figure: str) -> float:
    return math.inf if figure == "max" else int(figure)


@dataclass(frozen=True)
class ComposeProject:
    """A resolved compose file, its services' config hashes, its images' ids and ``docker inspect``."""

    config: dict[str, Any]
    hashes: dict[str, str]
    images: dict[str, str]
    containers: dict[str, dict[str, Any]]
    kernel: dict[int, list[Level]]
    """By first process: its control groups, up to the root; none on cgroup v1."""

    @classmethod
    def parse(
        cls, config: str, hashes: str, images: str, containers: str, kernel: str
    ) -> ComposeProject:
        """From ``config --format json``, ``config --hash '*'``, ``IMAGE ID`` and ``docker inspect``.

        ``kernel``: ``PID memory.swap.max memory.low`` of each control group.
        """
        live = json.loads(containers) if containers.strip() else []
        levels = dict[int, list[Level]]()
        for pid, swap, low in (
            line.split() for line in kernel.splitlines() if line.count(" ") == 2
        ):
            levels.setdefault(int(pid), []).append(Level(_bytes(swap), _bytes(low)))
        return cls(
            json.loads(config),
            dict(line.split() for line in hashes.splitlines() if line.strip()),
            dict(line.split() for line in images.splitlines() if len(line.split()) == 2),
            {c["Config"]["Labels"][SERVICE_LABEL]: c for c in live},
            levels,
        )

    def drift(self) -> dict[str, str]:
        """Why ``up`` has work to do, by service; empty if the project is as declared."""
        reasons = {
            name: ", ".join(self._service_drift(name, service))
            for name, service in self.config["services"].items()
        }
        return {name: reason for name, reason in reasons.items() if reason}

    def _service_drift(self, name: str, service: dict[str, Any]) -> Iterator[str]:
        container = self.containers.get(name)
        if container is None:
            yield "has no container"
            return
        if container["Config"]["Labels"].get(HASH_LABEL) != self.hashes[name]:
            yield "its declaration changed"
            return
        if self.images.get(service["image"]) != container["Image"]:
            yield f"its image is not what is called {service['image']} now"
        yield from live_drift(service, container)
        yield from kernel_drift(service, self.kernel.get(container["State"].get("Pid", 0), []))
        state = container["State"]
        if state["Status"] != "running":
            yield f"is {state['Status']}"
        elif "Health" in state and state["Health"]["Status"] != "healthy":
            yield f"is {state['Health']['Status']}"  # "is starting" is STARTING


def live_drift(service: dict[str, Any], container: dict[str, Any]) -> Iterator[str]:
    """What ``docker update`` or ``docker network`` changed behind Compose's back: no hash shows it."""
    host_config = container["HostConfig"]
    resources = service.get("deploy", {}).get("resources", {})
    limits, reservations = resources.get("limits", {}), resources.get("reservations", {})
    declared: dict[str, Any] = {
        "NanoCpus": round(float(limits.get("cpus", 0)) * 1e9),
        "Memory": int(limits.get("memory", 0)),
        "MemoryReservation": int(reservations.get("memory", 0)),
        "PidsLimit": int(limits.get("pids", 0)),
        "RestartPolicy": service.get("restart", "no"),
    }
    if "memswap_limit" in service:
        declared["MemorySwap"] = int(service["memswap_limit"])
    for key, value in declared.items():
        live = host_config[key]
        live = (live["Name"] or "no") if key == "RestartPolicy" else live or 0
        rounded = key == "NanoCpus" and math.isclose(float(live), float(value), rel_tol=1e-6)
        if live != value and not rounded:
            yield f"{key} is {live}, declared {value}"  # Compose counts CPUs in 32-bit floats
    declared_networks = set(service.get("networks", ()))
    if declared_networks and _networks(container) != declared_networks:
        yield f"is on the networks {sorted(_networks(container))}, not {sorted(declared_networks)}"


def kernel_drift(service: dict[str, Any], levels: list[Level]) -> Iterator[str]:
    """What the kernel keeps otherwise than declared: the least of a figure up to the root counts."""
    if not levels:
        return
    resources = service.get("deploy", {}).get("resources", {})
    memory = resources.get("limits", {}).get("memory")
    swap, low = (min(figures) for figures in zip(*levels, strict=True))
    if memory and service.get("memswap_limit") == memory and swap:
        yield f"may use {'any' if swap == math.inf else int(swap)} bytes of swap, declared 0"
    declared = int(resources.get("reservations", {}).get("memory", 0))
    if "cgroup_parent" in service and low < declared:  # nothing keeps it on Docker's other driver
        yield f"keeps {int(low)} bytes under pressure, declared {declared}"


def _networks(container: dict[str, Any]) -> set[str]:
    project = container["Config"]["Labels"].get("com.docker.compose.project", "")
    names = container["NetworkSettings"]["Networks"]
    return {name.removeprefix(f"{project}_") for name in names}
