"""What the lab's mirror has."""

from __future__ import annotations

import json

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class PublishedConfig(FactBase[str | None]):
    """The config digest of ``repository:tag`` in a registry; None if it is not there."""

    @override
    def command(self, registry: str, reference: str) -> StringCommand:
        repository, _, tag = reference.partition(":")
        url = f"{registry}/v2/{repository}/manifests/{tag}"
        return StringCommand(
            f"curl -fsS --noproxy '*' --max-time 5 --header 'Accept: {MANIFEST}'",
            *(QuoteString(url), "2>/dev/null || true"),
        )

    @override
    def process(self, output: list[str]) -> str | None:
        digest: str = json.loads("\n".join(output))["config"]["digest"]
        return digest
