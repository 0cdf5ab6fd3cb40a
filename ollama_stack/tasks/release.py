"""One run at a time, and what it leaves on every host: a release that answers."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import gevent
from pyinfra import host, logger
from pyinfra.api import Host, State, deploy

from ollama_stack.operations import lock, model, release
from ollama_stack.revision import revision
from ollama_stack.settings import Settings, read_settings
from ollama_stack.tasks.ollama import patience, tuned_model

INVENTORIES = Path(__file__).parents[2] / "inventories"


def begin_change() -> None:
    """Take the host's lock; whatever fails from here on ends with the last good release."""
    if "fail_hosts" not in vars(host.state):
        # The one way by which an operation, a fact or a lost line makes a host a failed one.
        setattr(host.state, "fail_hosts", partial(_fail, host.state, host.state.fail_hosts))  # noqa: B010 mypy
    lock.held(name="Take the lock", who=operator())


def _fail(
    state: State,
    fail_hosts: Callable[[set[Host], int | None], None],
    hosts: set[Host],
    activated_count: int | None = None,
) -> None:
    changing = [each for each in hosts - state.failed_hosts if each.data.get("_changing")]
    if changing:
        state.config.FAIL_PERCENT = 100  # nobody's failure stops another half-way
    gevent.joinall([gevent.spawn(_return_to_good, state, each) for each in changing])
    fail_hosts(hosts, activated_count)


def _return_to_good(state: State, host: Host) -> None:
    settings = read_settings(host.data.dict())
    host.log_styled("looking for the last good release", fg="yellow", log_func=logger.error)
    try:
        release.return_to_good(state, host, settings.ollama_dir, patience(settings))
    except Exception as error:
        host.log_styled(
            f"it cannot be reached any more ({error}); a change that it was making goes on there, or "
            "back, by itself. Run again once it can be reached",
            fg="red",
            log_func=logger.error,
        )


@deploy("Release")
def keep_what_runs(settings: Settings) -> None:
    """Something to come back to, where a service is changed that has no release yet."""
    release.found(
        name="Keep what runs",
        folder=settings.ollama_dir,
        path=settings.compose_file,
        record=_record(),
    )


@deploy("Release")
def keep_release(settings: Settings) -> None:
    """What has just answered, kept to come back to; what only an earlier one needed goes."""
    release.kept(
        name="Keep the release",
        folder=settings.ollama_dir,
        tuned=tuned_model(settings),
        record=_record(),
    )
    model.forgotten(
        name="Forget the model under other digests",
        model=settings.model_name,
        pristine=settings.pristine_model,
    )


def _record() -> dict[str, str]:
    return {
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "by": operator(),
        "commit": revision(INVENTORIES),
    }


@deploy("Release")
def go_back(settings: Settings) -> None:
    """The release that ``--data _release=NUMBER`` names, else the one before."""
    release.back(
        name="Run a kept release",
        folder=settings.ollama_dir,
        patience=patience(settings),
        number=str(host.data.get("_release", "previous")),
    )


def operator() -> str:
    """Who runs this, and where."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # as in a CI container, whose user has no name
        name = f"uid-{os.getuid()}"
    return f"{name}@{socket.gethostname()}"
