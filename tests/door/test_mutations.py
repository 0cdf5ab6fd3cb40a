"""The audit's lab tests break the rendered configuration by its text: that text is there, and loads."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ollama_stack.config.settings import read_settings
from ollama_stack.stack.rendering import gateway_files
from tests.door.conftest import TOKENS
from tests.door.haproxy import unpacked
from tests.lab.mutations import LOCKED, OPEN
from tests.unit.conftest import group_data

TABLES = [(name, table) for table in (OPEN, LOCKED) for name in table if table[name].gateway]


@pytest.mark.parametrize("control", [name for name, _ in TABLES])
def test_a_mutation_finds_its_text(control: str, tmp_path: Path, certificate: str) -> None:
    locked = control in LOCKED
    own = TOKENS | {"gateway_tls_cert": certificate} if locked else {}
    settings = read_settings(group_data("all", "medium") | {"app_enabled": True} | own)
    for name, text in gateway_files(settings, {"aa": "one"})[1].items():
        if name == "haproxy.cfg":
            for old, new in (LOCKED if locked else OPEN)[control].gateway:
                assert old in text
                text = text.replace(old, new)
        (tmp_path / name).write_text(text.replace("/usr/local/etc/haproxy", str(tmp_path)))
    command = [*unpacked(), "-c", "-q", "-f", str(tmp_path / "haproxy.cfg")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
