"""Until when what a host runs gets fixes, by the words of the program itself."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from ollama_stack.inventory import Target
from tests.audit.control import Blocked, Finding, NotApplicable
from tests.audit.conversation import Output
from tests.audit.live import Live
from tests.audit.test_versions import gets_fixes
from tests.audit.test_versions import test_the_gateways_haproxy_still_gets_fixes as haproxy
from tests.audit.test_versions import test_the_pages_python_still_gets_fixes as python
from tests.unit.conftest import group_data

LTS = "Status: long-term supported branch - will stop receiving fixes around Q2 2029."


@pytest.mark.parametrize(
    ("status", "day", "fixed"),
    [
        (LTS, date(2026, 11, 29), True),
        (LTS, date(2029, 6, 30), True),
        (LTS, date(2029, 7, 1), False),
        (
            "stable branch - will stop receiving fixes around Q1 2027.",
            date(2027, 3, 31),
            True,
        ),
        ("development branch - not safe for use in production.", date(2026, 1, 1), False),
        ("no status", date(2026, 1, 1), False),
    ],
)
def test_a_branch_of_haproxy_gets_fixes_until_its_quarter_ends(
    status: str, day: date, fixed: bool
) -> None:
    assert gets_fixes(status, day) is fixed


class Host(Live):
    """A double of a cluster's host with a door and a page, or with none."""

    def __init__(self, manager: str, container: str, *, page: bool = True) -> None:
        data = group_data("all", "low") | {"cluster": "school", "app_enabled": page}
        super().__init__(Target("class-1", ("low",), data))
        self.said = {
            "ControlAvailable": manager,
            "name=^ollama_door": container,
            "name=^ollama_app": container,
            "haproxy -v": f"HAProxy\n{LTS}",
            "python3 --version": "Python 3.13.5\n",
        }

    def run(self, command: str, *, seconds: int = 30) -> Output:
        return Output(command, 0, next((v for k, v in self.said.items() if k in command), ""), "")


def look(control: Any, host: Host) -> Finding:
    (mark,) = control.pytestmark
    found: Finding = mark.args[0].look(host)
    return found


@pytest.mark.parametrize(
    ("control", "asked"), [(haproxy, "haproxy -v"), (python, "python3 --version")]
)
def test_what_a_manager_runs_is_asked_and_workers_have_none(control: Any, asked: str) -> None:
    found = look(control, Host("true", "abc\n"))
    assert found.conforms
    assert found.evidence[0].command == f"docker exec abc {asked}"
    with pytest.raises(NotApplicable, match="the managers run it"):
        look(control, Host("false", ""))
    with pytest.raises(Blocked, match="OLS-1415"):
        look(control, Host("true", ""))


def test_a_cluster_without_a_page_has_no_python_of_its_own() -> None:
    with pytest.raises(NotApplicable, match="app_enabled"):
        look(python, Host("true", "abc\n", page=False))
