"""Refuse a host that cannot be served, before anything on any host is touched."""

from __future__ import annotations

from ipaddress import IPv4Address

from pyinfra import host
from pyinfra.api import DeployError
from pyinfra.facts.docker import DockerContainer
from pyinfra.facts.hardware import Cpus
from pyinfra.facts.server import Arch, Command

from ollama_stack.facts.docker import DaemonConfig, PortOwner
from ollama_stack.facts.ollama import CONTAINER
from ollama_stack.settings import Settings
from ollama_stack.tasks.docker import RELEASES, release


def check_host(settings: Settings) -> None:
    """DeployError with every reason why this host is refused."""
    reasons = [*_system(settings), *_conflicts(settings)]
    if reasons:
        lines = "\n".join(f"    {host.name}: {reason}" for reason in reasons)
        raise DeployError(f"refused, nothing was changed:\n{lines}")


def _system(settings: Settings) -> list[str]:
    """What the host is, against what the deploy can serve."""
    reasons = []
    user = host.get_fact(Command, command="id --user --name")
    if user != "root":
        reasons.append(
            f"_sudo: {user} may not install Docker; run as root, or set _sudo = True in group_data/ "
            "or in the host's own data"
        )
    if release() not in RELEASES:
        known = " ".join(release()).strip() or "this system"
        supported = ", ".join(" ".join(pair) for pair in RELEASES)
        reasons.append(f"docker_source: {known} is not supported; use one of {supported}")
    arch = host.get_fact(Arch)
    if arch not in ("x86_64", "aarch64"):
        reasons.append(f"ollama_image: there is none for {arch}; use an x86-64 or arm64 host")
    if arch == "aarch64" and settings.docker_source == "distro" and not RELEASES.get(release()):
        reasons.append(
            "docker_source: this distribution has no Compose v2 for arm64; set docker-ce"
        )
    cpus = host.get_fact(Cpus)
    if cpus and settings.ollama_cpus > cpus:
        reasons.append(
            f"ollama_cpus: {settings.ollama_cpus:g} is more than the {cpus} CPUs of the host; "
            f"lower it to {cpus} or take a bigger host"
        )
    if host.get_fact(DaemonConfig) is None:
        reasons.append("docker: /etc/docker/daemon.json is not a JSON object; mend or remove it")
    return reasons


def _conflicts(settings: Settings) -> list[str]:
    """What of somebody else's stands where ours should be."""
    ours: list[dict[str, str]] = []
    container = host.get_fact(DockerContainer, object_id=CONTAINER)
    if container:
        labels = container[0]["Config"]["Labels"] or {}
        project = labels.get("com.docker.compose.project")
        if project != settings.ollama_project:
            owner = f"compose project {project}" if project else "no compose project"
            return [
                f"ollama_project: the container {CONTAINER} belongs to {owner}, not to "
                f"{settings.ollama_project}; remove it (docker rm -f {CONTAINER}) or set "
                "ollama_project"
            ]
        ours = (container[0]["HostConfig"]["PortBindings"] or {}).get("11434/tcp", [])
    if str(settings.ollama_port) in [binding["HostPort"] for binding in ours]:
        listener = None
    else:
        listener = host.get_fact(PortOwner, port=settings.ollama_port)
    if listener:
        return [
            f"ollama_port: {settings.ollama_port} is taken by {listener}; stop it or set another "
            "ollama_port"
        ]
    return _address(settings.ollama_bind)


def _address(bind: str) -> list[str]:
    """An address that the host does not have would take the old container down and start none."""
    address = IPv4Address(bind)
    if address.is_loopback or address.is_unspecified:
        return []
    if host.get_fact(Command, command=f"ip -4 -oneline address show to {bind}"):
        return []
    return [f"ollama_bind: the host has no address {bind}; see `ip -4 address` on it"]
