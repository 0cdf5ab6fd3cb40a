"""What a host is made of."""

from __future__ import annotations

from pyinfra.api import FactBase
from typing_extensions import override


class MemTotal(FactBase[int]):
    """Memory of the host, bytes (``/proc/meminfo``); 0 if it does not say."""

    default = int

    @override
    def command(self) -> str:
        return "grep MemTotal /proc/meminfo"

    @override
    def process(self, output: list[str]) -> int:
        return int(output[0].split()[1]) * 1024
