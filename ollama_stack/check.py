"""What is refused of an inventory before pyinfra connects to anybody."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ollama_stack.inventory import Pyinfra, Target, limited, read_inventory, unusable_keys
from ollama_stack.rules import refusal, run_faults


@dataclass(frozen=True)
class Checked:
    """The hosts that a verb is for, and every fault that is seen without a connection."""

    inventory: str
    targets: list[Target]
    faults: dict[str, list[str]]
    """By file of settings, and by host."""
    keyless: dict[str, list[str]]
    """By host whose private key is not here, or is none."""

    @property
    def names(self) -> list[str]:
        """The hosts' names, in the inventory's order."""
        return [target.name for target in self.targets]

    def refuse(self) -> None:
        """ValueError with every fault, if there is one."""
        wrong = {
            name: self.faults.get(name, []) + self.keyless.get(name, [])
            for name in self.faults | self.keyless
        }
        if words := refusal(wrong):
            raise ValueError(words)


def check(inventory: str, limit: Iterable[str], pyinfra: Pyinfra) -> Checked:
    """The hosts of an inventory, within the limit; ValueError if there are none."""
    everybody = read_inventory(inventory, pyinfra=pyinfra)
    targets = limited(inventory, everybody, limit)
    faults = run_faults(
        {target.name: (target.groups, target.data) for target in targets},
        (group for target in everybody for group in target.groups),
        inventory,
    )
    return Checked(inventory, targets, faults, unusable_keys(targets))
