"""One run at a time changes a host."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

from pyinfra import host
from pyinfra.api import FunctionCommand, Host, QuoteString, State, StringCommand, operation
from pyinfra.api.command import PyinfraCommand

SCRIPT = Path(__file__).with_name("lock.sh")
LOCK = "/run/ollama-stack.lock"  # gone after a reboot, as its holder is


@operation(is_idempotent=False, idempotent_notice="Every run takes the lock.")
def held(who: str) -> Generator[PyinfraCommand, None, None]:
    """Hold the host's lock until this run ends, however it ends; one that is dead is taken over.

    It belongs to the run's SSH login (pyinfra has one for a run), on this machine to pyinfra itself,
    so nobody has to give it back.
    """
    process = str(os.getpid()) if host.name == "@local" else ""
    yield StringCommand(
        *("sh -c", QuoteString(SCRIPT.read_text()), "lock", LOCK),
        *(QuoteString(who), QuoteString(process)),
    )
    yield FunctionCommand(_begun, (), {})


def _begun(state: State, host: Host) -> bool:
    host.data._changing = True
    return True
