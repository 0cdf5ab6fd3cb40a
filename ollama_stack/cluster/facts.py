"""What a host says of its swarm, and a manager of the whole of it, by the engine's own API."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

from ollama_stack.facts.model import manifest_path

STACK = "com.docker.stack.namespace"
RELEASE = "ollama-stack.release"
PATHS = ("/nodes", "/services", "/tasks", "/configs", "/secrets")
NEVER_CAME = "a host that began to join and never came"
SETTLED = ("completed", "rollback_completed")


def engine(path: str, *, body: bool = False, fail: str = "--fail-with-body") -> StringCommand:
    """A call of the engine's API on its socket; ``body``: JSON comes at standard input, for no one to see."""
    curl = f"curl -sS {fail} --noproxy '*' --unix-socket /var/run/docker.sock"
    data = "--header 'Content-Type: application/json' --data @-" if body else ""
    return StringCommand(curl, data, QuoteString(f"http://localhost{path}"))


@dataclass(frozen=True)
class NodeInfo:
    """A host's own word on its swarm; without an engine it is in none."""

    state: str = "inactive"
    id: str = ""
    address: str = ""
    manager: bool = False
    managers: tuple[str, ...] = ()
    """Addresses of the managers that it knows."""

    @property
    def inside(self) -> bool:
        """Whether it is in a swarm, reachable or not."""
        return self.state != "inactive"


class Node(FactBase[NodeInfo]):
    """The swarm that this host is in."""

    default = NodeInfo

    @override
    def command(self) -> str:
        return "docker info --format '{{json .Swarm}}' 2>/dev/null || true"

    @override
    def process(self, output: list[str]) -> NodeInfo:
        info = json.loads(output[0])
        managers = tuple(one["Addr"].rpartition(":")[0] for one in info["RemoteManagers"] or ())
        return NodeInfo(
            info["LocalNodeState"],
            info["NodeID"],
            info["NodeAddr"],
            info["ControlAvailable"],
            managers,
        )


@dataclass(frozen=True)
class Release:
    """A stack that has answered, as the swarm keeps it: a config of its own."""

    number: int
    digest: str
    specs: str
    """Of the services, as the swarm had them when it had answered."""
    text: str
    labels: dict[str, str]
    name: str


@dataclass(frozen=True)
class View:
    """A swarm as one of its managers sees it."""

    nodes: list[dict[str, Any]] = field(default_factory=list)
    services: list[dict[str, Any]] = field(default_factory=list)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    configs: list[dict[str, Any]] = field(default_factory=list)
    secrets: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def parse(cls, lines: Sequence[str], project: str) -> View:
        """From the engine's answers, one a line; only what is ``project``'s."""
        nodes, services, tasks, configs, secrets = map(json.loads, lines)
        own = [one for one in services if one["Spec"]["Labels"].get(STACK) == project]
        ids = {one["ID"] for one in own}
        return cls(
            nodes,
            sorted(own, key=lambda one: str(one["Spec"]["Name"])),
            [one for one in tasks if one.get("ServiceID") in ids],
            [one for one in configs if one["Spec"]["Name"].startswith(f"{project}_")],
            [one for one in secrets if one["Spec"]["Name"].startswith(f"{project}_")],
        )

    @property
    def specs(self) -> str:
        """A digest of what the services are told to be."""
        text = json.dumps([one["Spec"] for one in self.services], sort_keys=True)
        return sha256(text.encode()).hexdigest()[:12]

    @property
    def releases(self) -> list[Release]:
        """What has answered before, the last one last."""
        found = []
        for one in self.configs:
            labels = one["Spec"].get("Labels") or {}
            if RELEASE in labels:
                text = base64.b64decode(one["Spec"]["Data"]).decode()
                number, digest, specs = int(labels[RELEASE]), labels["digest"], labels["specs"]
                found.append(Release(number, digest, specs, text, labels, one["Spec"]["Name"]))
        return sorted(found, key=lambda one: one.number)

    @property
    def names(self) -> set[str]:
        """Of the configs and secrets that are there."""
        return {one["Spec"]["Name"] for one in self.configs + self.secrets}

    def strangers(self, own: Collection[str]) -> dict[str, str]:
        """Hostnames of the nodes beside ``own``, by their ids, the dead first; one whose join was lost has no name."""
        nodes = sorted(self.nodes, key=lambda node: str(node["Status"]["State"]))
        return {
            node["ID"]: node["Description"].get("Hostname", NEVER_CAME)
            for node in nodes
            if node["ID"] not in own
        }

    def running(self, service: dict[str, Any]) -> list[dict[str, Any]]:
        """A service's tasks that run, and are healthy."""
        return [
            task
            for task in self.tasks
            if task["ServiceID"] == service["ID"]
            and task["DesiredState"] == task["Status"]["State"] == "running"
        ]

    def hosts_of(self, service: dict[str, Any]) -> set[str]:
        """Nodes by their ids that are to run a service; of one with replicas, those that do."""
        if "Global" not in service["Spec"]["Mode"]:
            return {task["NodeID"] for task in self.running(service)}
        rules = service["Spec"]["TaskTemplate"]["Placement"]["Constraints"]
        return {
            node["ID"]
            for node in self.nodes
            if node["Spec"]["Availability"] == "active"
            and node["Status"]["State"] == "ready"
            and all(_holds(node, rule) for rule in rules)
        }

    def missing(self) -> list[str]:
        """What is not as it is to be yet, one line for each service."""
        lines = []
        for service in self.services:
            spec = service["Spec"]
            state = (service.get("UpdateStatus") or {}).get("State", "completed")
            wanted = spec["TaskTemplate"]["ContainerSpec"]
            there = {
                task["NodeID"]
                for task in self.running(service)
                if task["Spec"]["ContainerSpec"] == wanted
            }
            hosts = self.hosts_of(service)
            ready = there >= hosts and there
            if state not in SETTLED or not ready:
                lines.append(f"{spec['Name']}: {len(there)} of {max(1, len(hosts))}, {state}")
        return lines

    def rolled_back(self) -> list[str]:
        """Services whose change failed, so that the swarm took or takes it back, and why."""
        found = []
        for service in self.services:
            status = service.get("UpdateStatus") or {}
            if "rollback" in status.get("State", "") or status.get("State") == "paused":
                errors = [
                    task["Status"].get("Err", "")
                    for task in self.tasks
                    if task["ServiceID"] == service["ID"]
                ]
                why = next(filter(None, reversed(errors)), status.get("Message", ""))
                found.append(f"{service['Spec']['Name']}: {why}")
        return found


