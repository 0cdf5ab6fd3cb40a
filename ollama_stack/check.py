"""What is refused of an inventory before pyinfra connects to anybody."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from ollama_stack.config.monitoring import MONITORING, read_monitor
from ollama_stack.config.settings import PYINFRA_KEY, Settings, serves
from ollama_stack.inventory import Pyinfra, Target, limited, read_hosts, servers, unusable_files
from ollama_stack.misplaced import login_faults, no_such
from ollama_stack.rules import Hosts, refusal, run_faults, sentence
from ollama_stack.stack.monitoring import alertmanager


@dataclass(frozen=True)
class Checked:
    """The hosts that a verb is for, and every fault that is seen without a connection."""

    inventory: str
    targets: list[Target]
    """Those that are to serve a class."""
    faults: dict[str, list[str]]
    """By file of settings, and by host."""
    keyless: dict[str, list[str]]
    """By host whose private key is not here, or is none."""
    monitors: Sequence[Target] = ()
    """The one that is to watch them, if it is within the limit; it may be a server too."""

    @property
    def names(self) -> list[str]:
        """The servers' names, in the inventory's order."""
        return [target.name for target in self.targets]

    @property
    def hosts(self) -> Hosts:
        """Groups and data of the servers, by name."""
        return {target.name: (target.groups, target.data) for target in self.targets}

    def refuse(self) -> None:
        """ValueError with every fault, if there is one."""
        wrong = {
            name: self.faults.get(name, []) + self.keyless.get(name, [])
            for name in self.faults | self.keyless
        }
        if message := refusal(wrong):
            raise ValueError(message)


def check(inventory: str, limit: Iterable[str], pyinfra: Pyinfra) -> Checked:
    """The hosts of an inventory, within the limit; ValueError if there are none."""
    everybody = read_hosts(inventory, pyinfra)
    chosen = limited(inventory, everybody, limit)
    monitors = [target for target in chosen if MONITORING in target.groups]
    targets = [target for target in chosen if serves(target.groups)]
    faults = run_faults(
        {target.name: (target.groups, target.data) for target in targets},
        (group for target in everybody for group in target.groups),
        inventory,
    )
    if monitors:
        hosts = {target.name: (target.groups, target.data) for target in everybody}
        for name, wrong in monitoring_faults(hosts).items():
            faults[name] = list(dict.fromkeys([*faults.get(name, []), *wrong]))
    return Checked(inventory, targets, faults, unusable_files(chosen), monitors)


def check_servers(inventory: str, limit: Iterable[str], pyinfra: Pyinfra) -> Checked:
    """The same for whoever asks servers alone; ValueError if there are none."""
    checked = check(inventory, limit, pyinfra)
    servers(inventory, [*checked.targets, *checked.monitors])
    return checked


def monitoring_faults(hosts: Hosts) -> dict[str, list[str]]:
    """What is wrong with an inventory's group monitoring, by host."""
    found = {name: data for name, (groups, data) in hosts.items() if MONITORING in groups}
    wrong = {}
    for name, data in found.items():
        own = []
        if len(found) > 1:
            own.append(f"monitoring: {', '.join(found)} are in it; one host watches a site")
        unknown = (key for key in data if not PYINFRA_KEY.match(key))
        own += [no_such(key) for key in unknown if key not in Settings.model_fields]
        own += login_faults(data)
        try:
            alertmanager(read_monitor(data))
        except ValidationError as error:
            own += [sentence(fault) for fault in error.errors(include_url=False)]
        except ValueError as error:
            own.append(str(error))
        wrong[name] = own
    return {name: own for name, own in wrong.items() if own}
