"""A host that is in the cluster, has its model and its label; and the one stack of all."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

from pyinfra import host, logger
from pyinfra.api import FunctionCommand, Host, QuoteString, State, StringCommand, operation
from pyinfra.api.command import PyinfraCommand

from ollama_stack.cluster.facts import (
    RELEASE,
    KeptModel,
    ModelsInVolume,
    Node,
    NodeInfo,
    Release,
    View,
    engine,
    look,
    manifest_path,
)
from ollama_stack.facts.memory import known
from ollama_stack.shell import or_explain, run_now

KEPT_RELEASES = 5
POLL = 1.0  # seconds between two looks at a change

Commands = Generator[PyinfraCommand | str, None, None]


@dataclass(frozen=True)
class Place:
    """A host's place in its cluster: by which address, as what, and who is asked about it."""

    leader: Host
    project: str
    profile: str
    manager: bool
    address: str
    pool: str
    """Of addresses for the networks between the hosts."""


def told(host: Host, words: str) -> bool:
    """An error, in the run's log; False, for whoever ends with it."""
    host.log_styled(words, fg="red", log_func=logger.error)
    return False


def view(state: State, leader: Host, project: str) -> View | None:
    """The swarm as it is now; None where the leader does not say."""
    ok, lines = run_now(state, leader, look())
    try:
        return View.parse(lines, project) if ok else None
    except ValueError:
        return None


def node_of(state: State, host: Host) -> NodeInfo:
    """A host's own word, now."""
    _, lines = run_now(state, host, StringCommand(Node().command()))
    return Node().process(lines) if lines else NodeInfo()


@operation()
def begun(place: Place) -> Commands:
    """Have a swarm whose first manager is this host; one that is there is kept."""
    if known(Node).inside:
        host.noop("the cluster has begun")
        return
    body = {
        **{"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": place.address},
        **{"DefaultAddrPool": [place.pool], "SubnetSize": 24, "DataPathPort": 4789},
        "Spec": {},
    }
    yield FunctionCommand(
        call, ("/swarm/init", body, "cluster: this host cannot begin a swarm"), {}
    )


def call(state: State, host: Host, path: str, body: object, fault: str) -> bool:
    """Tell a host's engine something that nobody else is to see."""
    ok, said = run_now(state, host, engine(path, body=True), stdin=json.dumps(body))
    return ok or told(host, f"{fault}: {' '.join(said) or 'its engine does not answer'}")


@operation()
def joined(place: Place, nodes: Sequence[Mapping[str, object]]) -> Commands:
    """Have this host in the leader's swarm, as a manager or a worker.

    ``nodes``: those of the swarm, as the leader has seen them.
    """
    own = known(Node)
    there = next((node for node in nodes if own.id and node["ID"] == own.id), None)
    role = "manager" if place.manager else "worker"
    if there and own.state == "active" and there["Spec"]["Role"] == role:  # type: ignore[index] # the API's JSON
        host.noop("the host is in the cluster")
        return
    yield FunctionCommand(join, (place, role), {})


def join(state: State, host: Host, place: Place, role: str) -> bool:
    """Join, or change the role of who is in; the token goes from engine to engine, and to no disk."""
    own, seen = node_of(state, host), view(state, place.leader, place.project)
    if seen is None:
        return told(host, f"cluster: {place.leader.name} does not say who is in; run again")
    if own.inside and own.id not in {node["ID"] for node in seen.nodes}:  # it was removed before
        run_now(state, host, StringCommand("docker swarm leave --force"))
        own = NodeInfo()
    if own.inside:
        command = "promote" if role == "manager" else "demote"
        ok, said = run_now(
            state, place.leader, StringCommand(f"docker node {command} {own.id} 2>&1")
        )
        return ok or told(host, f"cluster: {' '.join(said)}")
    ok, lines = run_now(state, place.leader, engine("/swarm"))
    if not ok:
        return told(host, f"cluster: {place.leader.name} gives no token; run again")
    token = json.loads("".join(lines))["JoinTokens"][role.capitalize()]
    body = {
        **{"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": place.address},
        **{"RemoteAddrs": [f"{node_of(state, place.leader).address}:2377"], "JoinToken": token},
    }
    fault = f"cluster: the host cannot join {place.leader.name} (ports 2377, 7946 and 4789/udp)"
    return call(state, host, "/swarm/join", body, fault)


