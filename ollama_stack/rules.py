"""What is refused by the settings alone, before any connection; and the words for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from functools import cache
from ipaddress import IPv4Address
from typing import Any

from pydantic import ValidationError
from pyinfra import logger
from pyinfra.api import DeployError, Inventory

from ollama_stack import authority
from ollama_stack.capacity.budget import least_profile
from ollama_stack.config import acme, page, tokens
from ollama_stack.config.settings import PROFILES, Settings, profile_of, read_settings, serves
from ollama_stack.config.types import size_bytes
from ollama_stack.misplaced import file_faults, inventory_faults, login_faults, near, no_such
from ollama_stack.stack.cluster import Hosts
from ollama_stack.stack.cluster_rules import cluster_faults

REFUSED = "refused, nothing was changed:"
LAST_YEAR = timedelta(days=365)  # of an authority, in which certificates become shorter


def check_inventory(inventory: Inventory, path: str = "") -> None:
    """Refuse the run, every fault of every host of it at once, before anything is touched.

    ``path``: of the inventory's file.
    """
    refuse(_checked(inventory, path))


@cache
def _checked(inventory: Inventory, path: str) -> dict[str, list[str]]:
    """Faults by host or file; pyinfra runs deploy.py once a host, this runs once a run."""
    hosts = inventory.get_active_hosts()  # within --limit
    data = {host.name: (host.groups, host.data.dict()) for host in hosts}
    wrong = run_faults(data, (group for host in inventory for group in host.groups), path)
    for name in (name for name in data if not wrong.get(name)):
        for unusual in warnings(data[name][1]):
            logger.warning(f"{name}: {unusual}")
    return wrong


def run_faults(hosts: Hosts, groups: Iterable[str], inventory: str = "") -> dict[str, list[str]]:
    """Faults by file and by host; a fault of a file is not repeated for each host.

    ``hosts``: groups and data by name; ``groups``: all those of the inventory, whose file is ``inventory``.
    """
    files = file_faults(groups) | inventory_faults(inventory)
    of_files = {fault for found in files.values() for fault in found}
    wrong = {
        name: [fault for fault in faults(own, data) or secret_faults(data) if fault not in of_files]
        for name, (own, data) in hosts.items()
    }
    wrong = wrong if any(wrong.values()) else cluster_faults(hosts)
    return files | {name: found for name, found in wrong.items() if found}


def refuse(reasons: Mapping[str, list[str]]) -> None:
    """DeployError with the reasons of all hosts, if there are any."""
    if message := refusal(reasons):
        raise DeployError(message)


def refusal(reasons: Mapping[str, list[str]]) -> str:
    """The reasons of all hosts on one screen; "" if there are none."""
    lines = [f"    {name}: {reason}" for name, own in reasons.items() for reason in own]
    return "\n".join([REFUSED, *lines]) if lines else ""


def faults(groups: Iterable[str], data: Mapping[str, Any]) -> list[str]:
    """What is wrong with one host, each as ``setting: problem; way out``; no connection is made."""
    groups = list(groups)
    profile = profile_of(groups)
    if not serves(groups):
        return [
            "profile: the host watches others and serves no class; ollama-stack deploy, or --limit, leaves it out"
        ]
    wrong = [] if profile else [f"profile: put the host in exactly one of {', '.join(PROFILES)}"]
    wrong += login_faults(data)
    try:
        settings = read_settings(data)
    except ValidationError as error:
        found = error.errors(include_url=False)
        # Without a profile its values are missing too: that says nothing new.
        return wrong + [sentence(f) for f in found if profile or f["type"] != "missing"]
    return [
        *wrong,
        *_impossible(settings),
        *_too_small(settings, profile),
        *_open_door(settings),
        *page.faults(settings),
        *(
            f'{fault}; allow_unusual = ["{name}"] overrides this rule'
            for name, fault in _unusual(settings)
            if name not in settings.allow_unusual
        ),
    ]


def warnings(data: Mapping[str, Any]) -> list[str]:
    """What is unusual with one host, and goes on all the same; the data must be free of faults."""
    settings = read_settings(data)
    unusual = [f"{fault}; allowed by allow_unusual" for _, fault in _unusual(settings)]
    places = settings.ollama_num_parallel + settings.ollama_max_queue
    if settings.students and settings.students > places:
        unusual.append(
            f"students: {settings.students} at once find {places} places (ollama_num_parallel + "
            "ollama_max_queue); the others have to ask again"
        )
    buffers = settings.gateway_buffers
    if settings.gateway_enabled and settings.gateway_source_connections >= buffers:
        unusual.append(
            f"gateway_source_connections: one address may hold all {buffers} buffers that bodies of "
            f"{settings.gateway_max_body} leave (gateway_max_body), and nobody else is answered then; "
            f"{buffers // 4} are enough, unless a class comes by one address"
        )
    served = len({*settings.allowed_models})
    if settings.gateway_enabled and served > settings.ollama_max_loaded_models:
        several = "models" if settings.models[1:] else "gateway_models"
        unusual.append(
            f"{several}: {served} models take turns in {settings.ollama_max_loaded_models} "
            "(ollama_max_loaded_models); every change waits for answers to end and for a load"
        )
    if settings.gateway_enabled and settings.gateway_tls == "own":
        end = _end_of_authority(settings)
        if end and end < datetime.now(timezone.utc) + LAST_YEAR:
            unusual.append(
                f"gateway_tls: the authority in {settings.gateway_tls_folder} ends on {end:%Y-%m-%d}; "
                "replace it before (docs/tls.md)"
            )
    return unusual


def secret_faults(data: Mapping[str, Any]) -> list[str]:
    """What is wrong with the secrets that only a deploy needs; the data must be free of faults."""
    settings = read_settings(data)
    if not settings.gateway_enabled:
        return []
    return [*tokens.faults(settings.gateway_tokens), *_bad_certificates(settings)]


def _bad_certificates(settings: Settings) -> Iterator[str]:
    if settings.gateway_tls_cert:
        try:
            tokens.certificate(settings.gateway_tls_cert)
        except ValueError as error:
            yield f"gateway_tls_cert: {error}"
    elif settings.gateway_tls == "own":
        try:
            end = _end_of_authority(settings)
        except ValueError as error:
            yield f"gateway_tls: {error}"
        else:
            if end and end < datetime.now(timezone.utc):
                yield (
                    f"gateway_tls: the authority in {settings.gateway_tls_folder} ended on {end:%Y-%m-%d}; "
                    f"{authority.ANEW}"
                )


def _end_of_authority(settings: Settings) -> datetime | None:
    """The end of the site's own authority, if there is one already; ValueError if it is not whole."""
    there = authority.read(authority.folder_of(settings.gateway_tls_folder))
    return there.certificate.not_valid_after_utc if there else None


