"""What a host's kept releases say of themselves, and what runs there."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

from ollama_stack.paths import LOCK


class LastRun(FactBase[str]):
    """The run that had the host's lock last, as the lock's file has it, if nothing of it is left; else ``at work``."""

    default = str

    @override
    def command(self) -> str:
        return (
            f"run=; {{ read -r run <{LOCK}; }} 2>/dev/null;"
            ' if [ -n "$run" ] && { [ -d "/proc/${run%% *}" ] ||'
            f' ! flock --nonblock --shared {LOCK} true; }}; then echo at work; else echo "$run"; fi'
        )


@dataclass(frozen=True)
class Current:
    """The release that was last found good; without one, ``number`` and ``version`` are empty."""

    number: str = ""
    version: str = ""
    untouched: bool = True
    """Its files are those that were kept."""
    unconfirmed: bool = False
    """A change has begun that nobody has found good."""
    returned: str = ""
    """When and why the host went back to it automatically, if it did."""


class CurrentRelease(FactBase[Current]):
    """What a host runs, by its own record."""

    default = Current

    @override
    def command(self, folder: str) -> StringCommand:
        return StringCommand(
            *("cd", QuoteString(f"{folder}/releases"), "2>/dev/null || exit 0;"),
            'echo "$(readlink current)"; echo "$(cat current/release.json 2>/dev/null)";',
            "(cd current 2>/dev/null && sha256sum --status --check checksums 2>/dev/null); echo $?;",
            'test ! -e unconfirmed; echo "$?"; cat returned 2>/dev/null || true',
        )

    @override
    def process(self, output: list[str]) -> Current:
        number, record, checked, unconfirmed, *returned = output
        try:
            version = json.loads(record)["version"]
        except (ValueError, KeyError):  # half of a release is none
            return Current(returned="".join(returned))
        return Current(number, version, checked == "0", unconfirmed == "1", "".join(returned))
