"""What Docker says of one container."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.audit.control import Reading


@dataclass(frozen=True)
class Inspected:
    """``docker inspect`` of a container."""

    command: str
    data: dict[str, Any]

    def read(self, path: str) -> Reading:
        """The value at ``HostConfig.Memory``; None if there is no such place."""
        value: Any = self.data
        for part in path.split("."):
            value = (value or {}).get(part)
        return Reading(value, self.command, f'"{part}": {json.dumps(value)}'[:500])

    @property
    def address(self) -> str:
        """Its own IP address."""
        networks = self.data["NetworkSettings"]["Networks"].values()
        return str(next(net["IPAddress"] for net in networks if net["IPAddress"]))

    @property
    def variables(self) -> dict[str, str]:
        """Its declared environment."""
        return dict(entry.partition("=")[::2] for entry in self.data["Config"]["Env"])
