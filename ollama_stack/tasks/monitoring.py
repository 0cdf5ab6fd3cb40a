"""One Prometheus for the site: it looks as ``status`` does, from a clone that may log in to the servers."""

from __future__ import annotations

from pyinfra import host, state
from pyinfra.api import Inventory, deploy
from pyinfra.facts.files import FileContents
from pyinfra.facts.server import Command

from ollama_stack import ROOT
from ollama_stack.capacity.fit import SUPPORTED_OS
from ollama_stack.check import monitoring_faults
from ollama_stack.config.monitoring import Monitor
from ollama_stack.facts.docker import InitSystem, PortOwner
from ollama_stack.facts.memory import known, remember
from ollama_stack.facts.monitoring import Clone
from ollama_stack.operations import monitoring, packages
from ollama_stack.paths import UNITS
from ollama_stack.rules import refuse
from ollama_stack.stack.monitoring import alertmanager, configurations, units
from ollama_stack.tasks.docker import os_release

PACKAGES = ["prometheus", "prometheus-alertmanager", "prometheus-node-exporter"]


def check_monitoring(inventory: Inventory) -> None:
    """Refuse what no connection is needed to see."""
    remember(state)
    refuse(monitoring_faults({one.name: (one.groups, one.data.dict()) for one in inventory}))


@deploy("Monitoring")
def watch_site(declared: Monitor, path: str) -> None:
    """Prometheus, Alertmanager and node_exporter of Debian's packages, as services of our own.

    ``path``: of the inventory, whose servers they watch.
    """
    refuse({host.name: _misfits(declared, path)})
    monitoring.unstarted(name="Keep Debian's own services off", packages=PACKAGES)
    packages.installed(
        name="Install Prometheus and its parts",
        packages=[*PACKAGES, "curl"],
        proxy=declared.proxy,
    )
    monitoring.running(
        name="Watch the site's servers",
        configurations=configurations(declared),
        alertmanager=alertmanager(declared),
        units=units(declared, _user(), _clone(declared), path),
        ports=[declared.ports["prometheus"], declared.ports["alertmanager"]],
    )


def _user() -> str:
    """The user who logs in here, and from here to the servers."""
    name: str = host.get_fact(Command, command="id -un", _sudo=False)
    return name


def _clone(declared: Monitor) -> str:
    return str(ROOT) if host.name == "@local" else declared.monitoring_clone


def _misfits(declared: Monitor, path: str) -> list[str]:
    """What only the host itself says, before anything on it is touched."""
    system = " ".join(os_release())
    if system not in SUPPORTED_OS:
        known_ones = ", ".join(SUPPORTED_OS)
        return [f"monitoring: {system} is not supported; take a host with one of {known_ones}"]
    if known(InitSystem) != "systemd":
        return ["monitoring: the host has no systemd, whose timer looks; take one that has"]
    taken = [
        f"monitoring_port: {port}, which is to be the {part}'s, is taken by {owner}; set another, like 19090"
        for part, port in declared.ports.items()
        if not _is_ours(part, port) and (owner := known(PortOwner, port=port))
    ]
    clone = _clone(declared)
    absent = host.get_fact(Clone, folder=clone, inventory=path, _sudo=False)
    if absent:
        taken.append(
            f"monitoring_clone: {absent} is not there, or not for {_user()}; clone this project to {clone} there "
            "and run make .venv/ok in it (docs/monitoring.md), or put @local into the group monitoring"
        )
    return taken


def _is_ours(part: str, port: int) -> bool:
    text = known(FileContents, path=f"{UNITS}/ollama-stack-{part}.service") or []
    return any(f"--web.listen-address=127.0.0.1:{port}" in line for line in text)
