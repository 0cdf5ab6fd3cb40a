"""The environment: every variable of the seed, and ours, as the container has it."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_stack.settings import Settings

VARIABLES = (
    *("OLLAMA_NUM_PARALLEL", "OLLAMA_MAX_LOADED_MODELS", "OLLAMA_NUM_THREAD", "OLLAMA_HOST"),
    *("OLLAMA_KEEP_ALIVE", "OLLAMA_MAX_QUEUE"),
    *("LLAMA_ARG_THREADS", "LLAMA_ARG_CACHE_RAM", "OLLAMA_NO_CLOUD"),
)


@pytest.mark.parametrize("variable", VARIABLES)
def test_variable_is_as_declared(
    variable: str, container: dict[str, Any], settings: Settings
) -> None:
    live = dict(entry.partition("=")[::2] for entry in container["Config"]["Env"])
    assert live.get(variable) == settings.environment[variable]
