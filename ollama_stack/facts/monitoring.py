"""What the monitoring host says of what watches the servers."""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

from ollama_stack.facts.lines import Lines


class RunningUnits(Lines):
    """Those of systemd's units that run, and do so again after a start of the host."""

    @override
    def command(self, units: Sequence[str]) -> StringCommand:
        return StringCommand(
            *("for unit in", *map(QuoteString, units), "; do"),
            'systemctl -q is-active "$unit" && systemctl -q is-enabled "$unit" && echo "$unit"; done; true',
        )


class Clone(FactBase[str]):
    """Empty if the clone can look at the inventory's servers; else which file is not there."""

    default = str

    @override
    def command(self, folder: str, inventory: str) -> StringCommand:
        return StringCommand(
            *("cd", QuoteString(folder), "2>/dev/null || {", _say(folder), "; exit; };"),
            *("test -x .venv/bin/ollama-stack || {", _say(f"{folder}/.venv/bin/ollama-stack")),
            *("; exit; }; test -r", QuoteString(inventory), "||", _say(inventory)),
        )


def _say(path: str) -> StringCommand:
    return StringCommand("echo", QuoteString(path))