@dataclass(frozen=True)
class ModelWanted:
    """A model as every host of the cluster is to have it."""

    model: str
    source: str
    insecure: bool
    pristine: str
    digest: str
    parameters: dict[str, int]
    variables: dict[str, str]
    """Of the environment in which it is pulled."""
    seconds: int

    def there(self, found: Mapping[str, KeptModel]) -> bool:
        """Whether a volume has it."""
        tuned, origin = found.get(self.model), found.get(self.pristine)
        return bool(
            tuned
            and origin
            and tuned.weights == origin.weights
            and self.digest in ("", origin.digest)
            and self.parameters.items() <= tuned.parameters.items()
        )


@operation()
def images(refs: Sequence[str], present: Mapping[str, object]) -> Commands:
    """Have images on the host before a service asks for them."""
    missing = [ref for ref in refs if not present[ref]]
    if not missing:
        host.noop("the images are there")
    for ref in missing:
        yield or_explain(
            StringCommand("docker pull --quiet", QuoteString(ref)),
            f"ollama_image, gateway_image: {ref} cannot be pulled; check the name and that its registry "
            "answers (mirror); nothing has changed yet",
        )


@operation()
def model_kept(wanted: ModelWanted, image: str, volume: str, program: str) -> Commands:
    """Have the model in the volume of this host, beside an Ollama that may run, and for one that is to come.

    ``program``: what does it, in a container of its own.
    """
    names = (wanted.model, wanted.pristine)
    if wanted.there(known(ModelsInVolume, volume=volume, models=names)):
        host.noop(f"{wanted.model} is there, tuned")
        return
    lines = [f"PARAMETER {name} {value}" for name, value in wanted.parameters.items()]
    source = f"http://{wanted.source}" if wanted.insecure else wanted.source
    variables = {
        "MODEL": wanted.model,
        "SOURCE": source,
        "PRISTINE": wanted.pristine,
        "DIGEST": wanted.digest,
        "INSECURE": "--insecure" if wanted.insecure else "",
        "MANIFEST": manifest_path(wanted.pristine),
        "MODELFILE": "\n".join([f"FROM {wanted.pristine}", *lines]),
        **wanted.variables,
    }
    name = f"{volume}_keeper"
    yield f"docker rm --force {name} >/dev/null 2>&1 || true"
    yield or_explain(
        StringCommand(
            *("printf %s", QuoteString(program), f"| timeout {wanted.seconds}"),
            f"docker run --rm --interactive --name {name} --entrypoint sh --volume {volume}:/root/.ollama",
            *(
                bit
                for key, value in variables.items()
                for bit in ("--env", QuoteString(f"{key}={value}"))
            ),
            *(QuoteString(image), "-s"),
        ),
        f"model_name: {wanted.source} cannot be had; check the name and that its registry answers (mirror, "
        "model_registry), then run again: what has arrived is kept",
    )


@operation()
def labelled(place: Place, nodes: Sequence[Mapping[str, object]]) -> Commands:
    """Have the host known by its profile, so that the profile's Ollama runs there; and open for work."""
    own = known(Node).id
    for node in nodes:
        spec: Mapping[str, object] = node["Spec"]  # type: ignore[assignment] # the API's JSON
        labels: Mapping[str, str] = spec.get("Labels") or {}  # type: ignore[assignment] # the API's JSON
        open_for_work = spec["Availability"] == "active"
        if own and node["ID"] == own and labels.get("profile") == place.profile and open_for_work:
            host.noop(f"the host is known as {place.profile}")
            return
    yield FunctionCommand(label, (place,), {})


def label(state: State, host: Host, place: Place) -> bool:
    """Ask the leader to."""
    own = node_of(state, host).id
    command = f"docker node update --availability active --label-add profile={place.profile} {own}"
    ok, said = run_now(state, place.leader, StringCommand(f"{command} 2>&1"))
    return ok or told(host, f"cluster: {' '.join(said)}")


