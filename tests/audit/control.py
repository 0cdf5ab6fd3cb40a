"""What a control is, and what one look at a host gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from ollama_stack.reports.audit import Control, Evidence, Result, Severity

if TYPE_CHECKING:
    from tests.audit.live import Live

GROUPS = {
    **{1: "limits", 2: "environment", 3: "effect", 4: "model", 5: "service", 6: "exposure"},
    **{
        7: "hardening",
        8: "versions",
        9: "logs",
        10: "host",
        11: "waivers",
        12: "app",
        14: "cluster",
    },
}
DEPLOY = "{deploy}"  # becomes the command that deploys the audited inventory


class Unreadable(Exception):
    """What decides a control cannot be read; says why, and the way out."""


class Blocked(Exception):
    """The control that it names has failed, and so there is nothing to look at."""


class NotApplicable(Exception):
    """The inventory declares nothing that the control could hold the host to."""


@dataclass(frozen=True)
class Finding:
    """What was expected and what was found."""

    expected: str
    live: str
    conforms: bool
    evidence: tuple[Evidence, ...]
    steady: bool = True


@dataclass(frozen=True)
class Reading:
    """A value, and the line of a command's output that gave it."""

    value: Any
    command: str
    line: str

    def equals(self, expected: object, show: Callable[[Any], str] = str) -> Finding:
        """Conforms if the value is the expected one."""
        return self.meets(show(expected), self.value == expected, show(self.value))

    def meets(
        self, expected: str, conforms: bool, live: str = "", *, steady: bool = True
    ) -> Finding:
        """Conforms if the caller says so; ``steady``: see Result."""
        evidence = Evidence(command=self.command, line=self.line)
        return Finding(expected, live or str(self.value), conforms, (evidence,), steady)


class Spec(NamedTuple):
    """A control and how to look."""

    control: Control
    look: Callable[[Live], Finding]
    deep: bool
    fleet: bool


Test = Callable[[Result], None]


def control(
    id_: str,
    title: str,
    severity: Severity,
    reference: str,
    remedy: str = DEPLOY,
    *,
    reason: str = "",
    deep: bool = False,
    fleet: bool = False,
) -> Callable[[Callable[[Live], Finding]], Test]:
    """Make a pytest test of a look at a host; the look's docstring is the reason, in one sentence.

    ``deep``: only with --deep; ``fleet``: looks after all hosts were looked at.
    """

    def make(look: Callable[[Live], Finding]) -> Test:
        described = Control(
            id=id_,
            group=GROUPS[int(id_.removeprefix("OLS-")) // 100],
            title=title,
            severity=severity,
            reason=reason or (look.__doc__ or "").strip(),
            reference=reference,
            remedy=remedy,
        )

        def test(result: Result) -> None:
            judge(described, result)

        test.__name__, test.__module__ = look.__name__, look.__module__
        marked: Test = pytest.mark.control(Spec(described, look, deep, fleet))(test)
        return marked

    return make


def judge(control: Control, result: Result) -> None:
    """Pass, fail or skip the running test as the result says."""
    if result.status in ("not applicable", "blocked", "waived"):
        why = result.waiver["reason"] if result.waiver else result.note
        pytest.skip(f"{result.status}: {why}")
    if result.status == "finding":
        pytest.fail(sentence(control, result), pytrace=False)


def sentence(control: Control, result: Result) -> str:
    """A finding, for a terminal."""
    lines = [f"{control.id} {control.title} ({control.severity})"]
    rows = [("expected", result.expected), ("live", result.live)]
    if waiver := result.waiver:
        rows += [("waived", f"until {waiver['until']}: {waiver['reason']}")]
    rows += [("evidence", f"$ {e.command}\n            {e.line}") for e in result.evidence]
    rows += [("reason", control.reason), ("way out", control.remedy)]
    return "\n".join(lines + [f"  {name:<8}  {text}" for name, text in rows if text])
