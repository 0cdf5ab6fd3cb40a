"""Every host's last good release, whether it runs it, and how it is. Nothing is changed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import Any, Literal

from pydantic import BaseModel

from ollama_stack.config.settings import Settings, profile_of, read_settings
from ollama_stack.config.types import is_lesson, size_bytes
from ollama_stack.facts.memory import Look, Wanted
from ollama_stack.facts.now import (
    AS_WHO_MAY,
    DiskUsed,
    GoodRelease,
    InMemory,
    LastMinutes,
    OllamaLoad,
    Places,
    ShownCertificate,
    States,
)
from ollama_stack.facts.swarm import ClusterHost, InCluster, troubles
from ollama_stack.inventory import Target
from ollama_stack.reports.health import Seen, State, problems, state

PATIENCE = 15  # seconds for one host, its login included


class Release(BaseModel, frozen=True):
    """A release that answered, as its own record has it."""

    number: int
    version: str
    at: str
    by: str
    commit: str
    in_place: bool
    """Whether the host's files are still this release's."""
    unconfirmed: bool
    """Whether a change has begun that nobody has found good: without that, the host comes back to this release."""
    returned: str
    """When and why the host came back to it automatically; empty if it did not."""


class Now(BaseModel, frozen=True):
    """What the service does at this moment; null for what the host did not say. Sizes in bytes, times in seconds."""

    cpus: float | None = None
    cpus_limit: float
    throttled: float | None = None
    """Share of the allowed CPU time."""
    memory: int | None = None
    memory_limit: int
    killed: int | None = None
    """Processes that the kernel has killed for memory since Ollama's container started."""
    disk_used: float | None = None
    """Share of the fuller filesystem, of the service's folder's and Docker's."""
    models: dict[str, datetime] | None = None
    """Those in memory, and until when each of them stays."""
    in_flight: int | None = None
    in_flight_limit: int
    waiting: int | None = None
    waiting_limit: int
    answered: int | None = None
    """This and all below are of the last five minutes."""
    refused: int | None = None
    failed: int | None = None
    wait_p50: float | None = None
    wait_p95: float | None = None
    wait_limit: float
    """slo_p95_wait."""
    lesson: bool | None = None
    """Whether a class may ask now (lessons)."""
    certificate_end: datetime | None = None
    """null also where the address is not https."""


class HostStatus(BaseModel, frozen=True):
    """One host: its last good release (without one, the reason if it is known) and how it is."""

    host: str
    reached: bool = True
    release: Release | None = None
    reason: str = ""
    state: State = "serving"
    problems: list[str] = []
    """In words, the worst first."""
    now: Now | None = None


class Status(BaseModel, frozen=True):
    """The report; time in UTC."""

    version: Literal[1] = 1
    time: datetime
    inventory: str
    hosts: list[HostStatus]


def find_status(inventory: str, targets: Sequence[Target]) -> Status:
    """All hosts, looked at side by side."""
    with ThreadPoolExecutor(32) as pool:
        hosts = list(pool.map(host_status, targets))
    return Status(time=datetime.now(timezone.utc), inventory=inventory, hosts=hosts)


def host_status(target: Target) -> HostStatus:
    """One host, by one command."""
    settings = read_settings(target.data)
    try:
        found = look_at(target, wanted(settings))
    except ValueError as error:
        why = str(error)
        return HostStatus(
            host=target.name, reached=False, reason=why, state="unreachable", problems=[why]
        )
    if settings.cluster:
        return of_cluster(target, settings, found.get(InCluster))
    return report_of(target.name, settings, found, datetime.now(timezone.utc))


