"""The lab's Debian servers: their names, releases and doors; all of it on loopback."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

USER = "ops"
KEYS = Path("~/.cache/ollama-stack/lab-hosts").expanduser()  # as inventories/lab_ssh.py has it


@dataclass(frozen=True)
class Member:
    """One server, a container of this machine."""

    name: str
    codename: str
    port: int

    @property
    def container(self) -> str:
        """Its container's name."""
        return f"ollama-lab-{self.name}"


MEMBERS = tuple(
    Member(f"host-{number}", codename, 2300 + number)
    for number, codename in enumerate(("bookworm", "trixie", "bookworm") * 2, 1)
)


def chosen() -> list[Member]:
    """The first ``HOSTS`` of them (environment), three without it."""
    return list(MEMBERS[: int(os.environ.get("HOSTS", "3"))])
