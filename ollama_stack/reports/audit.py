"""The audit's report: what was expected of every host, what was found, and what changed since."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from ollama_stack.config.types import Waiver
from ollama_stack.stack.rendering import TEMPLATES

Severity = Literal["critical", "high", "medium", "low"]
Status = Literal["finding", "error", "waived", "blocked", "not applicable", "pass"]
Verdict = Literal["conforms", "findings", "could not look"]
EXIT: dict[Verdict, int] = {"conforms": 0, "findings": 1, "could not look": 2}
SEVERITIES: tuple[Severity, ...] = ("critical", "high", "medium", "low")
STATUSES: tuple[Status, ...] = (
    *("finding", "error", "waived", "blocked"),
    *("not applicable", "pass"),
)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Control(_Frozen):
    """One claim that every host is held to."""

    id: str
    group: str
    title: str
    severity: Severity
    reason: str
    reference: str
    remedy: str


class Evidence(_Frozen):
    """A command as it was run on the host, and of what it printed the part that decides."""

    command: str
    line: str


class Result(_Frozen):
    """What one look at one host gave for one control."""

    control: str
    status: Status
    expected: str = ""
    live: str = ""
    note: str = ""
    """Why it could not be looked at, is blocked, or does not apply."""
    evidence: list[Evidence] = []
    waiver: Waiver | None = None
    steady: bool = True
    """Whether another live value is a change; a figure that moves all the time is none."""


class HostAudit(_Frozen):
    """One host's results, in the controls' order."""

    host: str
    profile: str | None
    results: list[Result]


class Change(_Frozen):
    """A control's result on a host before, and now; without a control: the host itself."""

    host: str
    control: str
    before: str
    now: str


class Since(_Frozen):
    """The earlier report that this one is compared with."""

    time: datetime
    sha256: str
    changes: list[Change]


class Report(_Frozen):
    """The whole audit; time in UTC."""

    version: Literal[1] = 1
    time: datetime
    inventory: str
    commit: str
    """Git commit of the inventory, with ``+changes`` if the files are not as committed."""
    deep: bool
    tools: dict[str, str]
    verdict: Verdict
    controls: list[Control]
    hosts: list[HostAudit]
    since: Since | None = None

    def counts(self, hosts: Iterable[HostAudit] | None = None) -> Counter[Status]:
        """How many results of each status, on these hosts or all."""
        chosen = self.hosts if hosts is None else hosts
        return Counter(result.status for host in chosen for result in host.results)

    def findings(self, host: HostAudit) -> Counter[Severity]:
        """How many findings of each severity."""
        severity = {control.id: control.severity for control in self.controls}
        return Counter(severity[r.control] for r in host.results if r.status == "finding")


def verdict(hosts: Iterable[HostAudit]) -> Verdict:
    """That of the worst result: one that could not be looked at is worse than a finding."""
    statuses = {result.status for host in hosts for result in host.results}
    if "error" in statuses or not statuses:
        return "could not look"
    return "findings" if statuses & {"finding", "blocked"} else "conforms"


class Kept(NamedTuple):
    """An earlier report, and the SHA-256 of its file."""

    report: Report
    sha256: str


def kept(path: Path, inventory: str) -> Kept:
    """An earlier report of the same inventory; ValueError if it is none."""
    try:
        text = path.read_bytes()
        report = Report.model_validate_json(text)
    except OSError as error:
        raise ValueError(f"--since {path}: {error.strerror}") from error
    except ValidationError as error:
        raise ValueError(
            f"--since {path}: is no report of this version of the audit; name a report.json"
        ) from error
    if Path(report.inventory).name != Path(inventory).name:
        raise ValueError(f"--since {path}: is of {report.inventory}, not of {inventory}")
    return Kept(report, sha256(text).hexdigest())


def compare(kept: Kept, now: Report) -> Since:
    """What changed since a kept report, in the controls that both looked at."""
    before, after = ({host.host: host for host in one.hosts} for one in (kept.report, now))
    return Since(time=kept.report.time, sha256=kept.sha256, changes=list(_changes(before, after)))