def _impossible(settings: Settings) -> Iterator[str]:
    """Rules that no operator can override: what they forbid cannot work."""
    cpus, most = settings.ollama_cpus, max(1, int(2 * settings.ollama_cpus))
    if settings.ollama_num_parallel > most:
        yield (
            f"ollama_num_parallel: {settings.ollama_num_parallel} is more than 2 per CPU of "
            f"ollama_cpus = {cpus}; at most {most}"
        )
    if settings.ollama_cpu_reservation > cpus:
        yield (
            f"ollama_cpu_reservation: {settings.ollama_cpu_reservation} is more than "
            f"ollama_cpus = {cpus}; lower it"
        )
    if settings.models and settings.models[0] != settings.model_name:
        yield (
            f"models: the first is {settings.models[0]}, and model_name is {settings.model_name}; "
            f"set model_name = {settings.models[0]}, or put {settings.model_name} first"
        )
    if twice := [
        name for name in dict.fromkeys(settings.models) if settings.models.count(name) > 1
    ]:
        yield f"models: {', '.join(twice)} is there twice; name each model once"
    if settings.docker_version and settings.docker_source != "docker-ce":
        yield (
            "docker_version: is docker-ce's, and docker_source is "
            f"{settings.docker_source}; set docker_source = docker-ce, or unset docker_version"
        )
    if size_bytes(settings.ollama_memory_reservation) > size_bytes(settings.ollama_memory):
        yield (
            f"ollama_memory_reservation: {settings.ollama_memory_reservation} is more than "
            f"ollama_memory = {settings.ollama_memory}; lower it"
        )


def _too_small(settings: Settings, profile: str | None) -> Iterator[str]:
    """A profile below the one that so many students need."""
    if settings.students is None or profile is None:
        return
    least = least_profile(settings.students)
    if PROFILES.index(profile) < PROFILES.index(least):
        yield f"students: {settings.students} at once are too many for {profile}; put the host in {least}"


