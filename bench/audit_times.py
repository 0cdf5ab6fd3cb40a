"""How long an audit takes over SSH, and whether it cries wolf: ``make audit-times``.

Real logins on this machine's lab; bounded in runs. Writes its table into docs/benchmarks.md.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from lab.sshd import ADDRESSES, Sshd, sshd, user
from lab.tables import markdown, publish
from ollama_stack import ROOT

ALARMS, ROUNDS = 20, 5
USER = "lab-auditor"


@dataclass(frozen=True)
class Took:
    """One whole command; ``processor`` is the auditor's own, with its ssh, without the hosts'."""

    seconds: float
    processor: float
    alarms: int


def audit(inventory: Path, folder: Path) -> Took:
    """Run one; an alarm is a finding or an error."""
    report = folder / "report"
    argv = ["-m", "pytest", "tests/audit", "-q", f"--inventory={inventory}", f"--report={report}"]
    began, before = time.monotonic(), os.times()
    subprocess.run([sys.executable, *argv], cwd=ROOT, capture_output=True)  # noqa: S603 no shell
    seconds, after = time.monotonic() - began, os.times()
    processor = (
        after.children_user + after.children_system - before.children_user - before.children_system
    )
    hosts = json.loads((report / "report.json").read_text())["hosts"]
    statuses = [result["status"] for host in hosts for result in host["results"]]
    return Took(seconds, processor, statuses.count("finding") + statuses.count("error"))


def fleet(server: Sshd, hosts: int) -> Path:
    """An inventory of so many names for this machine."""
    return server.inventory(
        [(f"host-{n}", server.data(address, USER)) for n, address in enumerate(ADDRESSES[:hosts])]
    )


def main() -> None:
    """All of it, about two minutes; SystemExit if an aim is missed."""
    with (
        tempfile.TemporaryDirectory() as name,
        user(USER, "docker"),
        sshd(Path(name)) as server,
    ):
        folder = Path(name)
        alarms = sum(audit(fleet(server, 1), folder).alarms for _ in range(ALARMS))
        # Side by side, so that a busy minute is busy for both.
        pairs = [
            (audit(fleet(server, 1), folder), audit(fleet(server, 10), folder))
            for _ in range(ROUNDS)
        ]
    ratio = statistics.median(ten.seconds / one.seconds for one, ten in pairs)
    seconds, processor = (
        [
            statistics.median(getattr(took, name) for took in column)
            for column in zip(*pairs, strict=True)
        ]
        for name in ("seconds", "processor")
    )
    rows: list[tuple[str, object]] = [
        ("one host", f"{seconds[0]:.1f} s"),
        ("ten hosts, side by side", f"{seconds[1]:.1f} s"),
        ("ten / one, median of the pairs", f"{ratio:.2f}"),
        ("the auditor's own processor time, one host", f"{processor[0]:.1f} s"),
        ("the auditor's own processor time, ten hosts", f"{processor[1]:.1f} s"),
        (f"findings and errors in {ALARMS} runs on a fresh deploy", alarms),
    ]
    publish("audit-times", markdown(["the standard audit over SSH", f"median of {ROUNDS}"], rows))
    if seconds[0] >= 10 or alarms:
        raise SystemExit("missed: under 10 s a host, no false alarm")


if __name__ == "__main__":
    main()
