"""The settings of each profile, read as pyinfra reads them: all.py, then the profile's file."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from ollama_stack.config.settings import Settings, read_settings

ROOT = Path(__file__).parents[2]


def group_data(*groups: str) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for group in groups:
        values = runpy.run_path(str(ROOT / "group_data" / f"{group}.py"))
        data |= {key: value for key, value in values.items() if not key.startswith("__")}
    return data


@pytest.fixture
def low() -> Settings:
    return read_settings(group_data("all", "low"))


@pytest.fixture
def medium() -> Settings:
    return read_settings(group_data("all", "medium"))


@pytest.fixture
def high() -> Settings:
    return read_settings(group_data("all", "high"))
