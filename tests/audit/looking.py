"""Look at all hosts side by side, each at every control; nothing here raises for what it finds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date
from tempfile import TemporaryDirectory

from ollama_stack.config.settings import profile_of
from ollama_stack.inventory import Target
from ollama_stack.reports.audit import HostAudit, Result
from tests.audit.control import Blocked, NotApplicable, Spec, Unreadable
from tests.audit.conversation import Pending
from tests.audit.live import Live

AT_ONCE = 32  # hosts
# What the hosts of a cluster are held to beside the controls of their own group.
OF_A_CLUSTER_TOO = frozenset(
    f"OLS-{number}"
    for number in (
        *(*range(101, 105), 109, 110, 610, 613, 614),
        *(701, 702, *range(704, 708), 802, 803, 805, 806),
        *(1206, 1212, 1213, 1214, 1216, 1217, 1220),
    )
)


def look(targets: Sequence[Target], specs: Sequence[Spec]) -> list[HostAudit]:
    """One audit a host, in the order of the targets."""
    own = [spec for spec in specs if not spec.fleet]
    shared = [spec for spec in specs if spec.fleet]
    with (
        # Short: a socket's path is at most 100 characters.
        TemporaryDirectory(prefix="ols-", dir="/tmp", ignore_cleanup_errors=True) as sockets,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        everybody = [Live(target, sockets) for target in targets]
        looked = list(pool.map(lambda live: _look(live, own), everybody))
        fleet = [live for live in everybody if not live.gone]
        for live in fleet:
            live.fleet = fleet
        # One after the other: each compares what all have read by now.
        found = [
            [*results, *_look(live, shared)]
            for live, results in zip(everybody, looked, strict=True)
        ]
    order = {spec.control.id: place for place, spec in enumerate(specs)}
    return [
        HostAudit(
            host=live.target.name,
            profile=profile_of(live.target.groups),
            results=sorted(_held(live, results), key=lambda result: order[result.control]),
        )
        for live, results in zip(everybody, found, strict=True)
    ]


def _look(live: Live, specs: Sequence[Spec]) -> list[Result]:
    """Every look, again and again until all it asks, of whatever host, is known."""
    results: dict[str, Result] = {}
    while True:
        for spec in specs:
            if spec.control.id not in results:
                with suppress(Pending):
                    results[spec.control.id] = _one(live, spec)
        answered = [one.answer() for one in live.fleet]
        if not any(answered):
            break
    if live.gone:
        return [_error(spec, live.gone) for spec in specs]
    return [results[spec.control.id] for spec in specs]


def _one(live: Live, spec: Spec) -> Result:
    try:
        if bool(live.settings.cluster) != (spec.control.group == "cluster") and (
            not live.settings.cluster or spec.control.id not in OF_A_CLUSTER_TOO
        ):
            raise NotApplicable(
                "a cluster's host: group 14 looks at it"
                if live.settings.cluster
                else "the host serves alone"
            )
        found = spec.look(live)
    except Pending:
        raise
    except Unreadable as error:
        return _error(spec, str(error))
    except Blocked as error:
        return Result(control=spec.control.id, status="blocked", note=f"{error} has failed")
    except NotApplicable as error:
        return Result(control=spec.control.id, status="not applicable", note=str(error))
    except Exception as error:  # an answer that nobody expected is no reason to hide the others
        return _error(spec, f"the host's answer is not understood: {type(error).__name__}: {error}")
    return Result(
        control=spec.control.id,
        status="pass" if found.conforms else "finding",
        expected=found.expected,
        live=found.live,
        evidence=list(found.evidence),
        steady=found.steady,
    )


def _error(spec: Spec, note: str) -> Result:
    return Result(control=spec.control.id, status="error", note=note)


def _held(live: Live, results: list[Result]) -> Iterable[Result]:
    """The results once waivers are counted, and blocked ones whose reason did not fail are none."""
    failed = {r.control for r in results if r.status in ("finding", "blocked")}
    in_force = {
        waiver["id"]: waiver
        for waiver in live.settings.audit_waivers
        if date.fromisoformat(waiver["until"]) >= date.today()
    }
    for result in results:
        waiver = in_force.get(result.control)
        if result.status == "blocked" and result.note.split()[0] not in failed:
            yield result.model_copy(
                update={"status": "error", "note": f"{result.note}, and then did not: look again"}
            )
        elif waiver and result.status == "finding":
            yield result.model_copy(update={"status": "waived", "waiver": waiver})
        else:
            yield result
