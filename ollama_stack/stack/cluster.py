"""Pure: who is in a cluster, and the one stack that it runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType
from typing import Any

import yaml

from ollama_stack.config import tokens
from ollama_stack.config.settings import PROFILES, Settings, profile_of, read_settings, serves
from ollama_stack.config.types import seconds
from ollama_stack.containers import (
    ALIVE,
    APP,
    CONFIG,
    DOOR_MEMORY,
    GATEWAY,
    INSIDE,
    METRICS,
    OLLAMA,
    PROGRAMS,
)
from ollama_stack.stack.rendering import FOLDER, TEMPLATES, haproxy_config

Hosts = Mapping[str, tuple[Iterable[str], Mapping[str, Any]]]

SHORT = 12  # digits of a digest in a name
MANAGERS = 3  # of them one may die; they are one where hosts are fewer
DOOR = {"connections": 800, "crowded": 650, "few": 20}  # beyond ``crowded`` an address has few
POOL = "10.213.0.0/16"  # of the networks between the hosts; Docker's own is all of 10.0.0.0/8


@dataclass(frozen=True)
class Member:
    """One host of a cluster."""

    name: str
    profile: str
    rank: int
    """Of a manager, from 1: in this order their gateways have the queue; 0 of a worker."""
    settings: Settings

    @property
    def manager(self) -> bool:
        """Whether it is one."""
        return self.rank > 0


@dataclass(frozen=True)
class Pool:
    """The hosts of one profile: a service of the stack."""

    profile: str
    hosts: int
    settings: Settings

    @property
    def service(self) -> str:
        """Its name in the stack, which is its name in the stack's DNS."""
        return f"ollama-{self.profile}"


@dataclass(frozen=True)
class Stack:
    """What a cluster is to run: a file for `docker stack deploy`, and what that names by its content."""

    text: str
    configs: dict[str, str]
    secrets: dict[str, str]
    files: dict[str, str]
    """Secrets whose text only the first manager has, by its paths."""

    @property
    def digest(self) -> str:
        """Of the file, which has the digests of all the others."""
        return digest(self.text)


def members(hosts: Hosts, cluster: str) -> list[Member]:
    """The hosts of ``cluster`` in the inventory's order; all of them are free of faults.

    Its managers are those in the group ``managers``, else the first three, or the first one of fewer.
    """
    own = {
        name: (groups, data)
        for name, (groups, data) in hosts.items()
        if data.get("cluster") == cluster and serves(groups)
    }
    chosen = [name for name, (groups, _) in own.items() if "managers" in groups]
    chosen = chosen or list(own)[: MANAGERS if len(own) >= MANAGERS else 1]
    ranks = {name: rank for rank, name in enumerate(chosen, 1)}
    return [
        Member(name, profile_of(groups) or "", ranks.get(name, 0), read_settings(data))
        for name, (groups, data) in own.items()
    ]


def leader(there: Sequence[Member]) -> str:
    """The first manager's name: a run asks that one, and it has the page's secrets as files."""
    return next(member.name for member in there if member.manager)


def by_rank(service: str, managers: int) -> list[str]:
    """The services of the stack of which each is a manager's, by rank."""
    return [service, *(f"{service}-{rank}" for rank in range(2, managers + 1))]


def workers(hosts: Hosts) -> set[str]:
    """Hosts of clusters that manage none, by name; all hosts are free of faults."""
    clusters = {data.get("cluster", "") for _, data in hosts.values()} - {""}
    there = [member for cluster in clusters for member in members(hosts, cluster)]
    return {member.name for member in there if not member.manager}


def own_part(settings: Settings, *, worker: bool) -> Settings:
    """The settings of what runs on a host itself: a cluster's worker has neither gateway nor page."""
    without = {"gateway_enabled": False, "app_enabled": False}
    return settings.model_copy(update=without) if worker else settings


def pools(there: Sequence[Member]) -> list[Pool]:
    """The cluster's hosts by profile."""
    found = []
    for profile in PROFILES:
        own = [member.settings for member in there if member.profile == profile]
        if own:
            found.append(Pool(profile, len(own), own[0]))
    return found


def together(there: Sequence[Member]) -> Settings:
    """What all hosts are at once: the settings of the first one, with the places of all."""
    places = {
        name: sum(getattr(member.settings, name) for member in there)
        for name in ("ollama_num_parallel", "ollama_max_queue")
    }
    return there[0].settings.model_copy(update=places)


def stack(
    there: Sequence[Member],
    digests: dict[str, str],
    certificate: str = "",
    app_secrets: Mapping[str, str] = MappingProxyType({}),
) -> Stack:
    """The stack of a cluster; ``digests``: names of the tokens by their SHA-256.

    ``certificate``: PEM of the site's own authority; a ready one is read here. ``app_secrets``: SHA-256 of the
    files with them, by name.
    """
    settings, served = together(there), pools(there)
    managers = sum(member.manager for member in there)
    services = by_rank(GATEWAY.service, managers)
    configs = _configs(settings, served, services)
    secrets = {"tokens.map": "".join(f"{key} {name}\n" for key, name in digests.items())}
    if settings.gateway_has_tls:
        secrets["tls.pem"] = certificate or tokens.certificate(settings.gateway_tls_cert)
    marks = {name: digest(text) for name, text in (configs | secrets).items()}
    marks |= {name: full[:SHORT] for name, full in app_secrets.items()}
    named = {name: f"{settings.ollama_project}_{name}_{mark}" for name, mark in marks.items()}
    text = TEMPLATES.get_template("cluster/stack.yml.j2").render(
        **{"s": settings, "pools": served, "named": named, "configs": configs, "secrets": secrets},
        **{"gateway": GATEWAY, "ollama": OLLAMA, "inside": INSIDE, "config": CONFIG},
        **{"programs": PROGRAMS, "alive": ALIVE, "gateways": services, "door_memory": DOOR_MEMORY},
        **{"app": APP, "apps": by_rank(APP.service, managers), "app_secrets": app_secrets},
        answer_seconds=seconds(settings.gateway_answer_limit),
    )
    yaml.safe_load(text)
    return Stack(
        text,
        {named[name]: body for name, body in configs.items()},
        {named[name]: body for name, body in secrets.items()},
        {named[name]: f"{settings.app_dir}/{name}" for name in app_secrets},
    )


def _configs(settings: Settings, served: list[Pool], services: list[str]) -> dict[str, str]:
    """The texts that are no secret, by name; ``services``: the gateways by rank."""
    # Each port of a door with the path by which a gateway says that it can take what comes there.
    ports = {GATEWAY.port: "/version"} | ({APP.port: "/page"} if settings.app_enabled else {})
    return {
        **{name: (FOLDER / "gateway" / name).read_text() for name in PROGRAMS},
        CONFIG: haproxy_config(settings, settings.cluster, served),
        "door.cfg": TEMPLATES.get_template("cluster/door.cfg.j2").render(
            s=settings, gateways=services, ports=ports, metrics=METRICS, **DOOR
        ),
        "ollama.sh": TEMPLATES.get_template("cluster/ollama.sh.j2").render(
            s=settings, port=f"{OLLAMA.port:04X}", prompt=_prompt(settings)
        ),
    }


def _prompt(settings: Settings) -> str:
    body = {"model": settings.model_name, "prompt": "hi", "stream": False}
    return json.dumps(body | {"options": {"num_predict": 1}})


def digest(text: str) -> str:
    """By which a stack, and what it names, is told from another one."""
    return sha256(text.encode()).hexdigest()[:SHORT]
