"""Install Docker and Compose v2, and have the engine run."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import deploy
from pyinfra.facts.server import LinuxDistribution
from pyinfra.operations import apt, files, systemd

from ollama_stack.facts.docker import InitSystem
from ollama_stack.operations import docker
from ollama_stack.settings import Settings, host_of

DOCKER_CE = (
    "docker-ce",
    "docker-ce-cli",
    "containerd.io",
    "docker-buildx-plugin",
    "docker-compose-plugin",
)
KEYRING = "/etc/apt/keyrings/docker.asc"
KEY_SHA256 = "1500c1f56fa9e26b9b8f42452a553675796ade0807cdce11975eb98170b3a570"

# What a distribution has besides docker.io: Compose v2, and the client where it is apart.
BESIDE_DOCKER_IO = {
    ("debian", "12"): [],
    ("debian", "13"): ["docker-cli", "docker-compose"],
    ("ubuntu", "22.04"): ["docker-compose-v2"],
    ("ubuntu", "24.04"): ["docker-compose-v2"],
}


@deploy("Docker")
def install_docker(settings: Settings) -> None:
    """Docker from the declared source, Compose v2, a running engine that trusts the mirror."""
    docker.packages(
        name="Install what the deploy needs", packages=["ca-certificates", "curl", "iproute2"]
    )
    if settings.docker_source == "docker-ce":
        _from_official_repository()
    else:
        _from_distribution()
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


def _from_official_repository() -> None:
    release = host.get_fact(LinuxDistribution)["release_meta"]
    url = f"https://download.docker.com/linux/{release['ID']}"
    files.directory(name="Make the keyring folder", path="/etc/apt/keyrings", mode="755")
    files.download(
        name="Fetch Docker's key",
        src=f"{url}/gpg",
        dest=KEYRING,
        mode="644",
        sha256sum=KEY_SHA256,
    )
    repository = apt.sources_file(
        name="Add Docker's repository",
        filename="docker",
        uris=url,
        suites=release["VERSION_CODENAME"],
        components="stable",
        signed_by=KEYRING,
    )
    apt.update(name="Refresh the package lists", _if=repository.did_change)
    docker.packages(name="Install Docker", packages=list(DOCKER_CE))


def _from_distribution() -> None:
    release = host.get_fact(LinuxDistribution)["release_meta"]
    beside = BESIDE_DOCKER_IO.get((release["ID"], release.get("VERSION_ID", "")), [])
    docker.packages(name="Install Docker", packages=["docker.io", *beside])
