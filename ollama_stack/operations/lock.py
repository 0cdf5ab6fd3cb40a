"""One run at a time changes a host."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator

from pyinfra import host
from pyinfra.api import FunctionCommand, Host, QuoteString, State, StringCommand, operation
from pyinfra.api.command import PyinfraCommand

from ollama_stack.facts.memory import known, still_true
from ollama_stack.facts.release import LastRun
from ollama_stack.operations.programs import program
from ollama_stack.paths import LOCK
from ollama_stack.shell import fail, run_now


@operation(is_idempotent=False, idempotent_notice="Every run takes the lock.")
def held(
    folder: str, who: str, begun: Callable[[State, Host], bool]
) -> Generator[PyinfraCommand, None, None]:
    """Hold the host's lock until this run ends, however it ends; one that is dead is taken over.

    It belongs to the run's SSH login (pyinfra has one for a run), on this machine to pyinfra itself,
    so nobody has to give it back. ``folder``: of the host's programs. ``begun``: told of it.
    """
    process = str(os.getpid()) if host.name == "@local" else ""
    command = StringCommand(program(folder, "lock"), LOCK, QuoteString(who), QuoteString(process))
    yield FunctionCommand(take, (command, known(LastRun), begun), {})


def take(
    state: State,
    host: Host,
    command: StringCommand,
    last: str,
    begun: Callable[[State, Host], bool],
) -> bool:
    """Whether the host has given its lock; what was read of it holds if no other run came between.

    ``last``: LastRun as it was then.
    """
    ok, lines = run_now(state, host, StringCommand(command, "2>&1"))
    if not ok:
        return fail(host, "\n".join(lines))
    if "".join(lines) == last:
        still_true(host)
    return begun(state, host)
