"""A Docker engine that runs, and compose projects that are as their file says."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterable, Mapping
from fnmatch import fnmatchcase
from hashlib import sha256
from io import StringIO
from pathlib import PurePosixPath

from pyinfra import host
from pyinfra.api import FileUploadCommand, QuoteString, StringCommand, operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.facts.deb import DebPackages
from pyinfra.facts.files import FileContents, Sha256File
from pyinfra.operations import apt, files
from pyinfra.operations.util.files import generate_color_diff

from ollama_stack.compose import STARTING
from ollama_stack.facts.docker import (
    Compose,
    ComposeVersion,
    DaemonConfig,
    EngineVersion,
    InsecureRegistries,
)
from ollama_stack.shell import or_explain
from ollama_stack.wheels import COMPOSE_PLUGIN, unpacked

PLUGIN = "/usr/local/lib/docker/cli-plugins/docker-compose"
OLDEST_COMPOSE = (2, 22)  # the first with `pull --policy`
DAEMON_JSON = "/etc/docker/daemon.json"
DOCKERD = '"$(command -v dockerd || echo /usr/sbin/dockerd)"'  # docker-ce has it in /usr/bin
KEYRING = "/etc/apt/keyrings/docker.asc"
SOURCES = "/etc/apt/sources.list.d/docker.sources"
PIN = "/etc/apt/preferences.d/docker"
ENGINE_PIDFILE = "/run/ollama-stack-dockerd.pid"
ENGINE_LOG = "/var/log/dockerd.log"

Commands = Generator[PyinfraCommand | str, None, None]


@operation()
def packages(packages: list[str]) -> Commands:
    """Have Debian packages (``name`` or ``name=version``, which may end with ``*``).

    The package lists are refreshed only when one is missing.
    """
    installed = host.get_fact(DebPackages)
    missing = [package for package in packages if not _installed(package, installed)]
    if not missing:
        host.noop(f"already installed: {', '.join(packages)}")
        return
    host.log(f"install {', '.join(missing)}")
    yield "dpkg --configure --pending"  # what a killed run may have left
    yield from apt.update._inner()
    yield from apt.packages._inner(
        packages=missing,
        no_recommends=True,
        extra_install_args="-o DPkg::Lock::Timeout=300",
    )


def _installed(package: str, installed: Mapping[str, Iterable[str]]) -> bool:
    name, _, version = package.partition("=")
    return any(fnmatchcase(found, version or "*") for found in installed.get(name, ()))


@operation()
def repository(url: str, suite: str, key_sha256: str) -> Commands:
    """Have Docker's apt repository, with the declared key.

    It is added only after packages of its own have been found, signed with that key.
    """
    text = f"Types: deb\nURIs: {url}\nSuites: {suite}\nComponents: stable\nSigned-By: {KEYRING}\n"
    known = host.get_fact(FileContents, path=SOURCES) == text.splitlines()
    if known and host.get_fact(Sha256File, path=KEYRING) == key_sha256:
        host.noop(f"{url} is already known")
        return
    new = "/etc/apt/keyrings/new"  # apt looks at nothing there
    yield f"rm -rf {new} && mkdir -p -m 755 {new}"
    yield or_explain(
        StringCommand(
            "curl -fsSL --max-time 60 --output", f"{new}/docker.asc", QuoteString(f"{url}/gpg")
        ),
        f"docker_repository: there is no key at {url}/gpg; Docker was not installed; name a folder "
        "that has it, or set docker_source = distro",
    )
    yield or_explain(
        StringCommand(f"echo '{key_sha256}  {new}/docker.asc' | sha256sum --check --quiet"),
        f"docker_repository_key: {url}/gpg is another key than the declared one; Docker was not "
        "installed; compare it with the one Docker publishes, then set docker_repository_key",
    )
    staged = text.replace(KEYRING, f"{new}/docker.asc")
    yield StringCommand("printf %s", QuoteString(staged), f">{new}/docker.sources")
    yield f"chmod 644 {new}/docker.* && mkdir -p {new}/lists/partial"
    yield or_explain(
        StringCommand(
            f"apt-get update -o Dir::Etc::sourcelist={new}/docker.sources"
            f" -o Dir::Etc::sourceparts=- -o Dir::State::lists={new}/lists -o Dir::Cache={new}"
        ),
        f"docker_repository: {url} has nothing for {suite} that is signed with its key; Docker was not "
        "installed; see apt's words above, mend the mirror, or set docker_repository",
    )
    yield f"mv {new}/docker.asc {KEYRING}"
    yield StringCommand("printf %s", QuoteString(text), f">{new}/docker.sources")
    yield f"mv {new}/docker.sources {SOURCES} && rm -rf {new}"


@operation()
def compose_plugin() -> Commands:
    """Have Compose v2: the pinned x86-64 binary, checked, where there is none or one too old."""
    version = host.get_fact(ComposeVersion)
    if version and _numbers(version) >= OLDEST_COMPOSE:
        host.noop(f"Compose {version} is already there")
        return
    yield StringCommand("mkdir -p", str(PurePosixPath(PLUGIN).parent))
    (binary,) = unpacked(COMPOSE_PLUGIN).glob("*.data/scripts/docker-compose")
    checksum = sha256(binary.read_bytes()).hexdigest()
    yield from files.put._inner(src=str(binary), dest=f"{PLUGIN}.new", mode="755")
    yield f"echo '{checksum}  {PLUGIN}.new' | sha256sum --check --quiet"
    yield f"{PLUGIN}.new version"
    yield f"mv {PLUGIN}.new {PLUGIN}"


@operation()
def engine(running: bool = True) -> Commands:
    """Have the engine answer where no systemd runs it; its log is /var/log/dockerd.log.

    ``running=False`` stops only an engine that this operation started and nobody else uses.
    """
    version = host.get_fact(EngineVersion)
    if running and version:
        host.noop(f"Docker {version} already answers")
        return
    if not running:
        yield (
            'test -n "$(docker ps --all --quiet)" || { start-stop-daemon --stop --oknodo --retry 30'
            f" --pidfile {ENGINE_PIDFILE} --remove-pidfile --exec {DOCKERD} && rm -f {ENGINE_LOG}; }}"
        )
        return
    # What a killed machine leaves: dockerd refuses to start if another process has its old pid.
    yield f"start-stop-daemon --status --exec {DOCKERD} || rm -f /run/docker.pid"
    yield (
        "start-stop-daemon --status --exec /usr/bin/containerd"
        " || rm -f /run/docker/containerd/containerd.pid"
    )
    # An empty environment: the operator's may hold secrets, and COLUMNS cuts `docker top` short.
    yield (
        'env --ignore-environment PATH="$PATH" start-stop-daemon --start --oknodo --background'
        f" --make-pidfile --pidfile {ENGINE_PIDFILE} --output {ENGINE_LOG} --exec {DOCKERD}"
    )
    yield or_explain(
        StringCommand(
            "timeout 60 sh -c 'until docker version; do sleep 0.5; done' >/dev/null 2>&1"
        ),
        f"docker: the engine did not answer within 60 s; read {ENGINE_LOG} on the host",
    )


@operation()
def insecure_registry(registry: str, present: bool = True) -> Commands:
    """Have (or not have) the engine trust ``host:port`` without TLS; other settings are kept."""
    config = host.get_fact(DaemonConfig) or {}
    listed = config.get("insecure-registries", [])
    trusted = registry in host.get_fact(InsecureRegistries)
    if (registry in listed) == trusted == present:
        host.noop(f"{registry} is already {'trusted' if present else 'unknown'}")
        return
    others = [other for other in listed if other != registry]
    config["insecure-registries"] = [*others, registry] if present else others
    if not config["insecure-registries"]:
        del config["insecure-registries"]
    yield "mkdir -p /etc/docker"
    if config:
        staged = f"{DAEMON_JSON}.new"
        content = StringIO(json.dumps(config, indent=2) + "\n")
        yield from files.put._inner(src=content, dest=staged, mode="644")
        # An operator's own mode is kept: there may be a proxy's password in it.
        yield f"! test -e {DAEMON_JSON} || chmod --reference={DAEMON_JSON} {staged}"
        yield f"mv {staged} {DAEMON_JSON}"
    else:
        yield f"rm -f {DAEMON_JSON}"
    yield 'kill -HUP "$(cat /run/docker.pid)"'  # dockerd rereads this setting without a restart


@operation()
def compose_file(content: str, path: str, pull_failed: str) -> Commands:
    """Have a compose file; the new text replaces the old once Compose accepts it and has its images.

    ``pull_failed`` tells the operator what to look at (``setting: problem; way out``).
    """
    current = host.get_fact(FileContents, path=path)
    if current is not None and current == content.splitlines():
        host.noop(f"{path} is already as declared")
        return
    if host.state.config.DIFF:
        old = [f"{line}\n" for line in current or []]
        for line in generate_color_diff(old, content.splitlines(keepends=True)):
            host.log(line)
    staged = f"{path}.new"
    compose = StringCommand("docker compose --file", QuoteString(staged))
    yield FileUploadCommand(
        StringIO(content), staged, remote_temp_filename=host.get_temp_filename(staged)
    )
    yield StringCommand("chmod 644", QuoteString(staged))
    yield or_explain(
        StringCommand(compose, "config --quiet"),
        f"{path}: Compose refuses the new file, the old one is untouched; see its words above",
    )
    yield or_explain(StringCommand(compose, "--progress quiet pull --policy missing"), pull_failed)
    yield StringCommand("mv", QuoteString(staged), QuoteString(path))


def stale_services(path: str) -> list[str] | None:
    """Services of a compose file that have to be replaced; None if all is up and as it says.

    Compose looks at its own labels only: what `docker update` changed needs --force-recreate.
    """
    found = host.get_fact(Compose, path=path)
    drift = found.drift() if found else {}
    if found and not drift:
        return None
    for service, reason in drift.items():
        host.log(f"{service} {reason}")
    return [service for service, reason in drift.items() if reason != STARTING]


def hold_to_it(path: str) -> Commands:
    """Fail if a project that has just come up is not as its file says."""
    found = host.get_fact(Compose, path=path)
    for service, reason in found.drift().items() if found else ():
        yield or_explain(
            StringCommand("false"),
            f"{service}: after the start it still {reason}; is that limit one that this kernel or "
            "engine cannot enforce? See docker info",
        )


def _numbers(version: str) -> tuple[int, ...]:
    """``v2.26.1-4`` as (2, 26)."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])
