"""Nobody comes to the containers past the gateway: neither users of the host nor its neighbours."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pyinfra import host
from pyinfra.facts.server import Groups

from ollama_stack.facts.docker import EngineVersion, InitSystem
from ollama_stack.operations import guard
from ollama_stack.settings import Settings

TEMPLATES = Path(__file__).parents[2] / "templates" / "host"


def guard_files(settings: Settings, *, group: bool = True) -> tuple[str, str, str]:
    """nft's rules, the systemd unit that loads them, and the revision that each rule bears.

    ``group``: whether the host has the group docker, whose members the engine obeys anyway.
    """
    templates = Environment(  # noqa: S701 not HTML
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True
    )
    source = (TEMPLATES / "guard.nft.j2").read_text() + settings.bridge
    revision = sha256(source.encode()).hexdigest()[:12]
    rules = templates.get_template("guard.nft.j2").render(
        bridge=settings.bridge, group=group, revision=revision
    )
    unit = templates.get_template("guard.service.j2").render(path=settings.guard_file)
    return rules, unit, revision


def close_side_doors(settings: Settings) -> None:
    """The packet filter has our rules, now and after a start of the host."""
    installed_by_us = not host.get_fact(EngineVersion)  # and its packages make the group
    group = installed_by_us or "docker" in host.get_fact(Groups)
    rules, unit, revision = guard_files(settings, group=group)
    guard.closed(
        name="Close the side doors",
        path=settings.guard_file,
        rules=rules,
        revision=revision,
        unit=unit if host.get_fact(InitSystem) == "systemd" else "",
    )
