"""Will it fit, and what would change? A report on every host that changes nothing."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ollama_stack.capacity.budget import MIB
from ollama_stack.capacity.eras import upgrade
from ollama_stack.capacity.fit import misfits
from ollama_stack.capacity.sums import (
    MEASUREMENTS,
    MEASUREMENTS_PATH,
    Measured,
    Sum,
    disk_sum,
    image_sum,
    memory_sum,
)
from ollama_stack.check import Checked
from ollama_stack.config.settings import Settings, profile_of, read_settings
from ollama_stack.inventory import Pyinfra, Target, only
from ollama_stack.load import speeds
from ollama_stack.load.sizing import Speeds, too_many
from ollama_stack.reports.connection import correction_order, explain
from ollama_stack.rules import REFUSED, warnings
from ollama_stack.stack.cluster import own_part, workers

# Operations that ask or tell: they run every time, and change nothing.
ACTIONS = {
    *("Take the lock", "Smoke | Ask another model", "Smoke | Ask the model", "Smoke | Ask the app"),
    "Say what is true now",
}

Verdict = Literal["fits", "refused", "unreachable"]
EXIT: dict[Verdict, int] = {"fits": 0, "refused": 1, "unreachable": 2}


class HostPlan(BaseModel, frozen=True):
    """One host: what is declared, what it is, whether that fits, and what a deploy would change."""

    host: str
    profile: str | None
    verdict: Verdict
    reasons: list[str]
    warnings: list[str] = []
    upgrade: list[str] = []
    """What the declared version of Ollama does otherwise than the one that runs."""
    declared: Settings | None = None
    threads: int | None = None
    memory: Sum | None = None
    disk: Sum | None = None
    """Of Docker's data-root."""
    images: Sum | None = None
    """Of the images' disk, if that is another one."""
    measured: Measured | None = None
    watches: bool = False
    """Whether it is the one that watches the servers (docs/monitoring.md)."""
    changes: list[str] | None = None
    """Names of operations with something to do; None while any host is refused."""


class Plan(BaseModel, frozen=True):
    """The report; sizes in bytes, time in UTC. Its verdict is that of the worst host."""

    version: Literal[1] = 1
    time: datetime
    inventory: str
    verdict: Verdict
    hosts: list[HostPlan]


@dataclass(frozen=True)
class DryRun:
    """What pyinfra's dry run left: measurements, its log, and operations by host if it got there."""

    looks: Mapping[str, Measured | list[str]]
    log: str
    changes: Mapping[str, list[str]] | None

    def silence(self, host: str) -> list[str]:
        """Why nothing is known of a host, by pyinfra's message."""
        # A question for a key's passphrase that nobody has answered stays on the line.
        asked = r"(?:Enter password for private key: .*: )?"
        lines = re.findall(rf"^{asked}\s*\[{re.escape(host)}\]\s+(.+)$", self.log, re.MULTILINE)
        return [line for line in lines if line != "Connected"][:1] or [self.failure]

    def refused(self, host: str) -> list[str]:
        """Why the run stopped before it had a plan: the host's own reasons, else the run's."""
        reasons = self.log.partition(REFUSED)[2]  # before them there are warnings
        own = re.findall(rf"^    {re.escape(host)}: (.+)$", reasons, re.MULTILINE)
        return own or [f"the dry run failed: {self.failure}"]

    @property
    def failure(self) -> str:
        """The last words of a run that failed."""
        return self.log.rpartition("--> ")[2].strip() or "pyinfra said nothing"


def make_plan(checked: Checked, pyinfra: Pyinfra) -> Plan:
    """The report on hosts that may be faulty; the others are measured by a dry run of pyinfra's."""
    names, wrong, gone = checked.names, checked.faults, checked.keyless
    files = [f"{file}: {fault}" for file in wrong if file not in names for fault in wrong[file]]
    refused = {name: files + wrong.get(name, []) for name in names}
    asked = [name for name in names if not refused[name] and name not in gone]
    run = dry_run(checked.inventory, "deploy.py", asked, pyinfra) if asked else DryRun({}, "", None)
    known = speeds.kept()
    others = set() if any(refused.values()) else workers(checked.hosts)
    hosts = [
        _host_plan(
            target,
            refused[target.name],
            gone.get(target.name, []),
            run,
            known.get(speeds.place(checked.inventory, target.name)),
            worker=target.name in others,
        )
        for target in checked.targets
    ]
    measured = [host for host in hosts if host.host in asked]
    if asked and run.changes is None and not any(host.verdict == "refused" for host in measured):
        hosts = [
            h.model_copy(update={"verdict": "refused", "reasons": run.refused(h.host)})
            if h.verdict == "fits"
            else h
            for h in hosts
        ]
    return Plan(
        time=datetime.now(timezone.utc),
        inventory=checked.inventory,
        verdict=worst(hosts),
        hosts=hosts,
    )


def worst(hosts: Iterable[HostPlan]) -> Verdict:
    """The verdict of all together."""
    return max((host.verdict for host in hosts), key=EXIT.__getitem__, default="fits")


