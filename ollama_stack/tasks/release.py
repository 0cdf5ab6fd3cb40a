"""One run at a time, and what it leaves on every host: a release that answers."""

from __future__ import annotations

import getpass
import json
import os
import shlex
import socket
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import lru_cache, partial

from pyinfra import host, logger
from pyinfra.api import Host, State, StringCommand, deploy
from pyinfra.api.operation import OperationMeta
from pyinfra.api.state import BaseStateCallback

from ollama_stack import ROOT
from ollama_stack.config import served
from ollama_stack.config.settings import Settings, read_settings
from ollama_stack.containers import CONFIG, PROGRAMS
from ollama_stack.facts.docker import InitSystem
from ollama_stack.facts.memory import known
from ollama_stack.operations import lock, model, programs, release
from ollama_stack.revision import revision
from ollama_stack.shell import fail
from ollama_stack.stack.rendering import compose_file, gateway_files, settling_unit
from ollama_stack.tasks.host import least_mtu, slice_of

INVENTORIES = ROOT / "inventories"


@dataclass(eq=False)
class WayBack(BaseStateCallback):
    """A host that fails once it has the lock goes back to its last good release, and stops no other.

    What fails otherwise than by an operation (the run is killed, the line is lost) is the host's own affair:
    host/release.
    """

    changing: set[Host] = field(default_factory=set)

    def begin(self, state: State, host: Host) -> bool:
        """The host has the lock."""
        self.changing.add(host)
        return True

    def operation_end(self, state: State, op_hash: str) -> None:  # type: ignore[override] # pyinfra's are static
        """Once all have the lock, each goes its own way."""
        if self.changing:
            state.config.FAIL_PERCENT = 100

    def operation_host_error(  # type: ignore[override] # pyinfra's are static
        self, state: State, host: Host, op_hash: str, retry_count: int = 0, max_retries: int = 0
    ) -> None:
        """Back at once, in the run's sight."""
        if host not in self.changing:
            return
        self.changing.remove(host)
        settings = read_settings(host.data.dict())
        host.log_styled("looking for the last good release", fg="yellow", log_func=logger.error)
        try:
            release.return_to_good(state, host, settings.ollama_dir, patience(settings))
        except Exception as error:
            fail(
                host,
                f"it cannot be reached any more ({error}); it goes back automatically. Run again once it "
                "can be reached",
            )


def begin_change(settings: Settings) -> StringCommand:
    """Take the host's lock; whatever fails from here on ends with the last good release.

    Returns the command before the first change: the host goes back, unless the change is confirmed.
    """
    handlers = host.state.callback_handlers
    way_back = next((each for each in handlers if isinstance(each, WayBack)), None)
    if way_back is None:
        way_back = WayBack()
        host.state.add_callback_handler(way_back)
    programs.installed(
        name="Install the host's programs",
        folder=settings.ollama_dir,
        unit=boot_unit(settings.ollama_dir) if known(InitSystem) == "systemd" else "",
    )
    lock.held(
        name="Take the lock", folder=settings.ollama_dir, who=operator(), begun=way_back.begin
    )
    release.settled(
        name="Settle what runs",
        folder=settings.ollama_dir,
        path=settings.compose_file,
        record=record(),
        patience=patience(settings),
    )
    return release.begun(settings.ollama_dir, patience(settings))


def boot_unit(folder: str) -> str:
    """The systemd unit by which a host goes back when it starts."""
    return settling_unit(folder, str(release.at_once("settle", folder)))


def patience(settings: Settings) -> release.Patience:
    """How long a change on this host waits for what."""
    return release.Patience(
        queue=settings.queue_seconds,
        start=settings.start_seconds,
        load=settings.load_seconds,
        answer=settings.smoke_seconds,
        look=settings.health_seconds,
    )


def declared_release(
    settings: Settings, digests: dict[str, str], certificate: str
) -> release.Declared:
    """The release as this host is to have it.

    ``digests``: names of the tokens by their SHA-256. ``certificate``: of the site's own authority, if any.
    """
    create = model.tuning(
        settings.model_name, settings.pristine_model, dict(settings.model_parameters)
    )
    load = {"model": settings.model_name}
    ask = load | {"prompt": "hi", "stream": False, "options": {"num_predict": 1}}
    files = {
        release.COMPOSE_FILE: compose_file(settings, slice_of(settings.slice), least_mtu()),
        "create.json": json.dumps(create),
        "generate.json": json.dumps(load),
        "ask.json": json.dumps(ask),
    }
    env = {"PRISTINE": settings.pristine_model, "APP": "yes" if settings.app_enabled else ""}
    secrets, version = dict[str, str](), ""
    if settings.gateway_enabled:
        version, texts = gateway_files(settings, digests, certificate)
        public = (CONFIG, *PROGRAMS)
        files |= {f"{release.GATEWAY}{name}": texts[name] for name in public}
        secrets = {name: text for name, text in texts.items() if name not in public}
        env |= {
            "GATEWAY": version,
            "SCHEME": "https" if settings.gateway_has_tls else "http",
            "TOKENS": "yes" if settings.gateway_tokens else "",
            "ACME": "yes" if settings.gateway_tls == "acme" else "",
        }
    files["release.env"] = "".join(f"{name}={shlex.quote(value)}\n" for name, value in env.items())
    renewed = settings.gateway_enabled and settings.gateway_tls == "acme"
    return release.Declared(files, secrets, version, renewed)


@deploy("Release")
def stage_release(settings: Settings, declared: release.Declared) -> None:
    """Images and files of the declared service, each checked."""
    others = {"gateway_image": settings.gateway_image_ref}
    others |= {"app_image": settings.app_image_ref} if settings.app_image else {}
    release.staged(
        name="Stage what is declared",
        folder=settings.ollama_dir,
        declared=declared,
        record=record(),
        image=settings.gateway_image_ref,
        pull_failed=(
            f"ollama_image: {settings.ollama_image_ref} cannot be pulled; check the name and that its "
            "registry answers (mirror); the old compose file is untouched. If the output above is "
            f"about {' or '.join(others.values())}: the same goes for {' and '.join(others)}"
        ),
    )


@deploy("Release")
def switch_release(settings: Settings, declared: release.Declared) -> OperationMeta:
    """What is staged runs, and answers."""
    return release.switched(
        name="Switch to it",
        folder=settings.ollama_dir,
        declared=declared,
        patience=patience(settings),
        up_failed=(
            "ollama: a container did not become healthy; the last log lines are above, all of "
            f"them: docker compose --file {settings.compose_file} logs"
        ),
    )


@deploy("Release")
def commit_release(settings: Settings, declared: release.Declared) -> None:
    """What has just answered, kept to come back to; what only an earlier one needed goes."""
    release.committed(
        name="Commit it",
        folder=settings.ollama_dir,
        declared=declared,
    )
    model.forgotten(
        name="Forget the model under other digests",
        model=settings.model_name,
        pristine=settings.pristine_model,
    )
    if settings.models_prune:
        model.pruned(
            name="Remove the models that are not listed",
            kept=settings.allowed_models,
            record=partial(served.record, settings.ollama_dir),
        )


def record() -> dict[str, str]:
    """The record of a change: by whom, when, and by which commit."""
    return {
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "by": operator(),
        "commit": _commit(host.state),
    }


@lru_cache(maxsize=1)
def _commit(run: State) -> str:
    """The same for all hosts of a run."""
    return revision(INVENTORIES)


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
    """The user who runs this, and the machine."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # as in a CI container, whose user has no name
        name = f"uid-{os.getuid()}"
    return f"{name}@{socket.gethostname()}"
