"""What a deploy would change on the host that watches the servers, beside what it would on them."""

from __future__ import annotations

from ollama_stack.check import Checked
from ollama_stack.inventory import Pyinfra, Target
from ollama_stack.reports.connection import explain
from ollama_stack.reports.plan import DryRun, HostPlan, Plan, Verdict, dry_run, worst


def with_monitoring(plan: Plan, checked: Checked, pyinfra: Pyinfra) -> Plan:
    """The plan and its part for the group monitoring, if that has a host within the limit."""
    if not checked.monitors:
        return plan
    (monitor, *_) = checked.monitors
    wrong = [*checked.faults.get(monitor.name, []), *checked.keyless.get(monitor.name, [])]
    if wrong:
        own = _part(monitor, "refused", wrong)
    else:
        run = dry_run(checked.inventory, "monitoring.py", [monitor.name], pyinfra)
        own = _of_run(monitor, run)
    hosts = _merged(plan.hosts, own)
    return plan.model_copy(update={"hosts": hosts, "verdict": worst(hosts)})


def _of_run(monitor: Target, run: DryRun) -> HostPlan:
    if f"[{monitor.name}] Connected" in run.log:
        if run.changes is not None:
            return _part(monitor, "fits", [], run.changes[monitor.name])
        return _part(monitor, "refused", run.refused(monitor.name))
    reasons = [explain(line, monitor) for line in run.silence(monitor.name)]
    return _part(monitor, "unreachable", reasons)


def _part(
    monitor: Target, verdict: Verdict, reasons: list[str], changes: list[str] | None = None
) -> HostPlan:
    return HostPlan(
        host=monitor.name,
        profile=None,
        verdict=verdict,
        reasons=reasons,
        watches=True,
        changes=changes,
    )


def _merged(hosts: list[HostPlan], own: HostPlan) -> list[HostPlan]:
    """A server that watches the others has one part; what is known of both counts."""
    server = next((host for host in hosts if host.host == own.host), None)
    if server is None:
        return [*hosts, own]
    both = None
    if server.changes is not None and own.changes is not None:
        both = [*server.changes, *own.changes]
    together = server.model_copy(
        update={
            "watches": True,
            "verdict": worst([server, own]),
            "reasons": list(dict.fromkeys([*server.reasons, *own.reasons])),
            "changes": both,
        }
    )
    return [together if host is server else host for host in hosts]
