"""What a host says about the packet filter before our containers."""

from __future__ import annotations

import re

from pyinfra.api import FactBase
from typing_extensions import override

TABLE = "inet ollama_stack"


class GuardRules(FactBase[list[str]]):
    """The comment of each rule that the kernel has in our table: the revision it was loaded from."""

    default = list

    @override
    def requires_command(self) -> str:
        return "nft"

    @override
    def command(self) -> str:
        return f"nft list table {TABLE} 2>/dev/null || true"

    @override
    def process(self, output: list[str]) -> list[str]:
        return re.findall(r'comment "([^"]*)"', "\n".join(output))
