"""What has been read of a host is read anew only after something has changed there."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any, TypeVar

from pyinfra import host
from pyinfra.api import FactBase, Host, State, StringCommand
from pyinfra.api.state import BaseStateCallback
from typing_extensions import override

from ollama_stack.containers import OLLAMA
from ollama_stack.facts.ollama import address
from ollama_stack.stack.compose import COMMAND

T = TypeVar("T")
FRESH = 60.0  # seconds that a look counts
OLLAMA_ADDRESS = address(OLLAMA)
Key = tuple[Any, ...]  # a fact's class and its arguments
Wanted = tuple[type[FactBase[Any]], dict[str, Any]]


@dataclass(eq=False)
class Memory(BaseStateCallback):
    """The facts of one run, by host; an operation that has changed something makes them old."""

    facts: dict[str, dict[Key, Any]] = field(default_factory=dict)
    last: dict[str, str] = field(default_factory=dict)
    looked: dict[str, float] = field(default_factory=dict)
    """When each host was looked at, by time.monotonic()."""

    def operation_host_start(self, state: State, host: Host, op_hash: str) -> None:  # type: ignore[override] # pyinfra's are static
        """The operation before it is over."""
        self.of(state, host)
        self.last[host.name] = op_hash

    def of(self, state: State, host: Host) -> dict[Key, Any]:
        """What is known of ``host``; nothing, if its last operation has changed something."""
        last = self.last.get(host.name)
        if last and last in state.ops[host]:
            done = state.get_op_data_for_host(host, last).operation_meta
            if done.is_complete() and done.did_change():
                self.facts.pop(host.name, None)
                del self.last[host.name]
        return self.facts.setdefault(host.name, {})


def remember(state: State) -> None:
    """From now on ``known`` reads nothing twice."""
    if not any(isinstance(each, Memory) for each in state.callback_handlers):
        state.add_callback_handler(Memory())


def still_true(host: Host) -> None:
    """What has been read of ``host`` holds after the current operation, though it has run commands.

    Not if that was long ago: an operator may have thought before the yes, and somebody else changed the host.
    """
    for each in host.state.callback_handlers:
        if isinstance(each, Memory) and time.monotonic() - each.looked.get(host.name, 0) < FRESH:
            each.last.pop(host.name, None)


def known(fact: type[FactBase[T]], **arguments: Any) -> T:
    """A fact of the current host, as it was before the current operation's own commands."""
    memory = _memory()
    facts = memory.of(host.state, host) if memory else {}
    key = _key(fact, arguments)
    if key not in facts:
        facts[key] = host.get_fact(fact, **arguments)
    found: T = facts[key]
    return found


def look(wanted: Sequence[Wanted]) -> None:
    """Read many facts of the current host by one command; ``known`` asks for what that misses."""
    memory = _memory()
    if memory:
        memory.looked[host.name] = time.monotonic()
        found: dict[Key, Any] = host.get_fact(Look, wanted=wanted, _ignore_errors=True)
        memory.of(host.state, host).update(found)


def _memory() -> Memory | None:
    return next((each for each in host.state.callback_handlers if isinstance(each, Memory)), None)


def _key(fact: type[FactBase[Any]], arguments: dict[str, Any]) -> Key:
    return (fact, *sorted(arguments.items()))


def _starts(command: str) -> float:
    """How long it takes, in starts of Docker's client; Compose is one more."""
    return 0.3 + command.count("docker ") + command.count(COMMAND)


class Look(FactBase[dict[Key, Any]]):
    """Many facts at once; a fact whose command is missing or fails, or whose answer is odd, is left out.

    The first is read before the others; those are read by two shells side by side. Facts with the same command
    share one answer, and those that ask Ollama its address.
    """

    default = dict

    @override
    def command(self, wanted: Sequence[Wanted]) -> StringCommand:
        self.end = token_hex(8)  # which nothing on a host can foresee
        self.readers: dict[str, list[tuple[FactBase[Any], Key]]] = {}
        for fact, arguments in wanted:
            one = fact()
            text = str(_command(one, arguments))
            self.readers.setdefault(text, []).append((one, _key(fact, arguments)))
        first, *others = (
            f"( {text}\n) </dev/null 2>/dev/null; printf '\\n%s %s %s\\n' {self.end} {number} $?;"
            for number, text in enumerate(self.readers)
        )
        there = [text for text in others if OLLAMA_ADDRESS in text]
        shells = [[text.replace(OLLAMA_ADDRESS, "$ollama") for text in there], list[str]()]
        if there:
            shells[0].insert(0, f"{{ ollama={OLLAMA_ADDRESS}; }} 2>/dev/null;")
        elsewhere = [text for text in others if OLLAMA_ADDRESS not in text]
        for text in sorted(elsewhere, key=_starts, reverse=True):
            min(shells, key=lambda shell: sum(map(_starts, shell))).append(text)
        return StringCommand(
            *(first, "( :;", *shells[0], ") &", "rest=$( :;", *shells[1], ");"),
            "wait; printf '%s\\n' \"$rest\"",
        )

    @override
    def process(self, output: list[str]) -> dict[Key, Any]:
        found: dict[Key, Any] = {}
        lines: list[str] = []
        readers = list(self.readers.values())
        for line in output:
            end, *marks = line.split(" ")
            if end != self.end:
                lines.append(line)
                continue
            if lines[-1:] == [""]:  # the line that the mark begins with
                lines.pop()
            number, status = map(int, marks)
            for fact, key in readers[number] if status == 0 else ():
                with suppress(Exception):  # the caller that needs it asks again, and gets the error
                    found[key] = fact.process(list(lines)) if lines else fact.default()
            lines = []
        return found


def _command(fact: FactBase[Any], arguments: dict[str, Any]) -> StringCommand:
    command = StringCommand(fact.command(**arguments))
    if needed := fact.requires_command(**arguments):
        return StringCommand(f"command -v {needed} >/dev/null && (", command, ")")
    return command
