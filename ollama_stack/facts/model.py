"""Which models an Ollama server has, how they are tuned, and which is loaded."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pyinfra.api import FactBase, StringCommand
from typing_extensions import override

from ollama_stack.facts.ollama import call


class Models(FactBase[dict[str, str]]):
    """Digest of every model on the server, by name; empty while the server does not answer."""

    default = dict
    path = "/api/tags"

    @override
    def command(self) -> StringCommand:
        return StringCommand(call(self.path), "2>/dev/null || true")

    @override
    def process(self, output: list[str]) -> dict[str, str]:
        return {m["name"]: m["digest"] for m in json.loads("\n".join(output))["models"]}


class LoadedModels(Models):
    """Digest of every model in memory, by name."""

    path = "/api/ps"


@dataclass(frozen=True)
class ModelDetails:
    """A model's weights (the blob its Modelfile starts from) and its parameters."""

    weights: str
    parameters: dict[str, str]


class Model(FactBase[ModelDetails | None]):
    """One model as ``/api/show`` has it; None if the server has no such model."""

    @override
    def command(self, model: str) -> StringCommand:
        return StringCommand(call("/api/show", {"model": model}), "2>/dev/null || true")

    @override
    def process(self, output: list[str]) -> ModelDetails | None:
        shown = json.loads("\n".join(output))
        if "error" in shown:
            return None
        lines = shown["modelfile"].splitlines()
        weights = next(line for line in lines if line.startswith("FROM "))
        pairs = (line.split(None, 1) for line in shown.get("parameters", "").splitlines())
        return ModelDetails(weights, {pair[0]: pair[1] for pair in pairs if len(pair) == 2})
