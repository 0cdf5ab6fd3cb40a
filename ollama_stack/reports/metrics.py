"""A status for Prometheus: a file for node_exporter's textfile collector."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from ollama_stack.reports.health import WORST_FIRST
from ollama_stack.reports.status import HostStatus, Status

FIGURES = {
    "cpus": "CPUs that Ollama's container takes",
    "cpus_limit": "CPUs that it may take",
    "throttled": "Share of the allowed CPU time that throttling takes",
    "memory": "Bytes that Ollama's container takes",
    "memory_limit": "Bytes that it may take",
    "killed": "Processes killed for memory since Ollama's container started",
    "disk_used": "Share of the fuller disk that is taken",
    "in_flight": "Questions being answered",
    "in_flight_limit": "Questions that may be answered at once",
    "waiting": "Questions that wait",
    "waiting_limit": "Questions that may wait",
    "answered": "Questions answered in the last five minutes",
    "refused": "Questions refused in the last five minutes",
    "failed": "Questions failed in the last five minutes",
    "wait_p50": "Seconds that half of them waited at most",
    "wait_p95": "Seconds that 95% of them waited at most",
    "lesson": "1 while a class may ask (lessons)",
    "wait_limit": "Seconds that 95% of them may wait (slo_p95_wait)",
}


LOOKED_AT = "ollama_looked_at"


def refuse_others(path: str) -> None:
    """ValueError if a file is there that no status has written."""
    there = Path(path)
    # A device might have no end.
    ours = there.is_file() and LOOKED_AT in there.read_text("utf-8", "replace")
    if there.exists() and not ours:
        raise ValueError(
            f"--metrics: {path} is no file of ours and stays as it is; name another file"
        )


def write_metrics(status: Status, path: str) -> None:
    """Whole or not at all; what a host did not say has no line."""
    registry = CollectorRegistry()
    Gauge(LOOKED_AT, "When, in Unix time", registry=registry).set(status.time.timestamp())
    states = Gauge(
        "ollama_state", "1 for the state of a host", ["host", "state"], registry=registry
    )
    own = {
        name: Gauge(f"ollama_{name}", meaning, ["host"], registry=registry)
        for name, meaning in {
            **FIGURES,
            "models": "Models in memory",
            "certificate_end": "When the certificate ends, in Unix time",
        }.items()
    }
    for host in status.hosts:
        for state in WORST_FIRST:
            states.labels(host.host, state).set(state == host.state)
        for name, figure in _figures(host).items():
            own[name].labels(host.host).set(figure)
    write_to_textfile(path, registry)


def _figures(host: HostStatus) -> dict[str, float]:
    now = host.now
    if now is None:
        return {}
    found = {name: getattr(now, name) for name in FIGURES}
    found["models"] = None if now.models is None else len(now.models)
    found["certificate_end"] = now.certificate_end and now.certificate_end.timestamp()
    return {name: figure for name, figure in found.items() if figure is not None}