def _holds(node: dict[str, Any], rule: str) -> bool:
    key, _, value = rule.partition("==")
    labels = node["Spec"].get("Labels") or {}
    known = {"node.role": node["Spec"]["Role"]} | {f"node.labels.{k}": v for k, v in labels.items()}
    return known.get(key.strip()) == value.strip()


class Swarm(FactBase[View]):
    """The swarm by a manager's word; nothing, where this host is none."""

    default = View

    @override
    def command(self, project: str) -> StringCommand:
        self.project = project
        return look()

    @override
    def process(self, output: list[str]) -> View:
        return View.parse(output, self.project) if len(output) == len(PATHS) else View()


def look() -> StringCommand:
    """A command that prints what View.parse reads."""
    calls = (StringCommand("&&", engine(path, fail="--fail")) for path in PATHS)
    return StringCommand("{ true", *calls, "; } 2>/dev/null || true")


class EncryptsOverlays(FactBase[bool]):
    """Whether the kernel has what Docker encrypts its networks with: AES-GCM for IPsec (RFC 4106).

    Asked in a network namespace that is gone afterwards.
    """

    @override
    def command(self) -> str:
        key = f"0x{'00' * 20}"
        return (
            "unshare --net ip xfrm state add src 127.0.0.1 dst 127.0.0.2 proto esp spi 1 mode transport"
            f" aead 'rfc4106(gcm(aes))' {key} 64 2>/dev/null && echo yes || echo no"
        )

    @override
    def process(self, output: list[str]) -> bool:
        return output[-1:] == ["yes"]


class OwnAddress(FactBase[str]):
    """The IPv4 address by which the host goes out; "" where it does not."""

    default = str

    @override
    def command(self) -> str:
        return "ip -4 -o route get 192.0.2.1 2>/dev/null | grep -o 'src [0-9.]*' | cut -d' ' -f2 || true"


@dataclass(frozen=True)
class KeptModel:
    """A model in a volume: which weights it has, and which parameters."""

    weights: str
    parameters: dict[str, Any]
    digest: str


class ModelsInVolume(FactBase[dict[str, KeptModel]]):
    """Models by name as Ollama's volume has them, whether a server runs or not (server/manifest.go)."""

    default = dict

    @override
    def command(self, volume: str, models: Sequence[str]) -> StringCommand:
        self.models = models
        params = r"""grep -o '"mediaType":"application/vnd.ollama.image.params","digest":"sha256:[0-9a-f]*'"""
        places = [QuoteString(manifest_path(model)) for model in models]
        return StringCommand(
            "cd \"$(docker volume inspect --format '{{.Mountpoint}}'",
            QuoteString(volume),
            '2>/dev/null)/models" 2>/dev/null || exit 0; for file in',
            *places,
            '; do test -f "$file" && tr -d "\\n" <"$file" && echo && sha256sum <"$file"',
            f'&& blob=$({params} "$file" | sed "s/.*sha256:/sha256-/")',
            '&& tr -d "\\n" <"blobs/$blob" || echo "{}"; echo; done',
        )

    @override
    def process(self, output: list[str]) -> dict[str, KeptModel]:
        found, lines = dict[str, KeptModel](), iter([line for line in output if line])
        for model in self.models:
            first = next(lines, "{}")
            if first == "{}":
                continue
            digest, parameters = next(lines).split()[0], json.loads(next(lines))
            layers = {layer["mediaType"]: layer["digest"] for layer in json.loads(first)["layers"]}
            weights = layers.get("application/vnd.ollama.image.model", "")
            found[model] = KeptModel(weights, parameters, digest)
        return found
