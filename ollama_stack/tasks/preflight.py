"""Refuse a host that cannot be served, before anything on any host is touched."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from ipaddress import IPv4Address

import gevent
from gevent import Greenlet
from gevent.pool import Pool
from pyinfra import host, state
from pyinfra.api import DeployError, Host, State
from pyinfra.api.exceptions import PyinfraError
from pyinfra.context import ctx_config, ctx_host
from pyinfra.facts.docker import DockerContainer
from pyinfra.facts.hardware import Cpus
from pyinfra.facts.server import Arch, Command

from ollama_stack.capacity import MIB, SHAPES, budget
from ollama_stack.facts.docker import DaemonConfig, PortOwner
from ollama_stack.facts.host import MemTotal
from ollama_stack.facts.ollama import CONTAINER
from ollama_stack.settings import Settings, profile_of, read_settings, refuse, size_bytes
from ollama_stack.tasks.docker import RELEASES, release

HIGH_CPUS = 4
HIGH_MEMORY = 7.5e9  # bytes: a machine sold with 8 GB shows a little less


def check_flags(argv: list[str]) -> None:
    """Refuse the ways of starting pyinfra that end in a false success or in a stack trace."""
    if "--no-wait" in argv:
        raise DeployError("--no-wait: pyinfra then exits 0 when operations fail; leave it out")
    answered = any(re.match(r"--(yes|dry|json)$|-[a-z]*y", word) for word in argv)
    if not (answered or "PYINFRA_YES" in os.environ or sys.stdin.isatty()):
        raise DeployError("there is no terminal to confirm at; add -y to change, --dry to look")


def check_hosts() -> None:
    """DeployError with every reason why hosts of this run are refused, all on one screen."""
    refuse(_measured(state).get())


@cache
def _measured(run: State) -> Greenlet[..., dict[str, list[str]]]:
    """One measurement of all hosts a run; each host's greenlet waits for the same one."""
    return gevent.spawn(_measure, run)


def _measure(run: State) -> dict[str, list[str]]:
    hosts = run.inventory.get_active_hosts()
    return dict(zip([h.name for h in hosts], Pool(20).map(_reasons, hosts), strict=True))


def _reasons(one: Host) -> list[str]:
    settings = read_settings(one.data.dict())
    with ctx_config.use(one.state.config.copy()), ctx_host.use(one):
        refused = [*_rights()]
        if refused:  # every other look at the host would fail for the same reason
            return refused
        try:
            return [*_memory(settings), *_system(settings), *_size(settings), *_conflicts(settings)]
        except PyinfraError as error:
            return [
                f"preflight: a command failed on the host, see above ({error}); mend that first"
            ]


def _rights() -> Iterator[str]:
    """Root, by login or by sudo."""
    user = host.get_fact(Command, command="id --user --name", _ignore_errors=True)
    if not user:
        yield (
            "_sudo: sudo does not work for this user, see above; allow it on the host, or set "
            "_sudo = False where you log in as root"
        )
    elif user != "root":
        yield (
            f"_sudo: {user} may not install Docker; run as root, or set _sudo = True in group_data/ "
            "or in the host's own data"
        )


def _memory(settings: Settings) -> Iterator[str]:
    """The memory limit against what the model needs, where we know its shape."""
    shape = SHAPES.get(settings.model_name)
    if not shape:
        return
    parallel, num_ctx = settings.ollama_num_parallel, settings.model_num_ctx
    terms = budget(shape, settings.ollama_image, parallel, num_ctx, settings.ollama_cache_ram)
    needed = sum(terms.values())
    if needed > size_bytes(settings.ollama_memory):
        shown = ", ".join(f"{name} {size / MIB:.0f}" for name, size in terms.items())
        yield (
            f"ollama_memory: {settings.ollama_memory} is less than the {needed / MIB:.0f} MiB that "
            f"{settings.model_name} needs at {parallel} x {num_ctx} tokens ({shown}); raise it, or "
            "lower model_num_ctx or ollama_num_parallel"
        )


def _system(settings: Settings) -> list[str]:
    """What the host is, against what the deploy can serve."""
    reasons = []
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
    if host.get_fact(DaemonConfig) is None:
        reasons.append("docker: /etc/docker/daemon.json is not a JSON object; mend or remove it")
    return reasons


def _size(settings: Settings) -> Iterator[str]:
    """The host's CPUs and memory, against the limits and what the profile needs."""
    cpus, memory = host.get_fact(Cpus) or 0, host.get_fact(MemTotal)
    if profile_of(host.groups) == "high" and (cpus < HIGH_CPUS or memory < HIGH_MEMORY):
        yield (
            f"profile: high needs {HIGH_CPUS} CPUs and 8 GB, the host has {cpus} and "
            f"{memory / 1e9:.1f} GB; put it in medium or take a bigger host"
        )
    if settings.ollama_cpus > cpus:
        yield (
            f"ollama_cpus: {settings.ollama_cpus:g} is more than the {cpus} CPUs of the host; "
            f"lower it to {cpus} or take a bigger host"
        )
    if size_bytes(settings.ollama_memory) > memory:
        yield (
            f"ollama_memory: {settings.ollama_memory} is more than the {memory / 2**30:.1f} GiB of "
            "the host; lower it or take a bigger host"
        )


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
