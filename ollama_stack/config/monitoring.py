"""Settings of the site's one Prometheus, and of the host that has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from ollama_stack.config.types import Folder, Proxy, setting

MONITORING = "monitoring"
"""The inventory's group of the host that has it."""


class MonitoringSettings(BaseModel):
    """Prometheus, Alertmanager and node_exporter, each on 127.0.0.1."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())

    monitoring_port: int = setting(
        "port of Prometheus on 127.0.0.1; Alertmanager's is 3 above it, node_exporter's 10",
        "Prometheus's own",
        9090,
        rule="all three are free, or ours",
        ge=1024,
        le=65525,
    )
    monitoring_clone: Folder = setting(
        "folder of this project's clone on the monitoring host, from which it looks at the servers; "
        "`@local` uses the one that deploys",
        "ours",
        "/opt/ollama-stack",
        rule="`.venv/bin/ollama-stack` and the inventory are there",
    )
    monitoring_alertmanager: str = setting(
        "the site's own `alertmanager.yml` on the machine that deploys: who is told, and how; none: alarms are "
        "shown, and sent to nobody",
        "ours; templates/monitoring/alertmanager.yml is an example",
        "",
        rule="readable; amtool understands it",
    )


class Monitor(MonitoringSettings):
    """What is declared of a monitoring host, whether it serves a class too or not."""

    proxy: Proxy = ""

    @property
    def ports(self) -> dict[str, int]:
        """Of our three services, by what listens there."""
        port = self.monitoring_port
        return {"prometheus": port, "alertmanager": port + 3, "exporter": port + 10}


def read_monitor(data: Mapping[str, Any]) -> Monitor:
    """The settings in the monitoring host's data; pydantic's ValidationError if one is refused."""
    return Monitor(**{name: data[name] for name in Monitor.model_fields if name in data})
