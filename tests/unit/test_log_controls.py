"""OLS-904: what of the gateway's log is the server's fault, and what is a client's."""

from __future__ import annotations

import re

import pytest

from ollama_stack.inventory import Target
from tests.audit.control import Finding, Reading
from tests.audit.inspected import Inspected
from tests.audit.live import Live
from tests.audit.test_logs import test_gateways_log_tells_of_no_broken_answer as broken
from tests.unit.conftest import group_data

LINE = (
    '{{"time":"2026-11-30T07:00:00Z","client":"10.0.0.7","token":"{token}","route":"{route}",'
    '"model":"-","status":{status},"wait_ms":0,"total_ms":9,"bytes":99,"end":"{end}"}}'
)


class Host(Live):
    """A double of a host: one line of its gateway's log."""

    def __init__(self, line: str) -> None:
        super().__init__(Target("class-1", ("medium",), group_data("all", "medium")))
        self.line = line
        self.__dict__["gateway"] = Inspected("docker inspect", {"State": {"Pid": 7}})

    def log(self, container: str, pattern: str, since: str = "") -> Reading:
        found = self.line if re.search(pattern, self.line) else ""
        return Reading(found, f"docker logs {container}", found)


@pytest.mark.parametrize(
    ("token", "route", "status", "end", "quiet"),
    [
        ("one", "/api/chat", 200, "----", True),
        ("one", "/api/chat", 503, "PR--", True),
        ("one", "/api/chat", 500, "----", False),
        ("-", "/api/chat", 500, "----", False),
        ("one", "/api/chat", 200, "SD--", False),
        ("one", "/api/chat", 504, "sH--", False),
        ("admin", "/api/pull", 500, "----", True),  # a name that no registry has
        ("admin", "/api/chat", 500, "----", True),  # an option of the wrong type
        ("admin", "/api/chat", 502, "SH--", False),
        ("admin", "/api/chat", 200, "SD--", False),
    ],
)
def test_a_broken_answer_is_the_server_s(
    token: str, route: str, status: int, end: str, quiet: bool
) -> None:
    (mark,) = broken.pytestmark  # type: ignore[attr-defined]
    host = Host(LINE.format(token=token, route=route, status=status, end=end))
    found: Finding = mark.args[0].look(host)
    assert found.conforms is quiet
