"""Pure: the texts of all files that a host is to have."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ollama_stack import ROOT
from ollama_stack.config import tokens
from ollama_stack.config.settings import Settings
from ollama_stack.containers import (
    ALIVE,
    APP,
    CONFIG,
    CONTAINERS,
    INSIDE,
    METRICS,
    OLLAMA,
    PROGRAMS,
    RUNTIME,
)
from ollama_stack.stack import door

FOLDER = ROOT / "templates"
TEMPLATES = Environment(  # noqa: S701 none of them is HTML
    loader=FileSystemLoader(FOLDER), undefined=StrictUndefined, keep_trailing_newline=True
)
VERSION = "@version@"  # a placeholder until the digest of all files is known
MTU = 1500  # Docker's own, whatever the way out takes


def compose_file(settings: Settings, parent: str = "", mtu: int = MTU) -> str:
    """The compose file of one host; yaml.YAMLError if the template's result is not YAML.

    ``parent``: the systemd slice that its containers are in. ``mtu``: bytes of a packet that leaves them.
    """
    text = TEMPLATES.get_template("ollama/docker-compose.yml.j2").render(
        **{each.service: each for each in CONTAINERS},
        **{"metrics": METRICS, "alive": ALIVE, "inside": INSIDE, "config": CONFIG},
        s=settings,
        parent=parent,
        mtu=mtu if mtu < MTU else None,
    )
    yaml.safe_load(text)
    return text


def gateway_files(
    settings: Settings, digests: dict[str, str], certificate: str = ""
) -> tuple[str, dict[str, str]]:
    """A version, which the configuration says of itself, and the gateway's files by name.

    ``digests``: token names by their SHA-256. ``certificate``: PEM of the site's own authority; a ready
    one is read here.
    """
    secrets = {}
    if settings.gateway_tokens:
        secrets["tokens.map"] = "".join(f"{key} {name}\n" for key, name in digests.items())
    # One by ACME never leaves its host.
    if settings.gateway_has_tls and settings.gateway_tls != "acme":
        secrets["tls.pem"] = certificate or tokens.certificate(settings.gateway_tls_cert)
    looks = {name: (FOLDER / "gateway" / name).read_text() for name in PROGRAMS}
    config = haproxy_config(settings, VERSION)
    draft = {CONFIG: config.replace(VERSION, ""), **looks, **secrets}
    text = "".join(f"{name} {content}" for name, content in sorted(draft.items()))
    version = sha256(text.encode()).hexdigest()[:16]
    return version, draft | {CONFIG: config.replace(VERSION, version)}


def haproxy_config(settings: Settings, version: str, pools: Sequence[Any] = ()) -> str:
    """The HAProxy configuration; ``pools``: of a cluster's hosts (stack/cluster.py), whose places are all's."""
    return TEMPLATES.get_template("gateway/haproxy.cfg.j2").render(
        s=settings,
        version=version,
        pools=pools,
        shares=door.shares(settings),
        half=door.half(settings),
        everybody_else=door.everybody_else(settings),
        body_seconds=door.body_seconds(settings),
        share_silence=door.share_silence(settings),
        origins=door.origins(settings),
        served=settings.allowed_models,
        lua_words=door.lua_words(settings),
        ollama=OLLAMA,
        app=APP,
        ports={"metrics": METRICS, "runtime": RUNTIME, "alive": ALIVE},
        **door.LIMITS,
    )


def guard_files(bridge: str, path: str, *, group: bool = True) -> tuple[str, str, str]:
    """nft's rules, the systemd unit that loads them, and the revision that each rule bears.

    ``bridge``: the containers' interface. ``path``: of the rules. ``group``: whether the host has the group docker, whose members the engine obeys anyway.
    """
    source = (FOLDER / "host" / "guard.nft.j2").read_text() + bridge
    revision = sha256(source.encode()).hexdigest()[:12]
    rules = TEMPLATES.get_template("host/guard.nft.j2").render(
        bridge=bridge, group=group, revision=revision
    )
    unit = TEMPLATES.get_template("host/guard.service.j2").render(path=path)
    return rules, unit, revision


def settling_unit(folder: str, settle: str) -> str:
    """The systemd unit by which a host goes back when it starts; ``settle``: the command that does it."""
    return TEMPLATES.get_template("host/release.service.j2").render(folder=folder, settle=settle)
