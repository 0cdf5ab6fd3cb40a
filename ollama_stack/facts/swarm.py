"""What a host of a cluster says of itself and, where it is a manager, of the others."""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

ANSWER = 5  # seconds, of the 15 that a host has


def no_quorum(where: str, address: str) -> str:
    """What is wrong, and how ``where``, a manager that is left at this address, goes on without the others."""
    return (
        "the managers have no quorum: nothing is changed, and what dies is not replaced; have more than half of them "
        f"run again. If they are gone for good: `sudo docker swarm init --force-new-cluster --advertise-addr {address}` "
        f"on {where} alone, then take them out of the inventory, and deploy"
    )


@dataclass(frozen=True)
class ClusterHost:
    """A host's place in its swarm, and its containers' states by service; of a manager, the nodes'."""

    state: str
    containers: dict[str, str]
    nodes: dict[str, str]
    """Of a manager; none, if the managers have no quorum."""
    manager: bool = False
    answers: bool = True
    """Of a manager: whether the gateway answers at its door."""
    address: str = ""
    """By which the other hosts know it."""


class InCluster(FactBase[ClusterHost]):
    """How a host of a cluster is now."""

    @override
    def command(self, project: str, url: str) -> StringCommand:
        stack = QuoteString(f"label=com.docker.stack.namespace={project}")
        service = '{{.Label "com.docker.swarm.service.name"}}'
        return StringCommand(
            "docker info --format '{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}} {{.Swarm.NodeAddr}}' &&",
            *("docker ps --format", QuoteString(f"= {service} {{{{.Status}}}}"), "--filter", stack),
            "&& { docker node ls --format '+ {{.Hostname}} {{.Status}} {{.Availability}}' 2>/dev/null || true; }",
            f"&& {{ curl -s --insecure --noproxy '*' --max-time {ANSWER} --output /dev/null",
            "--write-out '? answer %{http_code}\\n'",
            QuoteString(url),
            "|| true; }",
        )

    @override
    def process(self, output: list[str]) -> ClusterHost:
        state, manager, address, *_ = [*output[0].split(), "", ""]
        parted = [line.split(" ", 2) for line in output[1:]]
        return ClusterHost(
            state,
            {name: status for mark, name, status in parted if mark == "="},
            {name: status for mark, name, status in parted if mark == "+"},
            manager == "true",
            ["?", "answer", "000"] not in parted,
            address,
        )


def troubles(seen: ClusterHost | None, ollama: str, *, page: bool = False) -> list[str]:
    """What is wrong with a host whose own Ollama is the service ``ollama``, in words, the worst first.

    ``page``: whether the cluster has one.
    """
    if seen is None or seen.state not in ("active", "pending"):
        reason = f"its engine says {seen.state}" if seen else "its engine does not say"
        return [f"it is not in the cluster: {reason}; deploy"]
    if seen.state == "pending":  # started again, it waits for who may lead
        waits = "no manager of the cluster answers it: look at those first"
        return [no_quorum("this host", seen.address) if seen.manager else waits]
    found, project = [], ollama.rpartition("_ollama-")[0]
    if seen.manager and not seen.answers:
        found.append("the gateway does not answer at this host's address")
    if seen.manager and not seen.nodes:
        found.append(no_quorum("this host", seen.address))
    needed = {"gateway": "gateway"} | ({"app": "page"} if page else {})
    for service, what in needed.items() if seen.manager else ():
        if not any(name.startswith(f"{project}_{service}") for name in seen.containers):
            found.append(f"no {what} runs on this host, which takes over if the others die; deploy")
    if "(healthy)" not in seen.containers.get(ollama, ""):
        found.append(f"{ollama}: {seen.containers.get(ollama, 'is not there')}")
    found += [
        f"{name}: {status}"
        for name, status in seen.containers.items()
        if "(healthy)" not in status and name != ollama
    ]
    found += [
        f"{name} is {status.lower()} in the cluster"
        for name, status in seen.nodes.items()
        if status != "Ready Active"
    ]
    return found
