"""The one stack of a cluster: changed, kept as a release, and taken back."""

from __future__ import annotations

import time
from dataclasses import dataclass

import yaml
from pyinfra import host, logger
from pyinfra.api import FunctionCommand, Host, QuoteString, State, StringCommand, operation

from ollama_stack.cluster.facts import RELEASE, Release, View
from ollama_stack.cluster.operations import node_of, view
from ollama_stack.facts.swarm import no_quorum
from ollama_stack.shell import Commands, fail, run_now
from ollama_stack.stack.cluster import Stack

KEPT_RELEASES = 5
POLL = 1.0  # seconds between two looks at a change


@dataclass(frozen=True)
class Wanted:
    """A stack, and who asks for it."""

    project: str
    stack: Stack
    record: dict[str, str]
    seconds: int
    """For the whole change."""


@operation()
def deployed(wanted: Wanted, seen: View) -> Commands:
    """Have the stack run as declared on every host; what fails goes back to the last one that answered."""
    last = seen.releases[-1] if seen.releases else None
    same = last and last.digest == wanted.stack.digest and last.specs == seen.specs
    if last and same and not seen.missing():
        host.noop(f"release {last.number} runs")
        return
    yield FunctionCommand(change, (wanted,), {})


def change(state: State, host: Host, wanted: Wanted) -> bool:
    """Deploy and wait; on a failure the last release again, and False."""
    seen = view(state, host, wanted.project)
    if seen is None:
        return fail(host, f"cluster: {no_quorum(host.name, node_of(state, host).address)}")
    for kind, texts in (("config", wanted.stack.configs), ("secret", wanted.stack.secrets)):
        for name, text in texts.items():
            if name not in seen.names and not _made(state, host, wanted.project, kind, name, text):
                return False
    for name, path in wanted.stack.files.items():
        if name not in seen.names and not _made_from(state, host, wanted.project, name, path):
            return False
    if not _applied(state, host, wanted.project, wanted.stack.text):
        return False
    if fault := _settled(state, host, wanted):
        fail(host, fault)
        if seen.releases:
            _back(state, host, wanted.project, seen.releases[-1])
        return False
    return True


def _made(
    state: State, host: Host, project: str, kind: str, name: str, text: str, *labels: str
) -> bool:
    given = (
        bit for one in (f"ollama-stack={project}", *labels) for bit in ("--label", QuoteString(one))
    )
    command = StringCommand(f"docker {kind} create", *given, QuoteString(name), "- 2>&1")
    ok, output = run_now(state, host, command, stdin=text)
    return ok or fail(host, f"cluster: the {kind} {name} cannot be made: {' '.join(output)}")


def _made_from(state: State, host: Host, project: str, name: str, path: str) -> bool:
    """A secret whose text does not leave its host."""
    label = QuoteString(f"ollama-stack={project}")
    command = StringCommand(
        "docker secret create --label", label, QuoteString(name), QuoteString(path), "2>&1"
    )
    ok, output = run_now(state, host, command)
    return ok or fail(host, f"cluster: the secret {name} cannot be made: {' '.join(output)}")


def _applied(state: State, host: Host, project: str, text: str) -> bool:
    command = StringCommand(
        "docker stack deploy --prune --resolve-image never --compose-file -", project, "2>&1"
    )
    ok, output = run_now(state, host, command, stdin=text)
    return ok or fail(host, f"cluster: the stack is refused: {' '.join(output)}")


def _settled(state: State, host: Host, wanted: Wanted) -> str:
    """Wait until all is as declared; else why it is not."""
    end, before = time.monotonic() + wanted.seconds, list[str]()
    while time.monotonic() < end:
        seen = view(state, host, wanted.project)
        if seen:
            if failed := seen.rolled_back():
                return f"cluster: the change failed, and goes back: {'; '.join(failed)}"
            missing = seen.missing()
            if not missing:
                return ""
            if missing != before:
                host.log("; ".join(missing))
                before = missing
        time.sleep(POLL)
    return f"cluster: after {wanted.seconds} s not all hosts serve: {'; '.join(before)}"


def _back(state: State, host: Host, project: str, release: Release) -> None:
    host.log_styled(
        f"back to release {release.number}, host by host", fg="yellow", log_func=logger.error
    )
    _applied(state, host, project, release.text)


@operation()
def committed(wanted: Wanted, seen: View) -> Commands:
    """Have what has just answered as the swarm's own last release; what only an older one needed goes."""
    last = seen.releases[-1] if seen.releases else None
    if last and last.digest == wanted.stack.digest and last.specs == seen.specs:
        host.noop(f"release {last.number} is kept")
        return
    yield FunctionCommand(commit, (wanted,), {})


def commit(state: State, host: Host, wanted: Wanted) -> bool:
    """Keep it, as a config with its text."""
    seen = view(state, host, wanted.project)
    if seen is None:
        return fail(host, "cluster: the managers do not answer; run again")
    number = seen.releases[-1].number + 1 if seen.releases else 1
    labels = wanted.record | {
        RELEASE: str(number),
        "digest": wanted.stack.digest,
        "specs": seen.specs,
    }
    name = f"{wanted.project}_release_{number}"
    given = [f"{key}={value}" for key, value in labels.items()]
    if not _made(state, host, wanted.project, "config", name, wanted.stack.text, *given):
        return False
    _pruned(state, host, seen, wanted)
    return True


def _pruned(state: State, host: Host, seen: View, wanted: Wanted) -> None:
    """Only what no kept release names; what still runs, Docker itself refuses to remove."""
    kept = seen.releases[1 - KEPT_RELEASES :]
    texts = [wanted.stack.text, *(release.text for release in kept)]
    names = {release.name for release in kept}
    for kind, things in (("config", seen.configs), ("secret", seen.secrets)):
        for one in things:
            name = one["Spec"]["Name"]
            if name not in names and not any(name in text for text in texts):
                run_now(state, host, StringCommand(f"docker {kind} rm", QuoteString(name), "2>&1"))


def with_secrets_of(text: str, last: str) -> str:
    """A stack with the secrets of the last one: a token or a key that was replaced never comes back."""
    old, new = (yaml.safe_load(stack).get("secrets", {}) for stack in (text, last))
    for key in old.keys() & new.keys():
        text = text.replace(old[key]["name"], new[key]["name"])
    return text


@operation(is_idempotent=False, idempotent_notice="It runs another release each time.")
def went_back(project: str, number: str, seconds: int) -> Commands:
    """Have a kept release run; ``number``: its own, or ``previous``."""
    yield FunctionCommand(go_back, (project, number, seconds), {})


def go_back(state: State, host: Host, project: str, number: str, seconds: int) -> bool:
    """The release before the last one, or the one of this number; it becomes the last one."""
    seen = view(state, host, project)
    releases = {str(one.number): one for one in seen.releases} if seen else {}
    chosen = releases.get(number)
    if number == "previous" and len(releases) > 1:
        chosen = list(releases.values())[-2]
    if seen is None or chosen is None:
        there = ", ".join(releases) or "none"
        return fail(host, f"rollback: the cluster has no release {number}; there: {there}")
    record: dict[str, str] = {
        key: chosen.labels[key] for key in ("at", "by", "commit") if key in chosen.labels
    }
    text = with_secrets_of(chosen.text, seen.releases[-1].text)
    wanted = Wanted(project, Stack(text, {}, {}, {}), record, seconds)
    host.log(f"release {chosen.number} again")
    return change(state, host, wanted) and commit(state, host, wanted)
