"""How long an audit takes over SSH, and whether it cries wolf: ``make audit-times``.

Real logins on this machine's lab; bounded in runs. Writes its table into docs/running.md.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lab.sshd import ADDRESSES, Sshd, sshd, user
from lab.tables import markdown, publish
from ollama_stack.inventory import ROOT

ALARMS, ROUNDS = 20, 5
USER = "lab-auditor"


def audit(inventory: Path, folder: Path) -> tuple[float, int]:
    """Seconds of one whole command, and its findings and errors."""
    report = folder / "report"
    words = ["-m", "pytest", "tests/audit", "-q", f"--inventory={inventory}", f"--report={report}"]
    began = time.monotonic()
    subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True)  # noqa: S603 no shell
    seconds = time.monotonic() - began
    hosts = json.loads((report / "report.json").read_text())["hosts"]
    statuses = [result["status"] for host in hosts for result in host["results"]]
    return seconds, statuses.count("finding") + statuses.count("error")


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
        alarms = sum(audit(fleet(server, 1), folder)[1] for _ in range(ALARMS))
        one, ten = [], []
        for _ in range(ROUNDS):  # side by side, so that a busy minute is busy for both
            one.append(audit(fleet(server, 1), folder)[0])
            ten.append(audit(fleet(server, 10), folder)[0])
    single, many = statistics.median(one), statistics.median(ten)
    ratio = statistics.median(t / o for t, o in zip(ten, one, strict=True))
    rows: list[tuple[str, object]] = [
        ("one host", f"{single:.1f} s"),
        ("ten hosts, side by side", f"{many:.1f} s"),
        ("ten / one, median of the pairs", f"{ratio:.2f}"),
        (f"findings and errors in {ALARMS} runs on a fresh deploy", alarms),
    ]
    publish("audit-times", markdown(["the standard audit over SSH", f"median of {ROUNDS}"], rows))
    if single >= 10 or ratio >= 2 or alarms:
        raise SystemExit("missed: under 10 s a host, ten under twice one, no false alarm")


if __name__ == "__main__":
    main()
