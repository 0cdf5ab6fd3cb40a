"""What a host's files say of its release, whatever the login says besides."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ollama_stack import status
from ollama_stack.inventory import Target
from tests.unit.conftest import group_data

RECORD = '{"version": "v", "at": "2026", "by": "ops", "commit": "0123456789"}'


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (f"7\n{RECORD}\nyes\n", ("7", "yes", "v", "2026", "ops", "01234567")),
        (
            f"Welcome!\nMind the step\n7\n{RECORD}\nno\n",
            ("7", "no", "v", "2026", "ops", "01234567"),
        ),
        ("", ("none", "", "", "", "", "")),
        ("Welcome!\n", ("none", "", "", "", "", "")),
    ],
)
def test_a_greeting_is_no_release(
    said: str, told: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = SimpleNamespace(run=lambda command: SimpleNamespace(stdout=said))
    monkeypatch.setattr(Target, "connect", lambda self, sockets: host)
    assert status.release(Target("a", ("low",), group_data("all", "low")), "") == told
