"""A service that is changed only to what answers, and can go back to what did."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from pyinfra import host
from pyinfra.api import Host, QuoteString, State, StringCommand, operation
from pyinfra.api.command import PyinfraCommand

from ollama_stack.facts.docker import Compose
from ollama_stack.facts.gateway import GatewayVersion
from ollama_stack.facts.release import CurrentRelease, LiveFiles
from ollama_stack.operations.docker import hold_to_it, stale_services
from ollama_stack.operations.lock import LOCK
from ollama_stack.operations.model import tuning
from ollama_stack.operations.programs import program
from ollama_stack.shell import or_explain, run_now

LOG = "/run/ollama-stack.log"  # of the last change

Commands = Generator[PyinfraCommand | str, None, None]


@dataclass(frozen=True)
class Tuned:
    """A model, the one it is made of, and what it carries."""

    model: str
    pristine: str
    parameters: dict[str, int]

    @property
    def bodies(self) -> tuple[str, str]:
        """What tunes and what loads it, for Ollama's API."""
        create = tuning(self.model, self.pristine, self.parameters)
        return json.dumps(create), json.dumps({"model": self.model})


class Patience(NamedTuple):
    """Seconds that the script waits: see its head."""

    queue: int
    start: int
    load: int
    answer: int
    look: int

    @property
    def variables(self) -> list[str]:
        """The script's environment."""
        return [f"{name.upper()}={value}" for name, value in self._asdict().items()]


@operation()
def live(
    folder: str, path: str, tuned: Tuned, gateway: str, patience: Patience, up_failed: str
) -> Commands:
    """Have the folder's compose project up, healthy and as its files say; else the last good release.

    Requests wait at the gateway while Ollama is replaced.
    ``gateway``: the version of its configuration that is to be loaded, if there is one.
    """
    stale = stale_services(path)
    loaded = not gateway or host.get_fact(GatewayVersion) == gateway
    if stale is None and loaded:
        host.noop(f"{path} is already up, healthy and as declared")
        return
    words = (*tuned.bodies, *(stale or ()))
    yield or_explain(on_host("up", folder, patience, *words), up_failed)
    yield from hold_to_it(path)


@operation()
def kept(folder: str, tuned: Tuned, record: Mapping[str, str]) -> Commands:
    """Have what runs now, and was found good, as the current release; the last five stay.

    ``record``: who made it, and when.
    """
    text = f"{host.get_fact(LiveFiles, folder=folder)}{tuned.bodies}"
    version = sha256(text.encode()).hexdigest()[:12]
    current = host.get_fact(CurrentRelease, folder=folder)
    if current.version != version:
        yield _keep(folder, version, record, *tuned.bodies)
    elif current.unconfirmed:
        yield at_once("confirm", folder)
    else:
        host.noop(f"release {current.number} is what runs")


@operation()
def settled(folder: str, path: str, record: Mapping[str, str], patience: Patience) -> Commands:
    """Have a release to return to before the first change, and nothing begun that nobody found good.

    ``record``: of a service that runs and has no release yet.
    """
    current = host.get_fact(CurrentRelease, folder=folder)
    if current.returned:
        host.log(
            f"release: this host went back to release {current.number} by itself; {current.returned}"
        )
    if current.unconfirmed:
        # What does not answer either is no reason to leave it so: the run goes on to what is declared.
        yield StringCommand(on_host("settle", folder, patience), "|| true")
        return
    runs = None if current.number else host.get_fact(Compose, path=path)
    if not runs or runs.drift():
        host.noop("there is one, or nothing runs that could be one")
        return
    yield _keep(folder, "found", record, "", "")


def _keep(folder: str, version: str, record: Mapping[str, str], *bodies: str) -> StringCommand:
    return at_once("keep", folder, json.dumps({"version": version, **record}), *bodies)


@operation(is_idempotent=False, idempotent_notice="It asks the release every time.")
def back(folder: str, patience: Patience, number: str) -> Commands:
    """Have a kept release run: by its ``number``, or ``previous``."""
    yield or_explain(
        on_host("back", folder, patience, number),
        "release: the rollback failed; the words above say what runs now",
    )


def return_to_good(state: State, host: Host, folder: str, patience: Patience) -> bool:
    """Have the current release run and answer, at once; its words as they come."""
    command = StringCommand(
        *("if test -L", QuoteString(f"{folder}/releases/current"), "; then"),
        *(on_host("back", folder, patience, "current"), "; else echo there is none yet; fi"),
    )
    return run_now(state, host, command, show=True)[0]


def begun(folder: str, patience: Patience) -> StringCommand:
    """Before the first change of a run: without a release at its end, the host goes back."""
    return on_host("begin", folder, patience)


def on_host(verb: str, folder: str, patience: Patience, *words: str) -> StringCommand:
    """The program at work on the host, even if nobody listens any more; its words as they come."""
    return StringCommand(
        *(f"(umask 077; : >{LOG}); setsid env", *patience.variables),
        *(at_once(verb, folder, *words), f">>{LOG} 2>&1 </dev/null & change=$!;"),
        f"tail --lines=+1 --sleep-interval=0.2 --pid=$change --follow {LOG}; wait $change",
    )


def at_once(verb: str, folder: str, *words: str) -> StringCommand:
    """The program as it is called on the host."""
    quoted = (QuoteString(word) for word in words)
    return StringCommand(program(folder, "release"), LOCK, QuoteString(folder), verb, *quoted)
