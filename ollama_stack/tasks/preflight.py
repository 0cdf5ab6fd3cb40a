"""Refuse a host that cannot be served, before anything on any host is touched."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import DeployError
from pyinfra.facts.docker import DockerContainer
from pyinfra.facts.server import Arch, Command, LinuxDistribution

from ollama_stack.facts.docker import PortOwner
from ollama_stack.facts.ollama import CONTAINER
from ollama_stack.settings import Settings


def check_host(settings: Settings) -> None:
    """DeployError with every reason why this host is refused."""
    reasons = list(_reasons(settings))
    if reasons:
        lines = "\n".join(f"    {host.name}: {reason}" for reason in reasons)
        raise DeployError(f"refused, nothing was changed:\n{lines}")


def _reasons(settings: Settings) -> list[str]:
    reasons = []
    user = host.get_fact(Command, command="id --user --name")
    if user != "root":
        reasons.append(
            f"_sudo: {user} may not install Docker; run as root or set _sudo = True in group_data/"
        )
    release = host.get_fact(LinuxDistribution)["release_meta"]
    if release.get("ID") not in ("debian", "ubuntu"):
        known = release.get("PRETTY_NAME", "this system")
        reasons.append(f"docker_source: {known} is not supported; use Debian or Ubuntu")
    arch = host.get_fact(Arch)
    if arch not in ("x86_64", "aarch64"):
        reasons.append(f"ollama_image: there is none for {arch}; use an x86-64 or arm64 host")
    return reasons + _conflicts(settings)


def _conflicts(settings: Settings) -> list[str]:
    """What of somebody else's stands where ours should be."""
    container = host.get_fact(DockerContainer, object_id=CONTAINER)
    if container:
        project = container[0]["Config"]["Labels"].get("com.docker.compose.project")
        if project == settings.ollama_project:
            return []
        owner = f"compose project {project}" if project else "no compose project"
        return [
            f"ollama_project: the container {CONTAINER} belongs to {owner}, not to "
            f"{settings.ollama_project}; remove it (docker rm -f {CONTAINER}) or set ollama_project"
        ]
    listener = host.get_fact(PortOwner, port=settings.ollama_port)
    if listener:
        return [
            f"ollama_port: {settings.ollama_port} is taken by {listener}; stop it or set another "
            "ollama_port"
        ]
    return []