@operation()
def removed(nodes: Mapping[str, str], project: str, seconds: int) -> Commands:
    """Have nobody in the swarm who is not declared: drained first, its model volume kept.

    ``nodes``: hostnames by node. ``seconds``: for the answers that run there.
    """
    if not nodes:
        host.noop("nobody else is in the cluster")
    for node, name in nodes.items():
        host.log(f"remove {name}")
        yield f"docker node update --availability drain {node}"
        tasks = f"docker node ps --format '{{{{.CurrentState}}}}' {node} | grep -q ^Running"
        down = (
            f"test \"$(docker node inspect --format '{{{{.Status.State}}}}' {node})\" != ready"
        )
        yield StringCommand(
            f"timeout {seconds} sh -c",
            QuoteString(f"while {tasks}; do {down} || sleep 1 && {down} && break; done; true"),
        )
        yield f"docker node demote {node} >/dev/null; docker node rm --force {node}"


@dataclass(frozen=True)
class Wanted:
    """A stack, what it names, and who asks for it."""

    project: str
    text: str
    digest: str
    configs: dict[str, str]
    secrets: dict[str, str]
    record: dict[str, str]
    seconds: int
    """For the whole change."""


@operation()
def deployed(wanted: Wanted, seen: View) -> Commands:
    """Have the stack run as declared on every host; what fails goes back to the last one that answered."""
    last = seen.releases[-1] if seen.releases else None
    if last and last.digest == wanted.digest and last.specs == seen.specs and not seen.missing():
        host.noop(f"release {last.number} runs")
        return
    yield FunctionCommand(change, (wanted,), {})


def change(state: State, host: Host, wanted: Wanted) -> bool:
    """Deploy and wait; on a failure the last release again, and False."""
    seen = view(state, host, wanted.project)
    if seen is None:
        return told(host, "cluster: the managers have no quorum; docs/cluster.md says how it comes back")
    for kind, texts in (("config", wanted.configs), ("secret", wanted.secrets)):
        for name, text in texts.items():
            if name not in seen.names and not _made(state, host, wanted.project, kind, name, text):
                return False
    if not _applied(state, host, wanted.project, wanted.text):
        return False
    if fault := _settled(state, host, wanted):
        told(host, fault)
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
    ok, said = run_now(state, host, command, stdin=text)
    return ok or told(host, f"cluster: the {kind} {name} cannot be made: {' '.join(said)}")


def _applied(state: State, host: Host, project: str, text: str) -> bool:
    command = StringCommand(
        "docker stack deploy --prune --resolve-image never --compose-file -", project, "2>&1"
    )
    ok, said = run_now(state, host, command, stdin=text)
    return ok or told(host, f"cluster: the stack is refused: {' '.join(said)}")


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
    if last and last.digest == wanted.digest and last.specs == seen.specs:
        host.noop(f"release {last.number} is kept")
        return
    yield FunctionCommand(commit, (wanted,), {})


def commit(state: State, host: Host, wanted: Wanted) -> bool:
    """Keep it, as a config with its text."""
    seen = view(state, host, wanted.project)
    if seen is None:
        return told(host, "cluster: the managers do not answer; run again")
    number = seen.releases[-1].number + 1 if seen.releases else 1
    labels = wanted.record | {
        RELEASE: str(number),
        "digest": wanted.digest,
        "specs": seen.specs,
    }
    name = f"{wanted.project}_release_{number}"
    words = [f"{key}={value}" for key, value in labels.items()]
    if not _made(state, host, wanted.project, "config", name, wanted.text, *words):
        return False
    _pruned(state, host, seen, wanted)
    return True


def _pruned(state: State, host: Host, seen: View, wanted: Wanted) -> None:
    """Only what no kept release names; what still runs, Docker itself refuses to remove."""
    kept = seen.releases[1 - KEPT_RELEASES :]
    texts = [wanted.text, *(release.text for release in kept)]
    names = {release.name for release in kept}
    for kind, things in (("config", seen.configs), ("secret", seen.secrets)):
        for one in things:
            name = one["Spec"]["Name"]
            if name not in names and not any(name in text for text in texts):
                run_now(state, host, StringCommand(f"docker {kind} rm", QuoteString(name), "2>&1"))


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
    if chosen is None:
        there = ", ".join(releases) or "none"
        return told(host, f"rollback: the cluster has no release {number}; there: {there}")
    record = {key: chosen.labels[key] for key in ("at", "by", "commit") if key in chosen.labels}
    wanted = Wanted(project, chosen.text, chosen.digest, {}, {}, record, seconds)
    host.log(f"release {chosen.number} again")
    return change(state, host, wanted) and commit(state, host, wanted)
