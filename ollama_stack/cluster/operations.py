"""A host that is in the cluster, has its model and its label; and who is in it no more."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyinfra import host
from pyinfra.api import FunctionCommand, Host, QuoteString, State, StringCommand, operation

from ollama_stack.cluster.facts import (
    NEVER_CAME,
    KeptModel,
    ModelsInVolume,
    Node,
    NodeInfo,
    View,
    engine,
    look,
)
from ollama_stack.facts.memory import known
from ollama_stack.facts.model import manifest_path
from ollama_stack.shell import Commands, fail, or_explain, run_now

JOIN = 60.0  # seconds, after the twenty that Docker itself waits


@dataclass(frozen=True)
class Place:
    """A host's place in its cluster: by which address, as what, and who is asked about it."""

    leader: Host
    project: str
    profile: str
    rank: int
    """Of a manager, from 1; 0 of a worker."""
    address: str
    pool: str
    """Of addresses for the networks between the hosts."""

    @property
    def labels(self) -> dict[str, str]:
        """By which the stack's services find it: the profile's Ollama, and the rank's gateway."""
        return {"profile": self.profile, "gateway": str(self.rank or "")}


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
    ok, output = run_now(state, host, engine(path, body=True), stdin=json.dumps(body))
    return ok or fail(host, f"{fault}: {' '.join(output) or 'its engine does not answer'}")


@operation()
def joined(place: Place, nodes: Sequence[Mapping[str, Any]]) -> Commands:
    """Have this host in the leader's swarm, as a manager or a worker.

    ``nodes``: those of the swarm, as the leader has seen them.
    """
    own = known(Node)
    there = next((node for node in nodes if own.id and node["ID"] == own.id), None)
    role = "manager" if place.rank else "worker"
    if there and own.state == "active" and there["Spec"]["Role"] == role:
        host.noop("the host is in the cluster")
        return
    yield FunctionCommand(join, (place, role), {})


def join(state: State, host: Host, place: Place, role: str) -> bool:
    """Join, or change the role of who is in; the token goes from engine to engine, and to no disk."""
    own, seen = node_of(state, host), view(state, place.leader, place.project)
    if seen is None:
        return fail(host, f"cluster: {place.leader.name} does not say who is in; run again")
    if own.inside and own.id not in {node["ID"] for node in seen.nodes}:  # it was removed before
        run_now(state, host, StringCommand("docker swarm leave --force"))
        own = NodeInfo()
    if own.inside:
        command = "promote" if role == "manager" else "demote"
        ok, output = run_now(
            state, place.leader, StringCommand(f"docker node {command} {own.id} 2>&1")
        )
        return ok or fail(host, f"cluster: {' '.join(output)}")
    ok, lines = run_now(state, place.leader, engine("/swarm"))
    if not ok:
        return fail(host, f"cluster: {place.leader.name} gives no token; run again")
    token = json.loads("".join(lines))["JoinTokens"][role.capitalize()]
    body = {
        **{"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": place.address},
        **{"RemoteAddrs": [f"{node_of(state, place.leader).address}:2377"], "JoinToken": token},
    }
    ok, output = run_now(state, host, engine("/swarm/join", body=True), stdin=json.dumps(body))
    end = time.monotonic() + JOIN
    while not ok and time.monotonic() < end:  # it goes on in the background, once it has begun
        time.sleep(1)
        ok = node_of(state, host).state == "active"
    return ok or fail(
        host,
        f"cluster: the host cannot join {place.leader.name} (ports 2377, 7946 and 4789/udp): {' '.join(output)}",
    )


@operation()
def cleared(hosts: Sequence[Host], project: str, seen: View) -> Commands:
    """Have no traces of joins that failed and were tried again: a change would wait for those managers for ever.

    ``seen``: the swarm before this run, in which nobody joins whom it has.
    """
    there = {node["ID"] for node in seen.nodes}
    if {one.get_fact(Node).id for one in hosts} <= there:
        host.noop("nobody has joined")
        return
    yield FunctionCommand(clear, (hosts, project), {})


def clear(state: State, host: Host, hosts: Sequence[Host], project: str) -> bool:
    """Remove the nodes that have neither a name nor a host."""
    seen = view(state, host, project)
    if seen is None:
        return fail(host, f"cluster: {host.name} does not say who is in; run again")
    for node, name in seen.strangers({node_of(state, one).id for one in hosts}).items():
        if name != NEVER_CAME:
            continue
        command = f"docker node demote {node} >/dev/null 2>&1; docker node rm --force {node} 2>&1"
        ok, output = run_now(state, host, StringCommand(command))
        if not ok:
            why = f"cluster: {' '.join(output)}; on {host.name}, docker node rm --force {node}"
            return fail(host, f"{why}, then run again")
    return True


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
def images(refs: Mapping[str, str], present: Mapping[str, object]) -> Commands:
    """Have images on the host before a service asks for them; ``refs``: by the settings that name them."""
    missing = {name: ref for name, ref in refs.items() if not present[ref]}
    if not missing:
        host.noop("the images are there")
    for name, ref in missing.items():
        yield or_explain(
            StringCommand("docker pull --quiet", QuoteString(ref)),
            f"{name}: {ref} cannot be pulled; check the name and that its registry "
            "answers (mirror); nothing has changed yet",
        )


@operation()
def model_kept(wanted: ModelWanted, image: str, volume: str, program: str) -> Commands:
    """Have the model in the volume of this host, beside an Ollama that may run, and for one that is to come.

    ``program``: what does it, in a container of its own.
    """
    names = (wanted.model, wanted.pristine)
    there: dict[str, KeptModel] = host.get_fact(ModelsInVolume, volume=volume, models=names)
    if wanted.there(there):
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
def labelled(place: Place, nodes: Sequence[Mapping[str, Any]]) -> Commands:
    """Have the host known by its labels, so that its services run there; and open for work."""
    own = known(Node).id
    for node in nodes:
        spec = node["Spec"]
        has = spec.get("Labels") or {}
        right = all(has.get(key, "") == value for key, value in place.labels.items())
        if own and node["ID"] == own and right and spec["Availability"] == "active":
            host.noop("the host is known as what it is")
            return
    yield FunctionCommand(label, (place,), {})


def label(state: State, host: Host, place: Place) -> bool:
    """Ask the leader to."""
    own = node_of(state, host).id
    added = " ".join(f"--label-add {key}={value}" for key, value in place.labels.items())
    command = f"docker node update --availability active {added} {own}"
    ok, output = run_now(state, place.leader, StringCommand(f"{command} 2>&1"))
    return ok or fail(host, f"cluster: {' '.join(output)}")


@operation()
def removed(nodes: Mapping[str, str], seconds: int) -> Commands:
    """Have nobody in the swarm who is not declared: drained first, its model volume kept.

    ``nodes``: hostnames by node. ``seconds``: for the answers that run there.
    """
    if not nodes:
        host.noop("nobody else is in the cluster")
    for node, name in nodes.items():
        host.log(f"remove {name}")
        yield f"docker node update --availability drain {node}"
        tasks = f"docker node ps --format '{{{{.CurrentState}}}}' {node} | grep -q ^Running"
        down = f"test \"$(docker node inspect --format '{{{{.Status.State}}}}' {node})\" != ready"
        yield StringCommand(
            f"timeout {seconds} sh -c",
            QuoteString(f"while {tasks}; do {down} || sleep 1 && {down} && break; done; true"),
        )
        yield f"docker node demote {node} >/dev/null; docker node rm --force {node}"
