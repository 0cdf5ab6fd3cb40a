"""Pure: what a registry's answer says about an image or a model (OCI distribution specification)."""

from __future__ import annotations

import json
from dataclasses import dataclass

WEIGHTS = "application/vnd.ollama.image.model"
# What is in memory with it: of a model that sees pictures its projector, and LoRA adapters.
LOADED = (WEIGHTS, "application/vnd.ollama.image.projector", "application/vnd.ollama.image.adapter")


@dataclass(frozen=True)
class Manifest:
    """HTTP status, 0 without an answer; bytes of all layers, and of what of a model is in memory, if the manifest has it."""

    status: int
    size: int | None = None
    weights: int | None = None

    @classmethod
    def parse(cls, text: str) -> Manifest:
        """From the body and, on the last line, the status."""
        body, _, status = text.rpartition("\n")
        try:
            layers = json.loads(body)["layers"]
            sizes = [(layer["mediaType"], int(layer["size"])) for layer in layers]
        except (ValueError, KeyError, TypeError):  # an index, or an answer without a manifest
            return cls(int(status or 0))
        weights = [size for kind, size in sizes if kind in LOADED]
        return cls(int(status), sum(size for _, size in sizes), sum(weights) or None)