def _open_door(settings: Settings) -> Iterator[str]:
    """An address for others needs a lock; a gateway without one has a way in for everybody."""
    if _is_open(settings) and settings.gateway_enabled and not settings.gateway_tokens:
        yield (
            f"gateway_tokens: ollama_bind = {settings.ollama_bind} lets others in; name a token "
            "(docs/gateway.md), or set ollama_bind = 127.0.0.1"
        )
    if settings.gateway_enabled and settings.gateway_metrics_port == settings.ollama_port:
        yield f"gateway_metrics_port: {settings.ollama_port} is ollama_port; take another"
    if settings.gateway_tls and settings.gateway_tls_cert:
        yield (
            f"gateway_tls: {settings.gateway_tls} makes a certificate, and gateway_tls_cert = "
            f"{settings.gateway_tls_cert} is a ready one; unset one of them"
        )
    yield from acme.faults(settings)
    yield from _too_large_shares(settings)
    for name in (tokens.LOCAL, tokens.APP):
        if name in settings.gateway_tokens:
            yield f"gateway_tokens.{name}: is the deploy's own name; take another"


def _too_large_shares(settings: Settings) -> Iterator[str]:
    """Shares of nobody, and those that are more than all there is."""
    most = {"parallel": "ollama_num_parallel", "queue": "ollama_max_queue"}
    for name, share in settings.gateway_token_limits.items():
        place = f"gateway_token_limits.{name}"
        if name not in settings.gateway_tokens:
            hint = near(name, settings.gateway_tokens, "gateway_tokens names them")
            yield f"{place}: no such token; {hint}"
        for what, setting in most.items():
            if share.get(what, 0) > getattr(settings, setting):
                yield (
                    f"{place}.{what}: {share.get(what)} is more than {setting} = "
                    f"{getattr(settings, setting)}; lower it"
                )


def _is_open(settings: Settings) -> bool:
    return not IPv4Address(settings.ollama_bind).is_loopback


def _unusual(settings: Settings) -> Iterator[tuple[str, str]]:
    """Rules that may be overridden by name: the name, and what breaks it."""
    if not 10 <= settings.ollama_max_queue <= 20:
        yield (
            "ollama_max_queue",
            f"ollama_max_queue: {settings.ollama_max_queue} is outside 10 to 20",
        )
    if _is_open(settings) and not settings.gateway_enabled:
        yield "ollama_bind", f"ollama_bind: {settings.ollama_bind} lets others in without a lock"
    page_open = settings.app_enabled and not IPv4Address(settings.app_bind).is_loopback
    if page_open and not settings.gateway_has_tls:
        yield (
            "app_bind",
            f"app_bind: {settings.app_bind} lets others in without TLS; set gateway_tls = own, or "
            "gateway_tls_cert",
        )


def sentence(fault: Any) -> str:
    """One of pydantic's errors as ``setting: problem; way out``."""
    setting, given = ".".join(str(part) for part in fault["loc"]), fault["input"]
    if setting.startswith("gateway_tokens"):  # what was given may be a secret, in any place
        return f"gateway_tokens: is not understood; write it like {_examples(fault)}"
    if setting == "app_system_prompt":  # students may look over a shoulder
        return "app_system_prompt: is no text of at most 20000 characters; write it between quotes"
    match fault["type"]:
        case "missing" if "." not in setting:
            return f"{setting}: has no value; set it in group_data/ (docs/settings.md)"
        case "missing":
            return f"{setting}: has no value; write it like {_examples(fault)}"
        case "extra_forbidden" if "." not in setting:
            return no_such(setting)
        case "extra_forbidden":
            return f"{setting}: no such setting; write it like {_examples(fault)}"
        case "string_pattern_mismatch":
            return f"{setting}: {given!r} is not understood; write it like {_examples(fault)}"
        case "value_error":
            return f"{setting}: {fault['ctx']['error']}"
    message = fault["msg"][0].lower() + fault["msg"][1:]
    return f"{setting}: {given!r} is refused: {message} (docs/settings.md)"


def _examples(fault: Any) -> str:
    return " or ".join(Settings.model_fields[fault["loc"][0]].examples or ())
