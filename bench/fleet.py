"""pyinfra and the plan with many hosts, none of them real: python -m bench.fleet."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from lab.tables import markdown
from ollama_stack import ROOT
from tests.unit.test_plan import BARE

FLEETS = (1, 10, 100, 500)
FAKE = {"fake_delay": 0, "fake_delay_jitter": 0, "fake_responses": BARE, "_sudo": False}


def planned(hosts: int, folder: Path) -> tuple[float, float]:
    """Seconds and the most memory (MiB) of a plan for so many bare hosts; RuntimeError if one is refused."""
    inventory = folder / f"fleet_{hosts}.py"
    inventory.write_text(f"medium = {[(f'@fake/h{n}', FAKE) for n in range(hosts)]!r}")
    begun = time.monotonic()
    words = [str(ROOT / ".venv/bin/ollama-stack"), "plan", str(inventory), "--json"]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)  # noqa: S603 our own program
    took = time.monotonic() - begun
    if run.returncode:
        raise RuntimeError(run.stdout[:2000])
    most = getrusage(RUSAGE_CHILDREN).ru_maxrss  # of the largest so far, which is this one
    return took, most / 1024


def main() -> None:
    """The table."""
    with tempfile.TemporaryDirectory() as folder:
        found = {hosts: planned(hosts, Path(folder)) for hosts in FLEETS}
    rows = [
        [f"{hosts}", f"{took:.1f} s", f"{most:.0f} MiB"] for hosts, (took, most) in found.items()
    ]
    sys.stdout.write(markdown(["hosts", "plan", "memory"], rows))


if __name__ == "__main__":
    main()
