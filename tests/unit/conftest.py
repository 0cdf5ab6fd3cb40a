"""The settings of each profile, read as pyinfra reads them: all.py, then the profile's file."""

from __future__ import annotations

import runpy
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from ollama_stack import authority
from ollama_stack.config.settings import Settings, read_settings
from ollama_stack.stack.certificates import issue, new_authority

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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a site's own authority, which is not there yet."""
    return tmp_path / "secrets" / "tls"


@pytest.fixture
def made(folder: Path) -> Path:
    """With an authority and one host's certificate."""
    now = datetime.now(timezone.utc)
    ours = new_authority("school", now)
    authority.keep(folder, ours, "web-1", issue(ours, ["web-1"], now))
    return folder
