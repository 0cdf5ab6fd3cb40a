"""Serve Ollama from a compose file rendered from the host's profile."""

from __future__ import annotations

from pathlib import Path

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pyinfra import host
from pyinfra.api import deploy
from pyinfra.operations import files

from ollama_stack.facts.docker import Cgroups, CgroupVersion, DaemonConfig, InitSystem
from ollama_stack.facts.host import UplinkMtu
from ollama_stack.forms import size_bytes
from ollama_stack.operations import docker, release, slice
from ollama_stack.settings import Settings
from ollama_stack.tasks.gateway import configure_gateway, forget_secrets
from ollama_stack.tasks.guard import close_side_doors

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
        s=settings, parent=parent, mtu=mtu if mtu < MTU else None
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


def tuned_model(settings: Settings) -> release.Tuned:
    """The model as this host is to have it."""
    return release.Tuned(settings.model_name, settings.pristine_model, settings.model_parameters)


def patience(settings: Settings) -> release.Patience:
    """How long a change on this host waits for what."""
    return release.Patience(
        queue=settings.queue_seconds,
        start=settings.start_seconds,
        load=settings.load_seconds,
        answer=settings.smoke_seconds,
        look=settings.health_seconds,
    )


@deploy("Ollama")
def serve_ollama(settings: Settings) -> None:
    """The compose file in its folder, and its project up and healthy."""
    path, parent = settings.compose_file, slice_of(settings)
    if parent:
        slice.protected(
            name="Keep the kernel to the limits",
            unit=parent,
            memory_low=size_bytes(settings.ollama_memory_reservation),
        )
    files.directory(name="Make the folder", path=settings.ollama_dir, mode="755")
    close_side_doors(settings)
    docker.compose_file(
        name="Write the compose file",
        content=render_compose(settings, parent, least_mtu()),
        path=path,
        pull_failed=(
            f"ollama_image: {settings.image} cannot be pulled; check the name and that its "
            "registry answers (mirror); the old compose file is untouched. If the words above are "
            f"about {settings.haproxy_image} or {settings.companion_image}: the same goes for "
            "gateway_image and app_image"
        ),
    )
    gateway = configure_gateway(settings) if settings.gateway_enabled else ""
    release.live(
        name="Start Ollama",
        folder=settings.ollama_dir,
        path=path,
        tuned=tuned_model(settings),
        gateway=gateway,
        patience=patience(settings),
        up_failed=(
            "ollama: a container did not become healthy; the last log lines are above, all of "
            f"them: docker compose --file {path} logs"
        ),
    )
    forget_secrets(settings)
