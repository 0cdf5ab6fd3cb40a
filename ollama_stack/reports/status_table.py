"""A status for people: a line a host, the worst first, and below it what is wrong in words."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from ollama_stack.reports.health import WORST_FIRST
from ollama_stack.reports.status import HostStatus, Now, Status

EVERY = 5  # seconds between two looks
COLOURS = {"unreachable": "red", "down": "red", "degraded": "yellow", "serving": "green"}
COLUMNS = {
    "host": "host",
    "state": "state",
    "release": "release",
    "made": "made",
    "cpu": "CPU",
    "throttled": "throt-\ntled",
    "memory": "GiB",
    "models": "in memory",
    "flight": "in\nflight",
    "waiting": "wait-\ning",
    "failed": "refused,\nfailed",
    "wait": "wait\np50, p95",
    "tls": "TLS",
}
# Where a terminal is too narrow, these are left out, from the first on; --json has them all.
LEFT_OUT = ("made", "models", "release", "tls", "memory", "throttled", "failed", "cpu")


def show_status(status: Status, console: Console) -> None:
    """Once."""
    console.print(_page(status, console))


def watch_status(find: Callable[[], Status], console: Console) -> None:
    """Again and again, until somebody interrupts it."""
    with Live(_page(find(), console), console=console, auto_refresh=False) as live:
        while True:
            time.sleep(EVERY)
            live.update(_page(find(), console), refresh=True)


def _page(status: Status, console: Console) -> Group:
    hosts = sorted(status.hosts, key=lambda host: (WORST_FIRST.index(host.state), -len(host.problems)))  # fmt: skip
    whole = console.options.update(max_width=10_000)
    tables = [
        _table(status, hosts, [name for name in COLUMNS if name not in LEFT_OUT[:count]])
        for count in range(len(LEFT_OUT) + 1)
    ]
    fitting = (one for one in tables if console.measure(one, options=whole).maximum <= console.width)  # fmt: skip
    table = next(fitting, tables[-1])
    problems = [escape(f"{host.host}: {problem}") for host in hosts for problem in host.problems]
    return Group(table, *problems)


def _table(status: Status, hosts: list[HostStatus], names: list[str]) -> Table:
    caption = f"{status.inventory}, {status.time:%Y-%m-%d %H:%M:%S} UTC"
    table = Table(box=None, padding=(0, 1, 0, 0), caption=caption, caption_justify="left")
    for name in names:
        table.add_column(COLUMNS[name], no_wrap=True)
    for host in hosts:
        cells = dict(zip(COLUMNS, map(escape, _row(host, status.time)), strict=False))
        table.add_row(*(cells.get(name, "") for name in names), style=COLOURS[host.state])
    return table


def _row(host: HostStatus, time: datetime) -> list[str]:
    made = host.release
    number = f"{made.number}, {made.version[:8]}" if made else "none" if host.reached else ""
    by = f"{made.at[5:16].replace('T', ' ')} by {made.by}" if made else ""
    return [host.host, host.state, number, by, *(_figures(host.now, time) if host.now else ())]


def _figures(now: Now, time: datetime) -> list[str]:
    return [
        f"{_shown(now.cpus, '.1f')}/{now.cpus_limit:g}",
        _shown(now.throttled, ".0%"),
        f"{_shown(now.memory and now.memory / 2**30, '.1f')}/{now.memory_limit / 2**30:g}",
        _models(now, time),
        f"{_shown(now.in_flight)}/{now.in_flight_limit}",
        f"{_shown(now.waiting)}/{now.waiting_limit}",
        f"{_shown(now.refused)}, {_shown(now.failed)}",
        f"{_shown(now.wait_p50, '.1f')}, {_shown(now.wait_p95, '.1f')} s",
        f"{(now.certificate_end - time).days} days" if now.certificate_end else "",
    ]


def _models(now: Now, time: datetime) -> str:
    if now.models is None:
        return "?"
    return (
        ", ".join(f"{name}, {_left(end - time)}" for name, end in now.models.items()) or "nothing"
    )


def _left(time: timedelta) -> str:
    if time > timedelta(days=365):
        return "for good"
    return f"{max(0, round(time.total_seconds()))} s left"


def _shown(figure: float | None, form: str = "") -> str:
    return "?" if figure is None else format(figure, form)