def dry_run(inventory: str, story: str, hosts: list[str], pyinfra: Pyinfra) -> DryRun:
    """What pyinfra would do to these hosts, of which none is changed."""
    command = [inventory, story, "--dry", "--json", "--diff", *only(hosts)]
    command += ["--fail-percent", "100"]  # hosts that cannot be reached do not stop the others
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "measured.json"
        os.environ[MEASUREMENTS_PATH] = str(path)
        try:
            run = pyinfra(*command)
        finally:
            del os.environ[MEASUREMENTS_PATH]
        looks = MEASUREMENTS.validate_json(path.read_bytes()) if path.exists() else {}
    if not run.stdout:  # it stopped before it had a plan
        return DryRun(looks, run.stderr, None)
    operations = json.loads(run.stdout)["plan"]
    changes = {
        host: [
            operation["name"]
            for operation in operations
            if host in operation["hosts_with_change"] + operation["hosts_with_conditional_change"]
            and operation["name"] not in ACTIONS
        ]
        for host in hosts
    }
    return DryRun(looks, run.stderr, changes)


def _host_plan(
    target: Target,
    wrong: list[str],
    gone: list[str],
    run: DryRun,
    known: Speeds | None,
    *,
    worker: bool,
) -> HostPlan:
    profile = profile_of(target.groups)
    if wrong:
        return HostPlan(host=target.name, profile=profile, verdict="refused", reasons=wrong)
    settings, look = read_settings(target.data), run.looks.get(target.name)
    measured = look if isinstance(look, Measured) else None
    verdict: Verdict = "unreachable"
    reasons = [explain(line, target) for line in run.silence(target.name)]
    if gone:
        verdict, reasons = "refused", gone
    elif look is not None:
        own = own_part(settings, worker=worker)
        reasons = look if isinstance(look, list) else misfits(own, profile, look)
        verdict = "refused" if reasons else "fits"
    too_slow = [too_many(known, settings)] if known and known.are_of(settings) else []
    return HostPlan(
        host=target.name,
        profile=profile,
        verdict=verdict,
        reasons=reasons,
        warnings=[*warnings(target.data), *filter(None, too_slow)],
        upgrade=upgrade(settings, measured) if measured else [],
        declared=settings,
        threads=settings.num_thread,
        memory=memory_sum(settings, measured),
        disk=disk_sum(settings, measured) if measured else None,
        images=image_sum(settings, measured) if measured else None,
        measured=measured,
        changes=run.changes.get(target.name) if run.changes else None,
    )


def show_plan(plan: Plan, console: Console) -> None:
    """The report for people: a section a host, the verdict at its end."""
    table = Table(title=f"Plan for {escape(plan.inventory)}", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for host in plan.hosts:
        for name, value in _rows(host):
            table.add_row(name, value)
        table.add_section()
    console.print(table)
    if steps := correction_order({host.host: host.reasons for host in plan.hosts}):
        order = escape(", ".join(steps))
        console.print(f"Correct in this order, then plan again: {order}", soft_wrap=True)


COLOURS: dict[Verdict, str] = {"fits": "green", "refused": "red", "unreachable": "yellow"}


def _rows(host: HostPlan) -> Iterator[tuple[str, str]]:
    profile = f"profile {host.profile}" if host.profile else "no profile"
    profile = "watches the others" if host.watches and not host.profile else profile
    yield "host", f"[bold]{escape(host.host)}[/bold], {profile}"
    if host.measured:
        yield "measured", escape(_measured(host.measured))
    if host.declared:
        s = host.declared
        yield (
            "declared",
            f"{s.ollama_cpus:g} CPU, {s.ollama_memory}, {host.threads} thread{'s' * (host.threads != 1)}, "
            f"{s.ollama_num_parallel} answers at once of {s.model_num_ctx} tokens, "
            f"{s.ollama_max_queue} may wait" + (f", {s.students} students" if s.students else ""),
        )
    if host.memory:
        yield "memory", f"MiB: {_sum(host.memory, MIB)}"
    for name, total in (("disk", host.disk), ("images", host.images)):
        if total and total.terms:
            yield name, f"GB: {_sum(total, 1e9, 1)}"
    if host.verdict == "fits":
        known = "\n".join(host.changes or ()) or "none"
        yield "changes", "not known while a host is refused" if host.changes is None else known
    for warning in host.warnings:
        yield "warning", escape(warning)
    for change in host.upgrade:
        yield "upgrade", escape(change)
    for reason in host.reasons:
        yield "reason", escape(reason)
    yield "verdict", f"[{COLOURS[host.verdict]}]{host.verdict}[/]"


def _measured(measured: Measured) -> str:
    return (
        f"{measured.cpus} CPUs, {measured.memory / 2**30:.1f} GiB, "
        f"{measured.disk_free / 1e9:.0f} GB free, {measured.release} {measured.architecture}, "
        + (f"Docker {measured.docker}" if measured.docker else "no Docker engine answers")
    )


def _sum(total: Sum, unit: float, digits: int = 0) -> str:
    return (
        f"{total.shown(unit, digits)} = {total.needed / unit:.{digits}f} of "
        f"{total.available / unit:.{digits}f}, {total.headroom / unit:.{digits}f} left "
        f"({'; '.join(filter(None, (total.source, total.formula)))})"
    )
