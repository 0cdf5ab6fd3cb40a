"""Facts and operations on @fake hosts, through pyinfra's API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyinfra.api import Config, Host, Inventory, State
from pyinfra.api.command import FunctionCommand
from pyinfra.api.connect import connect_all, disconnect_all
from pyinfra.context import ctx_host, ctx_state

Responses = dict[Any, Any]


@contextmanager
def fake_host(responses: Responses | None = None, **own: Any) -> Iterator[Host]:
    """One connected host that answers commands by substring, and everything else with silence."""
    data = {"fake_delay": 0, "fake_delay_jitter": 0, "fake_responses": responses or {}}
    state = State(Inventory(([("@fake/one", data | own)], {})), Config())
    connect_all(state)
    host = state.inventory.get_host("@fake/one")
    with ctx_state.use(state), ctx_host.use(host):
        yield host
    disconnect_all(state)


def plan(operation: Any, responses: Responses | None = None, **arguments: Any) -> list[str]:
    """Every command that an operation would run on such a host, written out."""
    with fake_host(responses):
        return [
            f"{command.function.__name__}{command.args}"
            if isinstance(command, FunctionCommand)
            else str(command)
            for command in operation._inner(**arguments)
        ]
