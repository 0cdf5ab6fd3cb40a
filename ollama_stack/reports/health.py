"""Pure: a host's state, from its own answers, in sentences for the operator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from cryptography import x509

from ollama_stack.config.settings import Settings
from ollama_stack.config.types import size_bytes
from ollama_stack.containers import CONTAINERS, GATEWAY, OLLAMA, Container
from ollama_stack.facts.now import MINUTES, Asked, Load
from ollama_stack.stack.acme import least
from ollama_stack.stack.certificates import RENEW

State = Literal["unreachable", "down", "degraded", "serving"]
WORST_FIRST: tuple[State, ...] = ("unreachable", "down", "degraded", "serving")
THROTTLED = 0.2  # of the allowed CPU time, as the audit has it (OLS-305)
FULL_MEMORY = 0.95
FULL_DISK = 0.9

Problem = tuple[State, str]


@dataclass(frozen=True)
class Seen:
    """A host's answers; None for those that it did not give."""

    states: dict[str, dict[str, Any]] | None
    load: Load | None
    in_memory: dict[str, datetime] | None
    places: tuple[int, int] | None
    asked: Asked | None
    certificate: x509.Certificate | None
    disk_used: float | None = None


def problems(seen: Seen, settings: Settings, now: datetime) -> list[str]:
    """What is wrong, the worst first."""
    found = sorted(_all(seen, settings, now), key=lambda problem: WORST_FIRST.index(problem[0]))
    return [text for _, text in found]


def state(seen: Seen, settings: Settings, now: datetime) -> State:
    """The worst of what is wrong."""
    found = [WORST_FIRST.index(worst) for worst, _ in _all(seen, settings, now)]
    return WORST_FIRST[min(found, default=len(WORST_FIRST) - 1)]


def _all(seen: Seen, settings: Settings, now: datetime) -> Iterator[Problem]:
    if seen.states is None:
        yield (
            "down",
            "Docker does not answer, or not this user: systemctl status docker; put the user into the group "
            "docker, or allow sudo -n",
        )
        return
    if seen.disk_used and seen.disk_used >= FULL_DISK:
        yield (
            "degraded",
            f"{seen.disk_used:.0%} of the disk are taken: docker system df, or a larger one",
        )
    for container in _declared(settings):
        yield from _of_container(container, seen.states.get(container.name))
    if not _runs(seen.states, OLLAMA):
        return
    if seen.in_memory is None:
        yield "down", f"Ollama does not answer: docker logs {OLLAMA.name}"
    if seen.load:
        yield from _of_load(seen.load, settings)
    if settings.gateway_enabled and _runs(seen.states, GATEWAY):
        yield from _of_gateway(seen, settings, now)


def _declared(settings: Settings) -> list[Container]:
    return [one for one in CONTAINERS if one.service in settings.container_memory]


def _runs(states: dict[str, dict[str, Any]], container: Container) -> bool:
    return bool(states.get(container.name, {}).get("State", {}).get("Running"))


def _of_container(container: Container, container_info: dict[str, Any] | None) -> Iterator[Problem]:
    if container_info is None:
        yield "down", f"there is no container {container.name}: deploy"
    elif not container_info["State"]["Running"]:
        yield "down", f"{container.name} does not run: {_end(container_info['State'])}"
    elif container_info["State"].get("Health", {}).get("Status") == "unhealthy":
        yield "down", f"{container.name} fails its health check: docker logs {container.name}"


def _end(state: dict[str, Any]) -> str:
    killed = ", killed for memory" if state.get("OOMKilled") else ""
    return f"{state['Status']}, exit code {state['ExitCode']}{killed}"


def _of_load(load: Load, settings: Settings) -> Iterator[Problem]:
    share = load.throttled_seconds / settings.ollama_cpus
    if share >= THROTTLED:
        yield (
            "degraded",
            f"throttling takes {share:.0%} of the allowed CPU time: more threads than ollama_cpus? audit "
            "says (OLS-302)",
        )
    if load.killed:
        times = "once" if load.killed == 1 else f"{load.killed} times"
        yield (
            "degraded",
            f"the kernel has killed for memory {times} since {OLLAMA.name} started: raise ollama_memory, or "
            "lower ollama_num_parallel or model_num_ctx",
        )
    limit = size_bytes(settings.ollama_memory)
    if load.memory > FULL_MEMORY * limit:
        yield "degraded", f"memory: {load.memory / limit:.0%} of ollama_memory are taken"


def _of_gateway(seen: Seen, settings: Settings, now: datetime) -> Iterator[Problem]:
    if seen.places is None:
        yield (
            "down",
            f"the gateway does not answer: docker logs {GATEWAY.name}; or is curl not on the host?",
        )
    elif seen.places[1] >= settings.ollama_max_queue:
        yield "degraded", f"the queue is full: {seen.places[1]} wait (ollama_max_queue)"
    if seen.asked:
        yield from _of_questions(seen.asked, settings)
    if settings.gateway_has_tls and (seen.places or seen.certificate):
        yield from _of_certificate(seen.certificate, settings, now)


def _of_questions(asked: Asked, settings: Settings) -> Iterator[Problem]:
    last = f"in the last {MINUTES} minutes"
    if asked.failed:
        asked_in_all = asked.answered + asked.failed
        yield "degraded", f"{asked.failed} of {asked_in_all} questions failed {last}"
    if asked.refused:
        yield "degraded", f"{asked.refused} questions were refused {last}: no place was free"
    wait, most = asked.wait(0.95), settings.slo_p95_wait
    if wait is not None and wait > most:
        yield (
            "degraded",
            f"one question in 20 waited {wait:.0f} s or more {last}; the bound is {most:g} s (slo_p95_wait)",
        )


WAYS_OUT = {
    "": "replace gateway_tls_cert, deploy",
    "own": "deploy makes a new one",
    "acme": "the host has not renewed it; journalctl --unit certbot there says why",
}


def _of_certificate(
    shown: x509.Certificate | None, settings: Settings, now: datetime
) -> Iterator[Problem]:
    if shown is None:
        yield "degraded", "the address shows no certificate: is openssl on the host?"
        return
    end, way_out = shown.not_valid_after_utc, WAYS_OUT[settings.gateway_tls]
    if end <= now:
        yield "down", f"the certificate has ended on {end:%Y-%m-%d}: {way_out}"
    elif end - now < (least(shown) if settings.gateway_tls == "acme" else RENEW):
        yield "degraded", f"the certificate ends on {end:%Y-%m-%d}: {way_out}"
