"""What has been read of a host is read anew only after something has changed there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

from pyinfra import host
from pyinfra.api import FactBase, Host, State
from pyinfra.api.state import BaseStateCallback

T = TypeVar("T")


@dataclass(eq=False)
class Memory(BaseStateCallback):
    """The facts of one run, by host; an operation that has changed something makes them old."""

    facts: dict[str, dict[Any, Any]] = field(default_factory=dict)
    last: dict[str, str] = field(default_factory=dict)

    def operation_host_start(self, state: State, host: Host, op_hash: str) -> None:  # type: ignore[override] # pyinfra's are static
        """Whether the operation before it has changed something."""
        before, self.last[host.name] = self.last.get(host.name), op_hash
        if before and before in state.ops[host]:
            done = state.get_op_data_for_host(host, before).operation_meta
            if done.is_complete() and done.did_change():
                self.facts.pop(host.name, None)


def remember(state: State) -> None:
    """From now on ``known`` reads nothing twice."""
    if not any(isinstance(each, Memory) for each in state.callback_handlers):
        state.add_callback_handler(Memory())


def known(fact: type[FactBase[T]], **arguments: Any) -> T:
    """A fact of the current host, as it was before the current operation's own commands."""
    memory = next((each for each in host.state.callback_handlers if isinstance(each, Memory)), None)
    if memory is None:
        found: T = host.get_fact(fact, **arguments)
        return found
    facts = memory.facts.setdefault(host.name, {})
    key = (fact, *sorted(arguments.items()))
    if key not in facts:
        facts[key] = host.get_fact(fact, **arguments)
    remembered: T = facts[key]
    return remembered