def _changes(before: dict[str, HostAudit], now: dict[str, HostAudit]) -> Iterable[Change]:
    for name in before | now:
        if name not in now or name not in before:
            was, is_ = ("audited" if name in hosts else "not audited" for hosts in (before, now))
            yield Change(host=name, control="", before=was, now=is_)
            continue
        old = {result.control: result for result in before[name].results}
        for new in now[name].results:
            if new.control in old and (was := _summary(old[new.control])) != (is_ := _summary(new)):
                yield Change(host=name, control=new.control, before=was, now=is_)


def _summary(result: Result) -> str:
    live = result.live if result.steady else ""
    aim = f" (expected {result.expected})" if result.status == "finding" else ""
    return ": ".join(filter(None, (result.status, live))) + aim


def render(report: Report, digest: str) -> str:
    """The page for people: one file, no scripts, nothing fetched."""
    templates = TEMPLATES.overlay(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    controls = {control.id: control for control in report.controls}
    rank = {name: SEVERITIES.index(control.severity) for name, control in controls.items()}

    def found(host: HostAudit, status: Status) -> list[Result]:
        """A host's results of one status, the worst severity first."""
        chosen = [result for result in host.results if result.status == status]
        return sorted(chosen, key=lambda result: rank[result.control])

    page = templates.get_template("audit/report.html.j2")
    return page.render(
        report=report,
        digest=digest,
        controls=controls,
        severities=SEVERITIES,
        severity_counts=_severities(report),
        found=found,
        findings=_places(report.hosts, "finding"),
        waived=_places(report.hosts, "waived"),
        meaning=meaning(report),
    )


def _severities(report: Report) -> Counter[Severity]:
    return sum((report.findings(host) for host in report.hosts), Counter())


def _places(hosts: list[HostAudit], status: Status) -> list[tuple[int, str, Result]]:
    """Every result of one status, with its host's place from 1 on, and name."""
    return [
        (place, host.host, result)
        for place, host in enumerate(hosts, 1)
        for result in host.results
        if result.status == status
    ]


def meaning(report: Report) -> str:
    """What the verdict means and what to do about it, for somebody who has never seen an audit."""
    count = report.counts()
    if not count:
        return "Nothing was looked at, so nobody knows how the hosts are. Name hosts, audit again."
    if count["error"]:
        unknown = f"{_where(report, 'error')}, so nobody knows whether they hold there"
        more = f" Besides, there are {_findings(report)}." if count["finding"] else ""
        return (
            f"{_many(count['error'], 'control')} could not be looked at on {unknown}. "
            f"Correct what stands in the way, then audit again.{more}"
        )
    if count["finding"]:
        return (
            f"{_findings(report)}: what the inventory declares is not so there. "
            "Do what each remedy says, the worst first, then audit again."
        )
    if count["blocked"]:
        return (
            f"{_many(count['blocked'], 'control')} could not be judged on "
            f"{_where(report, 'blocked')}, because a control that is waived has failed. "
            "Correct that one, then audit again."
        )
    if count["waived"]:
        waived = [result.waiver for _, _, result in _places(report.hosts, "waived")]
        ends = min(waiver["until"] for waiver in waived if waiver)
        return (
            f"Apart from {_many(count['waived'], 'waived finding')}, everything is as the "
            f"inventory declares. There is nothing to do until {ends}, when a waiver ends."
        )
    return "Everything is as the inventory declares. There is nothing to do."


def _findings(report: Report) -> str:
    total = _severities(report)
    kinds = ", ".join(severity for severity in SEVERITIES if total[severity])
    return f"{_many(total.total(), 'finding')} ({kinds}) on {_where(report, 'finding')}"


def _where(report: Report, status: Status) -> str:
    hosts = [host.host for host in report.hosts if report.counts([host])[status]]
    return hosts[0] if len(hosts) == 1 else f"{len(hosts)} of {len(report.hosts)} hosts"


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def utc_now() -> datetime:
    """The time of a report, to the second."""
    return datetime.now(timezone.utc).replace(microsecond=0)
