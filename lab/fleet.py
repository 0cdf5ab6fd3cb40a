"""The lab's Debian servers: their names, releases and doors; all of it on loopback."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

USER = "ops"
KEYS = Path("~/.cache/ollama-stack/lab-hosts").expanduser()  # as inventories/lab_ssh.py has it


DISK = "6g"  # as the preflight wants it; what is not filled takes no memory


@dataclass(frozen=True)
class Member:
    """One server, a container of this machine."""

    name: str
    codename: str
    port: int
    in_memory: bool = False
    """Docker's disk is in memory, with a size; it is gone when the server restarts."""

    @property
    def container(self) -> str:
        """Its container's name."""
        return f"ollama-lab-{self.name}"

    @property
    def disk(self) -> str:
        """Docker's option for /var/lib/docker."""
        tmpfs = f"--tmpfs /var/lib/docker:exec,dev,suid,size={DISK}"
        return tmpfs if self.in_memory else "--volume /var/lib/docker"


MEMBERS = tuple(
    Member(f"host-{number}", codename, 2300 + number, in_memory=number == 1)
    for number, codename in enumerate(("bookworm", "trixie", "bookworm") * 2, 1)
)


def chosen() -> list[Member]:
    """The first ``HOSTS`` of them (environment), three without it."""
    return list(MEMBERS[: int(os.environ.get("HOSTS", "3"))])
