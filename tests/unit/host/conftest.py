"""A host, and a run that has its lock."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_stack.operations.programs import SOURCES
from tests.unit.host.double import Host


@pytest.fixture
def service(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def operator(service: Host) -> Iterator[subprocess.Popen[bytes]]:
    """A run that has the lock, as long as this process lives; release 1 is what it found."""
    service.keep("v1")
    with subprocess.Popen(["sleep", "60"]) as process:
        take = ["sh", str(SOURCES / "lock"), str(service.lock), "ops@school", str(process.pid)]
        subprocess.run(take, check=True)
        yield process
        process.kill()
