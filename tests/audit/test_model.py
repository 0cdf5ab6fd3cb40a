"""The model: there, tuned, and still there as it was pulled."""

from __future__ import annotations

from typing import Any

import pytest
from testinfra.host import Host

from ollama_stack.settings import Settings
from tests.audit.conftest import ask


@pytest.fixture(scope="session")
def models(host: Host, settings: Settings) -> set[str]:
    return {model["name"] for model in ask(host, settings, "/api/tags")["models"]}


def test_model_is_present(models: set[str], settings: Settings) -> None:
    assert settings.model_name in models


def test_pristine_model_is_present(models: set[str], settings: Settings) -> None:
    assert settings.pristine_model in models


@pytest.mark.parametrize("parameter", ["num_thread", "num_ctx", "num_predict"])
def test_model_carries_the_parameter(parameter: str, host: Host, settings: Settings) -> None:
    shown: dict[str, Any] = ask(host, settings, "/api/show", {"model": settings.model_name})
    live = dict(line.split(None, 1) for line in shown.get("parameters", "").splitlines())
    assert live.get(parameter) == str(settings.model_parameters[parameter])
