"""The compose file of a host, rendered from its profile and from what it is."""

from __future__ import annotations

from pathlib import Path

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pyinfra import host

from ollama_stack.containers import ALIVE, CONFIG, CONTAINERS, INSIDE, METRICS
from ollama_stack.facts.docker import Cgroups, CgroupVersion, DaemonConfig, InitSystem
from ollama_stack.facts.host import UplinkMtu
from ollama_stack.settings import Settings

CGROUPFS = {"native.cgroupdriver=cgroupfs"}  # of daemon.json's exec-opts
TEMPLATES = Path(__file__).parents[2] / "templates"
MTU = 1500  # Docker's own, whatever the way out takes


def render_compose(settings: Settings, parent: str = "", mtu: int = MTU) -> str:
    """The compose file of one host; yaml.YAMLError if the template's result is not YAML.

    ``parent``: the systemd slice that its containers are in. ``mtu``: bytes of a packet that leaves them.
    """
    templates = Environment(  # noqa: S701 YAML, not HTML
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True
    )
    text = templates.get_template("ollama/docker-compose.yml.j2").render(
        **{each.service: each for each in CONTAINERS},
        **{"metrics": METRICS, "alive": ALIVE, "inside": INSIDE, "config": CONFIG},
        s=settings,
        parent=parent,
        mtu=mtu if mtu < MTU else None,
    )
    yaml.safe_load(text)
    return text


def slice_of(settings: Settings) -> str:
    """The slice of this host's containers; "" where Docker has no use for one.

    Where no engine answers yet, it is what Docker itself chooses there.
    """
    groups = host.get_fact(Cgroups)
    if groups is None:
        options = (host.get_fact(DaemonConfig) or {}).get("exec-opts", [])
        systemd = host.get_fact(InitSystem) == "systemd" and host.get_fact(CgroupVersion) == "2"
        groups = "systemd 2" if systemd and not CGROUPFS & set(options) else ""
    return settings.slice if groups == "systemd 2" else ""


def least_mtu() -> int:
    """The packets that come out of this host whole: what is larger is lost without a word on many ways."""
    declared = (host.get_fact(DaemonConfig) or {}).get("mtu")
    uplink = host.get_fact(UplinkMtu)
    return min(uplink, declared) if isinstance(declared, int) and declared else uplink
