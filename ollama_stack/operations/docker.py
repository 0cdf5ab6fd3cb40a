"""A Docker engine that runs, and compose projects that are as their file says."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import sha256
from io import StringIO
from pathlib import PurePosixPath
from typing import Any

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.facts.files import File, FileContents
from pyinfra.facts.server import Arch

from ollama_stack.facts.docker import Compose, ComposeVersion, DaemonConfig, Engine, EngineFlags
from ollama_stack.facts.memory import known
from ollama_stack.paths import CLI_PLUGIN, DAEMON_JSON, DROP_IN, ENGINE_LOG, ENGINE_PIDFILE
from ollama_stack.pinned_wheels import COMPOSE_PLUGIN, unpacked
from ollama_stack.shell import MARK, Commands, or_explain, ours, renamed, uploaded
from ollama_stack.stack.compose import STARTING

OLDEST_COMPOSE = (2, 22)  # the first with `pull --policy`
DOCKERD = '"$(command -v dockerd || echo /usr/sbin/dockerd)"'  # docker-ce has it in /usr/bin


@operation()
def compose_plugin() -> Commands:
    """Have Compose v2: the pinned binary for this machine, checked, where there is none or one too old."""
    version = known(ComposeVersion)
    if is_new_enough(version):
        host.noop(f"Compose {version} is already there")
        return
    yield StringCommand("umask 022; mkdir -p", str(PurePosixPath(CLI_PLUGIN).parent))
    (binary,) = unpacked(COMPOSE_PLUGIN, known(Arch)).glob("*.data/scripts/docker-compose")
    checksum = sha256(binary.read_bytes()).hexdigest()
    yield uploaded(host, str(binary), f"{CLI_PLUGIN}.new")
    yield f"chmod 755 {CLI_PLUGIN}.new"
    yield f"echo '{checksum}  {CLI_PLUGIN}.new' | sha256sum --check --quiet"
    yield f"{CLI_PLUGIN}.new version"
    yield renamed(f"{CLI_PLUGIN}.new", CLI_PLUGIN)


def is_new_enough(compose: str | None) -> bool:
    """Whether a host's own Compose, if it has one, serves."""
    return bool(compose and _numbers(compose) >= OLDEST_COMPOSE)


@operation()
def engine(
    running: bool = True, variables: Mapping[str, str] | None = None, seconds: int = 180
) -> Commands:
    """Have the engine answer where no systemd runs it; its log is /var/log/dockerd.log.

    ``variables``: of its environment, when it is started here; it then has ``seconds`` to answer.

    ``running=False`` stops only an engine that this operation started and nobody else uses.
    """
    version = known(Engine).version
    if running and version:
        host.noop(f"Docker {version} already answers")
        return
    if not running:
        yield (
            'test -n "$(docker ps --all --quiet)" || { start-stop-daemon --stop --oknodo --retry 30'
            f" --pidfile {ENGINE_PIDFILE} --remove-pidfile --exec {DOCKERD} && rm -f {ENGINE_LOG}; }}"
        )
        return
    # What a killed machine leaves: each refuses to start if another process has its old pid. By that pid, since
    # engines in containers, too, are processes of this host.
    for pidfile, program in (
        ("/run/docker.pid", DOCKERD),
        ("/run/docker/containerd/containerd.pid", "/usr/bin/containerd"),
    ):
        yield f"start-stop-daemon --status --pidfile {pidfile} --exec {program} || rm -f {pidfile}"
    # An empty environment: the operator's may hold secrets, and COLUMNS cuts `docker top` short.
    given = (QuoteString(f"{name}={value}") for name, value in (variables or {}).items())
    yield StringCommand(
        *('env --ignore-environment PATH="$PATH"', *given),
        "start-stop-daemon --start --oknodo --background --make-pidfile --pidfile",
        *(ENGINE_PIDFILE, "--output", ENGINE_LOG, "--exec", DOCKERD),
    )
    yield or_explain(
        StringCommand(
            f"timeout {seconds} sh -c 'until docker version; do sleep 0.5; done' >/dev/null 2>&1"
        ),
        f"docker: the engine did not answer within {seconds} s; read {ENGINE_LOG} on the host",
    )


@operation()
def settings_whole() -> Commands:
    """Have no daemon.json without a byte: a power loss leaves one, and Docker 20.10 does not start with it."""
    found = known(File, path=DAEMON_JSON)
    if not found or found["size"]:
        host.noop("daemon.json is not empty")
        return
    yield f"rm -f {DAEMON_JSON}"
    yield (  # it has tried too often
        "! test -d /run/systemd/system || systemctl reset-failed docker.service docker.socket || true"
    )


@operation()
def engine_variables(variables: Mapping[str, str]) -> Commands:
    """Have the engine that systemd runs started with these variables, by a drop-in of ours.

    They tell of its proxy. Where it has one of the site's own, that one is kept.
    """
    lines = [f'Environment="{name}={value}"' for name, value in variables.items()]
    text = "\n".join([MARK, "[Service]", *lines, ""]) if lines else ""
    current = known(FileContents, path=DROP_IN)
    if (current or []) == text.splitlines():
        host.noop("the engine has the declared variables, or needs none")
        return
    if current is None and known(Engine).proxied:
        host.noop("the engine has a proxy of its own, which is kept")
        return
    yield ours(DROP_IN, f"proxy: {DROP_IN} is not ours; remove it, or unset proxy")
    if text:
        yield StringCommand("umask 022; mkdir -p", str(PurePosixPath(DROP_IN).parent))
        yield StringCommand("printf %s", QuoteString(text), f">{DROP_IN}.new")
        yield StringCommand("chmod 644", f"{DROP_IN}.new")
        yield renamed(f"{DROP_IN}.new", DROP_IN)
    else:
        yield f"rm -f {DROP_IN}"
    yield "systemctl daemon-reload && systemctl restart docker"


@operation()
def insecure_registry(registry: str, present: bool = True) -> Commands:
    """Have (or not have) the engine trust ``host:port`` without TLS; other settings are kept."""
    found: dict[str, Any] | None = known(DaemonConfig)
    config = dict(found or {})
    listed = config.get("insecure-registries", [])
    trusted = registry in known(Engine).insecure_registries
    by_flag = trusted and any(flag.endswith(registry) for flag in known(EngineFlags))
    if (registry in listed or by_flag) == trusted == present:
        host.noop(f"{registry} is already {'trusted' if present else 'unknown'}")
        return
    others = [other for other in listed if other != registry]
    config["insecure-registries"] = [*others, registry] if present else others
    if not config["insecure-registries"]:
        del config["insecure-registries"]
    yield "umask 022; mkdir -p /etc/docker"
    if config:
        staged = f"{DAEMON_JSON}.new"
        content = StringIO(json.dumps(config, indent=2) + "\n")
        yield uploaded(host, content, staged)
        yield f"chmod 644 {staged}"
        # An operator's own mode is kept: there may be a proxy's password in it.
        yield f"! test -e {DAEMON_JSON} || chmod --reference={DAEMON_JSON} {staged}"
        yield renamed(staged, DAEMON_JSON)
    else:
        yield f"rm -f {DAEMON_JSON}"
    yield 'kill -HUP "$(cat /run/docker.pid)"'  # dockerd rereads this setting without a restart


def stale_services(path: str) -> list[str] | None:
    """Services of a compose file that have to be replaced; None if all is up and as it says.

    Compose looks at its own labels only: what `docker update` changed needs --force-recreate.
    """
    found = known(Compose, path=path)
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
