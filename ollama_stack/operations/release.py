"""A service that is changed only to what answers, and can go back to what did."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from pyinfra import host
from pyinfra.api import Host, QuoteString, State, StringCommand, operation
from pyinfra.facts.files import FileContents
from pyinfra.operations.util.files import generate_color_diff

from ollama_stack.containers import CONFIG, INSIDE, PROGRAMS
from ollama_stack.containers import GATEWAY as CONTAINER
from ollama_stack.facts.docker import Compose, Engine
from ollama_stack.facts.files import FileDigests, file_digest
from ollama_stack.facts.gateway import GatewayVersion
from ollama_stack.facts.memory import known
from ollama_stack.facts.release import CurrentRelease
from ollama_stack.operations.docker import hold_to_it, stale_services
from ollama_stack.operations.programs import program
from ollama_stack.operations.secrets import written
from ollama_stack.paths import LOCK, RELEASE_LOG
from ollama_stack.shell import Commands, or_explain, run_now
from ollama_stack.stack.compose import COMMAND, DOCKER

COMPOSE_FILE, GATEWAY = "docker-compose.yml", "gateway/"  # in a release, and beside it
TLS = "tls.pem"


@dataclass(frozen=True)
class Declared:
    """A release as declared: the texts of its files, by their path in it; and what its gateway reads besides."""

    files: Mapping[str, str]
    secrets: Mapping[str, str]
    loaded: str = ""
    """What its gateway says of the configuration that it has loaded; "" without a gateway."""
    renewed: bool = False
    """Its gateway's certificate is the host's own affair: certbot keeps it."""

    @property
    def version(self) -> str:
        """The same for the same files."""
        text = "".join(f"{path} {content}" for path, content in sorted(self.files.items()))
        return sha256(text.encode()).hexdigest()[:12]

    @property
    def gateway(self) -> dict[str, str]:
        """All files of the gateway's folder, by name."""
        own = {path.removeprefix(GATEWAY): text for path, text in self.files.items()}
        return {name: own[name] for name in (CONFIG, *PROGRAMS) if name in own} | {**self.secrets}


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
def staged(
    folder: str, declared: Declared, record: Mapping[str, str], image: str, pull_failed: str
) -> Commands:
    """Have a release with these files, checked whole, with its images here; what runs is not touched.

    ``record``: who made it, and when. ``image``: of the gateway. ``pull_failed`` tells the operator what to
    look at (``setting: problem; way out``).
    """
    owner = CONTAINER.user + known(Engine).user_offset
    if _declared(folder, declared, owner) == "current":
        host.noop("the current release is as declared")
        return
    if host.state.config.DIFF:
        _show_changes(folder, declared)
    new = f"{folder}/releases/new"
    yield from _written(folder, new, declared, record, owner)
    compose = StringCommand(COMMAND, "--file", QuoteString(f"{new}/{COMPOSE_FILE}"))
    yield or_explain(
        StringCommand(compose, "config --quiet"),
        "release: Compose refuses the new file, the old one is untouched; see its output above",
    )
    yield or_explain(StringCommand(compose, "--progress quiet pull --policy missing"), pull_failed)
    if declared.gateway:
        yield or_explain(
            StringCommand(
                f"{DOCKER} run --rm --network none --read-only --cap-drop ALL",
                *(f"--user {CONTAINER.users} --volume", QuoteString(f"{new}/gateway:{INSIDE}:ro")),
                *(QuoteString(image), "haproxy -c -dW -dD -f", f"{INSIDE}/{CONFIG}"),
            ),
            "gateway: HAProxy refuses the new configuration, the old one is untouched; see its output above",
        )
    yield at_once("stage", folder)


def _written(
    folder: str, new: str, declared: Declared, record: Mapping[str, str], owner: int
) -> Commands:
    yield StringCommand(
        *("rm -rf", QuoteString(new), "&& umask 022 && mkdir -p", QuoteString(f"{new}/gateway"))
    )
    record_text = json.dumps({"version": declared.version, **record})
    for path, text in {**declared.files, "release.json": f"{record_text}\n"}.items():
        yield StringCommand(
            *("umask 022 && printf %s", QuoteString(text), ">", QuoteString(f"{new}/{path}"))
        )
    public = [QuoteString(f"{new}/{path}") for path in declared.files if path.startswith(GATEWAY)]
    if public:
        yield StringCommand(f"chown {owner}:{owner}", *public)
    if declared.renewed:
        certificate = QuoteString(f"{new}/{GATEWAY}{TLS}")
        yield StringCommand(program(folder, "certificate"), certificate, ">&2")
    for name, text in declared.secrets.items():
        yield from written(f"{new}/{GATEWAY}{name}", text, str(owner))


