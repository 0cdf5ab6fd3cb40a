"""A folder to write into."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder without inventories of ours."""
    (tmp_path / "inventories").mkdir()
    monkeypatch.setattr("ollama_stack.cli.ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path
