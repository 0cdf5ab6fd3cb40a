"""One host's failure: it goes back to its last good release, and stops no other."""

from __future__ import annotations

import os

import pytest
from pyinfra.api import Config, Inventory, State
from pyinfra.api.exceptions import PyinfraError

from ollama_stack.tasks import release
from tests.unit.conftest import group_data


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> State:
    """Two hosts, under FAIL_PERCENT = 0 as pyinfra's command line has it, of which ``a`` has the lock."""
    state = State(Inventory((["a", "b"], group_data("all", "low"))), Config(FAIL_PERCENT=0))
    for host in state.inventory:
        state.activate_host(host)
    state.add_callback_handler(release.WayBack({state.inventory.get_host("a")}))
    return state


def failed(state: State, name: str) -> None:
    """As pyinfra does it when an operation fails."""
    host = state.inventory.get_host(name)
    state.trigger_callbacks("operation_host_error", host, "operation", 0, 0)
    state.fail_hosts({host})


def test_who_fails_goes_back_once_and_the_others_go_on(
    run: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    returned: list[str] = []
    monkeypatch.setattr(
        release.release, "return_to_good", lambda state, host, *_: returned.append(host.name)
    )
    run.trigger_callbacks("operation_end", "lock")
    failed(run, "a")
    assert (returned, run.active_hosts) == (["a"], {run.inventory.get_host("b")})
    failed(run, "a")
    assert returned == ["a"]


def test_a_line_that_is_lost_stops_no_other(
    run: State, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def lost(*_: object) -> None:
        raise EOFError("SSH session not active")

    monkeypatch.setattr(release.release, "return_to_good", lost)
    run.trigger_callbacks("operation_end", "lock")
    failed(run, "a")
    assert run.active_hosts == {run.inventory.get_host("b")}
    assert (
        "it cannot be reached any more (SSH session not active); it goes back automatically"
        in caplog.text
    )


def test_a_host_whose_lock_another_run_has_stops_all_before_anything_changes(
    run: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    returned: list[str] = []
    monkeypatch.setattr(
        release.release, "return_to_good", lambda state, host, *_: returned.append(host.name)
    )
    with pytest.raises(PyinfraError, match="Over 0% of hosts failed"):
        failed(run, "b")
    assert returned == []


@pytest.mark.parametrize("error", [KeyError("getpwuid(): uid not found: 1234"), OSError("no name")])
def test_an_operator_without_a_name_is_a_number(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a CI container: Python 3.13 says it with an OSError."""

    def nameless() -> str:
        raise error

    monkeypatch.setattr(release.getpass, "getuser", nameless)
    assert release.operator().startswith(f"uid-{os.getuid()}@")
