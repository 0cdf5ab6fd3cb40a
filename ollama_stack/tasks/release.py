"""One run at a time, and what it leaves on every host: a release that answers."""

from __future__ import annotations

import getpass
import socket
from datetime import datetime, timezone
from pathlib import Path

from pyinfra import host, logger, state
from pyinfra.api import Host, State, deploy
from pyinfra.api.state import BaseStateCallback
from typing_extensions import override

from ollama_stack.operations import lock, release
from ollama_stack.revision import revision
from ollama_stack.settings import Settings, read_settings
from ollama_stack.tasks.ollama import tuned_model

INVENTORIES = Path(__file__).parents[2] / "inventories"


class ReturnToGood(BaseStateCallback):
    """A host on which an operation fails goes back to its last good release; the others go on."""

    @override
    @staticmethod
    def operation_start(state: State, op_hash: str) -> None:
        state.config.FAIL_PERCENT = 100  # nobody's failure stops another half-way

    @override
    @staticmethod
    def operation_host_error(
        state: State, host: Host, op_hash: str, retry_count: int = 0, max_retries: int = 0
    ) -> None:
        if not host.data.get("_changing"):
            return
        settings = read_settings(host.data.dict())
        host.log_styled("looking for the last good release", fg="yellow", log_func=logger.error)
        release.return_to_good(state, host, settings.ollama_dir, settings.queue_seconds)


def begin_change() -> None:
    """Take the host's lock; whatever fails from here on ends with the last good release."""
    if not any(isinstance(handler, ReturnToGood) for handler in state.callback_handlers):
        state.add_callback_handler(ReturnToGood())
    lock.held(name="Take the lock", who=operator())


@deploy("Release")
def keep_release(settings: Settings) -> None:
    """What has just answered, kept to come back to."""
    release.kept(
        name="Keep the release",
        folder=settings.ollama_dir,
        tuned=tuned_model(settings),
        record={
            "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "by": operator(),
            "commit": revision(INVENTORIES),
        },
    )


@deploy("Release")
def go_back(settings: Settings) -> None:
    """The release that ``--data _release=NUMBER`` names, else the one before."""
    release.back(
        name="Run a kept release",
        folder=settings.ollama_dir,
        patience=settings.queue_seconds,
        number=str(host.data.get("_release") or ""),
    )


def operator() -> str:
    """Who runs this, and where."""
    return f"{getpass.getuser()}@{socket.gethostname()}"
