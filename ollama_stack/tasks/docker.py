"""Install Docker and Compose v2, and have the engine run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pyinfra import host
from pyinfra.api import deploy
from pyinfra.facts.deb import DebPackages
from pyinfra.facts.server import Arch, LinuxDistribution, Which
from pyinfra.operations import systemd

from ollama_stack.capacity.fit import NEEDED, SUPPORTED_OS
from ollama_stack.config.settings import Settings
from ollama_stack.config.types import host_of
from ollama_stack.facts.apt import HeldPackages
from ollama_stack.facts.docker import ComposeVersion, Engine, InitSystem, MaskedUnits
from ollama_stack.facts.host import HalfInstalled
from ollama_stack.facts.kernel import NoProfiles
from ollama_stack.facts.memory import known
from ollama_stack.operations import docker, packages
from ollama_stack.paths import SOURCES
from ollama_stack.pinned_wheels import COMPOSE_PLUGIN, unpacked
from ollama_stack.rules import refuse

PLUGIN, UBUNTUS = "docker-compose-plugin", "docker-compose-v2"
BESIDE = ["containerd.io", "docker-buildx-plugin", PLUGIN]
BELOW = ["containerd", "runc"]  # docker.io's


def faults(settings: Settings) -> Iterator[str]:
    """What would stop the installation in its middle, each with its way out."""
    for unit in known(MaskedUnits):
        yield f"docker: {unit} is masked there, and nothing can start it; systemctl unmask {unit}"
    if settings.bundle:
        return
    engine = [] if _is_theirs(settings) else _engine_packages(settings)
    missing = [package.partition("=")[0] for package in packages.not_there([*_needed(), *engine])]
    if "docker.io" in missing:
        missing += packages.not_there(BELOW)
    for name in sorted(known(HeldPackages) & set(missing)) if missing else ():
        yield (
            f"docker_source: {name} is on hold there, and would have to be installed; apt-mark unhold {name}, or "
            "install the engine yourself, which is then kept"
        )
    if packages.ENGINE[0] in missing:
        yield from _without_stable(settings)


def _without_stable(settings: Settings) -> Iterator[str]:
    """An entry of the site's for other channels of Docker's alone: apt takes no second one with another key."""
    url, suite = _repository(settings)
    theirs = [entry for entry in packages.entries(url, suite) if entry.file != SOURCES]
    channels = [channel for entry in theirs for channel in entry.components]
    if theirs and "stable" not in channels:
        yield (
            f"docker_repository: {theirs[0].file} names {url} for {' and '.join(channels)} alone; add stable "
            "there, or set docker_source = distro"
        )


@deploy("Docker")
def install_docker(settings: Settings) -> None:
    """A running engine with Compose v2 that trusts the mirror; an engine that is there is kept."""
    if not settings.bundle:  # with one, the preflight has seen that they are there
        _install_packages(settings)
    docker.compose_plugin(name="Have Compose v2")
    run_docker(settings.proxy_variables, settings.start_seconds)
    if settings.mirror.startswith("http://"):
        docker.insecure_registry(
            name="Trust the mirror without TLS",
            registry=host_of(settings.mirror),
            _retries=1,  # an upgrade of others' may restart the engine just then
        )


def _install_packages(settings: Settings) -> None:
    packages.mended(name="Finish what dpkg left half-done", proxy=settings.proxy, _retries=1)
    packages.installed(
        name="Install what the deploy needs",
        packages=_needed(),
        proxy=settings.proxy,
        _retries=1,  # somebody may come between the wait for apt's locks and the step
    )
    if _is_theirs(settings):
        _keep_theirs(settings)
    else:
        if settings.docker_source == "docker-ce":
            _have_repository(settings)
        elif not SUPPORTED_OS[" ".join(os_release())] and not known(ComposeVersion):
            # Now: a failed download must find the host untouched.
            unpacked(COMPOSE_PLUGIN, known(Arch))
        packages.installed(
            name="Install Docker",
            packages=_engine_packages(settings),
            proxy=settings.proxy,
            _retries=1,
        )


def _needed() -> list[str]:
    return [*NEEDED, *(["apparmor"] if known(NoProfiles) else [])]


def _is_theirs(settings: Settings) -> bool:
    """Whether an engine is there that is of other packages than the declared ones, or of none."""
    ours = packages.ENGINE[0] if settings.docker_source == "docker-ce" else "docker.io"
    there = known(Which, command="dockerd") or known(Engine).version
    return bool(there) and ours not in {*known(DebPackages), *known(HalfInstalled)}


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


def _repository(settings: Settings) -> tuple[str, str]:
    """Docker's own for this host: its address, and its suite."""
    meta = known(LinuxDistribution)["release_meta"]
    return f"{settings.docker_repository}/{meta.get('ID')}", meta.get("VERSION_CODENAME", "")


def _version(settings: Settings) -> str:
    return f"5:{settings.docker_version}-*" if settings.docker_version else ""


def _have_repository(settings: Settings) -> None:
    """Docker's own is known to apt, and a declared version pinned."""
    url, suite = _repository(settings)
    packages.repository(
        name="Have Docker's repository",
        url=url,
        suite=suite,
        key_sha256=settings.docker_repository_key,
        proxy=settings.proxy,
    )
    packages.pinned(name="Pin the version", version=_version(settings))


def _engine_packages(settings: Settings) -> list[str]:
    """As declared, each with its version where one is."""
    if settings.docker_source != "docker-ce":
        return ["docker.io", *SUPPORTED_OS.get(" ".join(os_release()), [])]
    version = _version(settings)
    engine = [f"{package}={version}" if version else package for package in packages.ENGINE]
    # Ubuntu's own Compose has the same file as Docker's, and neither package says so.
    there = known(DebPackages)
    return [*engine, *(name for name in BESIDE if not (name == PLUGIN and UBUNTUS in there))]
