"""What a host's files say of its release, whatever the login says besides."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from types import SimpleNamespace

import pytest
from rich.console import Console

from ollama_stack.inventory import Target
from ollama_stack.reports.status import HostStatus, Release, Status, host_status, show_status
from tests.unit.conftest import group_data

RECORD = '{"version": "v", "at": "2026", "by": "ops", "commit": "0123456789"}'
SEVEN = Release.model_validate(
    json.loads(RECORD) | {"number": 7, "in_place": True, "unconfirmed": False, "returned": ""}
)
LEFT = {"in_place": False, "unconfirmed": True, "returned": "2026: the run"}


@pytest.mark.parametrize(
    ("said", "failed", "release", "reason"),
    [
        (f"7\n{RECORD}\nyes\nno\n\n", 0, SEVEN, ""),
        (
            f"Welcome!\nMind the step\n7\n{RECORD}\nno\nyes\n2026: the run\n",
            0,
            SEVEN.model_copy(update=LEFT),
            "",
        ),
        ("", 1, None, ""),
        ("Welcome!\nMind the step\nthe third line\n", 1, None, ""),
        ("7\n{}\nyes\nno\n\n", 0, None, "releases/current/release.json is not understood"),
    ],
)
def test_a_greeting_is_no_release(
    said: str, failed: int, release: Release | None, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = SimpleNamespace(run=lambda command: SimpleNamespace(stdout=said, rc=failed))
    monkeypatch.setattr(Target, "connect", lambda self, sockets: host)
    found = host_status(Target("a", ("low",), group_data("all", "low")), "")
    assert found == HostStatus(host="a", release=release, reason=reason)


def test_people_get_a_line_a_host(capsys: pytest.CaptureFixture[str]) -> None:
    hosts = [
        HostStatus(host="a", release=SEVEN),
        HostStatus(host="d", release=SEVEN.model_copy(update=LEFT)),
        HostStatus(host="b"),
        HostStatus(host="c", reached=False, reason="No route to host"),
    ]
    time = datetime(2026, 11, 23, tzinfo=timezone.utc)
    show_status(Status(time=time, inventory="x.py", hosts=hosts), Console(width=120))
    shown = capsys.readouterr().out.splitlines()
    rows = [line.replace("│", " ").split() for line in shown]
    assert ["a", "7", "yes", "v", "2026", "ops", "01234567"] in rows
    assert ["b", "none"] in rows
    assert ["c", "unreachable", "No", "route", "to", "host"] in rows
    assert any(
        line.startswith("d: a change has begun that is not confirmed yet: wait for")
        for line in shown
    )
    assert "d: came back to release 7 by itself: 2026: the run" in shown
