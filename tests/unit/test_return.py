"""One host's failure: it goes back to its last good release, and stops no other."""

from __future__ import annotations

import os

import pytest
from pyinfra.api import Config, Inventory, State
from pyinfra.api.exceptions import PyinfraError
from pyinfra.context import ctx_host, ctx_state

from ollama_stack.tasks import release
from tests.unit.conftest import group_data


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> State:
    """Two hosts that have begun to change, under FAIL_PERCENT = 0 as pyinfra's command line has it."""
    state = State(Inventory((["a", "b"], group_data("all", "low"))), Config(FAIL_PERCENT=0))
    monkeypatch.setattr(release.lock, "held", lambda **_: None)
    for host in state.inventory:
        state.activate_host(host)
        host.data._changing = True
        with ctx_state.use(state), ctx_host.use(host):
            release.begin_change()
    return state


def test_who_fails_goes_back_once_and_the_others_go_on(
    run: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    returned: list[str] = []
    monkeypatch.setattr(
        release.release, "return_to_good", lambda state, host, *_: returned.append(host.name)
    )
    a, b = run.inventory
    run.fail_hosts({a})
    assert (returned, run.active_hosts) == (["a"], {b})
    run.fail_hosts({a})
    assert returned == ["a"]


def test_a_line_that_is_lost_stops_no_other(
    run: State, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def lost(*_: object) -> None:
        raise EOFError("SSH session not active")

    monkeypatch.setattr(release.release, "return_to_good", lost)
    a, b = run.inventory
    run.fail_hosts({a})
    assert run.active_hosts == {b}
    assert "it cannot be reached any more (SSH session not active)" in caplog.text


@pytest.mark.parametrize("error", [KeyError("getpwuid(): uid not found: 1234"), OSError("no name")])
def test_an_operator_without_a_name_is_a_number(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a CI container: Python 3.13 says it with an OSError."""

    def nameless() -> str:
        raise error

    monkeypatch.setattr(release.getpass, "getuser", nameless)
    assert release.operator().startswith(f"uid-{os.getuid()}@")


def test_who_has_changed_nothing_has_nothing_to_go_back_from(
    run: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    returned: list[str] = []
    monkeypatch.setattr(
        release.release, "return_to_good", lambda state, host, *_: returned.append(host.name)
    )
    a, _ = run.inventory
    a.data._changing = False
    with pytest.raises(PyinfraError, match="Over 0% of hosts failed"):
        run.fail_hosts({a})
    assert returned == []