def _declared(folder: str, declared: Declared, owner: int) -> str:
    """``current`` if the current release is the declared one, its secrets beside it; else what is ``staged``."""
    current = known(CurrentRelease, folder=folder)
    there = known(FileDigests, folder=f"{folder}/gateway")
    secrets = {name: file_digest(text, "600", owner) for name, text in declared.secrets.items()}
    good = current.version == declared.version and current.untouched
    return "current" if good and secrets.items() <= there.items() else "staged"


def _show_changes(folder: str, declared: Declared) -> None:
    for path in (COMPOSE_FILE, f"{GATEWAY}{CONFIG}"):
        old = known(FileContents, path=f"{folder}/releases/current/{path}") or []
        new = declared.files.get(path, "")
        for line in generate_color_diff(
            [f"{line}\n" for line in old], new.splitlines(keepends=True)
        ):
            host.log(line)


@operation()
def switched(folder: str, declared: Declared, patience: Patience, up_failed: str) -> Commands:
    """Have the declared release up, healthy and as its files say; else the last good one.

    Requests wait at the gateway while Ollama is replaced.
    """
    owner = CONTAINER.user + known(Engine).user_offset
    which = _declared(folder, declared, owner)
    path = f"{folder}/releases/{which}/{COMPOSE_FILE}"
    text = known(FileContents, path=f"{folder}/{COMPOSE_FILE}")
    live = known(FileDigests, folder=f"{folder}/gateway")
    if declared.renewed:
        live = {name: digest for name, digest in live.items() if name != TLS}
    modes = {name: "600" if name in declared.secrets else "644" for name in declared.gateway}
    stale = stale_services(path)
    if (
        which == "current"
        and text == declared.files[COMPOSE_FILE].splitlines()
        and live == {n: file_digest(t, modes[n], owner) for n, t in declared.gateway.items()}
        and stale is None
        and (not declared.loaded or known(GatewayVersion) == declared.loaded)
    ):
        host.noop("the declared release is up, healthy and as declared")
        return
    yield or_explain(on_host("switch", folder, patience, which, *(stale or ())), up_failed)
    yield from hold_to_it(path)


@operation()
def committed(folder: str, declared: Declared) -> Commands:
    """Have the declared release, which was found good, as the current one; the last five stay."""
    current = known(CurrentRelease, folder=folder)
    same = current.version == declared.version and current.untouched
    if same and not current.unconfirmed:
        host.noop(f"release {current.number} is what runs")
        return
    yield at_once("commit", folder, "current" if same else "staged")


@operation()
def settled(folder: str, path: str, record: Mapping[str, str], patience: Patience) -> Commands:
    """Have a release to return to before the first change, and nothing begun that nobody found good.

    ``record``: of a service that runs and has no release yet.
    """
    current = known(CurrentRelease, folder=folder)
    if current.returned:
        host.log(
            f"release: this host went back to release {current.number} automatically; {current.returned}"
        )
    if current.unconfirmed:
        # What does not answer either is no reason to leave it so: the run goes on to what is declared.
        yield StringCommand(on_host("settle", folder, patience), "|| true")
        return
    runs = None if current.number else known(Compose, path=path)
    if not runs or runs.drift():
        host.noop("there is one, or nothing runs that could be one")
        return
    yield at_once("adopt", folder, json.dumps({"version": "found", **record}))


@operation(is_idempotent=False, idempotent_notice="It asks the release every time.")
def back(folder: str, patience: Patience, number: str) -> Commands:
    """Have a kept release run: by its ``number``, or ``previous``."""
    yield or_explain(
        on_host("back", folder, patience, number),
        "release: the rollback failed; the output above says what runs now, and so does ollama-stack status",
    )


def return_to_good(state: State, host: Host, folder: str, patience: Patience) -> bool:
    """Have the current release run and answer, at once; its output as it comes."""
    command = StringCommand(
        *("if test -L", QuoteString(f"{folder}/releases/current"), "; then"),
        *(on_host("back", folder, patience, "current"), "; else echo there is none yet; fi"),
    )
    return run_now(state, host, command, show=True)[0]


def begun(folder: str, patience: Patience) -> StringCommand:
    """Before the first change of a run: without a release at its end, the host goes back."""
    return on_host("begin", folder, patience)


def on_host(verb: str, folder: str, patience: Patience, *arguments: str) -> StringCommand:
    """The program at work on the host, even if nobody reads any more; its output as it comes."""
    return StringCommand(
        *(f"(umask 077; : >{RELEASE_LOG}); setsid env", *patience.variables),
        *(at_once(verb, folder, *arguments), f">>{RELEASE_LOG} 2>&1 </dev/null & change=$!;"),
        f"tail --lines=+1 --sleep-interval=0.2 --pid=$change --follow {RELEASE_LOG}; wait $change",
    )


def at_once(verb: str, folder: str, *arguments: str) -> StringCommand:
    """The program as it is called on the host."""
    quoted = (QuoteString(argument) for argument in arguments)
    return StringCommand(program(folder, "release"), LOCK, QuoteString(folder), verb, *quoted)
