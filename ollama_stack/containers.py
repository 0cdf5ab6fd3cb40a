"""The containers, declared once: templates, operations and the audit's expectations read this."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Container:
    """What no setting changes: its names, its user and its bounds."""

    service: str
    """Compose's name for it, which is its host name for the others."""
    name: str
    port: int
    user: int
    """By number; on a host it is nobody's."""
    pids: int
    """Of the app: beside the threads that its settings ask for."""
    cpus: float = 0.0
    """0 where a setting says it; of the others, the rest is the model's."""

    @property
    def users(self) -> str:
        """User and group as Docker has them."""
        return f"{self.user}:{self.user}"


OLLAMA = Container("ollama", "ollama", port=11434, user=0, pids=256)
GATEWAY = Container("gateway", "ollama-gateway", port=11434, user=99, pids=32, cpus=0.5)
APP = Container("app", "ollama-app", port=8080, user=10001, pids=32, cpus=1.0)
CONTAINERS = (OLLAMA, GATEWAY, APP)
# The gateway's: Prometheus; HAProxy's own API; its health.
METRICS, RUNTIME, ALIVE = 8404, 8405, 8406
APP_MEMORY = "256M"
DOOR_MEMORY = "256M"  # of a manager's door, in a cluster

CONFIG = "haproxy.cfg"
PROGRAMS = ("door.lua", "messages.lua", "schema.lua", "checks.lua", "json.lua", "room.lua")
INSIDE = "/usr/local/etc/haproxy"  # where the gateway sees both
