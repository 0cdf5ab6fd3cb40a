"""Nothing is read twice of a host on which nothing has changed."""

from __future__ import annotations

import pytest
from pyinfra.api.operation import add_op
from pyinfra.api.operations import run_ops
from pyinfra.api.state import StateStage
from pyinfra.operations import python, server

from ollama_stack.facts.docker import InitSystem
from ollama_stack.facts.memory import known, remember
from tests.unit.harness import fake_host


@pytest.mark.parametrize(("command", "reads"), [("true", 2), (None, 1)])
def test_a_fact_is_read_anew_only_after_something_has_changed(
    command: str | None, reads: int
) -> None:
    def ask() -> None:
        known(InitSystem)
        known(InitSystem)

    with fake_host() as host:
        remember(host.state)
        remember(host.state)
        ask()
        host.state.set_stage(StateStage.Prepare)
        add_op(host.state, server.shell, commands=[command] if command else [])
        add_op(host.state, python.call, function=ask)
        host.state.set_stage(StateStage.Execute)
        run_ops(host.state)
        executed = host.connector.executed_commands  # type: ignore[attr-defined]  # @fake's
    assert sum("/run/systemd/system" in each for each in executed) == reads


def test_without_a_memory_each_question_is_asked() -> None:
    with fake_host() as host:
        known(InitSystem)
        known(InitSystem)
        assert len(host.connector.executed_commands) == 2  # type: ignore[attr-defined]  # @fake's