def look_at(target: Target, asked: Sequence[Wanted]) -> dict[Any, Any]:
    """Facts by their class, those that the host gave; ValueError says why it gave none."""
    look = Look()
    script = f"export LC_ALL=C\n{AS_WHO_MAY}{look.command(asked)}\n"
    try:
        output = target.run(script, look.end, PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise ValueError(
            f"the host has said nothing for {PATIENCE} s: it hangs, or its login does"
        ) from error
    return {fact: answer for (fact, *_), answer in look.process(output.splitlines()).items()}


def of_cluster(target: Target, settings: Settings, seen: ClusterHost | None) -> HostStatus:
    """A host of a cluster: whether it is in, and what of the cluster's runs on it; the figures are the gateway's."""
    own = f"{settings.ollama_project}_ollama-{profile_of(target.groups)}"
    wrong = troubles(seen, own, page=settings.app_enabled)
    healthy = seen is not None and "(healthy)" in seen.containers.get(own, "")
    if seen is not None and seen.manager:
        healthy = healthy and seen.answers
    state: State = "serving" if not wrong else "degraded" if healthy else "down"
    return HostStatus(host=target.name, state=state, problems=wrong)


def wanted(settings: Settings) -> list[Wanted]:
    """What a host is asked; the slowest are those of the shells' different halves."""
    if settings.cluster:
        return [(InCluster, {"project": settings.ollama_project, "url": settings.url})]
    asked: list[Wanted] = [(States, {}), (OllamaLoad, {}), (InMemory, {})]
    asked += [(fact, {"folder": settings.ollama_dir}) for fact in (GoodRelease, DiskUsed)]
    if settings.gateway_enabled:
        port, page = settings.gateway_metrics_port, settings.app_enabled
        asked += [(LastMinutes, {}), (Places, {"port": port, "page": page})]
    if settings.gateway_enabled and settings.gateway_has_tls:
        asked += [(ShownCertificate, {"address": settings.url.partition("://")[2]})]
    return asked


def report_of(host: str, settings: Settings, found: dict[Any, Any], now: datetime) -> HostStatus:
    """The report of one host, from the facts that it gave."""
    release, reason = _release(found.get(GoodRelease, []))
    facts = (States, OllamaLoad, InMemory, Places, LastMinutes, ShownCertificate, DiskUsed)
    seen = Seen(*(found.get(fact) for fact in facts))
    worst, wrong = state(seen, settings, now), problems(seen, settings, now)
    more = _of_release(release) + ([reason] if reason else [])
    if more and worst == "serving":
        worst = "degraded"
    return HostStatus(
        host=host,
        release=release,
        reason=reason,
        state=worst,
        problems=wrong + more,
        now=_now(seen, settings, now),
    )


def _release(lines: Sequence[str]) -> tuple[Release | None, str]:
    if not lines:
        return None, ""
    try:
        number, record, in_place, unconfirmed, returned = lines
        more = {"number": number, "in_place": in_place}
        more |= {"unconfirmed": unconfirmed, "returned": returned}
        return Release.model_validate(json.loads(record) | more), ""
    except (TypeError, ValueError):
        return None, "releases/current/release.json is not understood"


def _of_release(release: Release | None) -> list[str]:
    """What is odd about it, in words."""
    if not release:
        return []
    problems = []
    if not release.in_place:
        problems += ["the host's files are no longer the release's: deploy"]
    if release.unconfirmed:
        problems += [
            "a change has begun that is not confirmed yet: wait for its run, or deploy again"
        ]
    if release.returned:
        problems += [f"came back to release {release.number} automatically: {release.returned}"]
    return problems


def _now(seen: Seen, settings: Settings, now: datetime) -> Now:
    figures: dict[str, Any] = {}
    if seen.load:
        lost = seen.load.throttled_seconds / settings.ollama_cpus
        figures |= {"cpus": seen.load.cpus, "throttled": lost}
        figures |= {"memory": seen.load.memory, "killed": seen.load.killed}
    if seen.places:
        figures["in_flight"], figures["waiting"] = seen.places
    if asked := seen.asked:
        figures |= {"answered": asked.answered, "refused": asked.refused, "failed": asked.failed}
        figures |= {"wait_p50": asked.wait(0.5), "wait_p95": asked.wait(0.95)}
    return Now(
        cpus_limit=settings.ollama_cpus,
        memory_limit=size_bytes(settings.ollama_memory),
        in_flight_limit=settings.ollama_num_parallel,
        waiting_limit=settings.ollama_max_queue,
        wait_limit=settings.slo_p95_wait,
        models=seen.in_memory,
        lesson=is_lesson(settings.lessons, now.astimezone()),
        certificate_end=seen.certificate.not_valid_after_utc if seen.certificate else None,
        disk_used=seen.disk_used,
        **figures,
    )
