"""Reports made up for tests: every status, every severity, long commands."""

from __future__ import annotations

from datetime import datetime, timezone

from ollama_stack.reports.audit import (
    STATUSES,
    Change,
    Evidence,
    HostAudit,
    Report,
    Result,
    Since,
    verdict,
)
from tests.audit.controls import specs

CONTROLS = [spec.control for spec in specs()]
HOSTILE = "<script>alert('told by a host')</script> & \"quoted\""
COMMAND = "docker logs --since 15m ollama 2>&1 | grep -E '" + "|".join(["level=ERROR"] * 30) + "'"


def result(control: str, status: str, live: str = "4 CPUs", steady: bool = True) -> Result:
    known = status in ("pass", "finding", "waived")
    return Result.model_validate(
        {
            "control": control,
            "status": status,
            "expected": "2 CPUs" if known else "",
            "live": live if known else "",
            "note": "" if known else f"{HOSTILE}, so nobody knows",
            "evidence": [Evidence(command=COMMAND, line=f"{HOSTILE} of {control}")]
            if known
            else [],
            "waiver": {"id": control, "reason": "exam week", "until": "2100-01-01"}
            if status == "waived"
            else None,
            "steady": steady,
        }
    )


def host(name: str, *results: Result) -> HostAudit:
    return HostAudit(host=name, profile="medium", results=list(results))


def report(*hosts: HostAudit, changes: list[Change] | None = None) -> Report:
    time = datetime(2026, 11, 23, 6, 30, tzinfo=timezone.utc)
    return Report(
        time=time,
        inventory="inventories/school.py",
        commit="0123456789abcdef0123456789abcdef01234567",
        deep=False,
        tools={"ollama-stack": "0.1.0", "pytest": "9.2.0"},
        verdict=verdict(hosts),
        controls=CONTROLS,
        hosts=list(hosts),
        since=None if changes is None else Since(time=time, sha256="ab" * 32, changes=changes),
    )


def mixed(hosts: int) -> Report:
    """So many hosts; the first has results of every status, the others conform."""
    first = [
        result(control.id, STATUSES[place % len(STATUSES)])
        for place, control in enumerate(CONTROLS)
    ]
    passing = [result(control.id, "pass", "2 CPUs") for control in CONTROLS]
    others = [host(f"class-{place}.school.example", *passing) for place in range(2, hosts + 1)]
    change = Change(host="class-1.school.example", control="OLS-104", before="pass", now="finding")
    return report(host("class-1.school.example", *first), *others, changes=[change])
