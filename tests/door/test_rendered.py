"""HAProxy itself has nothing to say against any configuration that the settings can make."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from ollama_stack.config.settings import read_settings
from ollama_stack.stack.rendering import gateway_files
from tests.door.conftest import TOKENS
from tests.door.haproxy import unpacked
from tests.unit.conftest import group_data

SHARE = {"gateway_token_limits": {"one": {"parallel": 1, "queue": 2, "per_minute": 60}}}


@pytest.mark.parametrize("app", [False, True])
@pytest.mark.parametrize("own", [{}, TOKENS, TOKENS | SHARE, {"gateway_hosts": ["a.example"]}])
@pytest.mark.parametrize("tls", [False, True])
def test_no_warning(
    app: bool, own: dict[str, Any], tls: bool, tmp_path: Path, certificate: str
) -> None:
    more = {"app_enabled": app} | ({"gateway_tls_cert": certificate} if tls else {})
    settings = read_settings(group_data("all", "low") | own | more)
    for name, text in gateway_files(settings, {"aa": "one"})[1].items():
        (tmp_path / name).write_text(text.replace("/usr/local/etc/haproxy", str(tmp_path)))
    command = [*unpacked(), "-c", "-dW", "-dD", "-f", str(tmp_path / "haproxy.cfg")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
