"""Every host's last good release, and whether it runs it. Nothing is changed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from functools import partial
from tempfile import TemporaryDirectory
from typing import Literal

from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ollama_stack.config.settings import read_settings
from ollama_stack.inventory import Target

# The last five lines are ours: the login may greet before them.
RELEASE = """cd {folder} && readlink releases/current && cat releases/current/release.json && {{
cmp -s releases/current/docker-compose.yml docker-compose.yml && {{ ! test -d gateway ||
cmp -s releases/current/gateway/haproxy.cfg gateway/haproxy.cfg; }} && echo yes || echo no;
test -e releases/unconfirmed && echo yes || echo no; echo "$(cat releases/returned 2>/dev/null)"; }}"""


class Release(BaseModel):
    """A release that answered, as its own record has it."""

    model_config = ConfigDict(frozen=True)

    number: int
    version: str
    at: str
    by: str
    commit: str
    in_place: bool
    """Whether the host's files are still this release's."""
    unconfirmed: bool
    """Whether a change has begun that nobody has found good: without that, the host comes back to this release."""
    returned: str
    """When and why the host came back to it by itself; empty if it did not."""


class HostStatus(BaseModel):
    """One host's last good release; without one, the reason if it is known."""

    model_config = ConfigDict(frozen=True)

    host: str
    reached: bool = True
    release: Release | None = None
    reason: str = ""


class Status(BaseModel):
    """The report; time in UTC."""

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = 1
    time: datetime
    inventory: str
    hosts: list[HostStatus]


def find_status(inventory: str, targets: Sequence[Target]) -> Status:
    """All hosts, looked at side by side."""
    with (
        TemporaryDirectory(prefix="ols-", dir="/tmp", ignore_cleanup_errors=True) as sockets,
        ThreadPoolExecutor(32) as pool,
    ):
        hosts = list(pool.map(partial(host_status, sockets=sockets), targets))
    return Status(time=datetime.now(timezone.utc), inventory=inventory, hosts=hosts)


def host_status(target: Target, sockets: str) -> HostStatus:
    """One host; ``sockets``: folder for ssh's shared connections."""
    folder = shlex.quote(read_settings(target.data).ollama_dir)
    try:
        said = target.connect(sockets).run(RELEASE.format(folder=folder))
    except RuntimeError as error:  # testinfra's word for ssh's own failure
        why = getattr(error.args[0], "stderr", "") if error.args else ""
        reason = (why.strip().splitlines() or [str(error)])[-1]
        return HostStatus(host=target.name, reached=False, reason=reason)
    except ValueError as error:  # no way for us to come there
        return HostStatus(host=target.name, reached=False, reason=str(error))
    if said.rc:
        return HostStatus(host=target.name)
    try:
        *_, number, record, in_place, unconfirmed, returned = said.stdout.splitlines()
        told = json.loads(record) | {"number": number, "in_place": in_place}
        told |= {"unconfirmed": unconfirmed, "returned": returned}
        return HostStatus(host=target.name, release=Release.model_validate(told))
    except (TypeError, ValueError):
        reason = "releases/current/release.json is not understood"
        return HostStatus(host=target.name, reason=reason)


def show_status(status: Status, console: Console) -> None:
    """The report for people: a line a host."""
    table = Table("host", "good release", "in place", "version", "made", "by", "commit")
    for host in status.hosts:
        table.add_row(*map(escape, (host.host, *_row(host))))
    console.print(table)
    for host in status.hosts:
        if host.release and host.release.unconfirmed:
            console.print(
                escape(
                    f"{host.host}: a change has begun that is not confirmed yet: wait for its run, or deploy again"
                )
            )
        if host.release and host.release.returned:
            words = f"came back to release {host.release.number} by itself: {host.release.returned}"
            console.print(escape(f"{host.host}: {words}"))


def _row(host: HostStatus) -> tuple[str, ...]:
    if not host.release:
        return "none" if host.reached else "unreachable", "", "", host.reason, "", ""
    r = host.release
    return str(r.number), "yes" if r.in_place else "no", r.version, r.at, r.by, r.commit[:8]
