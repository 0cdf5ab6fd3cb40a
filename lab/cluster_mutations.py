"""For every control of a cluster one way to break exactly what it holds on one host, and the way back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lab.cluster import LOCAL

NODE = "$(docker info --format '{{.Swarm.NodeID}}')"
STRANGER = "docker run --detach --name ols-stranger --label com.docker.swarm.service.id=x --entrypoint sleep"
IMAGE = "172.17.0.1:5000/haproxy:3.0.11"
WAIT = "timeout 120 sh -c"
HEALTHY = f"{WAIT} 'until docker inspect $({LOCAL}) | grep -q healthy; do sleep 1; done'"
STANDBY = "docker ps --quiet --filter name=ollama_gateway-2 --filter health=healthy"


@dataclass(frozen=True)
class Broken:
    """Shell scripts on the host; ``data``: what the inventory declares instead.

    ``doubles``: programs that answer instead of the host's own, for what cannot be provoked.
    """

    script: str = ""
    back: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    doubles: dict[str, str] = field(default_factory=dict)
    also: frozenset[str] = frozenset()
    """Controls that cannot but see it too."""


def says(program: str, asked: str, answer: str) -> dict[str, str]:
    """A program that answers one question otherwise."""
    path = f"/usr/bin/{program}"
    return {
        program: f'case "$*" in *{asked}*) {path} "$@" | {answer} ;; *) exec {path} "$@" ;; esac'
    }


def tuned(threads: int) -> str:
    """The host's model with so many threads, past the deploy."""
    lines = f"FROM smollm2:135m\\nPARAMETER num_thread {threads}\\n"
    create = "ollama create smollm2:135m --file /tmp/Modelfile"
    return f"docker exec $({LOCAL}) sh -c \"printf '{lines}' >/tmp/Modelfile && {create}\""


# Some of the controls of a host alone that a cluster's hosts are held to as well.
SHARED = {
    "OLS-805": Broken(
        doubles=says("docker", "haproxy?-v", "sed 's/^Status: .*/Status: unmaintained branch/'")
    ),
    "OLS-1206": Broken(doubles=says("curl", ":8080/", "sed 's/^200$/503/'")),
}
CLUSTER = {
    "OLS-1401": Broken(doubles=says("docker", "LocalNodeState", "sed s/active/locked/")),
    "OLS-1402": Broken(
        f"docker node update --availability pause {NODE}",
        f"docker node update --availability active {NODE}",
    ),
    "OLS-1403": Broken(doubles=says("docker", "node?ls", "sed s/Reachable/Unreachable/")),
    "OLS-1404": Broken(data={"audit_waivers": []}),  # these are Debian 12 and 13
    "OLS-1405": Broken(
        f"docker node update --label-rm profile {NODE}; timeout 60 sh -c 'while {LOCAL} | grep -q .; do sleep 1; done'",
        f"docker node update --label-add profile=low {NODE}; sleep 5; {HEALTHY}",
    ),
    "OLS-1406": Broken(
        f"{STRANGER} --security-opt no-new-privileges --publish 8999:80 {IMAGE} 600",
        "docker rm --force ols-stranger",
    ),
    "OLS-1407": Broken(
        f"docker service create --detach --name ols-meshed --replicas 0 --publish 8998:80 {IMAGE}",
        "docker service rm ols-meshed",
    ),
    "OLS-1408": Broken(data={"cluster_encrypted": True}),  # whose network is not
    "OLS-1409": Broken(doubles=says("docker", "service?inspect", "sed 1s/completed/paused/")),
    "OLS-1410": Broken(tuned(7), tuned(1)),
    "OLS-1411": Broken(doubles=says("curl", "api", "sed 's/^401$/200/'")),
    "OLS-1412": Broken(f"echo SWMTKN-1-{'x' * 50} >/opt/ollama/note", "rm /opt/ollama/note"),
    "OLS-1413": Broken(f"{STRANGER} {IMAGE} 600", "docker rm --force ols-stranger"),
    "OLS-1414": Broken(doubles=says("grep", "SwapTotal", "sed 's/ 0 kB/ 8 kB/'")),
    "OLS-1415": Broken(
        f"docker node update --label-rm gateway {NODE}; {WAIT} 'while {STANDBY} | grep -q .; do sleep 1; done'",
        f"docker node update --label-add gateway=2 {NODE}; {WAIT} 'until {STANDBY} | grep -q .; do sleep 1; done'",
    ),
}
