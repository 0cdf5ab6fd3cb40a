"""How long classes of some sizes would wait on each host, as it is and with twice the CPUs: for people and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from functools import partial
from typing import Literal

from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ollama_stack.capacity.budget import least_profile
from ollama_stack.config.settings import Settings, profile_of, read_settings
from ollama_stack.inventory import Target
from ollama_stack.load import speeds
from ollama_stack.load.sizing import Speeds, carried, expected, holds, too_many, wait_text
from ollama_stack.reports.load import EXIT, Verdict

STUDENTS = (1, 3, 5, 10, 15, 20, 30)


class Row(BaseModel, frozen=True):
    """A class; seconds, and shares of all questions."""

    students: int
    profile: str
    """The least one for so many, by the rule of thumb."""
    p95_wait: float
    refused: float
    holds: bool
    """Whether slo_p95_wait and slo_success hold."""


class Server(BaseModel, frozen=True):
    """With so many CPUs."""

    cpus: float
    estimated: bool
    carries: int
    """Students, at most 60; 0 if one alone waits too long."""
    rows: list[Row]


class HostSizing(BaseModel, frozen=True):
    """One host; without speeds, why they were not measured."""

    host: str
    profile: str | None
    verdict: Verdict
    """broken: its ``students`` are too many."""
    students: int | None
    slo_p95_wait: float
    slo_success: float
    queue_timeout: int
    """Seconds after which the gateway refuses whoever still waits."""
    reasons: list[str] = []
    speeds: Speeds | None = None
    servers: list[Server] = []


class Sizing(BaseModel, frozen=True):
    """The report; time in UTC. Its verdict is that of the worst host."""

    version: Literal[1] = 1
    time: datetime
    inventory: str
    verdict: Verdict
    hosts: list[HostSizing]


def find_sizing(inventory: str, targets: Sequence[Target]) -> Sizing:
    """All hosts, side by side."""
    with ThreadPoolExecutor(32) as pool:
        hosts = list(pool.map(_host_sizing, targets))
    return Sizing(
        time=datetime.now(timezone.utc),
        inventory=inventory,
        verdict=max((host.verdict for host in hosts), key=EXIT.__getitem__),
        hosts=hosts,
    )


def keep_speeds(sizing: Sizing) -> None:
    """For ``plan``; ValueError names what is in the way."""
    found = {speeds.place(sizing.inventory, one.host): one.speeds for one in sizing.hosts}
    speeds.keep({place: speed for place, speed in found.items() if speed})


def _host_sizing(target: Target) -> HostSizing:
    settings = read_settings(target.data)
    report = partial(
        HostSizing,
        host=target.name,
        profile=profile_of(target.groups),
        students=settings.students,
        slo_p95_wait=settings.slo_p95_wait,
        slo_success=settings.slo_success,
        queue_timeout=settings.queue_seconds,
    )
    try:
        found = speeds.measure(target, settings)
    except ValueError as error:
        return report(verdict="unmeasured", reasons=[str(error)])
    reason = too_many(found, settings)
    return report(
        verdict="broken" if reason else "held",
        reasons=[reason] if reason else [],
        speeds=found,
        servers=[_server(found, settings), _server(found.doubled(), settings, estimated=True)],
    )


def _server(found: Speeds, settings: Settings, estimated: bool = False) -> Server:
    classes = sorted({*STUDENTS, *([settings.students] if settings.students else [])})
    return Server(
        cpus=found.cpus,
        estimated=estimated,
        carries=carried(found, settings),
        rows=[_row(students, found, settings) for students in classes],
    )


def _row(students: int, found: Speeds, settings: Settings) -> Row:
    met = expected(students, found, settings)
    return Row(
        students=students,
        profile=least_profile(students),
        p95_wait=met.p95,
        refused=met.refused,
        holds=holds(met, settings),
    )


def show_sizing(sizing: Sizing, console: Console) -> None:
    """The report for people: of each host how many students it carries first."""
    for host in sizing.hosts:
        console.print(escape(_first_line(host)), soft_wrap=True)
        if host.speeds:
            console.print(_table(host))
            console.print(escape(_speeds(host.speeds)), soft_wrap=True)
        for reason in host.reasons:
            console.print(escape(f"{host.host}: {reason}"), soft_wrap=True)


def _first_line(host: HostSizing) -> str:
    if not host.servers:
        return f"{host.host}: not measured"
    here, more = host.servers
    return (
        f"{host.host} carries {here.carries} students within {host.slo_p95_wait:g} s of wait at p95; with "
        f"{more.cpus:g} CPUs, by estimate, {more.carries}"
    )


def _table(host: HostSizing) -> Table:
    table = Table("students", "profile")
    for server in host.servers:
        estimate = " (estimate)" if server.estimated else ""
        table.add_column(f"{server.cpus:g} CPUs{estimate}:\np95 wait, refused")
    for rows in zip(*(server.rows for server in host.servers), strict=True):
        cells = [_cell(row, host.queue_timeout) for row in rows]
        table.add_row(str(rows[0].students), rows[0].profile, *cells)
    return table


def _cell(row: Row, most: int) -> str:
    return (
        f"[{'green' if row.holds else 'red'}]{wait_text(row.p95_wait, most)}, {row.refused:.0%}[/]"
    )


def _speeds(found: Speeds) -> str:
    long = 1000 / found.reading(1000)
    return (
        f"{found.model} on {found.cpus:g} CPUs reads {found.read:.1f} tok/s ({long:.1f} where there are 1000) and "
        f"writes {found.alone:.1f}, or {found.together:.1f} each of {found.parallel}"
    )
