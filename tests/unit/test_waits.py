"""Every wait of the product is a setting, or on docs/hosts.md with the reason for its length."""

from __future__ import annotations

import re

from ollama_stack import ROOT
from ollama_stack.config.settings import Settings

WAIT = re.compile(
    r"(?:--max-time|--connect-timeout|--timeout|--retry-delay|\btimeout(?: [a-z-]+)?|stop_grace_period:"
    r"|graceful_timeout =|hard-stop-after|\b(?:PATIENCE|LOOK|SILENCE|LINGER|FRESH) =|connect="
    r"|ServerAliveInterval=|clitcpka-idle|seconds: int =) ?[0-9.]+[smh]?\b"
)
FILES = (
    "ollama_stack/**/*.py",
    "ollama_stack/**/*.sh",
    "ollama_stack/host/*",
    "templates/**/*.j2",
    "app/*.py",
)
ROWS = [
    row
    for row in (ROOT / "docs" / "hosts.md").read_text().partition("## How long")[2].splitlines()
    if row.startswith("| ") and not row.startswith("| for what")
]


def test_every_fixed_wait_has_its_reason() -> None:
    found = {
        (path.name, wait[0])
        for pattern in FILES
        for path in ROOT.glob(pattern)
        for wait in WAIT.finditer(path.read_text())
    }
    written = set()
    for row in ROWS:
        place = row.split(" | ")[-1]
        for part in re.findall(r"`([^`]+)`", place):
            if re.search(r"\.(py|sh|j2)$|^host/", part):
                file = part.rpartition("/")[2]
            else:
                written.add((file, part))
    assert found == written


def test_every_setting_that_is_a_wait_is_there_with_its_default() -> None:
    waits = {name for name in Settings.model_fields if name.endswith(("_timeout", "_limit"))}
    units = {"s": "s", "m": "min", "h": "h"}
    for name in waits:
        default = Settings.model_fields[name].default
        amount = f"{default[:-1]} {units[default[-1]]}"
        assert any(f"`{name}`, {amount}" in row for row in ROWS), f"{name}, {amount}"
