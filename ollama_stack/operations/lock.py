"""One run at a time changes a host."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator

from pyinfra import host
from pyinfra.api import FunctionCommand, Host, QuoteString, State, StringCommand, operation
from pyinfra.api.command import PyinfraCommand

from ollama_stack.operations.programs import program

LOCK = "/run/ollama-stack.lock"  # gone after a reboot, as its holder is


@operation(is_idempotent=False, idempotent_notice="Every run takes the lock.")
def held(
    folder: str, who: str, begun: Callable[[State, Host], bool]
) -> Generator[PyinfraCommand, None, None]:
    """Hold the host's lock until this run ends, however it ends; one that is dead is taken over.

    It belongs to the run's SSH login (pyinfra has one for a run), on this machine to pyinfra itself,
    so nobody has to give it back. ``folder``: of the host's programs. ``begun``: told of it.
    """
    process = str(os.getpid()) if host.name == "@local" else ""
    yield StringCommand(program(folder, "lock"), LOCK, QuoteString(who), QuoteString(process))
    yield FunctionCommand(begun, (), {})
