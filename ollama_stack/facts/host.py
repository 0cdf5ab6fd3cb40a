"""What a host is made of."""

from __future__ import annotations

from pyinfra.api import FactBase, QuoteString, StringCommand
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


class FreeDisk(FactBase[int]):
    """Bytes free for root and users where ``path`` is, or will be made; 0 if it does not say."""

    default = int

    @override
    def command(self, path: str) -> StringCommand:
        return StringCommand(
            *("p=", QuoteString(path), ";"),
            'until [ -e "$p" ]; do p=$(dirname "$p"); done; df -B1 --output=avail "$p" | tail -n 1',
            _separator="",
        )

    @override
    def process(self, output: list[str]) -> int:
        return int(output[0])
