"""One model that a server has, as its registry, its disk and its host's folder call it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True)
class ServedModel:
    """A model by its names; ``digest``: the only one that is taken, if one is declared."""

    name: str
    source: str
    """At its registry; without a host it means registry.ollama.ai."""
    manifest: str
    """URL of its manifest there."""
    digest: str
    setting: str
    """What declares it, for messages and sums."""

    @property
    def pristine(self) -> str:
        """The second tag, under which the model stays as it was pulled."""
        return f"{self.name}-pristine" + (f"-{self.digest[:12]}" if self.digest else "")

    def record(self, folder: str) -> str:
        """On the host: the digest of the model as it was first pulled; each has a file of its own."""
        first = self.setting == "model_name"
        return f"{folder}/model.digest" if first else record(folder, self.name)


def record(folder: str, name: str) -> str:
    """That of a model beside the first."""
    return f"{folder}/model-{quote(name, safe='')}.digest"
