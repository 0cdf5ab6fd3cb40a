"""Install Docker and Compose v2, and have the engine run."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import deploy
from pyinfra.facts.deb import DebPackages
from pyinfra.facts.server import LinuxDistribution, Which
from pyinfra.operations import apt, files, systemd

from ollama_stack.facts.docker import ComposeVersion, InitSystem
from ollama_stack.fit import RELEASES
from ollama_stack.forms import host_of
from ollama_stack.operations import docker
from ollama_stack.settings import Settings
from ollama_stack.wheels import COMPOSE_PLUGIN, unpacked

DOCKER_CE = [
    "docker-ce",
    "docker-ce-cli",
    "containerd.io",
    "docker-buildx-plugin",
    "docker-compose-plugin",
]
KEYRING = "/etc/apt/keyrings/docker.asc"
KEY_SHA256 = "1500c1f56fa9e26b9b8f42452a553675796ade0807cdce11975eb98170b3a570"


@deploy("Docker")
def install_docker(settings: Settings) -> None:
    """A running engine with Compose v2 that trusts the mirror; an engine that is there is kept."""
    docker.packages(
        name="Install what the deploy needs",
        packages=["ca-certificates", "curl", "iproute2"],
        _retries=3,  # apt's lists have a lock that it does not wait for
        _retry_delay=15,
    )
    wanted = DOCKER_CE if settings.docker_source == "docker-ce" else _from_distribution()
    theirs = host.get_fact(Which, command="dockerd") and wanted[0] not in host.get_fact(DebPackages)
    if not theirs:
        if settings.docker_source == "docker-ce":
            _add_official_repository()
        docker.packages(name="Install Docker", packages=wanted, _retries=3, _retry_delay=15)
    docker.compose_plugin(name="Have Compose v2")
    run_docker()
    if settings.mirror.startswith("http://"):
        docker.insecure_registry(
            name="Trust the mirror without TLS", registry=host_of(settings.mirror)
        )


def run_docker() -> None:
    """The engine runs, and comes back with the host where systemd sees to that."""
    if host.get_fact(InitSystem) == "systemd":
        systemd.service(name="Run Docker", service="docker", running=True, enabled=True)
    else:
        docker.engine(name="Run Docker")


def release() -> tuple[str, str]:
    """The host's distribution and version, as os-release has them."""
    meta = host.get_fact(LinuxDistribution)["release_meta"]
    return meta.get("ID", ""), meta.get("VERSION_ID", "")


def _add_official_repository() -> None:
    meta = host.get_fact(LinuxDistribution)["release_meta"]
    url = f"https://download.docker.com/linux/{meta['ID']}"
    files.directory(name="Make the keyring folder", path="/etc/apt/keyrings", mode="755")
    files.download(
        name="Fetch Docker's key",
        src=f"{url}/gpg",
        dest=KEYRING,
        mode="644",
        sha256sum=KEY_SHA256,
    )
    apt.sources_file(
        name="Add Docker's repository",
        filename="docker",
        uris=url,
        suites=meta["VERSION_CODENAME"],
        components="stable",
        signed_by=KEYRING,
    )


def _from_distribution() -> list[str]:
    beside = RELEASES[" ".join(release())]
    if not beside and not host.get_fact(ComposeVersion):
        unpacked(COMPOSE_PLUGIN)  # now: a failed download must find the host untouched
    return ["docker.io", *beside]
