"""What a host's kept releases say of themselves, and what runs there."""

from __future__ import annotations

import json

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override


class CurrentRelease(FactBase[dict[str, str]]):
    """The record of the release that was last found good, with its ``number``; empty if none was."""

    default = dict

    @override
    def command(self, folder: str) -> StringCommand:
        return StringCommand(
            *("cd", QuoteString(f"{folder}/releases"), "2>/dev/null &&"),
            "readlink current && cat current/release.json 2>/dev/null || true",
        )

    @override
    def process(self, output: list[str]) -> dict[str, str]:
        try:
            number, record = output
            return {"number": number, **json.loads(record)}
        except ValueError:  # half of it is none
            return {}


class LiveFiles(FactBase[str]):
    """SHA-256 over the compose file and the gateway's files."""

    default = str

    @override
    def command(self, folder: str) -> StringCommand:
        return StringCommand(
            *("cd", QuoteString(folder), "2>/dev/null || exit 0;"),
            "{ cat docker-compose.yml; cat gateway/*; } 2>/dev/null | sha256sum",
        )

    @override
    def process(self, output: list[str]) -> str:
        return output[0].split()[0]
