"""Which models an Ollama server has, how they are tuned, and which is loaded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pyinfra.api import FactBase, FactProcessError, StringCommand
from typing_extensions import override

from ollama_stack.facts.ollama import ask


def _answer(output: list[str]) -> dict[str, Any]:
    """The JSON object that the server answered; FactProcessError if it is none."""
    try:
        answer: dict[str, Any] = json.loads("\n".join(output))
    except ValueError as error:
        raise FactProcessError(f"Ollama's answer is not JSON: {error}") from error
    return answer


class Models(FactBase[dict[str, str] | None]):
    """Digest of every model on the server, by name; None while the server does not answer."""

    path = "/api/tags"

    @override
    def command(self) -> StringCommand:
        return ask(self.path)

    @override
    def process(self, output: list[str]) -> dict[str, str]:
        return {model["name"]: model["digest"] for model in _answer(output)["models"]}


class ModelSizes(FactBase[dict[str, int] | None]):
    """Bytes on disk of every model on the server, by name; None while it does not answer."""

    @override
    def command(self) -> StringCommand:
        return ask("/api/tags")

    @override
    def process(self, output: list[str]) -> dict[str, int]:
        return {model["name"]: model["size"] for model in _answer(output)["models"]}


class ModelMetadata(FactBase[dict[str, Any]]):
    """A model's GGUF metadata and tensors as ``/api/show`` has them; empty if it is not there."""

    default = dict

    @override
    def command(self, model: str) -> StringCommand:
        return ask("/api/show", {"model": model})

    @override
    def process(self, output: list[str]) -> dict[str, Any]:
        return _answer(output)


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
        return ask("/api/show", {"model": model})

    @override
    def process(self, output: list[str]) -> ModelDetails:
        shown = _answer(output)
        lines = shown["modelfile"].splitlines()
        weights = next(line for line in lines if line.startswith("FROM "))
        pairs = (line.split(None, 1) for line in shown.get("parameters", "").splitlines())
        return ModelDetails(weights, {pair[0]: pair[1] for pair in pairs if len(pair) == 2})


def manifest_path(model: str) -> str:
    """Where Ollama keeps a model's manifest, below its folder of models (types/model/name.go)."""
    name, _, tag = model.rpartition(":")
    return f"manifests/registry.ollama.ai/{name if '/' in name else f'library/{name}'}/{tag}"
