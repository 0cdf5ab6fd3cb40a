"""Pure: what the hosts of a cluster cannot be together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ollama_stack.config.settings import DOCKER_HUB, Settings
from ollama_stack.stack.cluster import Hosts, Member, members, pools, together
from ollama_stack.stack.door import LIMITS

# What one host of a cluster may have otherwise than another, and what one profile may.
OF_A_HOST = frozenset({"cluster_address", "audit_waivers"})
OF_A_PROFILE = OF_A_HOST | {
    *("ollama_num_parallel", "ollama_max_queue", "ollama_max_loaded_models", "ollama_cache_ram"),
    *("ollama_keep_alive", "ollama_cpus", "ollama_memory", "ollama_cpu_reservation"),
    *("ollama_memory_reservation", "students", "slo_p95_wait", "slo_success"),
}


def cluster_faults(hosts: Hosts) -> dict[str, list[str]]:
    """What the hosts of each cluster cannot be together, by host, as ``setting: problem; way out``."""
    wrong: dict[str, list[str]] = {}
    for cluster in dict.fromkeys(data.get("cluster", "") for _, data in hosts.values()):
        if cluster:
            for name, fault in _faults(members(hosts, cluster)):
                wrong.setdefault(name, []).append(fault)
    return wrong


def _faults(there: Sequence[Member]) -> Iterator[tuple[str, str]]:
    first = there[0]
    alike = {pool.profile: pool.settings for pool in pools(there)}
    for member in there:
        for settings, other in ((first.settings, OF_A_PROFILE), (alike[member.profile], OF_A_HOST)):
            name = _difference(member.settings, settings, other)
            if name:
                yield member.name, _differs(name, member.settings, settings)
                break
        for fault in _alone(member.settings):
            yield member.name, fault
    managers = sum(member.manager for member in there)
    whole = together(there)
    places = whole.ollama_num_parallel + whole.ollama_max_queue
    room = LIMITS["door_connections"] - LIMITS["app_connections"] * whole.app_enabled
    if places > room:
        yield (
            first.name,
            f"cluster: its hosts have {places} places, and its gateway's door has {room} connections; give "
            "half of the hosts another cluster (docs/scale.md)",
        )
    if managers % 2 == 0:
        yield (
            first.name,
            f"cluster: {first.settings.cluster} has {managers} managers, of which no more may die than of "
            f"{managers - 1}; put an odd number of hosts into the group managers",
        )


def _differs(name: str, one: Settings, other: Settings) -> str:
    """The sentence; of a setting that no error may show, without its values."""
    here, there = repr(getattr(one, name)), repr(getattr(other, name))
    values = (
        f"is {here}, and {there} on" if Settings.model_fields[name].repr else "differs from that of"
    )
    return f"{name}: {values} another host of the cluster {one.cluster}; give both the same"


def _alone(settings: Settings) -> Iterator[str]:
    """What only a host that serves alone can have."""
    if not settings.gateway_enabled:
        yield "gateway_enabled: a cluster is behind its gateway; set gateway_enabled = True"
    if settings.models[1:]:
        yield f"models: a cluster has one, and {settings.models[1]} is more; leave only {settings.model_name}"
    if settings.bundle:
        yield (
            "bundle: a cluster's hosts pull what they run; unset bundle, and set mirror to a registry of the site's "
            "(docs/networks.md)"
        )
    if settings.gateway_tls == "acme":
        yield (
            "gateway_tls: acme is for a host alone; set gateway_tls = own, or gateway_tls_cert, the certificate of "
            "the cluster's address"
        )
    ready = settings.app_image if settings.app_enabled else ""
    if ready and "@" not in ready and settings.image_manifest(ready).startswith(DOCKER_HUB):
        yield (
            f"app_image: Swarm asks Docker Hub for {ready} before each start, and the owner of that name there gets the "
            "page's secrets; add its digest (@sha256:...), set mirror, or leave app_image out"
        )
    for name in ("ollama_bind", *(["app_bind"] if settings.app_enabled else [])):
        bind = getattr(settings, name)
        if bind != "0.0.0.0":  # noqa: S104 compared, not bound
            yield (
                f"{name}: a cluster's managers publish on all their addresses, and not on {bind} alone; "
                f"set {name} = 0.0.0.0"
            )


def _difference(one: Settings, other: Settings, allowed: frozenset[str]) -> str:
    names = (name for name in Settings.model_fields if name not in allowed)
    return next((name for name in names if getattr(one, name) != getattr(other, name)), "")
