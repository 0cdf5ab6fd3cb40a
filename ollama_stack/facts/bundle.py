"""What of a bundle is on a host already."""

from __future__ import annotations

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override


class Blobs(FactBase[set[str]]):
    """Digests of the files in a folder, whose names they are: ``sha256-...`` or without that."""

    default = set

    @override
    def command(self, folder: str) -> StringCommand:
        return StringCommand("ls", QuoteString(folder), "2>/dev/null || true")

    @override
    def process(self, output: list[str]) -> set[str]:
        return {f"sha256:{name.removeprefix('sha256-')}" for name in output}


class ModelBlobs(Blobs):
    """Those of the models in a volume."""

    @override
    def command(self, volume: str) -> StringCommand:
        mountpoint = "docker volume inspect --format '{{.Mountpoint}}'"
        return StringCommand(
            f'ls "$({mountpoint}', QuoteString(volume), ')/models/blobs" 2>/dev/null || true'
        )
